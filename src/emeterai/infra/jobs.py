"""Jobs: work that outlives a process. A row is claimed under a lease; a silent worker's rows are found and done again.

A claim carries a fencing token (the worker and the attempt): `finish` deletes the row only for the holder of the
newest claim, so that a worker that slept past its lease cannot finish what was given away. docs/decisions/0004.

A job has a lane. Lanes that have work waiting share each batch by their weights (fair_turns.py), the oldest first
within a lane, so that a crowd in one keeps no other waiting for longer than a batch takes. docs/decisions/0022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from emeterai.infra import metrics
from emeterai.infra.database import Connection, Database
from emeterai.infra.fair_turns import FairTurns
from emeterai.infra.lane import COMMON, lane_now

_CLAIMED = "UPDATE infra.jobs SET worker = $2, lease_until = now() + make_interval(secs => $4), attempts = attempts + 1"
_RETURNED = "RETURNING jobs.id, kind, attempts, lane, extract(epoch FROM now() - run_at)::float8 AS waited_s"
# The oldest of a lane that is alone, which it nearly always is; nothing when another lane has work too.
_CLAIM_ALONE = f"""
    {_CLAIMED}
    WHERE id IN (
        SELECT id FROM infra.jobs WHERE kind = $1 AND lane = $5 AND worker IS NULL AND run_at <= now()
        AND NOT EXISTS (SELECT FROM infra.jobs WHERE kind = $1 AND lane < $5 AND worker IS NULL)
        AND NOT EXISTS (SELECT FROM infra.jobs WHERE kind = $1 AND lane > $5 AND worker IS NULL)
        ORDER BY run_at LIMIT $3 FOR UPDATE SKIP LOCKED
    )
    {_RETURNED}
"""
# One probe of the index finds each next lane. How many of each lane are among the next of all lanes is asked without a
# lock, up to a batch of each; then the oldest of each lane that nobody holds are taken.
_CLAIM_SHARED = f"""
    WITH RECURSIVE lanes (lane) AS (
        (SELECT lane FROM infra.jobs WHERE kind = $1 AND worker IS NULL ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (
            SELECT lane FROM infra.jobs WHERE kind = $1 AND worker IS NULL AND lane > before.lane ORDER BY lane LIMIT 1
        )
        FROM lanes AS before WHERE before.lane IS NOT NULL
    ), waiting AS (
        SELECT lane, row_number() OVER (PARTITION BY lane) AS place
        FROM lanes CROSS JOIN LATERAL (
            SELECT FROM infra.jobs WHERE kind = $1 AND jobs.lane = lanes.lane AND worker IS NULL AND run_at <= now()
            LIMIT $3
        ) AS ready
    ), quotas AS (
        SELECT lane, count(*) AS quota FROM (
            SELECT lane FROM waiting
            LEFT JOIN unnest($5::text[], $6::float8[], $7::float8[]) AS known (lane, mark, step) USING (lane)
            ORDER BY coalesce(mark, $8) + (place - 1) * coalesce(step, $9), lane LIMIT $3
        ) AS next GROUP BY lane
    ), taken AS MATERIALIZED (
        SELECT ready.id FROM quotas CROSS JOIN LATERAL (
            SELECT id FROM infra.jobs WHERE kind = $1 AND jobs.lane = quotas.lane AND worker IS NULL AND run_at <= now()
            ORDER BY run_at LIMIT quotas.quota FOR UPDATE SKIP LOCKED
        ) AS ready
    )
    {_CLAIMED} FROM taken WHERE jobs.id = taken.id {_RETURNED}
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds until its lease ends. `attempt` counts from 1; `lane` is whose work it is."""

    id: UUID
    kind: str
    attempt: int
    worker: UUID
    lane: str = COMMON


async def enqueue(
    tx: Connection, kind: str, ids: Sequence[UUID], *, delay_s: float = 0, lanes: Sequence[str] | None = None
) -> None:
    """Put jobs on record in the caller's transaction, ready after `delay_s`; a job has the id of what it works on.

    `lanes` are theirs, one each; without them they belong to the lane for which this task works.
    """
    await tx.execute(
        """
        INSERT INTO infra.jobs (id, kind, run_at, lane)
        SELECT id, $2, now() + make_interval(secs => $3), lane FROM unnest($1::uuid[], $4::text[]) AS job (id, lane)
        """,
        list(ids),
        kind,
        delay_s,
        [lane_now()] * len(ids) if lanes is None else list(lanes),
    )


async def claim(
    db: Database, kinds: Sequence[str], *, worker: UUID, limit: int, lease_s: float, turns: FairTurns | None = None
) -> list[Claim]:
    """Claim up to `limit` ready jobs, those of the first kind first. `worker` is unique for each start of a process.

    Lanes take turns as `turns` has it, which is told what was taken; without it they have equal parts.
    """
    found: list[Claim] = []
    for kind in kinds:
        wanted = (kind, worker, limit - len(found), lease_s)
        rows = await _claim(db, wanted, turns or FairTurns())
        for row in rows:
            metrics.stage_took(f"wait_{kind}", row["waited_s"])
        found += [Claim(row["id"], kind, row["attempts"], worker, row["lane"]) for row in rows]
    return found


async def _claim(db: Database, wanted: tuple[str, UUID, int, float], turns: FairTurns) -> list[Any]:
    rows: list[Any] = []
    if turns.alone is not None:
        rows = await db.fetch(_CLAIM_ALONE, *wanted, turns.alone)
    if not rows:
        at = turns.marks()
        rows = await db.fetch(_CLAIM_SHARED, *wanted, at.lanes, at.marks, at.steps, at.other, at.other_step)
    counts = Counter(row["lane"] for row in rows)
    if counts:
        turns.took(counts)
        turns.alone = next(iter(counts)) if len(counts) == 1 else None
    return rows


async def finish(tx: Connection, claims: Sequence[Claim]) -> set[UUID]:
    """End claimed jobs in the caller's transaction; answers those that were still ours. The others were given away."""
    rows = await tx.fetch(
        """
        DELETE FROM infra.jobs USING unnest($1::uuid[], $2::uuid[], $3::int[]) AS mine(id, worker, attempt)
        WHERE jobs.id = mine.id AND jobs.worker = mine.worker AND jobs.attempts = mine.attempt
        RETURNING jobs.id
        """,
        [one.id for one in claims],
        [one.worker for one in claims],
        [one.attempt for one in claims],
    )
    return {row["id"] for row in rows}


async def renew(db: Database, worker: UUID, ids: Sequence[UUID], *, lease_s: float) -> None:
    """Lengthen the leases that `worker` still holds on these jobs: the sign of life during long work.

    Skips rows that someone is finishing right now: waiting for one would keep the others from being renewed, and two
    who each wait for a row of the other would be a deadlock.
    """
    async with db.transaction() as tx:
        await tx.execute(
            """
            UPDATE infra.jobs SET lease_until = now() + make_interval(secs => $3)
            WHERE id IN (SELECT id FROM infra.jobs WHERE id = ANY($2::uuid[]) AND worker = $1 FOR UPDATE SKIP LOCKED)
            """,
            worker,
            list(ids),
            lease_s,
        )


async def hand_back(db: Database, claims: Sequence[Claim], *, delay_s: float) -> None:
    """Give claimed jobs back unfinished, to be tried again after `delay_s`."""
    async with db.transaction() as tx:
        await tx.execute(
            """
            UPDATE infra.jobs SET worker = NULL, lease_until = NULL, run_at = now() + make_interval(secs => $4)
            FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS mine(id, worker, attempt)
            WHERE jobs.id = mine.id AND jobs.worker = mine.worker AND jobs.attempts = mine.attempt
            """,
            [one.id for one in claims],
            [one.worker for one in claims],
            [one.attempt for one in claims],
            delay_s,
        )


async def hand_back_all(db: Database, worker: UUID) -> None:
    """Give back whatever `worker` still holds, to be claimed at once: it ends and will finish none of it."""
    async with db.transaction() as tx:
        await tx.execute("UPDATE infra.jobs SET worker = NULL, lease_until = NULL WHERE worker = $1", worker)


async def drop(tx: Connection, ids: Sequence[UUID]) -> None:
    """Remove jobs whoever holds them: what they worked on has ended in the caller's transaction."""
    await tx.execute("DELETE FROM infra.jobs WHERE id = ANY($1::uuid[])", list(ids))


async def reclaim(db: Database, *, limit: int) -> int:
    """Free jobs whose lease has run out, by the database's clock. Skips rows that someone is finishing right now."""
    rows = await db.fetch(
        """
        UPDATE infra.jobs SET worker = NULL, lease_until = NULL
        WHERE id IN (
            SELECT id FROM infra.jobs WHERE worker IS NOT NULL AND lease_until <= now()
            ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        RETURNING id
        """,
        limit,
    )
    return len(rows)


async def queue_depths(db: Database) -> dict[str, tuple[int, float]]:
    """For each kind that has jobs: how many, and the age of the oldest in seconds."""
    rows = await db.fetch(
        "SELECT kind, count(*), extract(epoch FROM now() - min(created_at))::float8 FROM infra.jobs GROUP BY kind"
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def lane_depths(db: Database, kind: str) -> dict[str, tuple[int, float]]:
    """The same of one kind, for each lane that has jobs of it."""
    rows = await db.fetch(
        """
        SELECT lane, count(*), extract(epoch FROM now() - min(created_at))::float8
        FROM infra.jobs WHERE kind = $1 GROUP BY lane
        """,
        kind,
    )
    return {row[0]: (row[1], row[2]) for row in rows}
