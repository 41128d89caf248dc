"""Two who sell the last unit, or approve the same deposit. Each race is first shown with its guard removed.

The guard is the lock on the stock's balance row. Behind it stand the table's constraint, the ids that were made with
the deposit, and the trigger that keeps a decision. Who has no row yet has no lock either: then the making of the row is
the guard, so here everybody has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from emeterai.core.ledger import Balance
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger import store as ledger_store
from emeterai.ledger.service import Ledger
from emeterai.partners import decision_store, sale_store
from emeterai.partners.deposits import Deposits
from emeterai.partners.model import Deposit, Sale, SaleWanted
from emeterai.partners.sales import Sales
from market import Market

Widen = Callable[[Any, str], None]


@pytest.fixture
async def market(db: Database) -> Market:
    """A market on this test's database."""
    return await Market.open(db)


async def sell_at_once(market: Market, stock: int, widen: Widen) -> tuple[list[Any], Balance]:
    """Two tills, each a process of its own, sell one unit each of the same stock; and the stock afterwards."""
    partner, (_, address) = await market.partner(stock=stock + 1), await market.buyer()
    await market.sell(partner, address)
    widen(sale_store, "by_keys")
    tills = [Sales(market.db, Ledger(market.db), market.accounts, base_url="") for _ in range(2)]
    outcomes = await asyncio.gather(
        *(till.sell(partner.id, SaleWanted(1, address, "", new_id().hex)) for till in tills), return_exceptions=True
    )
    return list(outcomes), await market.ledger.balance(partner.id)


async def approve_at_once(market: Market, widen: Widen) -> tuple[list[Any], Balance]:
    """Two of the treasury's staff approve the same deposit of seven; and the stock afterwards."""
    partner = await market.partner(stock=1)
    deposit = await market.proposed(partner, quantity=7)
    third = (await market.buyer())[0]
    widen(ledger_store, "read_earlier")
    desks = [Deposits(market.db, Ledger(market.db), market.partners, duty_idr=10_000) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(desk.approve(deposit.id, by=by) for desk, by in zip(desks, (market.second, third), strict=True)),
        return_exceptions=True,
    )
    return list(outcomes), await market.ledger.balance(partner.id)


@pytest.mark.usefixtures("no_lock", "no_guard")
async def test_without_lock_and_guard_the_last_unit_is_sold_twice(market: Market, widen: Widen) -> None:
    """Both read one unit and both sell it: the stock is below nothing, and the audit sees it."""
    await market.db.fetch("ALTER TABLE ledger.balances DROP CONSTRAINT balances_bought_check")
    outcomes, stock = await sell_at_once(market, 1, widen)
    assert ([Sale, Sale], -1) == ([type(it) for it in outcomes], stock.available)
    assert any(rule.startswith("bought = available") for rule in await market.broken())


async def test_without_the_lock_the_last_unit_is_sold_once(market: Market, widen: Widen, no_lock: None) -> None:
    """The balance does not cover the second: it crashes instead of being answered."""
    outcomes, stock = await sell_at_once(market, 1, widen)
    assert {Sale, asyncpg.CheckViolationError} == {type(it) for it in outcomes}
    assert 0 == stock.available
    assert [] == await market.broken()


async def test_of_two_who_sell_the_last_unit_one_does(market: Market, widen: Widen) -> None:
    """With the lock, the other hears that it is sold out."""
    outcomes, stock = await sell_at_once(market, 1, widen)
    [refused] = [it for it in outcomes if isinstance(it, Refused)]
    assert ("sold_out", 1, 0) == (refused.code, sum(isinstance(it, Sale) for it in outcomes), stock.available)
    assert [] == await market.broken()


async def test_without_lock_ids_and_trigger_a_deposit_is_credited_twice(
    market: Market, widen: Widen, no_lock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the ids of its transfers made when it is approved, two approvals would be two credits."""
    await market.db.fetch("ALTER TABLE partners.deposits DISABLE TRIGGER deposits_decided_once")
    read = decision_store.deposit_by_id

    async def with_fresh_ids(*arguments: Any) -> Deposit | None:
        found = await read(*arguments)
        return found and Deposit(
            **{name: getattr(found, name) for name in found.__struct_fields__}
            | {"money_transfer": new_id(), "stock_transfer": new_id()}
        )

    monkeypatch.setattr(decision_store, "deposit_by_id", with_fresh_ids)
    outcomes, stock = await approve_at_once(market, widen)
    assert ([Deposit, Deposit], 15) == ([type(it) for it in outcomes], stock.available)
    assert any(rule.startswith("an approved deposit") for rule in await market.broken())


async def test_without_the_lock_a_deposit_is_credited_once(market: Market, widen: Widen, no_lock: None) -> None:
    """The ids made with it let one in; the other crashes instead of being answered."""
    outcomes, stock = await approve_at_once(market, widen)
    assert {Deposit, asyncpg.UniqueViolationError} == {type(it) for it in outcomes}
    assert 8 == stock.available
    assert [] == await market.broken()


async def test_of_two_who_approve_a_deposit_one_does(market: Market, widen: Widen) -> None:
    """With the lock, the other hears that it is decided."""
    outcomes, stock = await approve_at_once(market, widen)
    [refused] = [it for it in outcomes if isinstance(it, Refused)]
    assert ("decided_already", 8) == (refused.code, stock.available)
    assert [] == await market.broken()
