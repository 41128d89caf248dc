"""All SQL of the controller: what processes measured, who decides, and the pace of every lane."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from emeterai.infra.database import Database

FRESH_S = 4.0
"""A reading that is older is of a process that is gone, or too busy to be believed."""


async def put_reading(db: Database, process: UUID, reading: str) -> None:
    """What a process measured in the last second, as JSON."""
    await db.fetch(
        """
        INSERT INTO gate.readings (process, reading) VALUES ($1, $2::text::jsonb)
        ON CONFLICT (process) DO UPDATE SET at = now(), reading = excluded.reading
        """,
        process,
        reading,
    )


async def read_readings(db: Database) -> list[tuple[UUID, str]]:
    """The fresh reading of each process, as JSON; those of the dead are forgotten after a minute."""
    rows = await db.fetch(
        """
        WITH forgotten AS (DELETE FROM gate.readings WHERE at < now() - interval '1 minute')
        SELECT process, reading::text AS reading FROM gate.readings WHERE at > now() - make_interval(secs => $1)
        """,
        FRESH_S,
    )
    return [(row["process"], row["reading"]) for row in rows]


async def hold_controller(db: Database, process: UUID, *, lease_s: float) -> bool:
    """Whether this process is the one that decides, for `lease_s` from now."""
    rows = await db.fetch(
        """
        INSERT INTO gate.controller (holder, lease_until) VALUES ($1, now() + make_interval(secs => $2))
        ON CONFLICT (only_row) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until
        WHERE controller.holder = excluded.holder OR controller.lease_until < now()
        RETURNING holder
        """,
        process,
        lease_s,
    )
    return bool(rows)


async def put_paces(db: Database, paces: Sequence[tuple[str, str]]) -> None:
    """The pace of each lane, as JSON, from now on."""
    await db.fetch(
        """
        INSERT INTO gate.paces (lane, pace) SELECT * FROM unnest($1::text[], $2::text[]::jsonb[])
        ON CONFLICT (lane) DO UPDATE SET at = now(), pace = excluded.pace
        """,
        [lane for lane, _ in paces],
        [pace for _, pace in paces],
    )


async def read_paces(db: Database) -> list[tuple[str, str, float, datetime]]:
    """Each lane's pace as JSON, how old it is in seconds, and when it was set."""
    rows = await db.fetch(
        "SELECT lane, pace::text AS pace, extract(epoch FROM now() - at)::float8 AS age_s, at FROM gate.paces"
    )
    return [(row["lane"], row["pace"], row["age_s"], row["at"]) for row in rows]


async def read_lines(db: Database) -> list[Any]:
    """How many wait in each lane's line: turns that have not come, of numbers given out; of a draw all that it has."""
    return await db.fetch(
        """
        SELECT
            room.lane,
            greatest(0, greatest(max(counts.last_number), coalesce(room.draw_count, 0)) - room.now_serving) AS waiting,
            room.now_serving
        FROM gate.rooms AS room JOIN gate.counts AS counts ON counts.lane = room.lane
        GROUP BY room.lane, room.draw_count, room.now_serving
        """
    )
