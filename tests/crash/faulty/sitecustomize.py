"""Faults of the world around a running service: a clock that jumps, a blob store that errors or lies about a write.

Python runs this file at the start of every process whose PYTHONPATH has this folder. `FAULTS_FOLDER` is where a test
says what is wrong now: the file `clock` holds seconds to add, the file `blobs` one of the words below. Nothing in the
service knows of it.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from emeterai.infra import clock
from emeterai.infra.blobs import BlobStore

_FOLDER = Path(os.environ["FAULTS_FOLDER"])
_NAME_LENGTH = 1_000
"""No file system takes a name so long: the error is the store's own."""
_utc_now, _put = clock.utc_now, BlobStore.put


def _fault(name: str) -> str:
    try:
        return (_FOLDER / name).read_text()
    except FileNotFoundError:
        return ""


def utc_now() -> datetime:
    """The time as this machine believes it."""
    return _utc_now() + timedelta(seconds=float(_fault("clock") or 0))


async def put(self: BlobStore, key: str, data: bytes) -> None:
    """Store, or fail, or say yes and keep nothing, other bytes, or half."""
    match _fault("blobs"):
        case "fail":
            await _put(self, f"{key}/{'x' * _NAME_LENGTH}", data)
        case "lose":
            return
        case "alter":
            await _put(self, key, bytes([*data[:-9], data[-9] ^ 1, *data[-8:]]))
        case "halve":
            await _put(self, key, data[: len(data) // 2])
        case _:
            await _put(self, key, data)


clock.utc_now = utc_now
BlobStore.put = put  # type: ignore[method-assign]
