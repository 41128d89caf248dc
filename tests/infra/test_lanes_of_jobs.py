"""Lanes share each batch of jobs: a crowd in one keeps no other waiting, and what is idle is lent."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from emeterai.infra import jobs
from emeterai.infra.database import Database
from emeterai.infra.fair_turns import FairTurns
from emeterai.infra.ids import new_id
from emeterai.infra.jobs import Claim
from emeterai.infra.lane import COMMON, work_for

KIND = "polish"
SHARES = {"retail": 0.40, "partners": 0.25, "enterprises": 0.15, "staff": 0.05}


def turns_of(shares: dict[str, float]) -> FairTurns:
    """Turns with these shares."""
    turns = FairTurns()
    turns.share(shares)
    return turns


async def enqueued(db: Database, lane: str, count: int) -> list[UUID]:
    """Jobs of one lane on record."""
    ids = [new_id() for _ in range(count)]
    async with db.transaction() as tx:
        await jobs.enqueue(tx, KIND, ids, lanes=[lane] * count)
    return ids


async def claimed(db: Database, turns: FairTurns | None, *, limit: int = 16) -> list[Claim]:
    """The next batch."""
    return await jobs.claim(db, [KIND], worker=new_id(), limit=limit, lease_s=60, turns=turns)


async def lanes_of(db: Database, claims: list[Claim]) -> Counter[str]:
    """How many of each lane are in a batch."""
    rows = await db.fetch("SELECT lane FROM infra.jobs WHERE id = ANY($1::uuid[])", [claim.id for claim in claims])
    return Counter(row["lane"] for row in rows)


async def test_who_comes_behind_a_crowd_of_another_lane_is_in_the_next_batch(db: Database) -> None:
    """Ten thousand of retail wait; eight of the partners' come; the next batch is as full as ever and has all eight."""
    turns = turns_of(SHARES)
    await enqueued(db, "retail", 10_000)
    assert Counter(retail=32) == await lanes_of(db, await claimed(db, turns, limit=32))
    theirs = await enqueued(db, "partners", 8)
    batch = await claimed(db, turns, limit=32)
    assert set(theirs) <= {claim.id for claim in batch}
    assert Counter(retail=24, partners=8) == await lanes_of(db, batch)


async def test_each_lane_with_work_gets_its_share_of_a_batch_at_least(db: Database) -> None:
    """Rounded up where there is room; the idle rest by the same weights."""
    turns = turns_of(SHARES)
    for lane in SHARES:
        await enqueued(db, lane, 100)
    found = await lanes_of(db, await claimed(db, turns))
    assert 16 == sum(found.values())
    assert all(found[lane] >= math.ceil(share * 16) for lane, share in SHARES.items())


async def test_a_lane_alone_has_everything_and_owes_nothing(db: Database) -> None:
    """After it has borrowed for long it still has its own share."""
    turns = turns_of(SHARES)
    await enqueued(db, "retail", 1_000)
    for _ in range(20):
        assert Counter(retail=16) == await lanes_of(db, await claimed(db, turns))
    await enqueued(db, "partners", 100)
    found = await lanes_of(db, await claimed(db, turns))
    assert found["retail"] >= 0.4 / 0.65 * 16 - 1
    assert found["partners"] >= 0.25 / 0.65 * 16 - 1


async def test_what_rounding_gave_to_small_lanes_the_next_batches_give_back(db: Database) -> None:
    """Ten of them, one job of a batch each, would leave a large one a third of what it is guaranteed."""
    small = {f"small-{number}": 0.01 for number in range(10)}
    turns, done = turns_of(small | {"retail": 0.9}), Counter[str]()
    for lane in (*small, "retail"):
        await enqueued(db, lane, 80)
    for _ in range(5):
        done += await lanes_of(db, await claimed(db, turns))
    assert done["retail"] >= 0.9 * 80 - len(small)
    assert all(done[lane] for lane in small)


async def test_within_a_lane_the_oldest_come_first(db: Database) -> None:
    """Lanes do not change that."""
    turns, lanes = turns_of(SHARES), ("partners", "retail")
    ids = [(lane, one) for _ in range(12) for lane in lanes for one in await enqueued(db, lane, 1)]
    batch = {claim.id for claim in await claimed(db, turns, limit=13)}
    for lane in lanes:
        taken = [one in batch for its, one in ids if its == lane]
        assert {True, False} == set(taken)
        assert sorted(taken, reverse=True) == taken


async def test_work_of_a_lane_that_is_no_longer_there_is_done(db: Database) -> None:
    """Nobody waits for ever because a lane was taken away."""
    turns, gone = turns_of(SHARES), await enqueued(db, "cpns-2025", 2)
    await enqueued(db, "retail", 400)
    done: set[UUID] = set()
    for _ in range(20):
        done |= {claim.id for claim in await claimed(db, turns)}
    assert set(gone) <= done


async def test_a_job_that_is_not_due_keeps_no_other_lane_waiting(db: Database) -> None:
    """It is there, but not ready."""
    turns = turns_of(SHARES)
    await enqueued(db, "retail", 32)
    await claimed(db, turns)
    async with db.transaction() as tx:
        await jobs.enqueue(tx, KIND, [new_id()], delay_s=3_600, lanes=["partners"])
    assert Counter(retail=16) == await lanes_of(db, await claimed(db, turns))


async def test_workers_at_once_claim_each_job_once_in_all_lanes(db: Database) -> None:
    """Twelve of them, until nothing is left."""
    turns = turns_of(SHARES)
    ids = [one for lane in ("retail", "partners", "staff") for one in await enqueued(db, lane, 60)]
    claims: list[Claim] = []
    while found := [claim for one in await asyncio.gather(*(claimed(db, turns) for _ in range(12))) for claim in one]:
        claims += found
    assert sorted(ids) == sorted(claim.id for claim in claims)


async def test_a_job_belongs_to_the_lane_for_which_the_task_works(db: Database) -> None:
    """Unless it is said whose it is; what nobody said anything of belongs to everybody's lane."""
    for lane in (None, "partners"):
        if lane is not None:
            work_for(lane, 0)
        async with db.transaction() as tx:
            await jobs.enqueue(tx, KIND, [new_id()])
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO infra.jobs (id, kind) VALUES ($1, $2)", new_id(), KIND)
    assert Counter({COMMON: 2, "partners": 1}) == await lanes_of(db, await claimed(db, None))


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every step of a plan."""
    yield plan
    for below in plan.get("Plans", []):
        yield from steps(below)


async def test_a_claim_looks_at_no_more_than_it_may_take(db: Database) -> None:
    """However many wait: no step of its plan sees more rows than a batch of each lane."""
    turns = turns_of(SHARES)
    for lane, count in {"retail": 5_000, "partners": 5_000}.items():
        await enqueued(db, lane, count)
    at, wanted = turns.marks(), (KIND, new_id(), 16, 60.0)
    shared = (jobs._CLAIM_SHARED, *wanted, at.lanes, at.marks, at.steps, at.other, at.other_step)
    for statement, *arguments in (shared, (jobs._CLAIM_ALONE, *wanted, "retail")):
        explained = await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
        most = max(step["Actual Rows"] * step["Actual Loops"] for step in steps(json.loads(explained)[0]["Plan"]))
        removed = [step.get("Rows Removed by Filter", 0) for step in steps(json.loads(explained)[0]["Plan"])]
        assert most <= 3 * 16
        assert max(removed) <= 3 * 16


async def test_depths_of_a_kind_are_told_by_lane(db: Database) -> None:
    """Each with the age of its own oldest job; those of other kinds are not among them."""
    await enqueued(db, COMMON, 2)
    old, *_ = await enqueued(db, "partners", 3)
    async with db.transaction() as tx:
        await jobs.enqueue(tx, "other", [new_id()], lanes=["partners"])
    await db.fetch("UPDATE infra.jobs SET created_at = now() - interval '1 minute' WHERE id = $1", old)
    depths = await jobs.lane_depths(db, KIND)
    assert {COMMON: 2, "partners": 3} == {lane: depth for lane, (depth, _) in depths.items()}
    assert depths[COMMON][1] < 60 <= depths["partners"][1]
