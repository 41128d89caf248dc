"""A stamp that was sealed without its timestamp is raised later, and nobody has to do anything for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emeterai.core.stamping import StampState
from emeterai.infra import metrics
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.jobs import Claim
from emeterai.seal.service import RevocationClient, SealEngine, Signer
from emeterai.seal.signer import signer_from
from emeterai.seal.timestamp import TimestampClient, TimestampPlace
from emeterai.seal.verification import verify_bytes
from emeterai.stamping import levels
from emeterai.stamping.download import sealed_file
from emeterai.stamping.endings import Endings
from emeterai.stamping.levels import UPGRADE, Levels
from emeterai.stamping.model import Stamp
from spine import SIZE_BYTES_MAX, Spine
from twins.timestamp_authority import TimestampAuthority, make_leaf, make_root


@pytest.fixture
def authority() -> Iterator[TimestampAuthority]:
    """A timestamp authority of this test's own."""
    twin = TimestampAuthority()
    yield twin
    twin.stop()


class RisingSpine(Spine):
    """A spine with a timestamp authority, a sealer's journey and its work on levels."""

    signer: Signer
    engine: SealEngine
    levels: Levels
    timestamps: TimestampClient

    async def seal(self) -> Stamp:
        """A stamp on a new person's letter, sealed and settled."""
        stamp = await self.held()
        await self.journey(self.engine, endings=self.endings).seal(await self.claim())
        return await self.now(stamp)

    async def raise_once(self, *, claims: list[Claim] | None = None) -> int:
        """Work on the jobs that wait; answers how many there were."""
        found = await self.claim(UPGRADE) if claims is None else claims
        await self.levels.raise_levels(found)
        return len(found)


@asynccontextmanager
async def rising(
    db: Database, folder: Path, authority: TimestampAuthority, *, tells: bool = True
) -> AsyncIterator[RisingSpine]:
    """A spine whose stamps are to reach B-LT; the sealing certificate may not tell of its revocation."""
    root = make_root("Uji root segel SPECIMEN")
    leaf = make_leaf("Uji segel SPECIMEN", root, crl_url=authority.publish_crl("/seal.crl", root) if tells else None)
    spine = RisingSpine(db, folder)
    spine.signer = signer_from(leaf.key, [leaf.certificate, root.certificate], now=datetime.now(UTC))
    spine.timestamps = TimestampClient(TimestampPlace(authority.url, (authority.root.certificate,), 1.0))
    revocations = RevocationClient(timeout_s=2)
    spine.engine = await SealEngine.start(
        signer=spine.signer, size_bytes_max=SIZE_BYTES_MAX, timestamps=spine.timestamps, revocations=revocations
    )
    spine.endings = Endings(db, spine.bus, spine.ledger, spine.serials, level_wanted="B-LT")
    spine.levels = Levels(db, spine.blobs, spine.bus, spine.engine, level_wanted="B-LT", clock=utc_now)
    try:
        yield spine
    finally:
        await spine.engine.close()
        await spine.timestamps.close()
        await revocations.close()


async def downloaded(spine: Spine, stamp: Stamp, range_header: str | None = None) -> bytes:
    """The file, or a part of it, as its owner fetches it."""
    file = sealed_file(stamp, range_header=range_header)
    return b"".join([piece async for piece in file.stream(spine.blobs)])


def outcome_of(content: bytes, spine: RisingSpine, authority: TimestampAuthority) -> tuple[str, str]:
    """What our verifier says: the outcome, and the level of the stamp."""
    report = verify_bytes(content, roots=list(spine.signer.roots), timestamp_roots=[authority.root.der])
    return report.outcome, report.stamps[0].level


async def test_with_the_authority_down_stamps_are_made_and_raised_when_it_is_back(
    db: Database, tmp_path: Path, authority: TimestampAuthority
) -> None:
    """Sealed and settled at B-B; the unit is spent once; later B-T, then B-LT; each file begins with the one before."""
    async with rising(db, tmp_path, authority) as spine:
        authority.stop()
        stamp = await spine.seal()
        assert (StampState.SEALED, "B-B", []) == (stamp.state, stamp.level, stamp.addendum_keys)
        files = [await downloaded(spine, stamp)]
        assert 1 == await spine.raise_once()
        assert "B-B" == (await spine.now(stamp)).level
        authority.start_again()
        for level in ("B-T", "B-LT"):
            assert 1 == await spine.raise_once()
            now = await spine.now(stamp)
            assert level == now.level
            files.append(await downloaded(spine, now))
            assert ("genuine", level) == outcome_of(files[-1], spine, authority)
            assert (len(files[-1]), hashlib.sha256(files[-1]).digest()) == (now.sealed_size_bytes, now.sealed_digest)
            assert files[-1].startswith(files[-2])
        assert 0 == await spine.raise_once()
        assert files[-1] == await spine.sealed_file(now)
        await spine.assert_sound(stamp)


async def test_raising_gives_way_to_stamps_that_are_sealed_here(
    db: Database, tmp_path: Path, authority: TimestampAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage many files wait to be raised, and nobody waits for them: between two of them there is a rest
    while stamps are settled in this process, and none otherwise.
    """
    resting_long(monkeypatch)
    async with rising(db, tmp_path, authority) as spine:
        authority.stop()
        stamps = [await spine.seal() for _ in range(2)]
        authority.start_again()

        async def raised() -> int:
            return sum([(await spine.now(stamp)).level != "B-B" for stamp in stamps])

        metrics.batch("settle", 1)
        raising = asyncio.create_task(spine.raise_once())
        async with asyncio.timeout(10):
            while not await raised():
                await asyncio.sleep(0.02)
        await asyncio.sleep(2 * levels._OF_LATE_S)
        assert 1 == await raised()
        raising.cancel()
        await asyncio.gather(raising, return_exceptions=True)
        await spine.let_leases_run_out()
        await spine.raise_once()
        assert 2 == await raised()


async def test_what_every_stamp_needs_keeps_pace_with_the_sealing(
    db: Database, tmp_path: Path, authority: TimestampAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with a timestamp get their revocation data without a rest, however many are sealed: or the queue of a day
    of many stamps would only ever grow.
    """
    resting_long(monkeypatch)
    async with rising(db, tmp_path, authority) as spine:
        stamps = [await spine.seal() for _ in range(2)]
        assert ["B-T"] * 2 == [stamp.level for stamp in stamps]
        metrics.batch("settle", 1)
        async with asyncio.timeout(30):
            await spine.raise_once()
        assert ["B-LT"] * 2 == [(await spine.now(stamp)).level for stamp in stamps]


async def test_files_of_an_outage_keep_nobody_elses_waiting(
    db: Database, tmp_path: Path, authority: TimestampAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one that had no timestamp rests in its turn, one that has got its own is raised."""
    resting_long(monkeypatch)
    async with rising(db, tmp_path, authority) as spine:
        authority.stop()
        await spine.seal()
        authority.start_again()
        stamp = await spine.seal()
        assert "B-T" == stamp.level
        metrics.batch("settle", 1)
        raising = asyncio.create_task(spine.raise_once())
        async with asyncio.timeout(30):
            while "B-LT" != (await spine.now(stamp)).level:
                await asyncio.sleep(0.02)
        assert not raising.done()
        raising.cancel()
        await asyncio.gather(raising, return_exceptions=True)


def resting_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file at a time, and a rest after it that no test outlasts."""
    for name, value in {"_AT_ONCE": 1, "_RESTS": 1e9, "_REST_S_MAX": 60.0, "_OF_LATE_S": 0.3}.items():
        monkeypatch.setattr(levels, name, value)


async def test_parts_of_a_raised_file_can_be_fetched(
    db: Database, tmp_path: Path, authority: TimestampAuthority
) -> None:
    """A range may begin and end anywhere, across original, tail and addenda."""
    async with rising(db, tmp_path, authority) as spine:
        stamp = await spine.seal()
        assert "B-T" == stamp.level
        await spine.raise_once()
        stamp = await spine.now(stamp)
        assert ("B-LT", 1) == (stamp.level, len(stamp.addendum_keys))
        whole = await downloaded(spine, stamp)
        edges = (0, stamp.base_bytes, len(whole) - stamp.addendum_bytes[0], len(whole))
        for start in (max(0, edge - 3) for edge in edges):
            for end in (start + 1, start + 6, len(whole)):
                if start < min(end, len(whole)):
                    part = await downloaded(spine, stamp, f"bytes={start}-{min(end, len(whole)) - 1}")
                    assert whole[start:end] == part


async def test_a_worker_that_dies_while_raising_leaves_the_file_as_it_was(
    db: Database, tmp_path: Path, authority: TimestampAuthority
) -> None:
    """The lease runs out, another worker raises it; the first one, when it wakes, changes nothing."""
    async with rising(db, tmp_path, authority) as spine:
        stamp = await spine.seal()
        lost = await spine.claim(UPGRADE)
        await spine.let_leases_run_out()
        assert 1 == await spine.raise_once()
        raised = await spine.now(stamp)
        await spine.raise_once(claims=lost)
        assert raised == await spine.now(stamp)
        await spine.assert_sound(stamp)


async def test_where_revocation_is_told_nowhere_the_level_stays_and_nobody_asks_again(
    db: Database, tmp_path: Path, authority: TimestampAuthority
) -> None:
    """The job ends; the file is genuine at B-T."""
    async with rising(db, tmp_path, authority, tells=False) as spine:
        stamp = await spine.seal()
        assert 1 == await spine.raise_once()
        assert 0 == await spine.raise_once()
        assert "B-T" == (await spine.now(stamp)).level


async def test_without_an_authority_no_jobs_are_left(
    db: Database, tmp_path: Path, authority: TimestampAuthority
) -> None:
    """An installation that wants B-B only makes no work for itself."""
    async with rising(db, tmp_path, authority) as spine:
        spine.endings = Endings(db, spine.bus, spine.ledger, spine.serials)
        await spine.seal()
        assert 0 == await spine.raise_once()


async def test_a_level_that_cannot_be_recorded_is_given_up_in_the_end(
    db: Database, tmp_path: Path, authority: TimestampAuthority
) -> None:
    """A bug of ours about one file asks no authority for ever: it is tried again, ever later, and left as it is."""
    async with rising(db, tmp_path, authority) as spine:
        stamp = await spine.seal()
        async with db.transaction() as tx:
            await tx.execute("ALTER TABLE stamping.stamps ADD CONSTRAINT no_bug CHECK (level <> 'B-LT')")
        assert 1 == await spine.raise_once()
        assert 1 == await db.fetchval("SELECT count(*) FROM infra.jobs WHERE worker IS NULL AND run_at > now()")
        async with db.transaction() as tx:
            await tx.execute("UPDATE infra.jobs SET attempts = 100")
        assert 1 == await spine.raise_once()
        assert 0 == await db.fetchval("SELECT count(*) FROM infra.jobs")
        now = await spine.now(stamp)
        assert (StampState.SEALED, "B-T") == (now.state, now.level)
        assert ("genuine", "B-T") == outcome_of(await downloaded(spine, now), spine, authority)
