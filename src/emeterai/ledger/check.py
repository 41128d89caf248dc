"""The audit: recompute every balance from the transfers by other code, and test promises 1 and 2 on the whole ledger.

Nothing here shares code with posting: it is SQL over what was written, in one REPEATABLE READ snapshot.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from emeterai.core.ledger import Counter
from emeterai.core.serial import is_serial
from emeterai.infra.database import READS_ALL, Connection, Database

_EXAMPLES_MAX = 5
_SERIALS_A_FETCH = 5_000


class Rule(msgspec.Struct, frozen=True):
    """One rule of the audit: how many places break it, and the first few of them."""

    name: str
    broken: int
    examples: list[str]


class CheckReport(msgspec.Struct, frozen=True):
    """The outcome of an audit; `holds_true` only when no rule is broken anywhere. Counts are stamps."""

    at: datetime
    bought: int
    available: int
    held: int
    used: int
    refunded: int
    transfers: int
    serials: int
    money_in_idr: int
    rules: list[Rule]

    @property
    def holds_true(self) -> bool:
        """True when every rule holds."""
        return not any(rule.broken for rule in self.rules)


async def check_ledger(db: Database) -> CheckReport:
    """Audit the whole ledger as of one moment. Reads only; takes no lock."""
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(READS_ALL)
        rules = [await _rule(connection, name, query) for name, query in _RULES.items()]
        rules.append(await _serials_well_formed(connection))
        row = await connection.fetchrow(_TOTALS, Counter.ISSUED, Counter.PROVIDER_RECEIVABLE)
    assert row is not None
    return CheckReport(**row, rules=rules)


async def _rule(connection: Connection, name: str, query: str) -> Rule:
    rows = await connection.fetch(
        f"WITH broken AS ({query}) SELECT count(*) OVER () AS broken, place::text FROM broken LIMIT {_EXAMPLES_MAX}",
        timeout=600,
    )
    return Rule(name, rows[0]["broken"] if rows else 0, [row["place"] for row in rows])


async def _serials_well_formed(connection: Connection) -> Rule:
    cursor = connection.cursor("SELECT serial FROM ledger.serials", prefetch=_SERIALS_A_FETCH)
    broken = [row["serial"] async for row in cursor if not is_serial(row["serial"])]
    return Rule("every serial carries its right check character", len(broken), broken[:_EXAMPLES_MAX])


_TOTALS = """
    SELECT now() AS at,
        (SELECT coalesce(sum(amount), 0)::bigint FROM ledger.transfers WHERE debit = $1) AS bought,
        (SELECT coalesce(sum(bought - held - used - refunded), 0)::bigint FROM ledger.balances) AS available,
        (SELECT coalesce(sum(amount), 0)::bigint FROM ledger.holds) AS held,
        (SELECT coalesce(sum(amount), 0)::bigint FROM ledger.transfers WHERE kind = 'settle') AS used,
        (SELECT coalesce(sum(amount), 0)::bigint FROM ledger.transfers WHERE kind = 'refund') AS refunded,
        (SELECT count(*) FROM ledger.transfers) AS transfers,
        (SELECT count(*) FROM ledger.serials) AS serials,
        (SELECT coalesce(sum(amount), 0)::bigint FROM ledger.transfers WHERE kind = 'money' AND debit = $2)
            AS money_in_idr
"""

# Recomputed from the transfers alone: what comes in by the credited account, everything else by the debited one.
_RECOMPUTED = """
    SELECT account,
        coalesce(sum(amount) FILTER (WHERE kind IN ('credit', 'receive')), 0)
            - coalesce(sum(amount) FILTER (WHERE kind = 'give'), 0) AS bought,
        coalesce(sum(amount) FILTER (WHERE kind = 'hold'), 0)
            - coalesce(sum(amount) FILTER (WHERE kind IN ('settle', 'release')), 0) AS held,
        coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0) AS used,
        coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS refunded
    FROM (
        SELECT credit AS account, kind, amount FROM ledger.transfers WHERE kind IN ('credit', 'receive')
        UNION ALL
        SELECT debit, kind, amount FROM ledger.transfers WHERE kind IN ('hold', 'settle', 'release', 'refund', 'give')
    ) AS moved GROUP BY account
"""

_RULES = {
    "every balance equals the sum of its transfers": f"""
        SELECT coalesce(balance.account, summed.account) AS place
        FROM ledger.balances AS balance FULL JOIN ({_RECOMPUTED}) AS summed ON summed.account = balance.account
        WHERE (coalesce(balance.bought, 0), coalesce(balance.held, 0), coalesce(balance.used, 0),
               coalesce(balance.refunded, 0))
            IS DISTINCT FROM (coalesce(summed.bought, 0), coalesce(summed.held, 0), coalesce(summed.used, 0),
                              coalesce(summed.refunded, 0))
    """,
    "bought = available + held + used + refunded, and nothing is below zero": f"""
        SELECT account AS place FROM ({_RECOMPUTED}) AS summed
        WHERE bought - held - used - refunded < 0 OR held < 0 OR used < 0 OR refunded < 0
    """,
    "a settle or release repeats the account and the amount of its hold": """
        SELECT ending.id AS place FROM ledger.transfers AS ending
        LEFT JOIN ledger.transfers AS hold ON hold.id = ending.hold_id AND hold.kind = 'hold'
        WHERE ending.hold_id IS NOT NULL
            AND (hold.debit, hold.amount) IS DISTINCT FROM (ending.debit, ending.amount)
    """,
    "a hold ends at most once": """
        SELECT hold_id AS place FROM ledger.transfers WHERE hold_id IS NOT NULL GROUP BY hold_id HAVING count(*) > 1
    """,
    "the open holds are exactly the holds without an ending": """
        SELECT coalesce(open.id, hold.id) AS place
        FROM ledger.holds AS open
        FULL JOIN (
            SELECT id, debit, amount FROM ledger.transfers AS held WHERE kind = 'hold'
                AND NOT EXISTS (SELECT FROM ledger.transfers AS ending WHERE ending.hold_id = held.id)
        ) AS hold ON hold.id = open.id
        WHERE (open.account, open.amount) IS DISTINCT FROM (hold.debit, hold.amount)
    """,
    "a serial is affixed, void or taken as its hold is settled, released or open": """
        SELECT serial AS place FROM ledger.serials
        LEFT JOIN ledger.transfers AS hold ON hold.id = serials.hold_id AND hold.kind = 'hold'
        LEFT JOIN ledger.transfers AS ending ON ending.hold_id = serials.hold_id
        WHERE hold.id IS NULL OR state <> CASE ending.kind
            WHEN 'settle' THEN 'affixed' WHEN 'release' THEN 'void' ELSE 'taken' END
    """,
    "a hold has one serial": """
        SELECT hold_id AS place FROM ledger.serials GROUP BY hold_id HAVING count(*) > 1
    """,
    "every hold is for one stamp and has its serial": """
        SELECT hold.id AS place FROM ledger.transfers AS hold
        WHERE hold.kind = 'hold' AND hold.reason = 'stamping'
            AND NOT EXISTS (SELECT FROM ledger.serials WHERE serials.hold_id = hold.id AND hold.amount = 1)
    """,
    "transfers debit and credit the accounts that their kind names": f"""
        SELECT id AS place FROM ledger.transfers
        WHERE CASE kind
            WHEN 'credit' THEN debit <> '{Counter.ISSUED}'
            WHEN 'refund' THEN credit <> '{Counter.REFUNDED}'
            WHEN 'give' THEN credit <> '{Counter.PASSED_ON}'
            WHEN 'receive' THEN debit <> '{Counter.PASSED_ON}'
            WHEN 'money' THEN debit > '{Counter.LAST}' OR credit > '{Counter.LAST}'
            ELSE credit <> '{Counter.USED}' END
    """,
    "what one account gives another receives": """
        SELECT subject AS place FROM ledger.transfers WHERE kind IN ('give', 'receive') GROUP BY subject
        HAVING sum(amount) FILTER (WHERE kind = 'give') IS DISTINCT FROM sum(amount) FILTER (WHERE kind = 'receive')
    """,
    "no order gives out more money than it took in": f"""
        SELECT subject AS place FROM ledger.transfers WHERE kind = 'money' GROUP BY subject
        HAVING coalesce(sum(amount) FILTER (WHERE debit = '{Counter.ORDER_LIABILITY}'), 0)
             > coalesce(sum(amount) FILTER (WHERE credit = '{Counter.ORDER_LIABILITY}'), 0)
    """,
    "quota from a purchase was paid for: its order owes nothing and paid the duty": f"""
        SELECT credit.id AS place FROM ledger.transfers AS credit
        WHERE credit.kind = 'credit' AND credit.reason = 'purchase' AND NOT EXISTS (
            SELECT FROM ledger.transfers AS money WHERE money.kind = 'money' AND money.subject = credit.subject
            HAVING coalesce(sum(amount) FILTER (WHERE money.credit = '{Counter.TREASURY_DUTY}'), 0) > 0
               AND coalesce(sum(amount) FILTER (WHERE money.credit = '{Counter.ORDER_LIABILITY}'), 0)
                 = coalesce(sum(amount) FILTER (WHERE money.debit = '{Counter.ORDER_LIABILITY}'), 0)
        )
    """,
}
