"""The audit of the money's way: what orders, returns and cases say of themselves against what the ledger says of them.

The ledger's own audit cannot do this, because the ledger does not know them. SQL over what was written, as of one
moment; it shares no code with the verbs.
"""

from __future__ import annotations

from emeterai.core.ledger import Counter
from emeterai.infra.database import READS_ALL, Database
from emeterai.ledger.check import Rule

_EXAMPLES_MAX = 5


async def check_all_money(db: Database) -> list[Rule]:
    """Every rule on every order, return and case. Takes no lock."""
    rules = []
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(READS_ALL)
        for name, query in RULES.items():
            counted = f"SELECT count(*) OVER () AS broken, place::text FROM broken LIMIT {_EXAMPLES_MAX}"
            rows = await connection.fetch(f"WITH broken AS ({query}) {counted}", timeout=600)
            rules.append(Rule(name, rows[0]["broken"] if rows else 0, [row["place"] for row in rows]))
    return rules


# What each subject is owed, and what of it the payer has.
_MONEY = f"""
    SELECT subject,
        coalesce(sum(amount) FILTER (WHERE credit = '{Counter.ORDER_LIABILITY}'), 0)
            - coalesce(sum(amount) FILTER (WHERE debit = '{Counter.ORDER_LIABILITY}'), 0) AS owed,
        coalesce(sum(amount) FILTER (WHERE credit = '{Counter.MONEY_RETURNED}'), 0) AS returned,
        coalesce(sum(amount) FILTER (WHERE debit = '{Counter.TAKEN_BACK}' AND reason = 'taken_back'), 0) AS lost
    FROM ledger.transfers WHERE kind = 'money' GROUP BY subject
"""
RULES = {
    "a return owes its money until its payer has it or it is quota": f"""
        SELECT back.id AS place FROM purchase.returns AS back LEFT JOIN ({_MONEY}) AS money ON money.subject = back.id
        WHERE (coalesce(money.owed, 0), coalesce(money.returned, 0)) IS DISTINCT FROM (
            CASE WHEN state IN ('undecided', 'owed', 'asked', 'needs_care') THEN coalesce(amount_idr, 0) ELSE 0 END,
            CASE WHEN state = 'returned' THEN coalesce(amount_idr, 0) ELSE 0 END)
    """,
    "nothing but open returns is owed": f"""
        SELECT subject AS place FROM ({_MONEY}) AS money
        WHERE owed <> 0 AND NOT EXISTS (SELECT FROM purchase.returns WHERE returns.id = money.subject)
    """,
    "an order is quota exactly when it is paid": """
        SELECT orders.id AS place FROM purchase.orders
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
        FROM (SELECT id, amount_idr FROM purchase.cases WHERE kind = 'taken_back') AS said
        FULL JOIN (SELECT subject, lost FROM ({_MONEY}) AS every WHERE lost > 0) AS money ON money.subject = said.id
        WHERE said.amount_idr IS DISTINCT FROM money.lost
    """,
    "whoever decided about money did not propose it": """
        SELECT id AS place FROM purchase.proposals WHERE decided_by = proposed_by
    """,
}
