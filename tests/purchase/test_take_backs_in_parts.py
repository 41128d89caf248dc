"""A bank that takes a payment back in parts, some stamps of which were handed back before: as if it came at once.

Every part is a case, and two people take back for it what they may. The books of the order end the same, to the rupiah.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from counters import Till, midtrans, till
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from returning import audit, books, cases_of, paid_order, work_returns

from emeterai.core.ordering import ChargeState, Price, Seen
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.purchase.cases import Cases
from emeterai.purchase.model import Channel, Order, Source
from emeterai.purchase.paid_stamps import PaidStamps
from emeterai.purchase.returns_model import Action
from emeterai.purchase.service import Purchase
from twins.midtrans_twin import MidtransTwin

ANI, BUDI = new_id(), new_id()


@dataclass
class Bank:
    """A shop that sells through Midtrans, and the bank of its payers."""

    shop: Till[MidtransTwin]
    provider: Any

    def priced(self, *, fee_idr: int, qris_fee_bps: int) -> Till[MidtransTwin]:
        """The same shop with other fees."""
        fees = Settings(fee_idr=fee_idr, qris_fee_bps=qris_fee_bps, public_url="https://shop.example")
        return replace(self.shop, purchase=Purchase(self.shop.db, self.shop.ledger, fees, providers=[self.provider]))


@pytest.fixture
async def bank(db: Database) -> AsyncIterator[Bank]:
    """The audit ends the test."""
    twin = MidtransTwin()
    provider = midtrans(twin)
    yield Bank(till(db, twin, [provider]), provider)
    await provider.close()
    await audit(db)


async def take_all(cases: Cases, case_id: Any) -> None:
    """Two people take back all that may be taken, or close the case where that is nothing."""
    with pytest.raises(Refused, match=r"take_back_too_much|case_without_stamps") as refused:
        await cases.propose(case_id, Action.TAKE_BACK, note="uji", by=ANI, quantity=10**6)
    quantity = int(refused.value.facts.get("quantity_max", 0))
    action, units = (Action.TAKE_BACK, quantity) if quantity else (Action.CLOSE, None)
    proposal = await cases.propose(case_id, action, note="uji", by=ANI, quantity=units)
    await cases.decide(proposal.id, by=BUDI, approved=True)


async def reversed_in(shop: Till[Any], order: Order, gone_idr: int, parts: list[int], *, at_once: bool) -> None:
    """The bank takes the rest back at shares like `parts`; decided at each part, or when all are there."""
    rest_idr, told_idr = order.total_idr - gone_idr, 0
    for place in range(len(parts)):
        told_idr = rest_idr * sum(parts[: place + 1]) // sum(parts)
        seen = Seen(ChargeState.REVERSED, Decimal(order.total_idr), "IDR", Decimal(gone_idr + told_idr))
        await shop.purchase.apply_seen(order.id, seen, Source(order.provider, order.provider_reference))
        if at_once:
            await decide_open(shop, order)
    await decide_open(shop, order)
    assert rest_idr == sum(case.amount_idr or 0 for case in await cases_of(shop.purchase, order))


async def decide_open(shop: Till[Any], order: Order) -> None:
    """Every case that nobody has closed, the oldest first."""
    for case in await cases_of(shop.purchase, order):
        if case.closed_at is None:
            await take_all(shop.purchase.cases, case.id)


async def end_of(
    shop: Till[Any], quantity: int, handed: list[int], parts: list[int], *, at_once: bool
) -> dict[str, int]:
    """What an order has added to each account when its money is gone, and how many of its stamps are still there."""
    before = await books(shop.db)
    order = await paid_order(shop, quantity, channel=Channel.QRIS)
    gone_idr = 0
    for units in handed:
        back = await shop.purchase.returns.hand_back(order.account_id, order.id, units)
        assert back is not None
        gone_idr += back.amount_idr or 0
    await work_returns(shop.purchase, shop.db)
    await reversed_in(shop, order, gone_idr, parts, at_once=at_once)
    after = await books(shop.db)
    changed = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    changed["stamps"] = await shop.purchase.available(order.account_id)
    return {name: amount for name, amount in changed.items() if amount}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    quantity=st.integers(2, 9),
    handed=st.lists(st.integers(1, 2), max_size=3),
    parts=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    fees=st.tuples(st.integers(0, 2_500), st.integers(0, 300)),
    at_once=st.booleans(),
)
@example(quantity=3, handed=[1], parts=[1, 1], fees=(2_500, 70), at_once=True)
@example(quantity=3, handed=[1], parts=[5, 20], fees=(2_500, 70), at_once=False)
@example(quantity=7, handed=[1, 1], parts=[3, 3, 1], fees=(1, 70), at_once=True)
async def test_a_reversal_in_parts_ends_as_one_at_once(
    bank: Bank, quantity: int, handed: list[int], parts: list[int], fees: tuple[int, int], *, at_once: bool
) -> None:
    """Every account as if all had been told at once, and nothing of duty and fee is left of stamps that are gone."""
    shop = bank.priced(fee_idr=fees[0], qris_fee_bps=fees[1])
    handed = handed if sum(handed) < quantity else []
    whole = await end_of(shop, quantity, handed, [1], at_once=True)
    assert whole == await end_of(shop, quantity, handed, parts, at_once=at_once)
    assert {"seen", "returned"} >= set(whole)


async def told(shop: Till[Any], order: Order, gone_idr: int) -> Any:
    """The bank has taken back so much of a payment in all: the case that this opens."""
    seen = Seen(ChargeState.REVERSED, Decimal(order.total_idr), "IDR", Decimal(gone_idr))
    await shop.purchase.apply_seen(order.id, seen, Source(order.provider, order.provider_reference))
    return (await cases_of(shop.purchase, order))[-1]


async def closed(cases: Cases, case_id: Any) -> None:
    """Two people close a case and take nothing."""
    proposal = await cases.propose(case_id, Action.CLOSE, note="sudah terpakai", by=ANI)
    await cases.decide(proposal.id, by=BUDI, approved=True)


async def most_of(cases: Cases, case_id: Any) -> int:
    """How many stamps may be taken back for a case: what the page says, and what a proposal hears."""
    shown = (await cases.waiting()).takeable[case_id]
    with pytest.raises(Refused, match="take_back_too_much") as refused:
        await cases.propose(case_id, Action.TAKE_BACK, note="uji", by=ANI, quantity=10**6)
    assert shown == refused.value.facts["quantity_max"]
    return shown


async def test_what_a_closed_case_left_is_not_taken_under_a_later_one(bank: Bank) -> None:
    """Nine stamps and a half are lost and written off: only the half counts later, never stamps of other money."""
    shop = bank.priced(fee_idr=0, qris_fee_bps=0)
    cases, order = shop.purchase.cases, await paid_order(shop, 12)
    first = await told(shop, order, 95_000)
    assert 9 == await most_of(cases, first.id)
    await closed(cases, first.id)
    second = await told(shop, order, 96_000)
    assert 0 == await most_of(cases, second.id)
    await closed(cases, second.id)
    third = await told(shop, order, 100_000)
    assert 1 == await most_of(cases, third.id)
    await take_all(cases, third.id)
    last = await told(shop, order, 101_000)
    assert 0 == await most_of(cases, last.id)
    assert 11 == await shop.purchase.available(order.account_id)


@pytest.mark.parametrize(("gone", "loss_idr", "expected"), [(0, 4_000, 4_000), (1, 12_000, 2_000), (2, 29_000, 9_999)])
def test_what_is_carried_on_is_less_than_a_stamp(gone: int, loss_idr: int, expected: int) -> None:
    """Also where all that is left is not worth the loss; and nothing where no stamp is left."""
    paid = PaidStamps(Source("midtrans"), Decimal(30_000), "IDR").with_more(3, Price(30_000, 0))
    assert expected == paid.without(gone, Price(10_000 * gone, 0)).too_little_of(loss_idr)
    assert 0 == paid.without(3, Price(30_000, 0)).too_little_of(loss_idr)


async def test_what_was_too_little_for_a_stamp_counts_with_the_next_part(bank: Bank) -> None:
    """A stamp and a half are gone, then half a stamp: two are taken back, and none is taken that is still paid for."""
    shop = bank.priced(fee_idr=2_500, qris_fee_bps=0)
    order = await paid_order(shop, 3)
    source = Source(order.provider, order.provider_reference)
    for told_idr, expected in ((18_750, 2), (25_000, 1)):
        seen = Seen(ChargeState.REVERSED, Decimal(37_500), "IDR", Decimal(told_idr))
        await shop.purchase.apply_seen(order.id, seen, source)
        await decide_open(shop, order)
        assert expected == await shop.purchase.available(order.account_id)
    assert {"seen": 12_500, "duty": 10_000, "fee": 2_500} == await books(shop.db)
