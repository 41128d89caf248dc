"""Who gives the numbers of a machine: from its file at once, from the database when the file runs low."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from uuid import UUID

import structlog

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate import room_store
from emeterai.gate.numbers import NumberFile
from emeterai.infra import metrics
from emeterai.infra.database import Database
from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.infra.lane import own_context
from emeterai.infra.secrets import local_secret

NUMBERS_PAUSED = RefusalKind(
    "numbers_paused",
    503,
    "Nomor antrean sedang tidak dapat diberikan; nomor yang sudah ada tetap berlaku. Coba lagi sebentar lagi.",
    "Numbers cannot be given just now; whoever has one keeps their turn. Try again in a moment.",
)
JOIN_S = 2.0
"""Who joins machines that give numbers already waits so long, until they have given back what they hold."""
_WAIT_S, _LOOK_S = 2.0, 0.01
_log = structlog.get_logger(__name__)
_leases = metrics.counter("emeterai_gate_leases", "Ranges of numbers that this machine leased", ["lane"])


class NumberGiver:
    """Gives numbers. One for each web process; those of a machine share the folder."""

    def __init__(self, db: Database, folder: Path) -> None:
        self._db = db
        self._folder = folder
        self._machine = UUID(bytes=local_secret(folder, "machine")[:16])
        self._files: dict[str, NumberFile] = {}
        self._filling: dict[str, asyncio.Task[bool]] = {}
        self._together = False
        self._not_before_s = 0.0

    async def take(self, lane: str, *, above: int = 0) -> int:
        """The next number of a lane, greater than `above`. Raises `numbers_paused` when there is none to be had.

        The lane's name must be one that exists: each costs a file.
        """
        file, until_s = self._file(lane), time.monotonic() + _WAIT_S
        while True:
            taken = file.take(above=above, together=self._together)
            if taken.wanted:
                self._fill(lane, taken.wanted)
            if taken.number is not None:
                return taken.number
            if time.monotonic() > until_s or not await self._filled(lane):
                raise NUMBERS_PAUSED(retry_after_s=3)

    async def look_around(self, *, joining: bool = False) -> None:
        """Say that this machine gives numbers; hand back what others, who give them too, would have to overtake."""
        was_alone, self._together = not self._together, await room_store.say_here(self._db, self._machine)
        if joining and self._together:
            self._not_before_s = time.monotonic() + JOIN_S
        if self._together and was_alone:
            for lane, file in self._files.items():
                await self._give_back(lane, file)

    async def close(self) -> None:
        """Let go of the files; leases that are being fetched are lost."""
        for task in self._filling.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for file in self._files.values():
            file.close()

    def _file(self, lane: str) -> NumberFile:
        if lane not in self._files:
            self._files[lane] = NumberFile(self._folder / "numbers" / lane)
        return self._files[lane]

    def _fill(self, lane: str, size: int) -> None:
        self._filling[lane] = asyncio.create_task(self._lease(lane, size), context=own_context())

    async def _filled(self, lane: str) -> bool:
        """Wait until there may be numbers again; False when fetching them has failed."""
        task = self._filling.get(lane)
        if task is None or task.done():
            # Another process of this machine is fetching them.
            await asyncio.sleep(_LOOK_S)
            return True
        await asyncio.wait([task])
        return task.result()

    async def _lease(self, lane: str, size: int) -> bool:
        """Fetch a lease; False when the database gives none."""
        await asyncio.sleep(max(0.0, self._not_before_s - time.monotonic()))
        try:
            first, self._together = await room_store.lease(self._db, lane, size, self._machine)
        except (Refused, *INTERRUPTIONS) as error:
            _log.warning("numbers_not_leased", lane=lane, error=type(error).__name__)
            return False
        self._files[lane].fill(first, size)
        _leases.labels(lane).inc()
        return True

    async def _give_back(self, lane: str, file: NumberFile) -> None:
        first, end = file.give_back()
        if first < end and not await room_store.give_back(self._db, lane, first, end):
            _log.info("numbers_lost", lane=lane, first=first, end=end)
