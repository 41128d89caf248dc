"""Deposits: a payment to the treasury becomes stock once, when two persons have signed for it."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import asyncpg
import pytest

from emeterai.core.ledger import Counter
from emeterai.core.refusal import Refused
from emeterai.partners.model import Decision
from market import DUTY_IDR, PAID_ON, Market, person, refusal


async def test_an_approved_deposit_is_money_and_stock_in_one_moment(market: Market) -> None:
    """The duty is on the treasury's counter, the units in the stock, and serials are reserved for them."""
    partner = await market.partner()
    deposit = await market.proposed(partner, quantity=250)
    assert 0 == await market.available(partner.id)
    approved = await market.deposits.approve(deposit.id, by=market.second)
    assert (Decision.APPROVED, market.second) == (approved.state, approved.decided_by)
    assert 250 == await market.available(partner.id)
    rows = await market.db.fetch(
        "SELECT kind, amount, debit, credit FROM ledger.transfers WHERE subject = $1 ORDER BY kind", deposit.id
    )
    assert [
        ("credit", 250, Counter.ISSUED, partner.id),
        ("money", 250 * DUTY_IDR, Counter.TREASURY_DEPOSIT, Counter.TREASURY_DUTY),
    ] == [tuple(row) for row in rows]
    assert 250 <= sum(block.size for block in await market.partners.serial_blocks(partner.id))
    assert [] == await market.broken()


async def test_the_first_person_cannot_be_the_second(market: Market) -> None:
    """Not by the service, not by the database, and a partner does not sign for itself."""
    partner = await market.partner()
    deposit = await market.proposed(partner, quantity=5)
    for by in (market.first, partner.account_id):
        assert "second_person_needed" == await refusal(market.deposits.approve(deposit.id, by=by))
    assert "second_person_needed" == await refusal(market.deposits.reject(deposit.id, "no", by=market.first))
    with pytest.raises(asyncpg.CheckViolationError):
        await market.db.fetch(
            "UPDATE partners.deposits SET state = 'approved', decided_by = proposed_by, decided_at = now()"
        )
    assert 0 == await market.available(partner.id)


async def test_a_decision_stays(market: Market) -> None:
    """The same one again is no error and posts nothing; another one is refused, by the database too."""
    partner, third = await market.partner(), await person(market.db)
    deposit = await market.proposed(partner, quantity=5)
    for _ in range(2):
        await market.deposits.approve(deposit.id, by=market.second)
    assert "decided_already" == await refusal(market.deposits.approve(deposit.id, by=third))
    assert "decided_already" == await refusal(market.deposits.reject(deposit.id, "late", by=third))
    assert 5 == await market.available(partner.id)
    with pytest.raises(asyncpg.RaiseError, match="stays so"):
        await market.db.fetch("UPDATE partners.deposits SET state = 'proposed', decided_by = NULL, decided_at = NULL")


async def test_one_deposit_approved_twice_at_once_is_credited_once(market: Market) -> None:
    """Two members of the staff press at the same moment: one signs, the other hears that it is decided."""
    partner = await market.partner()
    deposit = await market.proposed(partner, quantity=7)
    seconds = [await person(market.db) for _ in range(6)]
    outcomes = await asyncio.gather(
        *(market.deposits.approve(deposit.id, by=one) for one in seconds), return_exceptions=True
    )
    assert 1 == sum(not isinstance(it, BaseException) for it in outcomes), outcomes
    assert {"decided_already"} == {it.code for it in outcomes if isinstance(it, Refused)}
    assert 7 == await market.available(partner.id)
    assert [] == await market.broken()


async def test_a_payment_is_recorded_once_unless_it_was_rejected(market: Market) -> None:
    """Its NTPN, however it is typed, belongs to one deposit; after a rejection it may be recorded rightly."""
    partner, other = await market.partner(), await market.partner()
    deposit = await market.proposed(partner, quantity=5, ntpn="0123 4567 89ab cdef")
    assert "0123456789ABCDEF" == deposit.ntpn
    again = await market.proposed(partner, quantity=5, ntpn="0123456789ABCDEF")
    assert deposit.id == again.id
    assert "ntpn_used" == await refusal(market.proposed(other, quantity=5, ntpn="0123456789abcdef"))
    assert "ntpn_used" == await refusal(market.proposed(partner, quantity=6, ntpn="0123456789abcdef"))
    rejected = await market.deposits.reject(deposit.id, " salah   mitra ", by=market.second)
    assert (Decision.REJECTED, "salah mitra") == (rejected.state, rejected.reason)
    second = await market.proposed(other, quantity=5, ntpn="0123456789ABCDEF")
    await market.deposits.approve(second.id, by=market.second)
    assert (0, 5) == (await market.available(partner.id), await market.available(other.id))
    assert [rejected] == await market.deposits.of_partner(partner.id)
    assert [] == await market.broken()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ntpn": "0123456789ABCDE"}, "ntpn_unusable"),
        ({"ntpn": "0123456789ABCD-F"}, "ntpn_unusable"),
        ({"amount_idr": 0}, "deposit_not_whole"),
        ({"amount_idr": -DUTY_IDR}, "deposit_not_whole"),
        ({"amount_idr": DUTY_IDR + 1}, "deposit_not_whole"),
        ({"amount_idr": 10**15}, "deposit_not_whole"),
        ({"paid_on": date(2999, 1, 1)}, "deposit_date_unusable"),
    ],
)
async def test_what_cannot_be_a_payment_is_refused(market: Market, change: dict[str, Any], code: str) -> None:
    """With the reason that helps to put it right."""
    partner = await market.partner()
    wanted = {"ntpn": "0123456789ABCDEF", "amount_idr": DUTY_IDR, "paid_on": PAID_ON, "by": market.first, **change}
    assert code == await refusal(market.deposits.propose(partner.id, **wanted))


async def test_the_audit_names_what_was_tampered_with(market: Market) -> None:
    """Stock without its payment, a payment without its stock, a deposit that nobody approved."""
    partner = await market.partner(stock=5)
    await market.proposed(partner, quantity=3)
    assert [] == await market.broken()
    await market.db.fetch("ALTER TABLE partners.deposits DISABLE TRIGGER deposits_decided_once")
    await market.db.fetch("UPDATE partners.deposits SET quantity = 4, amount_idr = 40000 WHERE state = 'approved'")
    (broken,) = await market.broken()
    assert broken.startswith("an approved deposit paid the duty of what it credited")


async def test_a_partner_proposes_nothing_for_itself(market: Market) -> None:
    """Also when it is on the treasury's staff: then both signatures are other people's."""
    partner = await market.partner()
    asked = market.deposits.propose(
        partner.id, ntpn="0123456789ABCDEF", amount_idr=DUTY_IDR, paid_on=PAID_ON, by=partner.account_id
    )
    assert "second_person_needed" == await refusal(asked)
    assert [] == await market.deposits.awaiting()
