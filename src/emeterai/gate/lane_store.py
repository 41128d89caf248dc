"""All SQL of the lanes. One explicit lock: changes come one after another, because the shares of all are one sum."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from emeterai.infra.database import Connection, Database

_KNOWN_TO_ALL_S = 3.0
"""Within so long every steward has looked at the lanes again."""
_CHANGES = "SELECT number, at, by, lane, before::text, after::text, undoes FROM gate.lane_changes"
OnRecord = Sequence[tuple[str, str, int]]
"""Lanes: the name, the JSON, and the number of the change that made each so."""


async def read_lanes(db: Connection | Database) -> OnRecord:
    """Every lane that is on record."""
    rows = await db.fetch("SELECT name, lane::text, change FROM gate.lanes")
    return [(row["name"], row["lane"], row["change"]) for row in rows]


class OpenedError(Exception):
    """A lane that has been open or has given numbers cannot await a draw."""


@asynccontextmanager
async def changing(db: Database) -> AsyncIterator[tuple[Connection, OnRecord]]:
    """A transaction that alone changes lanes until it ends, and every lane that is on record by then. Whoever only
    reads waits for nothing.
    """
    async with db.transaction() as tx:
        await tx.execute("LOCK TABLE gate.lanes IN SHARE ROW EXCLUSIVE MODE")
        yield tx, await read_lanes(tx)


async def await_draw(tx: Connection, name: str, draws_at: datetime, *, is_new: bool) -> None:
    """A lane opens later. Where its draw is prepared or made that moves nothing: the first holds, the second stands.

    Where none is, the turns that have come and the numbers that were given are of no draw: then it is too late, and
    OpenedError is raised. Where there are none yet the line is taken from whoever moves it: a steward that still knows
    the lane as open would. A new lane under the name of one that was drawn has had its draw too.
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


async def write_change(
    tx: Connection, name: str, before: str | None, after: str | None, *, by: str, undoes: int | None
) -> tuple[int, datetime]:
    """Change a lane, inside `changing`, and put the change on record: its number, and when. `after` None: there is no
    lane any more, or it is as by default.
    """
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
        await tx.execute("DELETE FROM gate.lanes WHERE name = $1", name)
    else:
        await tx.execute(
            """
            INSERT INTO gate.lanes (name, lane, change) VALUES ($1, $2::text::jsonb, $3)
            ON CONFLICT (name) DO UPDATE SET lane = excluded.lane, change = excluded.change
            """,
            name,
            after,
            line["number"],
        )
    return line["number"], line["at"]


async def read_changes(db: Database, *, limit: int) -> Sequence[Any]:
    """The newest changes, newest first."""
    return await db.fetch(f"{_CHANGES} ORDER BY number DESC LIMIT $1", limit)


async def read_change(db: Database, number: int) -> Any:
    """One change, however old; None where there is none of this number."""
    return await db.fetchrow(f"{_CHANGES} WHERE number = $1", number)


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
