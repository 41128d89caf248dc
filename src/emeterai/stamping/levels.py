"""Raising the level of sealed files after the fact: nobody waits for it, and no stamp depends on it.

A stamp that was sealed below the wanted level leaves a job behind, in the transaction that settled it. Each run of the
job appends one addendum; while the timestamp authority is away the job is handed back, for longer each time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from emeterai.core.refusal import Refused
from emeterai.core.stamping import StampState
from emeterai.infra import jobs, metrics
from emeterai.infra.blobs import BlobStore
from emeterai.infra.bus import Bus
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.infra.jobs import Claim
from emeterai.seal.service import MadeAddendum, NeverError, NotNowError
from emeterai.stamping import store
from emeterai.stamping.model import Stamp
from emeterai.stamping.store import Raised

UPGRADE = "upgrade"
"""The kind of job that raises the level of a sealed file."""
LEVELS = ("B-B", "B-T", "B-LT")
_AT_ONCE = 2
_FIRST_RETRY_S = 5.0
_RETRY_S_MAX = 3_600.0
_RESTS, _REST_S_MAX = 10.0, 5.0
"""While stamps are sealed here each file that had no timestamp is followed by a rest of so many times what it took: an
authority that is back after an hour would else take the processors from those who wait for theirs. What every stamp
needs, as revocation data after its timestamp, keeps pace with the sealing."""
_OF_LATE_S = 5.0
_SETTLED = "settle"
"""The batches in which stamps are settled (endings.py)."""
_OUR_FAULT = 500
_CRASHES_MAX = 20
_raised = metrics.counter("emeterai_levels_raised", "Sealed files raised, by the level reached", ["level"])
_log = structlog.get_logger(__name__)


class Raiser(Protocol):
    """What this needs of the sealing engine (seal.service.SealEngine)."""

    async def upgrade(self, original: Path, tails: Sequence[Path], *, level: str, at: datetime) -> MadeAddendum:
        """The bytes that raise a sealed file by one level."""


class Levels:
    """Works on jobs of the kind `upgrade`."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        bus: Bus,
        engine: Raiser,
        *,
        level_wanted: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._bus = bus
        self._engine = engine
        self._level_wanted = level_wanted
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._late_turns = asyncio.Semaphore(_AT_ONCE)
        """Of files without a timestamp, which rest in theirs and keep no other waiting."""
        self._settled = metrics.done(_SETTLED)
        self._sealing_until_s = 0.0

    async def raise_levels(self, claims: Sequence[Claim]) -> None:
        """Append one addendum to each sealed file, or try again later, or leave it as it is for good."""
        stamps = await store.find_many(self._db, [claim.id for claim in claims])
        await asyncio.gather(*(self._raise_one(claim, stamps.get(claim.id)) for claim in claims))

    async def _raise_one(self, claim: Claim, stamp: Stamp | None) -> None:
        if stamp is None or not is_below(stamp.level, self._level_wanted) or stamp.state is not StampState.SEALED:
            await self._finish(claim)
            return
        try:
            is_late = stamp.level == LEVELS[0]
            async with self._late_turns if is_late else self._turns:
                began_s = time.monotonic()
                await self._keep(claim, await self._append(claim, stamp))
                if is_late:
                    await asyncio.sleep(self._rest_s(time.monotonic() - began_s))
        except NeverError as error:
            _log.info("level_stays", stamp=str(stamp.id), level=stamp.level, why=str(error))
            await self._finish(claim)
        except NotNowError:
            await self._again(claim)
        except Refused as refused:
            await (self._again(claim) if refused.kind.status >= _OUR_FAULT else self._finish(claim))
        except Exception:  # noqa: BLE001 - a bug here must not stop the raising of other files
            _log.exception("raising_failed", stamp=str(stamp.id), attempt=claim.attempt)
            await (self._again(claim) if claim.attempt < _CRASHES_MAX else self._finish(claim))

    def _rest_s(self, took_s: float) -> float:
        """How long to rest after a file that took so long: not at all where nothing was sealed of late."""
        before, self._settled, now_s = self._settled, metrics.done(_SETTLED), time.monotonic()
        if self._settled > before:
            self._sealing_until_s = now_s + _OF_LATE_S
        return min(_REST_S_MAX, _RESTS * took_s) if now_s < self._sealing_until_s else 0.0

    async def _append(self, claim: Claim, stamp: Stamp) -> Raised:
        assert stamp.level is not None
        assert stamp.sealed_size_bytes is not None
        async with AsyncExitStack() as stack:
            original = await stack.enter_async_context(self._blobs.as_file(stamp.base_key))
            tails = [await stack.enter_async_context(self._blobs.as_file(key)) for key, _ in stamp.tails]
            made = await self._engine.upgrade(original, tails, level=stamp.level, at=self._clock())
        key = f"tails/{stamp.id}.addendum-{len(stamp.tails)}.{claim.attempt}"
        await self._blobs.put(key, made.content)
        may_die_at("raise.stored")
        return Raised(
            stamp_id=stamp.id,
            key=key,
            size_bytes=len(made.content),
            level=made.level,
            previous_size_bytes=stamp.sealed_size_bytes,
            sealed_size_bytes=made.sealed_size_bytes,
            sealed_digest=made.sealed_sha256,
        )

    async def _keep(self, claim: Claim, raised: Raised) -> None:
        """The new level and the end of the job in one transaction; while there is a higher level, the next job."""
        async with self._db.transaction() as tx:
            ours = bool(await jobs.finish(tx, [claim])) and await store.add_addendum(tx, raised)
            if ours and is_below(raised.level, self._level_wanted):
                await jobs.enqueue(tx, UPGRADE, [raised.stamp_id])
            may_die_at("raise.written")
        may_die_at("raise.recorded")
        if ours:
            _raised.labels(raised.level).inc()
            self._bus.publish([raised.stamp_id])

    async def _finish(self, claim: Claim) -> None:
        async with self._db.transaction() as tx:
            await jobs.finish(tx, [claim])

    async def _again(self, claim: Claim) -> None:
        delay_s = min(_FIRST_RETRY_S * 2 ** min(claim.attempt - 1, 20), _RETRY_S_MAX)
        # Spread out, so that an authority that comes back is not met by all who waited at once.
        await jobs.hand_back(self._db, [claim], delay_s=delay_s * random.uniform(0.7, 1.3))  # noqa: S311


def is_below(level: str | None, wanted: str) -> bool:
    """Whether a level is lower than the one wanted."""
    return level in LEVELS and LEVELS.index(level) < LEVELS.index(wanted)
