"""Feeding files to digests, in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _hashlib import HASH

_READ_SIZE_BYTES = 131_072


def feed(path: Path, *digests: HASH) -> int:
    """Feed a file to all digests in one pass and bounded memory; its size in bytes."""
    size_bytes = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_READ_SIZE_BYTES):
            size_bytes += len(chunk)
            for digest in digests:
                digest.update(chunk)
    return size_bytes
