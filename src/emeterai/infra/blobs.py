"""Blobs: bytes under a key, in a local folder or any store that obstore reaches. A `put` that returned is on the disk.

Keys are never written twice: whoever writes names the attempt in the key, so a late writer cannot replace what was
already accepted.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

CHUNK_BYTES = 256 * 1024


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
        """Store `data` under a new key, durably: after this returns neither a kill nor a power cut loses it."""
        await obstore.put_async(self._store, key, data)
        if self._folder is not None:
            await asyncio.to_thread(_sync, self._folder / key, self._folder)

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

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove blobs; those that are already gone are no error."""
        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except (NotFoundError, FileNotFoundError):
                continue


def _sync(path: Path, folder: Path) -> None:
    """Force a file and the folders that name it to the disk."""
    for place in (path, *(parent for parent in path.parents if parent.is_relative_to(folder))):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
