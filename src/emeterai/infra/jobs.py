"""Jobs: work that outlives a process. A row is claimed under a lease; a silent worker's rows are found and done again.

A claim carries a fencing token (the worker and the attempt): `finish` deletes the row only for the holder of the
newest claim, so that a worker that slept past its lease cannot finish what was given away. docs/decisions/0004.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from emeterai.infra import metrics
from emeterai.infra.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds until its lease ends. `attempt` counts from 1."""

    id: UUID
    kind: str
    attempt: int
    worker: UUID


async def enqueue(tx: Connection, kind: str, ids: Sequence[UUID], *, delay_s: float = 0) -> None:
    """Put jobs on record in the caller's transaction, ready after `delay_s`; a job has the id of what it works on."""
    await tx.execute(
        "INSERT INTO infra.jobs (id, kind, run_at) SELECT unnest($1::uuid[]), $2, now() + make_interval(secs => $3)",
        list(ids),
        kind,
        delay_s,
    )


async def claim(db: Database, kinds: Sequence[str], *, worker: UUID, limit: int, lease_s: float) -> list[Claim]:
    """Claim up to `limit` ready jobs, the oldest first. `worker` is unique for each start of a process."""
    rows = await db.fetch(
        """
        UPDATE infra.jobs SET worker = $2, lease_until = now() + make_interval(secs => $4), attempts = attempts + 1
        WHERE id IN (
            SELECT id FROM infra.jobs WHERE kind = ANY($1::text[]) AND worker IS NULL AND run_at <= now()
            ORDER BY run_at LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        RETURNING id, kind, attempts, extract(epoch FROM now() - run_at)::float8 AS waited_s
        """,
        list(kinds),
        worker,
        limit,
        lease_s,
    )
    for row in rows:
        metrics.stage_took(f"wait_{row['kind']}", row["waited_s"])
    return [Claim(row["id"], row["kind"], row["attempts"], worker) for row in rows]


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
