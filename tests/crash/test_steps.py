"""A worker that dies at any step loses nothing: its stamp ends sealed or given back, once, with the same serial."""

from __future__ import annotations

import asyncio

import failing
import pytest

from emeterai.core.ledger import Balance
from emeterai.core.stamping import StampState
from emeterai.infra import jobs
from emeterai.infra.ids import new_id
from emeterai.seal.service import SealEngine
from emeterai.stamping.endings import Endings
from emeterai.stamping.model import Stamp
from emeterai.stamping.service import SEAL
from spine import Died, Spine

BEFORE_SETTLE = [
    failing.DiesBeforeSeal,
    failing.DiesAfterSeal,
    failing.DiesBeforeReadBack,
    failing.DiesBeforeSettle,
]
KILL_IN_SETTLE = """
    CREATE FUNCTION die_here() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_terminate_backend(pg_backend_pid());
        RETURN NEW;
    END $$;
    CREATE TRIGGER dies_here BEFORE UPDATE ON stamping.stamps FOR EACH ROW EXECUTE FUNCTION die_here();
"""


async def sealed_by_another(spine: Spine, engine: SealEngine, stamp: Stamp, *, attempt: int) -> None:
    """The lease runs out, another worker does it again, and the result is whole and genuine."""
    assert 1 == await spine.let_leases_run_out()
    claims = await spine.claim()
    assert [attempt] == [claim.attempt for claim in claims]
    await spine.journey(engine).seal(claims)
    await assert_sealed(spine, engine, stamp, attempt=attempt)


async def assert_sealed(spine: Spine, engine: SealEngine, stamp: Stamp, *, attempt: int) -> None:
    """The stamp is sealed by that attempt, its unit is used, and the file is genuine and carries its serial."""
    now = await spine.now(stamp)
    assert StampState.SEALED is now.state
    assert f"tails/{stamp.id}.{attempt}" == now.tail_key
    assert Balance(bought=1, used=1) == await spine.balance(stamp)
    async with spine.blobs.as_file(now.base_key) as original:
        whole = original.with_name("whole.pdf")
        whole.write_bytes(await spine.sealed_file(now))
    report = await engine.verify(whole)
    assert ("genuine", [stamp.serial]) == (report.outcome, [seal.serial for seal in report.stamps])
    await spine.assert_sound(stamp)


async def assert_given_back(spine: Spine, stamp: Stamp, reason: str, code: str | None = None) -> None:
    """The unit is back, with that reason and refusal."""
    now = await spine.now(stamp)
    assert (StampState.GIVEN_BACK, reason, code) == (now.state, now.reason, now.refusal_code)
    assert Balance(bought=1) == await spine.balance(stamp)
    await spine.assert_sound(stamp)


@pytest.mark.parametrize("dying", BEFORE_SETTLE)
async def test_a_worker_that_dies_before_settling_is_replaced(
    spine: Spine, engine: SealEngine, dying: type[failing.Engine]
) -> None:
    """Until it settles, nothing that a worker did counts; the next worker seals with the same serial."""
    stamp = await spine.held()
    with pytest.raises(Died):
        await spine.journey(dying(engine)).seal(await spine.claim())
    assert StampState.HELD is (await spine.now(stamp)).state
    assert Balance(bought=1, held=1) == await spine.balance(stamp)
    await spine.assert_sound(stamp)
    await sealed_by_another(spine, engine, stamp, attempt=2)


@pytest.mark.parametrize("dying", BEFORE_SETTLE)
async def test_a_worker_that_dies_and_is_not_replaced_costs_nothing(
    spine: Spine, engine: SealEngine, dying: type[failing.Engine]
) -> None:
    """The hold runs out, the unit comes back by itself, and no job is left for anybody."""
    stamp = await spine.held()
    with pytest.raises(Died):
        await spine.journey(dying(engine)).seal(await spine.claim())
    assert 0 == await spine.endings.sweep()
    await spine.let_holds_run_out()
    assert 1 == await spine.endings.sweep()
    assert 0 == await spine.endings.sweep()
    await assert_given_back(spine, stamp, "expired")
    assert 0 == await spine.let_leases_run_out()
    assert [] == await spine.claim()


async def test_a_database_that_dies_in_the_settling_transaction_settles_nothing(
    spine: Spine, engine: SealEngine
) -> None:
    """The backend is killed between the ledger's write and the stamp's; all of it is undone, then done again."""
    stamp = await spine.held()
    async with spine.db.transaction() as tx:
        await tx.execute(KILL_IN_SETTLE)
    with pytest.raises(Exception, match=r"terminat|closed"):
        await spine.journey(engine).seal(await spine.claim())
    async with spine.db.transaction() as tx:
        await tx.execute("DROP TRIGGER dies_here ON stamping.stamps")
    assert StampState.HELD is (await spine.now(stamp)).state
    assert Balance(bought=1, held=1) == await spine.balance(stamp)
    await sealed_by_another(spine, engine, stamp, attempt=2)


async def test_a_settlement_whose_answer_was_lost_stands_and_is_not_made_again(
    spine: Spine, engine: SealEngine
) -> None:
    """The worker dies between its commit and telling anybody. Even one that then settles again changes nothing."""
    stamp = await spine.held()
    claims = await spine.claim()
    silent = Endings(spine.db, failing.DeadEndBus(), spine.ledger, spine.serials)
    with pytest.raises(Died):
        await spine.journey(engine, endings=silent).seal(claims)
    await assert_sealed(spine, engine, stamp, attempt=1)
    await spine.journey(engine).seal(claims)
    await assert_sealed(spine, engine, stamp, attempt=1)
    assert 0 == await spine.let_leases_run_out()


async def test_a_zombie_does_not_settle_what_another_worker_has_settled(spine: Spine, engine: SealEngine) -> None:
    """A worker sleeps past its lease; another seals. Waking up, the first finds that the stamp is not its own."""
    stamp, sleeper = await spine.held(), failing.Sleeper(engine)
    zombie = asyncio.create_task(spine.journey(sleeper).seal(await spine.claim()))
    await sleeper.asleep.wait()
    await sealed_by_another(spine, engine, stamp, attempt=2)
    sleeper.wake.set()
    await zombie
    await assert_sealed(spine, engine, stamp, attempt=2)


async def test_a_zombie_does_not_settle_while_another_worker_is_at_it(spine: Spine, engine: SealEngine) -> None:
    """Both workers have a proven seal; the one whose lease ran out is first to settle, and may not."""
    stamp, first, second = await spine.held(), failing.Sleeper(engine), failing.Sleeper(engine)
    zombie = asyncio.create_task(spine.journey(first).seal(await spine.claim()))
    await first.asleep.wait()
    await spine.let_leases_run_out()
    worker = asyncio.create_task(spine.journey(second).seal(await spine.claim()))
    await second.asleep.wait()
    first.wake.set()
    await zombie
    assert StampState.HELD is (await spine.now(stamp)).state
    second.wake.set()
    await worker
    await assert_sealed(spine, engine, stamp, attempt=2)


async def test_a_zombie_does_not_settle_what_was_given_back(spine: Spine, engine: SealEngine) -> None:
    """A worker sleeps past the hold; the unit goes back. Waking up, it can neither settle nor give back again."""
    stamp, sleeper = await spine.held(), failing.Sleeper(engine)
    zombie = asyncio.create_task(spine.journey(sleeper).seal(await spine.claim()))
    await sleeper.asleep.wait()
    await spine.let_holds_run_out()
    assert 1 == await spine.endings.sweep()
    sleeper.wake.set()
    await zombie
    await assert_given_back(spine, stamp, "expired")


async def test_a_zombie_does_not_give_back_what_another_worker_has_sealed(spine: Spine, engine: SealEngine) -> None:
    """A worker that comes to the last of its tries too late does not take the sealed stamp from its owner."""
    stamp = await spine.held()
    late = await spine.claim()
    await sealed_by_another(spine, engine, stamp, attempt=2)
    await spine.journey(failing.BuggyEngine(engine), attempts_max=1).seal(late)
    await assert_sealed(spine, engine, stamp, attempt=2)


async def test_a_zombie_cannot_lengthen_a_lease_that_it_lost(spine: Spine, engine: SealEngine) -> None:
    """Signs of life count only for the holder: the lease of the one who has the job now stays as it was."""
    await spine.held()
    [lost] = await spine.claim()
    await spine.let_leases_run_out()
    [mine] = await spine.claim()
    before = await spine.db.fetchval("SELECT lease_until FROM infra.jobs WHERE id = $1", mine.id)
    await jobs.renew(spine.db, lost.worker, [lost.id], lease_s=3_600)
    await jobs.hand_back(spine.db, [lost], delay_s=0)
    assert (before, mine.worker) == tuple(
        await spine.db.fetchrow("SELECT lease_until, worker FROM infra.jobs WHERE id = $1", mine.id)
    )


async def test_two_workers_on_the_same_stamps_seal_each_once(spine: Spine, engine: SealEngine) -> None:
    """Every lease is lost while both workers are busy with the same five stamps: each stamp is settled once."""
    stamps = [await spine.held() for _ in range(5)]
    first = await spine.claim()
    await spine.let_leases_run_out()
    second = await spine.claim()
    await asyncio.gather(spine.journey(engine).seal(first), spine.journey(engine).seal(second))
    for stamp in stamps:
        await assert_sealed(spine, engine, stamp, attempt=2)


async def test_a_job_is_claimed_by_one_of_many_workers(spine: Spine) -> None:
    """Twenty workers ask for twelve jobs at once: each job has one holder."""
    stamps = [await spine.held() for _ in range(12)]
    many = await asyncio.gather(
        *(jobs.claim(spine.db, [SEAL], worker=new_id(), limit=2, lease_s=60) for _ in range(20))
    )
    claimed = [claim.id for claims in many for claim in claims]
    assert sorted(stamp.id for stamp in stamps) == sorted(claimed)
