"""Vouchers count towards the units of a day with what is ordered: one that does not fit stays whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import msgspec
import pytest
from shops import Shop

from emeterai.accounts.groups import Groups
from emeterai.accounts.model import Caller
from emeterai.core.refusal import Refused
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.purchase.limits import IsPartner, no_partner
from emeterai.purchase.service import Purchase
from emeterai.purchase.units_received import UnitsReceived
from emeterai.purchase.voucher_model import Batch, Stock
from emeterai.purchase.vouchers import Vouchers
from market import person, until_waiting
from voucher_desk import SECRET, Desk, person_of, refusal, write

A_DAY = 10
OTHERS: dict[str, int] = {"person_units_a_day_max": A_DAY, "organisation_units_a_day_max": 20}


@pytest.fixture
async def desk(db: Database, shop: Shop) -> AsyncIterator[Desk]:
    """A desk of a service in which a person may get ten stamps a day. Its audits end the test."""
    desk = await Desk.open(db)
    desk.vouchers = with_limits(desk, shop)
    yield desk
    await desk.assert_sound()


def with_limits(desk: Desk, shop: Shop, *, is_partner: IsPartner = no_partner) -> Vouchers:
    """The service in a web process, as it is wired."""

    async def stocks_of(caller: Caller, _: object) -> Sequence[Stock]:
        is_seller = caller.account_id == desk.seller.account_id
        return [Stock(desk.stock, "Loket Pos Bandung", sells=True)] if is_seller else []

    limits = UnitsReceived(msgspec.structs.replace(shop.settings, **OTHERS), is_partner=is_partner)
    return Vouchers(desk.db, Ledger(desk.db), secret=SECRET, stocks_of=stocks_of, check=limits.check_voucher)


def purchase_of(shop: Shop) -> Purchase:
    """Ordering in the same service."""
    settings = msgspec.structs.replace(shop.settings, **OTHERS)
    return Purchase(shop.db, shop.ledger, settings, providers=[shop.provider])


async def let_a_day_pass(db: Database) -> None:
    """Let everything that moved so far be older than a day."""
    await write(db, "ALTER TABLE ledger.transfers DISABLE TRIGGER transfers_immutable")
    await write(db, "UPDATE ledger.transfers SET posted_at = posted_at - interval '25 hours'")
    await write(db, "ALTER TABLE ledger.transfers ENABLE TRIGGER transfers_immutable")


async def left_in(desk: Desk, batch: Batch) -> int:
    """How many vouchers of a batch can be redeemed."""
    return (await desk.vouchers.batch(desk.seller, batch.id)).counts.active


async def test_a_voucher_beyond_the_day_s_units_stays_whole(desk: Desk) -> None:
    """Refused with when it fits; nobody's units have moved; anybody else redeems it, and its holder a day later."""
    batch, holder = await desk.batch(vouchers=4, units=5), new_id()
    codes = desk.codes[batch.id]
    for code in codes[:2]:
        await desk.redeem(holder, code)
    with pytest.raises(Refused, match="voucher_limit_reached") as refused:
        await desk.redeem(holder, codes[2])
    assert (A_DAY, A_DAY) == (refused.value.facts["units_max"], refused.value.facts["units_had"])
    assert 86_390 < int(refused.value.facts["retry_after_s"]) <= 86_400
    assert str(refused.value.facts["again_at"]) in refused.value.id
    assert (10, 10, 2) == (await desk.available(holder), await desk.available(batch.id), await left_in(desk, batch))
    await desk.redeem(new_id(), codes[2])
    await let_a_day_pass(desk.db)
    await desk.redeem(holder, codes[3])
    assert 15 == await desk.available(holder)


async def test_what_was_redeemed_is_answered_again_at_the_limit(desk: Desk) -> None:
    """The same key gives the same answer: it was given before."""
    batch, holder = await desk.batch(vouchers=2, units=10), new_id()
    first, second = desk.codes[batch.id]
    redemption = await desk.redeem(holder, first, key="satu")
    assert "voucher_limit_reached" == await refusal(desk.redeem(holder, second, key="dua"))
    assert redemption == await desk.redeem(holder, first, key="satu")


async def test_orders_and_vouchers_are_counted_together(desk: Desk, shop: Shop) -> None:
    """Whichever came first; an order that was given up takes no units."""
    batch, purchase = await desk.batch(vouchers=3, units=4), purchase_of(shop)
    first, second, third = desk.codes[batch.id]
    holder = new_id()
    order = await purchase.place_order(holder, 6)
    await desk.redeem(holder, first)
    assert "voucher_limit_reached" == await refusal(desk.redeem(holder, second))
    with pytest.raises(Refused, match="units_a_day_reached") as refused:
        await purchase.place_order(holder, 1)
    assert (A_DAY, A_DAY) == (refused.value.facts["units_max"], refused.value.facts["units_ordered"])
    await purchase.cancel(holder, order.id)
    await desk.redeem(holder, second)
    await purchase.place_order(holder, 2)
    assert "voucher_limit_reached" == await refusal(desk.redeem(holder, third))


async def test_any_voucher_fits_a_day_on_which_nothing_else_came(desk: Desk) -> None:
    """Somebody paid for it: one that is larger than the limit is not lost, but it is all of the day."""
    batch, holder = await desk.batch(vouchers=2, units=25), new_id()
    first, second = desk.codes[batch.id]
    await desk.redeem(holder, first)
    assert "voucher_limit_reached" == await refusal(desk.redeem(holder, second))
    assert 25 == await desk.available(holder)


async def test_whom_the_issuer_knows_may_redeem_more(desk: Desk, shop: Shop) -> None:
    """A partner's own account has the limit of organisations."""
    seller = new_id()

    async def is_partner(_: Connection, account_id: UUID) -> bool:
        return account_id == seller

    desk.vouchers = with_limits(desk, shop, is_partner=is_partner)
    batch = await desk.batch(vouchers=5, units=5)
    for code in desk.codes[batch.id][:4]:
        await desk.redeem(seller, code)
    assert "voucher_limit_reached" == await refusal(desk.redeem(seller, desk.codes[batch.id][4]))


async def test_a_group_that_nobody_approved_counts_with_its_founder(desk: Desk) -> None:
    """Founding one makes no second person; both at one moment are one after the other."""
    founder = await person(desk.db)
    group = await Groups(desk.db, desk.ledger).found(person_of(founder), name="PT Maju Bersama")
    batch = await desk.batch(vouchers=4, units=5)
    redeeming = (
        desk.redeem(account, code) for account, code in zip([founder, group.id] * 2, desk.codes[batch.id], strict=True)
    )
    answers = await asyncio.gather(*redeeming, return_exceptions=True)
    assert ["voucher_limit_reached"] * 2 == [answer.code for answer in answers if isinstance(answer, Refused)]
    assert A_DAY == await desk.available(founder) + await desk.available(group.id)


async def test_what_a_group_redeems_waits_for_what_its_founder_gets(desk: Desk) -> None:
    """Both lock the founder's balance, so that neither is decided without the other."""
    founder = await person(desk.db)
    group = await Groups(desk.db, desk.ledger).found(person_of(founder), name="PT Maju Bersama")
    batch = await desk.batch(vouchers=1, units=5)
    async with desk.db.transaction() as tx:
        await desk.ledger.open_book(tx, [founder], opening=True)
        redeeming = asyncio.create_task(desk.redeem(group.id, desk.codes[batch.id][0]))
        await until_waiting(desk.db, 1)
    assert 5 == (await redeeming).units
