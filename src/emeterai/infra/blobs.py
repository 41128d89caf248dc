"""Blobs: bytes under a key, in a local folder or any store that obstore reaches. A `put` that returned is on the disk.

Keys are never written twice: whoever writes names the attempt in the key, so a late writer cannot replace what was
already accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from emeterai.core.refusal import RefusalKind
from emeterai.infra.batching import Batcher
from emeterai.infra.durable_files import Named, write_all
from emeterai.infra.metrics import stage

CHUNK_BYTES = 256 * 1024
_KEYS_A_PIECE = 1_000
_HALF_WRITTEN = re.compile(r".+#\d+")
"""The name of a file in a local folder before it is whole."""

_log = structlog.get_logger(__name__)

STORAGE_AWAY = RefusalKind(
    "storage_away",
    503,
    "Tempat penyimpanan berkas sedang terganggu; tidak ada yang hilang. Silakan coba lagi sebentar lagi.",
    "The place where files are kept is disturbed; nothing is lost. Please try again in a moment.",
)


class BlobMissingError(Exception):
    """There is no blob under this key."""


class BlobStore:
    """Bytes by key. Open it with `local` or `at_url`."""

    def __init__(self, store: ObjectStore, folder: Path | None) -> None:
        self._store = store
        self._folder = folder
        self._writes: Batcher[Named, None] = Batcher(self._write, name="blob_put", batch_max=64, begins=False)

    @classmethod
    def local(cls, folder: Path) -> BlobStore:
        """A store in a local folder, made when absent, readable by its owner only."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(LocalStore(prefix=folder, mkdir=True), folder)

    @classmethod
    def at_url(cls, url: str) -> BlobStore:
        """A store at an obstore URL such as `s3://bucket/prefix`; credentials come from the environment."""
        return cls(from_url(url), None)

    async def put(self, key: str, data: bytes) -> None:
        """Store `data` under a new key, durably: after this returns neither a kill nor a power cut loses it.

        Raises `storage_away` when the disk is full or the store has an error; then nobody may name the blob.
        """
        with stage("blob_put"), _errors_refused():
            if self._folder is None:
                await obstore.put_async(self._store, key, data)
            else:
                await self._writes.submit((key, data))  # the library's own local store does not sync

    async def _write(self, files: Sequence[Named]) -> Sequence[OSError | None]:
        assert self._folder is not None
        return await asyncio.to_thread(write_all, self._folder, files)

    async def read(self, key: str) -> bytes:
        """All bytes of a blob. Raises BlobMissingError, and `storage_away` when the store has an error."""
        with _errors_refused(), _missing(key):
            result = await obstore.get_async(self._store, key)
            return bytes(await result.bytes_async())

    async def size_bytes(self, key: str) -> int:
        """The length of a blob. Raises BlobMissingError, and `storage_away` when the store has an error."""
        with _errors_refused(), _missing(key):
            return int((await obstore.head_async(self._store, key))["size"])

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, in pieces of at most CHUNK_BYTES. Raises BlobMissingError.

        A blob that is shorter is missing too: fewer bytes than were promised must never look like a whole file.
        """
        for at in range(start, end, CHUNK_BYTES):
            until = min(at + CHUNK_BYTES, end)
            with _missing(key):
                piece = bytes(await obstore.get_range_async(self._store, key, start=at, end=until))
            if len(piece) != until - at:
                raise BlobMissingError(key)
            yield piece

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        """The blob as a file that a limited process can open; where it is a copy, it lives as long as the block.

        Raises BlobMissingError.
        """
        if self._folder is not None:
            path = self._folder / key
            if not path.is_file():
                raise BlobMissingError(key)
            yield path
            return
        with tempfile.NamedTemporaryFile(prefix="emeterai-blob-") as copy:
            await asyncio.to_thread(Path(copy.name).write_bytes, await self.read(key))
            yield Path(copy.name)

    async def keys(self, prefix: str) -> list[str]:
        """The keys below `prefix`, sorted."""
        found = [str(meta["path"]) async for batch in obstore.list(self._store, prefix) for meta in batch]
        return sorted(found)

    async def walk(self, prefix: str) -> AsyncIterator[list[tuple[str, datetime]]]:
        """Every key below `prefix` with the time of its last writing, a bounded piece at a time, in no order."""
        async for piece in obstore.list(self._store, prefix, chunk_size=_KEYS_A_PIECE):
            yield [(str(meta["path"]), meta["last_modified"]) for meta in piece]

    async def drop_leavings(self, *, older_than_s: float) -> int:
        """Remove from a local folder what a dying process left: half-written files, empty folders; answers how many."""
        if self._folder is None:
            return 0
        return await asyncio.to_thread(_drop_leavings, self._folder, time.time() - older_than_s)

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove blobs; those that are already gone are no error. Raises `storage_away`."""
        for key in keys:
            with _errors_refused(), contextlib.suppress(NotFoundError, FileNotFoundError):
                await obstore.delete_async(self._store, key)


@contextmanager
def _missing(key: str) -> Iterator[None]:
    """What the store calls not found is a blob that is missing."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise BlobMissingError(key) from error


@contextmanager
def _errors_refused() -> Iterator[None]:
    """A full disk, or a store that has an error, is no bug of ours: whoever asked is told to come again."""
    try:
        yield
    except (BaseError, OSError) as error:
        _log.error("storage_failed", error=f"{type(error).__name__}: {error}")
        raise STORAGE_AWAY(retry_after_s=5) from error


def _drop_leavings(folder: Path, before_s: float, *, depth: int = 0) -> int:
    """Folders of one blob's own (two below the top) go when they are empty: `rmdir` refuses any other."""
    dropped = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder:
                dropped += _drop_leavings(Path(entry.path), before_s, depth=depth + 1)
            if not (depth > 0 if is_folder else _HALF_WRITTEN.fullmatch(entry.name)):
                continue
            with contextlib.suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < before_s:
                    (os.rmdir if is_folder else os.unlink)(entry.path)
                    dropped += 1
    return dropped
