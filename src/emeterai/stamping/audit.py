"""The audit of stamps: what a stamp says, what the ledger says of its hold and what the register says of its serial.

The ledger's own audit cannot do this, because the ledger does not know stamps. SQL over what was written, in the
caller's snapshot; it shares no code with the journey.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from emeterai.core.serial import is_serial
from emeterai.infra.database import READS_ALL, Connection, Database
from emeterai.ledger.check import Rule

_EXAMPLES_MAX = 5
_STAMPS_A_QUERY = 10_000


async def check_all_stamps(db: Database) -> list[Rule]:
    """Every rule on every stamp, and on every hold that should have one, as of one moment. Takes no lock."""
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(READS_ALL)
        rules = [await _rule(connection, name, query.format(scope="true")) for name, query in _RULES.items()]
        rules.append(await _rule(connection, HAS_STAMP, _HOLDS_WITHOUT))
    return rules


async def check_stamps(tx: Connection, ids: Sequence[UUID]) -> list[Rule]:
    """Every rule on the stamps of new holds, settles and releases, in the snapshot of `tx`."""
    found: dict[str, Rule] = {}
    for start in range(0, len(ids), _STAMPS_A_QUERY):
        async for rule in _check_some(tx, ids[start : start + _STAMPS_A_QUERY]):
            before = found.get(rule.name, Rule(rule.name, 0, []))
            examples = [*before.examples, *rule.examples][:_EXAMPLES_MAX]
            found[rule.name] = Rule(rule.name, before.broken + rule.broken, examples)
    return list(found.values())


async def _check_some(tx: Connection, ids: Sequence[UUID]) -> AsyncIterator[Rule]:
    for name, query in _RULES.items():
        yield await _rule(tx, name, query.format(scope="stamps.id = ANY($1::uuid[])"), ids)
    yield await _rule(tx, HAS_STAMP, _SUBJECTS_WITHOUT, ids)
    serials = await tx.fetch("SELECT serial FROM stamping.stamps WHERE id = ANY($1::uuid[])", ids)
    broken = [row["serial"] for row in serials if not is_serial(row["serial"])]
    yield Rule("every serial carries its right check character", len(broken), broken[:_EXAMPLES_MAX])


async def _rule(connection: Connection, name: str, query: str, *arguments: Any) -> Rule:
    rows = await connection.fetch(
        f"WITH broken AS ({query}) SELECT count(*) OVER () AS broken, place::text FROM broken LIMIT {_EXAMPLES_MAX}",
        *arguments,
        timeout=600,
    )
    return Rule(name, rows[0]["broken"] if rows else 0, [row["place"] for row in rows])


HAS_STAMP = "every hold for a stamp has its stamp"
_HOLDS_WITHOUT = """
    SELECT hold.id AS place FROM ledger.transfers AS hold
    LEFT JOIN stamping.stamps ON stamps.id = hold.subject AND stamps.hold_id = hold.id
    WHERE hold.kind = 'hold' AND hold.reason = 'stamping' AND stamps.id IS NULL
"""
_SUBJECTS_WITHOUT = """
    SELECT subject AS place FROM unnest($1::uuid[]) AS subject
    WHERE NOT EXISTS (SELECT FROM stamping.stamps WHERE stamps.id = subject)
"""
_RULES = {
    "a stamp is held, sealed or given back as its hold is open, settled or released": """
        SELECT stamps.id AS place FROM stamping.stamps
        LEFT JOIN ledger.transfers AS hold ON hold.id = stamps.hold_id AND hold.kind = 'hold'
        LEFT JOIN ledger.transfers AS ending ON ending.hold_id = stamps.hold_id
        WHERE {scope} AND (
            (hold.debit, hold.subject, hold.amount) IS DISTINCT FROM (stamps.account_id, stamps.id, 1::bigint)
            OR stamps.state <> CASE
                WHEN ending.kind IS NULL THEN 'held' WHEN ending.kind = 'settle' THEN 'sealed' ELSE 'given_back' END
            OR ending.id <> stamps.ending_id)
    """,
    "a stamp has its serial: taken, affixed or void as it is held, sealed or given back": """
        SELECT stamps.id AS place FROM stamping.stamps
        JOIN stamping.documents ON documents.id = stamps.document_id
        LEFT JOIN ledger.serials ON serials.serial = stamps.serial
        WHERE {scope} AND (
            (serials.hold_id, serials.subject, serials.digest) IS DISTINCT FROM
                (stamps.hold_id, stamps.id, coalesce(documents.repaired_digest, stamps.digest))
            OR serials.state <> CASE stamps.state
                WHEN 'held' THEN 'taken' WHEN 'sealed' THEN 'affixed' ELSE 'void' END)
    """,
    "a held stamp has the job that ends it, and one that has ended has none": """
        SELECT stamps.id AS place FROM stamping.stamps
        LEFT JOIN infra.jobs ON jobs.id = stamps.id AND jobs.kind <> 'upgrade'
        WHERE {scope} AND (jobs.id IS NOT NULL) <> (stamps.state = 'held')
    """,
}
