"""The reckoning after a storm: every rupiah in the providers' books is in ours, once, and every stamp was paid for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from storm import Line, PaymentStorm

from emeterai.core.ledger import Counter as Books
from emeterai.core.ledger import Reason
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.infra.database import Database
from emeterai.ledger.check import check_ledger

_Payment = tuple[str, str]
"""A provider and its own id of a transaction."""


@dataclass
class Reckoning:
    """What was found. `faults` is empty when every rupiah is accounted for."""

    faults: list[str] = field(default_factory=list)
    settled_idr: int = 0
    quota_idr: int = 0
    """Of what settled: what is quota, by its order or by a decision."""
    returned_idr: int = 0
    settled: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    returns: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    providers: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    lags_s: list[tuple[float, float]] = field(default_factory=list)
    """For each order that its money made quota at once: when it settled at the provider, and how long quota took."""


async def reckon(storm: PaymentStorm, *, patience_s: float) -> Reckoning:
    """Wait until nothing is under way, let all late post arrive, wait again, then compare all books with each other."""
    found = Reckoning()
    for after in ("the storm", "all late post"):
        if ends := await storm.until_quiet(patience_s):
            found.faults.append(f"after {after} there is still: {ends}")
            break
        await storm.flush()
    db, books = storm.shops.db, await storm.books()
    orders = await db.fetch(_ORDERS)
    returns = await db.fetch("SELECT * FROM purchase.returns")
    found.orders = Counter(row["state"] for row in orders)
    found.returns = Counter(f"{row['cause']}: {row['state']}" for row in returns)
    found.outcomes = Counter(
        {row["outcome"]: row["count"] for row in await db.fetch(_OUTCOMES) if row["outcome"] is not None}
    )
    found.checks = sum(row["checks"] for row in orders)
    found.faults += faults_of_books(books, orders, returns, found)
    found.faults += [f"no such order in the database: {name}" for name in _missing(storm, orders)]
    found.faults += await _faults_of_ledger(db, found)
    return found


def faults_of_books(
    books: Mapping[str, Sequence[Line]], orders: Sequence[Any], returns: Sequence[Any], found: Reckoning
) -> list[str]:
    """Each charge with money against the orders and returns that name it, both ways; adds to the sums of `found`."""
    paid = {_paid_by(row): row for row in orders if row["state"] == "paid"}
    backs: dict[_Payment, list[Any]] = defaultdict(list)
    for row in returns:
        backs[row["provider"], row["reference"] or ""].append(row)
    faults: list[str] = []
    for name, lines in books.items():
        found.providers[name] += len(lines)
        for line in lines:
            payment = (name, line.reference)
            faults += _faults_of_line(payment, line, paid.pop(payment, None), backs.pop(payment, []), found)
    faults += [f"quota that no provider has the money of: order {row['id']} by {key}" for key, row in paid.items()]
    faults += [f"a return of money that no provider has: {dict(row)}" for rows in backs.values() for row in rows]
    return faults


def _faults_of_line(payment: _Payment, line: Line, order: Any, backs: list[Any], found: Reckoning) -> list[str]:
    """One charge with money: what came is quota, or on its way back, to the rupiah; what went back was asked for."""
    seen = [row for row in backs if row["cause"] != ReturnCause.QUOTA_RETURNED]
    ours_idr = (order["total_idr"] if order is not None else 0) + sum(row["amount_idr"] for row in seen)
    by_provider = [row for row in backs if row["state"] == ReturnState.RETURNED and row["proof"] is None]
    back_idr = sum(row["amount_idr"] for row in by_provider)
    found.settled += 1
    found.settled_idr += line.amount
    found.returned_idr += sum(row["amount_idr"] for row in backs if row["state"] == ReturnState.RETURNED)
    found.quota_idr += ours_idr - sum(row["amount_idr"] for row in seen if row["state"] != ReturnState.CREDITED)
    faults = []
    if order is not None:
        found.lags_s.append((line.at, order["paid_at"].timestamp() - line.at))
        if str(order["id"]) != line.order:
            faults.append(f"{payment} paid for {line.order} and credited {order['id']}")
    if ours_idr != line.amount:
        faults.append(f"{payment} of order {line.order} took Rp{line.amount}, and our books know of Rp{ours_idr}")
    if back_idr != line.back:
        faults.append(f"{payment} of order {line.order} returned Rp{line.back}, and our books say Rp{back_idr}")
    return faults


async def _faults_of_ledger(db: Database, found: Reckoning) -> list[str]:
    """The ledger holds true, credits nothing twice, and its rupiah are those that the providers took and returned."""
    report = await check_ledger(db)
    faults = [f"the audit says no: {rule}" for rule in report.rules if rule.broken]
    faults += [f"credited twice: {dict(row)}" for row in await db.fetch(_CREDITED_TWICE)]
    faults += [f"quota and purchases differ: {dict(row)}" for row in await db.fetch(_QUOTA_DIFFERS)]
    faults += [f"an open case: {dict(row)}" for row in await db.fetch(_OPEN_CASES)]
    money = {row["reason"]: int(row["amount"]) for row in await db.fetch(_MONEY)}
    seen_idr = sum(money.get(reason, 0) for reason in (Reason.PAYMENT_SEEN, Reason.PAID_AGAIN, Reason.PAID_OTHER))
    if (seen_idr, money.get(Reason.MONEY_BACK, 0)) != (found.settled_idr, found.returned_idr):
        faults.append(
            f"the ledger saw Rp{seen_idr} and returned Rp{money.get(Reason.MONEY_BACK, 0)}; "
            f"Rp{found.settled_idr} came and Rp{found.returned_idr} went"
        )
    if money.get(Reason.DUTY, 0) + money.get(Reason.FEE, 0) != found.quota_idr:
        faults.append(f"duty and fee are {money}, and Rp{found.quota_idr} became quota")
    owed_idr = await db.fetchval(_OWED, Books.ORDER_LIABILITY)
    if owed_idr:
        faults.append(f"Rp{owed_idr} are owed to somebody still")
    return faults


def _missing(storm: PaymentStorm, orders: Sequence[Any]) -> set[str]:
    return set(storm.bought) - {str(row["id"]) for row in orders}


def _paid_by(row: Any) -> _Payment:
    return row["paid_provider"], row["paid_reference"]


_ORDERS = "SELECT id, state, total_idr, paid_provider, paid_reference, paid_at, checks FROM purchase.orders"
_OUTCOMES = "SELECT outcome, count(*) AS count FROM purchase.notifications GROUP BY outcome"
_OPEN_CASES = "SELECT kind, order_id, provider, amount_idr FROM purchase.cases WHERE closed_at IS NULL LIMIT 20"
_CREDITED_TWICE = """
    SELECT subject, count(*) AS credits FROM ledger.transfers WHERE kind = 'credit' GROUP BY subject HAVING count(*) > 1
"""
_QUOTA_DIFFERS = """
    WITH bought AS (
        SELECT account_id, sum(quantity) AS quantity FROM (
            SELECT account_id, quantity FROM purchase.orders WHERE state = 'paid'
            UNION ALL SELECT account_id, quantity FROM purchase.returns WHERE state = 'credited'
        ) AS every GROUP BY account_id
    )
    SELECT account, bought.quantity, balances.bought FROM ledger.balances FULL JOIN bought ON account = account_id
    WHERE coalesce(balances.bought, 0) <> coalesce(bought.quantity, 0) LIMIT 20
"""
_MONEY = "SELECT reason, sum(amount) AS amount FROM ledger.transfers WHERE kind = 'money' GROUP BY reason"
_OWED = """
    SELECT coalesce(sum(CASE WHEN credit = $1 THEN amount ELSE -amount END), 0)::bigint
    FROM ledger.transfers WHERE kind = 'money' AND $1 IN (debit, credit)
"""
