"""All SQL of the lanes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from emeterai.infra.database import Connection, Database

_KNOWN_TO_ALL_S = 3.0
"""Within so long every steward has looked at the lanes again."""


async def read_lanes(db: Database) -> list[tuple[str, str, int]]:
    """Every lane that is on record: its name, its JSON, and the number of the change that made it so."""
    rows = await db.fetch("SELECT name, lane::text, change FROM gate.lanes")
    return [(row["name"], row["lane"], row["change"]) for row in rows]


class OpenedError(Exception):
    """A lane that has been open or has given numbers cannot await a draw."""


async def write_change(
    db: Database,
    name: str,
    before: str | None,
    after: str | None,
    *,
    by: str,
    seen: int,
    undoes: int | None,
    draws_at: datetime | None = None,
) -> tuple[int, datetime] | None:
    """Change a lane and put the change on record; None when the lane is not what change `seen` made it.

    `draws_at` is the opening time that this change gives it. Raises OpenedError where it would be a draw too late.
    """
    with contextlib.suppress(_OvertakenError):
        async with db.transaction() as tx:
            if draws_at is not None:
                await _await_draw(tx, name, draws_at, is_new=before is None and undoes is None)
            return await _write(tx, name, before, after, by=by, seen=seen, undoes=undoes)
    return None


class _OvertakenError(Exception):
    """Undoes the transaction: somebody else was quicker."""


async def _await_draw(tx: Connection, name: str, draws_at: datetime, *, is_new: bool) -> None:
    """A lane opens later. Where its draw is prepared or made that moves nothing: the first holds, the second stands.

    Where none is, the turns that have come and the numbers that were given are of no draw: then it is too late. Where
    there are none yet the line is taken from whoever moves it: a steward that still knows the lane as open would.
    A new lane under the name of one that was drawn has had its draw too.
    """
    is_too_late = await tx.fetchval(
        """
        UPDATE gate.rooms SET
            writer = CASE WHEN draw_seed IS NULL THEN gen_random_uuid() ELSE writer END,
            writer_until = CASE WHEN draw_seed IS NULL THEN now() + make_interval(secs => $3) ELSE writer_until END
        WHERE lane = $1 AND now() < $2
        RETURNING CASE WHEN draw_seed IS NULL THEN next_number > 1 OR now_serving > 0
            ELSE $4 AND draw_count IS NOT NULL END
        """,
        name,
        draws_at,
        _KNOWN_TO_ALL_S,
        is_new,
    )
    if is_too_late:
        raise OpenedError


async def _write(
    tx: Connection, name: str, before: str | None, after: str | None, *, by: str, seen: int, undoes: int | None
) -> tuple[int, datetime]:
    line = await tx.fetchrow(
        """
        INSERT INTO gate.lane_changes (by, lane, before, after, undoes)
        VALUES ($1, $2, $3::text::jsonb, $4::text::jsonb, $5) RETURNING number, at
        """,
        by,
        name,
        before,
        after,
        undoes,
    )
    if after is None:
        done = await tx.execute("DELETE FROM gate.lanes WHERE name = $1 AND change = $2", name, seen)
    elif seen == 0:
        done = await tx.execute(
            "INSERT INTO gate.lanes (name, lane, change) VALUES ($1, $2::text::jsonb, $3) ON CONFLICT DO NOTHING",
            name,
            after,
            line["number"],
        )
    else:
        done = await tx.execute(
            "UPDATE gate.lanes SET lane = $2::text::jsonb, change = $3 WHERE name = $1 AND change = $4",
            name,
            after,
            line["number"],
            seen,
        )
    if done.endswith(" 0"):
        raise _OvertakenError
    return line["number"], line["at"]


async def read_changes(db: Database, *, limit: int) -> Sequence[Any]:
    """The newest changes, newest first."""
    return await db.fetch(
        """
        SELECT number, at, by, lane, before::text, after::text, undoes FROM gate.lane_changes
        ORDER BY number DESC LIMIT $1
        """,
        limit,
    )


async def read_accounts(db: Database, *, limit: int) -> list[tuple[UUID, str]]:
    """The accounts whose API keys belong to a lane of their own."""
    rows = await db.fetch("SELECT account_id, lane FROM gate.lane_accounts LIMIT $1", limit)
    return [(row["account_id"], row["lane"]) for row in rows]


async def put_account(db: Connection | Database, account_id: UUID, lane: str) -> None:
    """The API keys of an account belong to this lane from now on."""
    await db.fetch(
        """
        INSERT INTO gate.lane_accounts (account_id, lane) VALUES ($1, $2)
        ON CONFLICT (account_id) DO UPDATE SET lane = excluded.lane
        """,
        account_id,
        lane,
    )
