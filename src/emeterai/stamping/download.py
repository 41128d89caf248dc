"""The sealed file as people fetch it: its base and what was appended to it, streamed, never joined on the disk.

The base is what the person sent or, where that had to be repaired, the repaired file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import PurePath

from emeterai.core.stamping import StampState
from emeterai.infra.blobs import BlobStore
from emeterai.infra.http import byte_range
from emeterai.stamping.model import Stamp
from emeterai.stamping.service import STAMP_NOT_SEALED


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A sealed file, or the part of it that was asked for: bytes `start` up to `end` of `size_bytes`."""

    pieces: tuple[tuple[str, int], ...]
    """What it is put together from, in order: where each is in the blob store, and its size in bytes."""
    size_bytes: int
    start: int
    end: int
    is_part: bool
    name: str
    etag: str

    async def stream(self, blobs: BlobStore) -> AsyncIterator[bytes]:
        """The bytes asked for, in small pieces."""
        position = 0
        for key, size_bytes in self.pieces:
            start, end = max(self.start - position, 0), min(self.end - position, size_bytes)
            if start < end:
                async for piece in blobs.stream(key, start, end):
                    yield piece
            position += size_bytes


def sealed_file(stamp: Stamp, *, range_header: str | None = None, if_range: str | None = None) -> SealedFile:
    """The sealed file of a stamp, whole or the range asked for. Raises `stamp_not_sealed`, `range_not_satisfiable`."""
    if stamp.state is not StampState.SEALED:
        raise STAMP_NOT_SEALED(state=stamp.state.value)
    assert stamp.sealed_size_bytes is not None
    assert stamp.sealed_digest is not None
    etag = f'"{stamp.sealed_digest.hex()}"'
    asked = byte_range(range_header, stamp.sealed_size_bytes) if if_range in {None, etag} else None
    start, end = asked or (0, stamp.sealed_size_bytes)
    return SealedFile(
        ((stamp.base_key, stamp.base_bytes), *stamp.tails),
        stamp.sealed_size_bytes,
        start,
        end,
        asked is not None,
        sealed_name(stamp.document_name),
        etag,
    )


def sealed_name(document_name: str) -> str:
    """The name under which a sealed file is saved: `surat.pdf` becomes `surat-bermeterai.pdf`."""
    path = PurePath(document_name)
    stem = path.stem if path.suffix.lower() == ".pdf" else path.name
    return f"{stem}-bermeterai.pdf"
