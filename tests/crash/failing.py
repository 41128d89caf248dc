"""Parts that fail at a named place: engines, a blob store that lies, a bus that is never reached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from obstore.store import LocalStore

from emeterai.infra.blobs import BlobStore
from emeterai.infra.bus import Bus
from emeterai.seal.model import Report, SealedTail, SealOrder
from emeterai.seal.refusals import SEALER_BUSY
from emeterai.seal.service import SealEngine
from spine import Died


class Engine:
    """The real engine, as long as nothing is said; subclasses say where it goes wrong."""

    def __init__(self, real: SealEngine) -> None:
        self.real = real

    async def inspect(self, path: Path, *, password: str | None = None) -> Report:
        """As the engine does."""
        return await self.real.inspect(path, password=password)

    async def repair(self, path: Path, *, password: str | None = None) -> bytes:
        """As the engine does."""
        return await self.real.repair(path, password=password)

    async def seal(self, path: Path, order: SealOrder) -> SealedTail:
        """As the engine does."""
        return await self.real.seal(path, order)

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """As the engine does."""
        await self.real.read_back(original, tail, expected, password=password)


class DiesBeforeSeal(Engine):
    """The worker ends with its claim in its hand."""

    async def seal(self, path: Path, order: SealOrder) -> SealedTail:
        """Die."""
        raise Died


class DiesAfterSeal(Engine):
    """The worker ends when the tail is in memory only."""

    async def seal(self, path: Path, order: SealOrder) -> SealedTail:
        """Seal, then die."""
        await super().seal(path, order)
        raise Died


class DiesBeforeReadBack(Engine):
    """The worker ends when the tail is stored and nobody has looked at it."""

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """Die."""
        assert tail.is_file()
        raise Died


class DiesBeforeSettle(Engine):
    """The worker ends when the seal is proven and not yet settled."""

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """Read back, then die."""
        await super().read_back(original, tail, expected, password=password)
        raise Died


class Sleeper(Engine):
    """A worker that sleeps when its seal is proven, until it is woken: `asleep` and `wake` are the two moments."""

    def __init__(self, real: SealEngine) -> None:
        super().__init__(real)
        self.asleep = asyncio.Event()
        self.wake = asyncio.Event()

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """Read back, then sleep."""
        await super().read_back(original, tail, expected, password=password)
        self.asleep.set()
        await self.wake.wait()


class BuggyEngine(Engine):
    """An engine with a bug that only sealing shows."""

    async def seal(self, path: Path, order: SealOrder) -> SealedTail:
        """Crash, which costs this stamp only."""
        raise ZeroDivisionError


class Meddler(Engine):
    """Somebody alters the stored tail between its writing and its reading."""

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """Turn one bit of the file, then read back."""
        content = bytearray(tail.read_bytes())
        content[len(content) // 2] ^= 1
        tail.write_bytes(bytes(content))
        await super().read_back(original, tail, expected, password=password)


class LosingStore(BlobStore):
    """A blob store that says yes to a tail and keeps nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(LocalStore(prefix=folder, mkdir=True), folder)

    async def put(self, key: str, data: bytes) -> None:
        """Lose tails."""
        if not key.startswith("tails/"):
            await super().put(key, data)


class WrongStore(LosingStore):
    """A blob store that keeps something else."""

    async def put(self, key: str, data: bytes) -> None:
        """Keep a tail of the same length and other bytes."""
        await BlobStore.put(self, key, bytes(len(data)) if key.startswith("tails/") else data)


class CuttingStore(LosingStore):
    """A blob store that keeps the first half."""

    async def put(self, key: str, data: bytes) -> None:
        """Keep half a tail."""
        await BlobStore.put(self, key, data[: len(data) // 2] if key.startswith("tails/") else data)


class DeadEndBus(Bus):
    """The process ends after its commit, before anybody is told."""

    def __init__(self) -> None:
        super().__init__("")

    def publish(self, keys: Iterable[UUID | str]) -> None:
        """Die."""
        raise Died


class NeverFree(Engine):
    """No opener is ever free."""

    async def inspect(self, path: Path, *, password: str | None = None) -> Report:
        """Say so."""
        raise SEALER_BUSY()
