"""All SQL of the public lines."""

from __future__ import annotations

from emeterai.infra.database import Database
from emeterai.status.lines import SignedLine


async def newest(db: Database, *, before: int | None, limit: int) -> list[tuple[int, SignedLine]]:
    """The newest lines, of those below the number `before` when it is given; oldest first."""
    rows = await db.fetch(
        """
        SELECT number, line, signature, key FROM status.lines WHERE $1::bigint IS NULL OR number < $1
        ORDER BY number DESC LIMIT $2
        """,
        before,
        limit,
    )
    return [
        (row["number"], SignedLine(row["line"], row["signature"].hex(), row["key"].hex())) for row in reversed(rows)
    ]


async def add(db: Database, number: int, signed: SignedLine) -> bool:
    """Publish a line; False when another steward has published this number."""
    async with db.transaction() as tx:
        done = await tx.execute(
            "INSERT INTO status.lines (number, line, signature, key) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            number,
            signed.line,
            bytes.fromhex(signed.signature),
            bytes.fromhex(signed.key),
        )
    return done == "INSERT 0 1"
