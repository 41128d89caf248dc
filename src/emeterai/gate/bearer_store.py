"""All SQL of numbers that were given to nobody in particular. No explicit lock: one statement on rows that it names."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from emeterai.infra.database import Database


async def ask(db: Database) -> None:
    """Have the database answer."""
    await db.fetchval("SELECT true")


async def own_numbers(db: Database, asked: Sequence[tuple[str, int, UUID]]) -> dict[tuple[str, int], UUID]:
    """Whose these numbers are for good, by (lane, number): their owner's, or of the account that asks first."""
    rows = await db.fetch(
        """
        WITH asked AS (
            SELECT DISTINCT ON (lane, number) lane, number, account_id
            FROM unnest($1::text[], $2::bigint[], $3::uuid[]) WITH ORDINALITY AS one (lane, number, account_id, place)
            ORDER BY lane, number, place
        )
        INSERT INTO gate.bearers AS known (lane, number, account_id) SELECT * FROM asked ORDER BY lane, number
        ON CONFLICT (lane, number) DO UPDATE SET account_id = coalesce(known.account_id, excluded.account_id)
        RETURNING lane, number, account_id
        """,
        [lane for lane, _, _ in asked],
        [number for _, number, _ in asked],
        [account_id for _, _, account_id in asked],
    )
    return {(row["lane"], row["number"]): row["account_id"] for row in rows}


async def add_pass(db: Database, lane: str, number: int, *, ends_s: int, instead_s: int, most: int) -> bool:
    """Remember when one more pass of a number ends, in place of one that ends at `instead_s`; False when `most` passes
    of it are alive besides.
    """
    added = await db.fetchval(
        """
        INSERT INTO gate.bearers AS known (lane, number, ends_s) VALUES ($1, $2, ARRAY[$3::bigint])
        ON CONFLICT (lane, number) DO UPDATE SET ends_s = ARRAY(
            SELECT one FROM unnest(known.ends_s) AS one
            WHERE one > extract(epoch FROM now()) AND one <> $3 AND one <> $4
        ) || $3::bigint
        WHERE (
            SELECT count(*) FROM unnest(known.ends_s) AS one
            WHERE one > extract(epoch FROM now()) AND one <> $3 AND one <> $4
        ) < $5
        RETURNING true
        """,
        lane,
        number,
        ends_s,
        instead_s,
        most,
    )
    return bool(added)


async def next_end_s(db: Database, lane: str, number: int) -> int:
    """When the first of the passes of a number that are alive ends, in seconds since 1970; 0 when none is."""
    found: int = await db.fetchval(
        """
        SELECT coalesce(min(one), 0) FROM gate.bearers, unnest(ends_s) AS one
        WHERE lane = $1 AND number = $2 AND one > extract(epoch FROM now())
        """,
        lane,
        number,
    )
    return found


async def owner_of(db: Database, lane: str, number: int) -> UUID | None:
    """The account that a number belongs to: of the first that came with it, or that got it; None: nobody's yet."""
    found: UUID | None = await db.fetchval(
        """
        SELECT coalesce(
            (SELECT account_id FROM gate.bearers WHERE lane = $1 AND number = $2),
            (SELECT account_id FROM gate.places WHERE lane = $1 AND number = $2)
        )
        """,
        lane,
        number,
    )
    return found
