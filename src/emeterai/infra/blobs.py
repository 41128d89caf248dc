"""Blobs: bytes under a key, in a local folder or any store that obstore reaches. A `put` that returned is on the disk.

Keys are never written twice: whoever writes names the attempt in the key, so a late writer cannot replace what was
already accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
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
from emeterai.infra.metrics import stage

CHUNK_BYTES = 256 * 1024
_KEYS_A_PIECE = 1_000
_HALF_WRITTEN = re.compile(r".+#\d+")
"""The name of a file in a local folder before it is whole."""
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL

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
                # The library's local store does not sync; doing it afterwards costs a second thread and three more
                # opens.
                await asyncio.to_thread(_write, self._folder, key, data)

    async def read(self, key: str) -> bytes:
        """All bytes of a blob. Raises BlobMissingError."""
        try:
            result = await obstore.get_async(self._store, key)
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissingError(key) from error
        return bytes(await result.bytes_async())

    async def size_bytes(self, key: str) -> int:
        """The length of a blob. Raises BlobMissingError."""
        try:
            return int((await obstore.head_async(self._store, key))["size"])
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissingError(key) from error

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, in pieces of at most CHUNK_BYTES. Raises BlobMissingError.

        A blob that is shorter is missing too: fewer bytes than were promised must never look like a whole file.
        """
        for at in range(start, end, CHUNK_BYTES):
            until = min(at + CHUNK_BYTES, end)
            try:
                piece = bytes(await obstore.get_range_async(self._store, key, start=at, end=until))
            except (NotFoundError, FileNotFoundError) as error:
                raise BlobMissingError(key) from error
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
        """Remove blobs; those that are already gone are no error."""
        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except (NotFoundError, FileNotFoundError):
                continue


@contextmanager
def _errors_refused() -> Iterator[None]:
    """A full disk, or a store that has an error, is no bug of ours: whoever asked is told to come again."""
    try:
        yield
    except (BaseError, OSError) as error:
        _log.error("storage_failed", error=f"{type(error).__name__}: {error}")
        raise STORAGE_AWAY(retry_after_s=5) from error


def _write(folder: Path, key: str, data: bytes) -> None:
    """Write a file and force it, and the folders that name it, to the disk. It appears whole or not at all."""
    path = f"{folder}/{key}"
    staged = f"{path}#{secrets.randbits(62)}"  # a name that the library never lists
    try:
        descriptor = os.open(staged, _NEW_FILE, 0o600)
    except FileNotFoundError:
        _make_folders(Path(path).parent, folder)
        descriptor = os.open(staged, _NEW_FILE, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
        os.rename(staged, path)  # noqa: PTH104 - as below
    except BaseException:
        Path(staged).unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    _sync(os.path.dirname(path))  # noqa: PTH120 - pathlib takes 20 us, and this is on the path of every stamp


def _make_folders(place: Path, top: Path) -> None:
    """Make the folders between `top` and `place`, each on the disk before anything is put into it."""
    if place == top or place.is_dir():
        return
    _make_folders(place.parent, top)
    place.mkdir(exist_ok=True, mode=0o700)
    _sync(str(place.parent))


def _sync(place: str) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
