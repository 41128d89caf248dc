"""Stores that lie, files that rot, jobs that kill, a database that goes away: each unit comes back, with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import failing
import pytest

from emeterai.core.ledger import Balance
from emeterai.core.stamping import DocumentState, StampState
from emeterai.infra import jobs
from emeterai.infra.ids import new_id
from emeterai.infra.worker_loop import work_on
from emeterai.seal.service import SealEngine
from emeterai.stamping.documents import INSPECT
from emeterai.stamping.jobs import sealer_work
from emeterai.stamping.journey import Journey
from emeterai.stamping.model import Stamp, original_key
from papers import letter
from spine import Died, Spine

ATTEMPTS_MAX = 3


async def try_to_the_end(spine: Spine, journey: Journey, stamp: Stamp) -> Stamp:
    """Let a worker try until it tries no more; before the last try the unit is still held."""
    for _ in range(ATTEMPTS_MAX):
        assert StampState.HELD is (await spine.now(stamp)).state
        assert Balance(bought=1, held=1) == await spine.balance(stamp)
        await journey.seal(await spine.claim())
    assert [] == await spine.claim()
    return await spine.now(stamp)


async def assert_back(spine: Spine, stamp: Stamp, code: str) -> None:
    """The unit is back because we failed, and the reason is named."""
    assert (StampState.GIVEN_BACK, "sealing_failed", code) == (stamp.state, stamp.reason, stamp.refusal_code)
    assert Balance(bought=1) == await spine.balance(stamp)
    await spine.assert_sound(stamp)


@pytest.mark.parametrize(
    ("store", "code"),
    [
        (failing.LosingStore, "sealing_failed"),
        (failing.WrongStore, "seal_not_valid"),
        (failing.CuttingStore, "seal_not_valid"),
    ],
)
async def test_a_blob_store_that_lies_about_a_tail_never_makes_a_sealed_stamp(
    spine: Spine, engine: SealEngine, tmp_path: Path, store: type[failing.LosingStore], code: str
) -> None:
    """What was stored is read back before the unit is used: lost, other or half a tail is never called sealed."""
    stamp = await spine.held()
    journey = spine.journey(engine, blobs=store(tmp_path / "blobs"))
    await assert_back(spine, await try_to_the_end(spine, journey, stamp), code)


async def test_a_tail_altered_between_writing_and_reading_is_noticed(spine: Spine, engine: SealEngine) -> None:
    """One bit is enough."""
    stamp = await spine.held()
    journey = spine.journey(failing.Meddler(engine))
    await assert_back(spine, await try_to_the_end(spine, journey, stamp), "seal_not_valid")


async def test_one_bad_write_costs_a_try_and_not_the_stamp(spine: Spine, engine: SealEngine, tmp_path: Path) -> None:
    """The next try writes under another key and is sealed; what the bad one left is never shown."""
    stamp = await spine.held()
    await spine.journey(engine, blobs=failing.WrongStore(tmp_path / "blobs")).seal(await spine.claim())
    await spine.journey(engine).seal(await spine.claim())
    now = await spine.now(stamp)
    assert (StampState.SEALED, f"tails/{stamp.id}.2") == (now.state, now.tail_key)
    await spine.assert_sound(stamp)


async def test_an_original_that_is_no_longer_what_was_sent_is_not_sealed(
    spine: Spine, engine: SealEngine, tmp_path: Path
) -> None:
    """The serial belongs to the digest that its owner sent: another valid PDF in its place gets no seal."""
    stamp = await spine.held()
    (tmp_path / "blobs" / stamp.base_key).write_bytes(letter(text="surat orang lain"))
    await assert_back(spine, await try_to_the_end(spine, spine.journey(engine), stamp), "original_damaged")


@pytest.mark.parametrize("kept", [0.9, 0.01])
async def test_an_original_that_the_store_has_cut_is_neither_repaired_nor_called_broken(
    spine: Spine, engine: SealEngine, kept: float
) -> None:
    """Repair would make a document of it that nobody sent, and the sender's file is not to blame. Nothing is owed."""
    account_id, data = new_id(), letter()
    document_id = await spine.documents.receive(account_id, "surat.pdf", data)
    await spine.blobs.delete([original_key(document_id)])
    await spine.blobs.put(original_key(document_id), data[: int(len(data) * kept)])
    for _ in range(ATTEMPTS_MAX):
        await spine.journey(engine).inspect(await spine.claim(INSPECT))
    document = await spine.documents.get(account_id, document_id)
    assert (DocumentState.REFUSED, "file_not_opened") == (document.state, document.refusal_code)


async def test_a_bug_in_sealing_costs_that_stamp_only(spine: Spine, engine: SealEngine) -> None:
    """An unexpected crash is tried again, then gives the unit back."""
    stamp = await spine.held()
    journey = spine.journey(failing.BuggyEngine(engine))
    await assert_back(spine, await try_to_the_end(spine, journey, stamp), "sealing_failed")


async def test_a_job_that_kills_its_workers_is_given_back_without_another_try(spine: Spine, engine: SealEngine) -> None:
    """After three workers died on it without a word, the fourth does not open the file: it returns the unit."""
    stamp = await spine.held()
    deadly = spine.journey(failing.DiesBeforeSeal(engine))
    for _ in range(ATTEMPTS_MAX):
        with pytest.raises(Died):
            await deadly.seal(await spine.claim())
        await spine.let_leases_run_out()
    await deadly.seal(await spine.claim())
    await assert_back(spine, await spine.now(stamp), "sealing_failed")


@asynccontextmanager
async def away(url: str) -> AsyncIterator[None]:
    """As long as the block lasts, this test's database has no sessions and lets nobody in."""
    address, _, place = url.partition("?")
    server, _, name = address.rpartition("/")
    other = await asyncpg.connect(f"{server}/emeterai?{place}")
    try:
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await other.close()


async def _forever(every_s: float, sweep: Callable[[], Awaitable[object]]) -> None:
    while True:
        with suppress(Exception):
            await sweep()
        await asyncio.sleep(every_s)


async def test_a_database_that_is_away_when_a_seal_is_ready_is_waited_for(
    spine: Spine, engine: SealEngine, database_url: str
) -> None:
    """The worker loop and the steward's sweep survive it, and seal the stamp when the database is back, unaided."""
    stamp, sleeper = await spine.held(), failing.Sleeper(engine)
    work = sealer_work(spine.journey(sleeper))
    loop = asyncio.create_task(work_on(spine.db, spine.bus, work, worker=new_id(), batch_max=4, lease_s=1))
    sweep = asyncio.create_task(_forever(0.2, lambda: jobs.reclaim(spine.db, limit=10)))
    await sleeper.asleep.wait()
    async with away(database_url):
        sleeper.wake.set()
        await asyncio.sleep(1.5)
    async with asyncio.timeout(30):
        while (await spine.now(stamp)).state is StampState.HELD:
            await asyncio.sleep(0.1)
    assert not loop.done()
    for task in (loop, sweep):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert StampState.SEALED is (await spine.now(stamp)).state
    await spine.assert_sound(stamp)


async def test_a_busy_machine_is_no_reason_to_refuse_a_document_as_busy(spine: Spine, engine: SealEngine) -> None:
    """Else "try again in a moment" would be said of it for ever; the last attempt says what its sender can do."""
    account_id = new_id()
    document_id = await spine.documents.receive(account_id, "surat.pdf", letter())
    for _ in range(ATTEMPTS_MAX):
        await spine.journey(failing.NeverFree(engine)).inspect(await spine.claim(INSPECT))
    document = await spine.documents.get(account_id, document_id)
    assert (DocumentState.REFUSED, "file_not_opened") == (document.state, document.refusal_code)
