"""The audit of vouchers: what they say of themselves against what the ledger says of their batches.

The ledger's own audit cannot do this, because the ledger does not know vouchers. SQL over what was written, in one
snapshot; it shares no code with the verbs.
"""

from __future__ import annotations

from emeterai.infra.database import READS_ALL, Connection, Database
from emeterai.ledger.check import Rule

_EXAMPLES_MAX = 5


async def check_all_vouchers(db: Database) -> list[Rule]:
    """Every rule on every batch and voucher, as of one moment. Takes no lock."""
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(READS_ALL)
        return [await _rule(connection, name, query) for name, query in _RULES.items()]


async def _rule(connection: Connection, name: str, query: str) -> Rule:
    rows = await connection.fetch(
        f"WITH broken AS ({query}) SELECT count(*) OVER () AS broken, place::text FROM broken LIMIT {_EXAMPLES_MAX}",
        timeout=600,
    )
    return Rule(name, rows[0]["broken"] if rows else 0, [row["place"] for row in rows])


_RULES = {
    "a batch holds the units of its vouchers that are neither redeemed nor void": """
        SELECT batch.id AS place FROM purchase.voucher_batches AS batch
        LEFT JOIN ledger.balances AS balance ON balance.account = batch.id
        LEFT JOIN (
            SELECT batch_id, count(*) AS all_of_them, count(*) FILTER (WHERE state IN ('made', 'active')) AS live
            FROM purchase.vouchers GROUP BY batch_id
        ) AS counted ON counted.batch_id = batch.id
        WHERE (balance.bought, balance.held, balance.used, balance.refunded, counted.all_of_them)
            IS DISTINCT FROM (counted.live * batch.units, 0::bigint, 0::bigint, 0::bigint, batch.vouchers::bigint)
    """,
    "a batch was made of its stock, and what was voided went back there": """
        SELECT batch.id AS place FROM purchase.voucher_batches AS batch
        LEFT JOIN (
            SELECT subject,
                sum(amount) FILTER (WHERE reason = 'vouchers_made' AND kind = 'give') AS from_stock,
                sum(amount) FILTER (WHERE reason = 'vouchers_voided' AND kind = 'receive') AS to_stock,
                count(DISTINCT CASE kind WHEN 'give' THEN debit ELSE credit END) FILTER (
                    WHERE (reason, kind) IN (('vouchers_made', 'give'), ('vouchers_voided', 'receive'))) AS stocks,
                (array_agg(debit) FILTER (WHERE reason = 'vouchers_made' AND kind = 'give'))[1] AS stock
            FROM ledger.transfers WHERE reason IN ('vouchers_made', 'vouchers_voided') GROUP BY subject
        ) AS moved ON moved.subject = batch.id
        LEFT JOIN (
            SELECT batch_id, count(*) FILTER (WHERE state = 'void') AS void FROM purchase.vouchers GROUP BY batch_id
        ) AS counted ON counted.batch_id = batch.id
        WHERE (moved.stock, moved.stocks, moved.from_stock, coalesce(moved.to_stock, 0)) IS DISTINCT FROM
            (batch.stock_id, 1::bigint, (batch.vouchers * batch.units)::numeric, (counted.void * batch.units)::numeric)
    """,
    "a redeemed voucher gave its units once, to whoever redeemed it, and no other gave any": """
        SELECT coalesce(voucher.id, moved.subject) AS place
        FROM (
            SELECT vouchers.id, batch_id, redeemed_by, units FROM purchase.vouchers
            JOIN purchase.voucher_batches AS batch ON batch.id = batch_id WHERE state = 'redeemed'
        ) AS voucher
        FULL JOIN (
            SELECT subject, count(*) AS transfers, sum(amount) FILTER (WHERE kind = 'give') AS given,
                sum(amount) FILTER (WHERE kind = 'receive') AS received,
                (array_agg(debit) FILTER (WHERE kind = 'give'))[1] AS giver,
                (array_agg(credit) FILTER (WHERE kind = 'receive'))[1] AS receiver
            FROM ledger.transfers WHERE reason = 'voucher_redeemed' GROUP BY subject
        ) AS moved ON moved.subject = voucher.id
        WHERE (voucher.batch_id, voucher.redeemed_by, voucher.units::numeric, voucher.units::numeric, 2::bigint)
            IS DISTINCT FROM (moved.giver, moved.receiver, moved.given, moved.received, moved.transfers)
    """,
    "a voiding says how many vouchers it voided, and all of them are on record": """
        SELECT batch.id AS place FROM purchase.voucher_batches AS batch
        LEFT JOIN (
            SELECT batch_id, count(*) AS void FROM purchase.vouchers WHERE state = 'void' GROUP BY batch_id
        ) AS counted ON counted.batch_id = batch.id
        LEFT JOIN (
            SELECT batch_id, sum(vouchers) AS vouchers, sum(units) AS units FROM purchase.voucher_voidings
            GROUP BY batch_id
        ) AS recorded ON recorded.batch_id = batch.id
        WHERE (coalesce(recorded.vouchers, 0), coalesce(recorded.units, 0)) <>
            (coalesce(counted.void, 0), coalesce(counted.void, 0) * batch.units)
    """,
}
