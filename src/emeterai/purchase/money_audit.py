"""The audit of the money's way: what orders, returns and cases say of themselves against what the ledger says of them.

The ledger's own audit cannot do this, because the ledger does not know them. SQL over what was written, as of one
moment; it shares no code with the verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from emeterai.core.ledger import Counter
from emeterai.infra.database import READS_ALL, Connection, Database
from emeterai.ledger.check import Rule

_EXAMPLES_MAX = 5
_SUBJECTS_A_QUERY = 10_000


async def check_all_money(db: Database) -> list[Rule]:
    """Every rule on every order, return and case. Takes no lock."""
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(READS_ALL)
        return [await _rule(connection, name, query.format(**_OF_ALL)) for name, query in RULES.items()]


async def check_money(tx: Connection, ids: Sequence[UUID]) -> list[Rule]:
    """The rules `OF_NEW_MONEY` on the orders, returns and cases that new money names, in the snapshot of `tx`.

    Each reads by key, so it costs what is new, whatever is there.
    """
    rules = []
    for name in OF_NEW_MONEY:
        broken, examples = 0, list[str]()
        for start in range(0, len(ids), _SUBJECTS_A_QUERY):
            found = await _rule(tx, name, RULES[name].format(**_OF_THESE), ids[start : start + _SUBJECTS_A_QUERY])
            broken, examples = broken + found.broken, [*examples, *found.examples]
        rules.append(Rule(name, broken, examples[:_EXAMPLES_MAX]))
    return rules


async def _rule(connection: Connection, name: str, query: str, *arguments: Any) -> Rule:
    rows = await connection.fetch(
        f"WITH broken AS ({query}) SELECT count(*) OVER () AS broken, place::text FROM broken LIMIT {_EXAMPLES_MAX}",
        *arguments,
        timeout=600,
    )
    return Rule(name, rows[0]["broken"] if rows else 0, [row["place"] for row in rows])


_OF_ALL = {"ids": "true", "subjects": "true"}
_OF_THESE = {"ids": "id = ANY($1::uuid[])", "subjects": "subject = ANY($1::uuid[])"}
# What each subject is owed, and what of it the payer has.
_MONEY = f"""
    SELECT subject,
        coalesce(sum(amount) FILTER (WHERE credit = '{Counter.ORDER_LIABILITY}'), 0)
            - coalesce(sum(amount) FILTER (WHERE debit = '{Counter.ORDER_LIABILITY}'), 0) AS owed,
        coalesce(sum(amount) FILTER (WHERE credit = '{Counter.MONEY_RETURNED}'), 0) AS returned,
        coalesce(sum(amount) FILTER (WHERE debit = '{Counter.TAKEN_BACK}' AND reason = 'taken_back'), 0) AS lost
    FROM ledger.transfers WHERE kind = 'money' AND {{subjects}} GROUP BY subject
"""
RULES = {
    "a return owes its money until its payer has it or it is quota": f"""
        SELECT back.id AS place FROM purchase.returns AS back LEFT JOIN ({_MONEY}) AS money ON money.subject = back.id
        WHERE {{ids}} AND (coalesce(money.owed, 0), coalesce(money.returned, 0)) IS DISTINCT FROM (
            CASE WHEN state IN ('undecided', 'owed', 'asked', 'needs_care') THEN coalesce(amount_idr, 0) ELSE 0 END,
            CASE WHEN state = 'returned' THEN coalesce(amount_idr, 0) ELSE 0 END)
    """,
    "nothing but open returns is owed": f"""
        SELECT subject AS place FROM ({_MONEY}) AS money
        WHERE owed <> 0 AND NOT EXISTS (SELECT FROM purchase.returns WHERE returns.id = money.subject)
    """,
    "an order is quota exactly when it is paid": """
        SELECT orders.id AS place FROM (SELECT * FROM purchase.orders WHERE {ids}) AS orders
        LEFT JOIN ledger.transfers AS credit ON credit.id = orders.credit_transfer AND credit.kind = 'credit'
        WHERE (state = 'paid') <> (credit.id IS NOT NULL)
            OR (credit.amount, credit.credit) IS DISTINCT FROM
               (CASE WHEN state = 'paid' THEN quantity END, CASE WHEN state = 'paid' THEN account_id END)
    """,
    "stamps left a quota for money exactly as returns and cases say": """
        SELECT coalesce(said.id, refund.subject) AS place FROM (
            SELECT id, quantity FROM purchase.returns WHERE cause = 'quota_returned'
            UNION ALL SELECT id, quantity FROM purchase.cases WHERE quantity IS NOT NULL
        ) AS said FULL JOIN (
            SELECT subject, sum(amount) AS amount FROM ledger.transfers
            WHERE kind = 'refund' AND reason IN ('returned', 'taken_back') GROUP BY subject
        ) AS refund ON refund.subject = said.id
        WHERE said.quantity IS DISTINCT FROM refund.amount
    """,
    "money that a provider took back is lost exactly as the cases say": f"""
        SELECT coalesce(said.id, money.subject) AS place
        FROM (SELECT id, amount_idr FROM purchase.cases WHERE kind = 'taken_back' AND {{ids}}) AS said
        FULL JOIN (SELECT subject, lost FROM ({_MONEY}) AS every WHERE lost > 0) AS money ON money.subject = said.id
        WHERE said.amount_idr IS DISTINCT FROM money.lost
    """,
    "whoever decided about money did not propose it": """
        SELECT id AS place FROM purchase.proposals WHERE decided_by = proposed_by
    """,
}
"""Each rule in words, and the places that break it: among `{ids}` of what says so, and `{subjects}` of transfers."""
_OWES, _OWED, _QUOTA, _, _LOST, _ = RULES
OF_NEW_MONEY = (_OWES, _OWED, _QUOTA, _LOST)
"""What new transfers of money can break. No index finds stamps that left a quota by their subject."""
