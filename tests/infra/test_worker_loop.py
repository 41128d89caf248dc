"""The worker's loop on a real PostgreSQL: work is done when it comes, and an interrupted step is found again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from emeterai.infra import jobs
from emeterai.infra.bus import Bus
from emeterai.infra.database import BUSY, Connection, Database
from emeterai.infra.ids import new_id
from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.infra.jobs import Claim
from emeterai.infra.lasting import EndedError
from emeterai.infra.worker_loop import work_on

KIND = "polish"
PATIENCE_S = 30
"""Only a test that fails waits as long."""


class Worker:
    """Polishes and finishes; the first `troubles` are raised instead, one for each batch."""

    def __init__(self, db: Database, *, troubles: Sequence[Exception] = ()) -> None:
        self._db = db
        self._troubles = list(troubles)
        self.claims: list[Claim] = []

    async def __call__(self, claims: Sequence[Claim]) -> None:
        """The work."""
        self.claims += claims
        if self._troubles:
            raise self._troubles.pop(0)
        async with self._db.transaction() as tx:
            await jobs.finish(tx, claims)


@asynccontextmanager
async def at_work(
    db: Database,
    bus: Bus,
    work: Callable[[Sequence[Claim]], Awaitable[None]],
    *,
    worker: UUID | None = None,
    lease_s: float = 60.0,
) -> AsyncIterator[asyncio.Task[None]]:
    """A loop that works for as long as the block lasts."""
    task = asyncio.create_task(work_on(db, bus, {KIND: work}, worker=worker or new_id(), batch_max=2, lease_s=lease_s))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def enqueue(db: Database, bus: Bus, count: int) -> list[UUID]:
    """Jobs, announced."""
    ids = [new_id() for _ in range(count)]
    async with db.transaction() as tx:
        await jobs.enqueue(tx, KIND, ids)
    bus.publish([KIND])
    return ids


async def nothing_left(db: Database, task: asyncio.Task[None], *, reclaim: bool = False) -> None:
    """Return when every job is done; a loop that ended fails the test with its own error."""
    async with asyncio.timeout(PATIENCE_S):
        while await db.fetchval("SELECT count(*) FROM infra.jobs"):
            if task.done():
                task.result()
            if reclaim:
                await jobs.reclaim(db, limit=100)
            await asyncio.sleep(0.01)


async def test_work_that_waits_and_work_that_comes_is_done(db: Database, bus: Bus) -> None:
    """In batches up to the bound."""
    work = Worker(db)
    before = await enqueue(db, bus, 5)
    async with at_work(db, bus, work) as task:
        await nothing_left(db, task)
        after = await enqueue(db, bus, 1)
        await nothing_left(db, task)
    assert sorted(before + after) == sorted(claim.id for claim in work.claims)


async def test_work_that_nobody_announced_is_found(db: Database, bus: Bus) -> None:
    """The bus only makes things quicker."""
    async with at_work(db, bus, Worker(db)) as task:
        await asyncio.sleep(0.05)
        async with db.transaction() as tx:
            await jobs.enqueue(tx, KIND, [new_id()])
        await nothing_left(db, task)


@pytest.mark.parametrize(
    "trouble",
    [asyncpg.ConnectionDoesNotExistError("cut"), asyncpg.InterfaceError("closed"), OSError("no route"), BUSY()],
    ids=["connection cut", "connection closed", "network", "busy"],
)
async def test_trouble_with_the_database_does_not_end_the_loop(db: Database, bus: Bus, trouble: Exception) -> None:
    """The interrupted batch is found again when its lease has run out, as the next attempt; the others go on."""
    work = Worker(db, troubles=[trouble])
    ids = await enqueue(db, bus, 6)
    async with at_work(db, bus, work, lease_s=0.2) as task:
        await nothing_left(db, task, reclaim=True)
    assert set(ids) == {claim.id for claim in work.claims}
    interrupted = {claim.id for claim in work.claims[:2]}
    assert interrupted <= {claim.id for claim in work.claims if claim.attempt > 1}


async def test_a_database_that_cuts_every_connection_is_survived(db: Database, bus: Bus) -> None:
    """The server ends all connections in the middle of the work; what was claimed is done again."""

    async def cut_once(claims: Sequence[Claim]) -> None:
        if claims[0].attempt == 1:
            await db.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'emeterai'"
            )
        async with db.transaction() as tx:
            await jobs.finish(tx, claims)

    await enqueue(db, bus, 2)
    async with at_work(db, bus, cut_once, lease_s=0.2) as task:
        async with asyncio.timeout(PATIENCE_S):
            while not await _is_empty(db):
                assert not task.done()
                await asyncio.sleep(0.01)


async def _is_empty(db: Database) -> bool:
    with suppress(*INTERRUPTIONS):
        await jobs.reclaim(db, limit=100)
        return not await db.fetchval("SELECT count(*) FROM infra.jobs")
    return False


async def test_a_bug_ends_the_loop_loudly(db: Database, bus: Bus) -> None:
    """It is not hidden: the process ends with it, is started again, and the jobs are found by their lease."""
    await enqueue(db, bus, 1)
    async with at_work(db, bus, Worker(db, troubles=[KeyError("a bug")])) as task:
        with pytest.raises(ExceptionGroup) as group:
            await asyncio.wait_for(asyncio.shield(task), PATIENCE_S)
    assert group.group_contains(KeyError)
    assert 1 == await db.fetchval("SELECT count(*) FROM infra.jobs")


async def test_long_work_keeps_its_lease(db: Database, bus: Bus) -> None:
    """As long as the worker lives, nobody else gets what it works on."""
    begun, may_end, work = asyncio.Event(), asyncio.Event(), Worker(db)

    async def long(claims: Sequence[Claim]) -> None:
        begun.set()
        await may_end.wait()
        await work(claims)

    (job_id,) = await enqueue(db, bus, 1)
    async with at_work(db, bus, long, lease_s=0.6) as task:
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
        granted = await db.fetchval("SELECT lease_until FROM infra.jobs")
        async with asyncio.timeout(PATIENCE_S):
            while await db.fetchval("SELECT lease_until <= $1 FROM infra.jobs", granted):
                await asyncio.sleep(0.02)
        may_end.set()
        await nothing_left(db, task)
    assert [(job_id, 1)] == [(claim.id, claim.attempt) for claim in work.claims]


async def test_a_stopped_worker_hands_back_what_it_has(db: Database, bus: Bus) -> None:
    """Its jobs are free at once, long before their lease is over; what others hold stays theirs."""
    begun = asyncio.Event()

    async def endless(_: Sequence[Claim]) -> None:
        begun.set()
        await asyncio.Event().wait()

    await enqueue(db, bus, 3)
    [theirs] = await jobs.claim(db, [KIND], worker=new_id(), limit=1, lease_s=60)
    async with at_work(db, bus, endless):
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
    left = await db.fetch("SELECT id FROM infra.jobs WHERE worker IS NOT NULL")
    assert [theirs.id] == [row["id"] for row in left]
    again = await jobs.claim(db, [KIND], worker=new_id(), limit=3, lease_s=60)
    assert [2, 2] == [claim.attempt for claim in again]


async def test_a_worker_that_is_stopped_without_its_database_ends_too(db: Database, bus: Bus) -> None:
    """It cannot say its last word; the lease will."""

    class Away(Database):
        """A database that is there for claims and away at the end."""

        @asynccontextmanager
        async def transaction(self) -> AsyncIterator[Connection]:
            raise BUSY()
            yield

    await enqueue(db, bus, 1)
    begun = asyncio.Event()

    async def endless(_: Sequence[Claim]) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with at_work(Away(db._pool, 5), bus, endless) as task:
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
    assert task.cancelled()
    assert 1 == await db.fetchval("SELECT count(*) FROM infra.jobs WHERE worker IS NOT NULL")


@pytest.mark.parametrize("turns", range(8))
async def test_a_worker_told_to_stop_as_work_arrives_stops(db: Database, bus: Bus, turns: int) -> None:
    """However many turns of the event loop lie between the news and the word to stop."""
    task = asyncio.create_task(work_on(db, bus, {KIND: Worker(db)}, worker=new_id(), batch_max=2, lease_s=60.0))
    await asyncio.sleep(0.05)
    bus.publish([KIND])
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    ended, _ = await asyncio.wait([task], timeout=PATIENCE_S)
    assert {task} == ended


async def test_lanes_share_each_batch_by_the_shares_of_the_moment(db: Database, bus: Bus) -> None:
    """They are asked for before each batch, so a change counts from the next."""
    shares, lanes, batches = {"a": 0.5, "b": 0.5}, dict[UUID, str](), list[list[str]]()
    for lane in shares:
        ids = [new_id() for _ in range(60)]
        lanes |= dict.fromkeys(ids, lane)
        async with db.transaction() as tx:
            await jobs.enqueue(tx, KIND, ids, lanes=[lane] * len(ids))

    async def note(claims: Sequence[Claim]) -> None:
        batches.append(sorted(lanes[claim.id] for claim in claims))
        shares.update(a=0.75, b=0.25)
        async with db.transaction() as tx:
            await jobs.finish(tx, claims)

    work = work_on(
        db, bus, {KIND: note}, worker=new_id(), batch_max=8, lease_s=60.0, batches_at_once=1, shares=lambda: shares
    )
    task = asyncio.create_task(work)
    await nothing_left(db, task)
    task.cancel()
    await asyncio.wait([task])
    assert [["a"] * 4 + ["b"] * 4, ["a"] * 6 + ["b"] * 2] == batches[:2]
    assert {8} == {len(batch) for batch in batches}


async def test_what_the_database_refuses_is_told_whole_and_ends_no_loop(db: Database, bus: Bus) -> None:
    """It is a bug of ours about this batch, which is found again; a database that is only away is told in a word."""
    troubles = [asyncpg.CheckViolationError("a rule of a table"), asyncpg.ConnectionDoesNotExistError("cut")]
    await enqueue(db, bus, 4)
    with capture_logs() as logs:
        async with at_work(db, bus, Worker(db, troubles=troubles), lease_s=0.2) as task:
            await nothing_left(db, task, reclaim=True)
    told = [(it["event"], "exc_info" in it) for it in logs if it["event"].startswith("work_")]
    assert [("work_refused", True), ("work_interrupted", False)] == told


async def test_a_step_whose_helper_was_cancelled_ends_the_loop_loudly(db: Database, bus: Bus) -> None:
    """A loop that ended as if it had been told to would leave the process alive and its jobs unclaimed."""

    async def waits_for_nobody(_: Sequence[Claim]) -> None:
        helper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        helper.cancel()
        await helper

    await enqueue(db, bus, 1)
    async with at_work(db, bus, waits_for_nobody) as task:
        with pytest.raises(ExceptionGroup) as group:
            await asyncio.wait_for(asyncio.shield(task), PATIENCE_S)
    assert group.group_contains(EndedError)
