"""Jobs: claimed under a lease, found again when a worker goes silent, finished only by the newest claim."""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg
import pytest

from emeterai.infra import jobs
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.jobs import Claim

KIND = "polish"


async def enqueued(db: Database, count: int = 1, kind: str = KIND) -> list[UUID]:
    """Jobs on record, in the order in which they become ready."""
    ids = [new_id() for _ in range(count)]
    for job_id in ids:
        async with db.transaction() as tx:
            await jobs.enqueue(tx, kind, [job_id])
    return ids


async def claimed(db: Database, worker: UUID | None = None, *, limit: int = 10, lease_s: float = 60) -> list[Claim]:
    """What a worker gets."""
    return await jobs.claim(db, [KIND], worker=worker or new_id(), limit=limit, lease_s=lease_s)


async def finished(db: Database, claims: list[Claim]) -> set[UUID]:
    """Finish in a transaction of its own."""
    async with db.transaction() as tx:
        return await jobs.finish(tx, claims)


async def count(db: Database) -> int:
    """How many jobs are on record."""
    return int(await db.fetchval("SELECT count(*) FROM infra.jobs"))


async def test_a_finished_job_is_gone(db: Database) -> None:
    """Claimed once, finished once."""
    (job_id,) = await enqueued(db)
    claims = await claimed(db)
    assert [(job_id, KIND, 1)] == [(one.id, one.kind, one.attempt) for one in claims]
    assert {job_id} == await finished(db, claims)
    assert 0 == await count(db)
    assert set() == await finished(db, claims)


async def test_a_job_of_a_transaction_that_was_rolled_back_was_never_there(db: Database) -> None:
    """Work is on record together with what it is about, or not at all."""
    with pytest.raises(RuntimeError, match="after enqueue"):
        await _enqueue_and_fail(db)
    assert 0 == await count(db)


async def _enqueue_and_fail(db: Database) -> None:
    async with db.transaction() as tx:
        await jobs.enqueue(tx, KIND, [new_id()])
        raise RuntimeError("after enqueue")


async def test_a_finish_that_was_rolled_back_leaves_the_job(db: Database) -> None:
    """Its lease runs out and it is done again."""
    (job_id,) = await enqueued(db)
    claims = await claimed(db, lease_s=0)
    with pytest.raises(RuntimeError, match="after finish"):
        await _finish_and_fail(db, claims)
    assert 1 == await jobs.reclaim(db, limit=10)
    assert [job_id] == [one.id for one in await claimed(db)]


async def _finish_and_fail(db: Database, claims: list[Claim]) -> None:
    async with db.transaction() as tx:
        await jobs.finish(tx, claims)
        raise RuntimeError("after finish")


async def test_two_workers_never_claim_the_same_job(db: Database) -> None:
    """Twelve claim at once, again and again, until nothing is left: each job is claimed once."""
    ids = await enqueued(db, 100)
    claims: list[Claim] = []
    while found := await asyncio.gather(*(claimed(db, limit=3) for _ in range(12))):
        batch = [claim for one in found for claim in one]
        claims += batch
        if not batch:
            break
    assert sorted(ids) == sorted(claim.id for claim in claims)
    assert {1} == {claim.attempt for claim in claims}


async def test_the_oldest_jobs_come_first(db: Database) -> None:
    """A newer crowd does not starve who came before."""
    ids = await enqueued(db, 5)
    assert set(ids[:2]) == {one.id for one in await claimed(db, limit=2)}
    assert set(ids[2:4]) == {one.id for one in await claimed(db, limit=2)}


async def test_a_worker_gets_only_the_kinds_that_it_asks_for(db: Database) -> None:
    """Another kind of work stays where it is."""
    await enqueued(db, kind="other")
    assert [] == await claimed(db)
    assert 1 == len(await jobs.claim(db, [KIND, "other"], worker=new_id(), limit=5, lease_s=60))


async def test_a_lease_that_runs_is_left_alone(db: Database) -> None:
    """Neither reclaimed nor claimed by another."""
    await enqueued(db)
    claims = await claimed(db)
    assert 0 == await jobs.reclaim(db, limit=10)
    assert [] == await claimed(db)
    assert 1 == len(await finished(db, claims))


async def test_a_zombie_cannot_finish_what_was_given_away(db: Database) -> None:
    """A worker that slept past its lease is told that the job is no longer its own; the new one finishes."""
    (job_id,) = await enqueued(db)
    zombie = await claimed(db, lease_s=0)
    assert 1 == await jobs.reclaim(db, limit=10)
    assert set() == await finished(db, zombie)
    heir = await claimed(db)
    assert [(job_id, 2)] == [(one.id, one.attempt) for one in heir]
    assert set() == await finished(db, zombie)
    assert {job_id} == await finished(db, heir)


async def test_a_worker_cannot_finish_with_an_older_claim_of_its_own(db: Database) -> None:
    """The attempt belongs to the token too: the same process may get the same job again."""
    (job_id,), worker = await enqueued(db), new_id()
    old = await claimed(db, worker, lease_s=0)
    await jobs.reclaim(db, limit=10)
    new = await claimed(db, worker)
    assert set() == await finished(db, old)
    assert {job_id} == await finished(db, new)


async def test_a_lease_that_ran_out_and_that_nobody_took_is_still_finished(db: Database) -> None:
    """Late is not lost, as long as the work was not given away."""
    (job_id,) = await enqueued(db)
    assert {job_id} == await finished(db, await claimed(db, lease_s=0))


async def test_a_sign_of_life_lengthens_the_lease(db: Database) -> None:
    """And only for the worker that holds it."""
    (job_id,), worker = await enqueued(db), new_id()
    await claimed(db, worker, lease_s=0)
    await jobs.renew(db, new_id(), [job_id], lease_s=60)
    assert True is await db.fetchval("SELECT lease_until <= now() FROM infra.jobs")
    await jobs.renew(db, worker, [job_id], lease_s=60)
    assert 0 == await jobs.reclaim(db, limit=10)


async def test_a_sign_of_life_does_not_wait_for_a_finish_under_way(db: Database) -> None:
    """One job is being finished; the leases of the others are renewed all the same."""
    _, other = await enqueued(db, 2)
    worker = new_id()
    claims = await claimed(db, worker, lease_s=0)
    async with db.transaction() as tx:
        await jobs.finish(tx, [one for one in claims if one.id != other])
        async with asyncio.timeout(5):
            await jobs.renew(db, worker, [one.id for one in claims], lease_s=60)
    assert 0 == await jobs.reclaim(db, limit=10)
    assert {other} == await finished(db, claims)


async def test_a_job_that_is_handed_back_waits_for_its_delay(db: Database) -> None:
    """Not before; then as the next attempt."""
    (job_id,) = await enqueued(db)
    await jobs.hand_back(db, await claimed(db), delay_s=3_600)
    assert [] == await claimed(db)
    assert True is await db.fetchval("SELECT run_at > now() + interval '59 minutes' AND worker IS NULL FROM infra.jobs")
    async with db.transaction() as tx:
        await tx.execute("UPDATE infra.jobs SET run_at = now()")
    assert [(job_id, 2)] == [(one.id, one.attempt) for one in await claimed(db)]


async def test_a_zombie_cannot_hand_back_what_was_given_away(db: Database) -> None:
    """The heir keeps its claim."""
    await enqueued(db)
    zombie = await claimed(db, lease_s=0)
    await jobs.reclaim(db, limit=10)
    heir = await claimed(db)
    await jobs.hand_back(db, zombie, delay_s=0)
    assert 1 == len(await finished(db, heir))


async def test_reclaim_frees_no_more_than_its_bound(db: Database) -> None:
    """The rest is for the next round."""
    await enqueued(db, 5)
    await claimed(db, lease_s=0)
    assert [3, 2, 0] == [await jobs.reclaim(db, limit=3) for _ in range(3)]


async def test_a_dropped_job_is_gone_whoever_holds_it(db: Database) -> None:
    """What it worked on has ended; the worker is told at its finish."""
    (job_id,) = await enqueued(db)
    claims = await claimed(db)
    async with db.transaction() as tx:
        await jobs.drop(tx, [job_id])
    assert set() == await finished(db, claims)


async def test_a_job_is_enqueued_once(db: Database) -> None:
    """The id of a job is the id of what it works on."""
    ids = await enqueued(db)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with db.transaction() as tx:
            await jobs.enqueue(tx, "other", ids)


async def test_depths_count_every_job_by_kind(db: Database) -> None:
    """Claimed ones too: they are not done."""
    await enqueued(db, 3)
    await enqueued(db, 1, kind="other")
    await claimed(db, limit=1)
    depths = await jobs.queue_depths(db)
    assert {KIND: 3, "other": 1} == {kind: depth for kind, (depth, _) in depths.items()}
    assert all(age_s >= 0 for _, age_s in depths.values())
