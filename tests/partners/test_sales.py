"""Sales: units leave the stock and are the buyer's; another partner's rush or emptiness touches nobody else."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.service import Ledger
from emeterai.partners.model import Pace, Sale, SaleWanted, stock_of
from emeterai.partners.sales import SOLD_OUT, Sales
from market import Market, refusal


async def test_a_sale_is_the_buyers_at_once(market: Market) -> None:
    """By e-mail address in any spelling; the stock has as much less, and the page of sales shows it."""
    partner, (account, address) = await market.partner(stock=10), await market.buyer()
    sale = await market.sell(partner, address.upper(), 3)
    assert (3, 7) == (await market.available(account), await market.available(partner.id))
    assert [sale] == await market.sales.of_partner(partner.id)
    assert [] == await market.broken()


async def test_a_distributor_sells_to_its_own_retailers(market: Market) -> None:
    """Into their stock, from which they sell on; to no other partner, and to nobody unknown."""
    distributor, stranger = await market.partner(stock=10), await market.partner(stock=1)
    retailer = await market.partner(distributor=distributor)
    sale = await market.sell(distributor, str(retailer.id), 4)
    assert (True, 4) == (sale.to_partner, await market.available(retailer.id))
    account, address = await market.buyer()
    await market.sell(retailer, address)
    assert (1, 3) == (await market.available(account), await market.available(retailer.id))
    for to in (str(stranger.id), str(new_id()), "siapa@contoh.id", "0812", "", str(distributor.id)):
        assert "recipient_unknown" == await refusal(market.sell(distributor, to))
    assert "recipient_unknown" == await refusal(market.sell(stranger, str(retailer.id)))
    assert [] == await market.broken()


async def test_the_same_key_is_the_same_sale(market: Market) -> None:
    """One after another and at once; with another buyer or quantity it is refused."""
    partner, (account, address), (_, other) = (
        await market.partner(stock=10),
        await market.buyer(),
        await market.buyer(),
    )
    sales = await asyncio.gather(*(market.sell(partner, address, 2, key="kasir-1") for _ in range(20)))
    assert [sales[0]] * 20 == sales
    assert sales[0] == await market.sell(partner, address, 2, key="kasir-1")
    assert "idempotency_key_reused" == await refusal(market.sell(partner, address, 1, key="kasir-1"))
    assert "idempotency_key_reused" == await refusal(market.sell(partner, other, 2, key="kasir-1"))
    assert (2, 8) == (await market.available(account), await market.available(partner.id))
    assert [] == await market.broken()


async def test_a_key_is_one_partners(market: Market) -> None:
    """Two partners may number their sales alike."""
    one, other, (account, address) = (
        await market.partner(stock=1),
        await market.partner(stock=1),
        await market.buyer(),
    )
    first, second = await asyncio.gather(*(market.sell(it, address, key="1") for it in (one, other)))
    assert first.id != second.id
    assert 2 == await market.available(account)


async def test_sold_out_says_so_plainly_and_where_else_to_buy(market: Market) -> None:
    """It is about this stock only: status 409 and no word of waiting; and the key may be used again afterwards."""
    partner, other, (_, address) = await market.partner(stock=2), await market.partner(stock=9), await market.buyer()
    await market.partner()
    with pytest.raises(Refused) as refused:
        await market.sell(partner, address, 3, key="1")
    facts = refused.value.facts
    assert (SOLD_OUT, 409) == (refused.value.kind, refused.value.kind.status)
    assert {
        "available": 2,
        "quantity": 3,
        "alternatives": f"https://meterai.example/beli, {other.name}",
    } == facts
    sale = await market.sell(partner, address, 2, key="1")
    assert "sold_out" == await refusal(market.sell(partner, address))
    assert sale == await market.sell(partner, address, 2, key="1")
    assert "idempotency_key_reused" == await refusal(market.sell(partner, address, 1, key="1"))
    await market.partners.suspend(partner.id, "uji", by="op")
    assert "partner_suspended" == await refusal(market.sell(partner, address))
    assert 0 == await market.available(partner.id)
    assert [] == await market.broken()


async def test_a_rush_on_an_empty_stock_waits_for_nothing(market: Market) -> None:
    """It is answered while the stock and the buyer are locked, and makes no quota account for anybody."""
    partner, (account, address) = await market.partner(), await market.buyer()
    async with market.db.transaction() as tx:
        await market.ledger.open_book(tx, [partner.id, account], opening=True)
        outcomes = await asyncio.wait_for(
            asyncio.gather(*(market.sell(partner, address) for _ in range(50)), return_exceptions=True), 10
        )
        await tx.execute("DELETE FROM ledger.balances")
    assert {"sold_out"} == {it.code for it in outcomes if isinstance(it, Refused)}
    assert 0 == await market.db.fetchval("SELECT count(*) FROM ledger.balances WHERE account = $1", account)


async def test_the_last_unit_is_sold_once(db: Database, market: Market) -> None:
    """However many processes sell it at once."""
    partner, buyers = await market.partner(stock=3), [await market.buyer() for _ in range(12)]
    tills = [Sales(db, Ledger(db), market.accounts, base_url="https://meterai.example") for _ in range(6)]
    wanted = [SaleWanted(1, address, "", new_id().hex) for _, address in buyers]
    outcomes = await asyncio.gather(
        *(tills[number % 6].sell(partner.id, one) for number, one in enumerate(wanted)), return_exceptions=True
    )
    assert 3 == sum(isinstance(it, Sale) for it in outcomes)
    assert {"sold_out"} == {it.code for it in outcomes if isinstance(it, Refused)}
    assert 0 == await market.available(partner.id)
    assert [] == await market.broken()


async def test_a_suspended_partner_sells_nothing_and_keeps_its_stock(market: Market) -> None:
    """Until it is reinstated; both are on its record, with who did it and why. What was sold before is answered."""
    partner, (_, address) = await market.partner(stock=5), await market.buyer()
    sale = await market.sell(partner, address, key="before")
    for _ in range(2):
        await market.partners.suspend(partner.id, "laporan pembeli", by="op")
    assert "partner_suspended" == await refusal(market.sell(partner, address))
    assert sale == await market.sell(partner, address, key="before")
    assert 4 == await market.available(partner.id)
    assert "reason_needed" == await refusal(market.partners.reinstate(partner.id, " ", by="op"))
    await market.partners.reinstate(partner.id, "selesai", by="op")
    await market.sell(partner, address)
    record = [(it.change, it.reason, it.done_by) for it in await market.partners.changes_of(partner.id)]
    assert [
        ("reinstated", "selesai", "op"),
        ("suspended", "laporan pembeli", "op"),
        ("registered", "", "test"),
    ] == record


async def test_a_partner_whose_stock_is_locked_holds_up_nobody_else(market: Market) -> None:
    """While one partner's stock is held by a stuck transaction and its callers pile up, the other one sells."""
    stuck, free = await market.partner(stock=1000), await market.partner(stock=1000)
    buyers = [await market.buyer() for _ in range(4)]
    async with market.db.transaction() as tx:
        await market.ledger.open_book(tx, [stuck.id])
        rush = [asyncio.ensure_future(market.sell(stuck, buyers[0][1])) for _ in range(300)]
        await asyncio.sleep(0.05)
        sold = await asyncio.wait_for(
            asyncio.gather(*(market.sell(free, address) for _, address in buyers[1:] for _ in range(20))), 10
        )
        assert (60, True) == (len(sold), not any(one.done() for one in rush))
    await asyncio.gather(*rush)
    assert (700, 940) == (await market.available(stuck.id), await market.available(free.id))
    assert [] == await market.broken()


async def test_an_empty_partner_that_is_hammered_touches_nobody_else(market: Market) -> None:
    """Hundreds hear `sold_out` from one; every sale of the other goes through."""
    empty, full, (account, address) = await market.partner(), await market.partner(stock=200), await market.buyer()
    outcomes = await asyncio.gather(
        *(market.sell(empty, address) for _ in range(600)),
        *(market.sell(full, address) for _ in range(200)),
        return_exceptions=True,
    )
    assert ["sold_out"] * 600 == [it.code for it in outcomes[:600] if isinstance(it, Refused)]
    assert all(isinstance(it, Sale) for it in outcomes[600:])
    assert 200 == await market.available(account)
    assert [] == await market.broken()


async def test_what_was_sold_in_the_last_minutes_tells_how_long_the_stock_lasts(market: Market) -> None:
    """Measured from the sales themselves, by the database's clock."""
    partner, (_, address) = await market.partner(stock=1000), await market.buyer()
    assert None is (await market.partners.stock(partner)).empty_in_s
    await asyncio.gather(*(market.sell(partner, address, 5) for _ in range(20)))
    stock = await market.partners.stock(partner)
    assert (900, 100, 100) == (stock.available, stock.sold_today, stock.sold_last_hour)
    assert 2700 == stock.empty_in_s
    assert stock.is_low


@given(
    available=st.integers(0, 10**9),
    last_hour=st.integers(0, 10**9),
    last_5_minutes=st.integers(0, 10**9),
    warn_below=st.integers(0, 10**9),
)
def test_a_stock_is_low_below_its_limit_or_when_it_ends_soon(
    available: int, last_hour: int, last_5_minutes: int, warn_below: int
) -> None:
    """Whatever the numbers are; an empty one is empty."""
    stock = stock_of(available, Pace(0, last_hour, last_5_minutes), warn_below=warn_below)
    assert (available == 0) == stock.is_empty
    assert stock.is_low or available >= warn_below
    assert (stock.empty_in_s is None) == (last_hour == last_5_minutes == 0)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30), stock=st.integers(1, 60))
async def test_whatever_is_sold_at_once_adds_up(market: Market, sizes: list[int], stock: int) -> None:
    """Every sale is whole, none goes beyond the stock, and the books hold."""
    partner, (account, address) = await market.partner(stock=stock), await market.buyer()
    outcomes = await asyncio.gather(*(market.sell(partner, address, size) for size in sizes), return_exceptions=True)
    sold = sum(it.quantity for it in outcomes if isinstance(it, Sale))
    assert (sold, stock - sold) == (await market.available(account), await market.available(partner.id))
    refused = [it.facts["quantity"] for it in outcomes if isinstance(it, Refused)]
    assert len(refused) + sum(isinstance(it, Sale) for it in outcomes) == len(sizes)
    assert [] == await market.broken()


async def test_the_buyers_of_a_stock_are_known_to_the_register(market: Market) -> None:
    """Whoever bought from a partner draws from its blocks, everybody else from the retail channel's."""
    partner, (account, address) = await market.partner(stock=5), await market.buyer()
    await market.sell(partner, address)
    own, retail = await SerialChannels(market.db).draw_for([account, new_id()])
    prefixes = {block.prefix for block in await market.partners.serial_blocks(partner.id)}
    assert isinstance(own, str)
    assert isinstance(retail, str)
    assert own[:5] in prefixes
    assert retail[:5] not in prefixes
