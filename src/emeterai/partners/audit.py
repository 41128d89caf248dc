"""The audit of partners: what deposits, moves and sales say, and what the ledger says of their quota and money.

The ledger's own audit cannot do this, because the ledger does not know partners. SQL over what was written, as of one
moment; it shares no code with selling.
"""

from __future__ import annotations

from emeterai.core.ledger import Counter
from emeterai.infra.database import READS_ALL, Database
from emeterai.ledger.check import Rule

_EXAMPLES_MAX = 5


async def check_all_partners(db: Database) -> list[Rule]:
    """Every rule on every deposit, move and sale, and on every transfer that should be of one. Takes no lock."""
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(READS_ALL)
        rules = []
        for name, query in RULES.items():
            rows = await connection.fetch(
                f"WITH broken AS ({query}) SELECT count(*) OVER () AS broken, place::text FROM broken "
                f"LIMIT {_EXAMPLES_MAX}",
                timeout=600,
            )
            rules.append(Rule(name, rows[0]["broken"] if rows else 0, [row["place"] for row in rows]))
    return rules


RULES = {
    "an approved deposit paid the duty of what it credited, once, and no other deposit did": f"""
        SELECT coalesce(deposit.id, posted.subject) AS place
        FROM (SELECT * FROM partners.deposits WHERE state = 'approved') AS deposit
        FULL JOIN (
            SELECT subject, coalesce(sum(amount) FILTER (WHERE kind = 'credit'), 0) AS credited,
                coalesce(sum(amount) FILTER (WHERE kind = 'money' AND debit = '{Counter.TREASURY_DEPOSIT}'
                                                   AND credit = '{Counter.TREASURY_DUTY}'), 0) AS paid_idr,
                (array_agg(credit) FILTER (WHERE kind = 'credit'))[1] AS stock, count(*) AS transfers
            FROM ledger.transfers WHERE reason IN ('deposit', 'deposit_paid') GROUP BY subject
        ) AS posted ON posted.subject = deposit.id
        WHERE (posted.stock, posted.credited, posted.paid_idr, posted.transfers)
            IS DISTINCT FROM (deposit.partner_id, deposit.quantity, deposit.quantity * deposit.duty_idr, 2)
    """,
    "a payment to the treasury became stock once": """
        SELECT ntpn AS place FROM partners.deposits WHERE state = 'approved' GROUP BY ntpn HAVING count(*) > 1
    """,
    "what was decided has two signatures": """
        SELECT id AS place FROM partners.deposits WHERE state <> 'proposed' AND (decided_by = proposed_by) IS NOT FALSE
        UNION ALL
        SELECT id FROM partners.moves WHERE state <> 'proposed' AND (decided_by = proposed_by) IS NOT FALSE
    """,
    "stock moved exactly as an approved move says": """
        SELECT coalesce(move.id, posted.subject) AS place
        FROM (SELECT * FROM partners.moves WHERE state = 'approved') AS move
        FULL JOIN (
            SELECT subject, (array_agg(debit) FILTER (WHERE kind = 'give'))[1] AS giver,
                (array_agg(credit) FILTER (WHERE kind = 'receive'))[1] AS receiver,
                min(amount) AS least, max(amount) AS most, count(*) AS transfers
            FROM ledger.transfers WHERE reason = 'stock_moved' GROUP BY subject
        ) AS posted ON posted.subject = move.id
        WHERE (posted.giver, posted.receiver, posted.least, posted.most, posted.transfers)
            IS DISTINCT FROM (move.giver_id, move.receiver_id, move.quantity, move.quantity, 2)
    """,
    "what was sold left its partner's stock and reached its buyers, and nothing else was sold": """
        SELECT coalesce(sold.bundle, posted.subject) AS place
        FROM (
            SELECT bundle, partner_id AS giver, buyer, sum(quantity) AS units FROM partners.sales GROUP BY 1, 2, 3
        ) AS sold
        FULL JOIN (
            SELECT receipt.subject, gift.debit AS giver, receipt.credit AS buyer, sum(receipt.amount) AS units
            FROM ledger.transfers AS receipt
            LEFT JOIN ledger.transfers AS gift ON gift.subject = receipt.subject AND gift.kind = 'give'
            WHERE receipt.kind = 'receive' AND receipt.reason = 'sold' GROUP BY 1, 2, 3
        ) AS posted ON posted.subject = sold.bundle AND posted.buyer = sold.buyer
        WHERE (posted.giver, posted.units) IS DISTINCT FROM (sold.giver, sold.units)
    """,
    "what a partner sold in a minute is the sum of its sales": """
        SELECT coalesce(counted.partner_id, summed.partner_id) AS place
        FROM partners.minutes AS counted
        FULL JOIN (
            SELECT partner_id, date_trunc('minute', sold_at) AS minute, count(*) AS sales, sum(quantity) AS units
            FROM partners.sales GROUP BY 1, 2
        ) AS summed ON summed.partner_id = counted.partner_id AND summed.minute = counted.minute
        WHERE (counted.sales, counted.units) IS DISTINCT FROM (summed.sales, summed.units)
    """,
}
"""Each rule in words, and the places that break it."""
