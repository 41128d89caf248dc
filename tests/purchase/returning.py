"""What the tests of the money's way back are made of: time that passes when told, and the books."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from counters import Till

from emeterai.core.ledger import Counter
from emeterai.infra.database import Database
from emeterai.ledger.check import check_ledger
from emeterai.purchase.jobs import sweep_returns
from emeterai.purchase.model import Order
from emeterai.purchase.money_audit import check_all_money
from emeterai.purchase.returns_model import Case, Return
from emeterai.purchase.service import Purchase


async def on_counter(db: Database, counter: UUID) -> int:
    """What is on one counter-account in rupiah: credits less debits."""
    return int(
        await db.fetchval(
            """
            SELECT coalesce(sum(CASE WHEN credit = $1 THEN amount ELSE -amount END), 0)
            FROM ledger.transfers WHERE kind = 'money' AND (credit = $1 OR debit = $1)
            """,
            counter,
        )
    )


async def books(db: Database) -> dict[str, int]:
    """The counters in rupiah, without those that are empty."""
    names = {
        "seen": Counter.PROVIDER_RECEIVABLE,
        "owed": Counter.ORDER_LIABILITY,
        "duty": Counter.TREASURY_DUTY,
        "fee": Counter.SERVICE_FEE,
        "returned": Counter.MONEY_RETURNED,
        "taken": Counter.TAKEN_BACK,
    }
    found = {name: await on_counter(db, counter) for name, counter in names.items()}
    found["seen"], found["taken"] = -found["seen"], -found["taken"]
    return {name: amount for name, amount in found.items() if amount}


async def audit(db: Database) -> None:
    """The books hold true, and say of orders, returns and cases what these say of themselves."""
    rules = [*(await check_ledger(db)).rules, *await check_all_money(db)]
    assert [] == [rule for rule in rules if rule.broken]


async def returns_of(purchase: Purchase, order: Order) -> list[Return]:
    """The returns of an order's money, oldest first."""
    return await purchase.returns.of_orders([order.id])


async def states_of(purchase: Purchase, order: Order) -> list[tuple[str, str]]:
    """Cause and state of each return."""
    return [(back.cause.value, back.state.value) for back in await returns_of(purchase, order)]


async def cases_of(purchase: Purchase, order: Order) -> list[Case]:
    """The cases of an order."""
    return await purchase.cases.of_orders([order.id])


async def write(db: Database, statement: str, *values: Any) -> None:
    """Change what only time changes."""
    async with db.transaction() as tx:
        await tx.execute(statement, *values)


async def work_returns(purchase: Purchase, db: Database) -> None:
    """Every try is due, and the steward comes by."""
    await write(db, "UPDATE purchase.returns SET next_try_at = now() WHERE next_try_at IS NOT NULL")
    await sweep_returns(purchase)


async def let_clock_decide(purchase: Purchase, db: Database) -> None:
    """The time for a decision is over, and the steward comes by."""
    await write(db, "UPDATE purchase.returns SET due_at = now() WHERE due_at IS NOT NULL")
    await sweep_returns(purchase)


async def paid_order(shop: Till[Any], quantity: int = 2, **wishes: Any) -> Order:
    """An order that was paid at the twin and is quota."""
    order = await shop.order(quantity, **wishes)
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    return await shop.purchase.order(order.account_id, order.id)
