"""Who worked in this data folder before and is dead: its leases need not run out, for it will never come back.

Each worker holds the lock of a file that names it for as long as it lives; the kernel lets go of the lock when the
process is gone, however it ended. One that merely sleeps still holds it. What is not found here (another machine, a
lost folder) is found when its lease runs out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID


@contextmanager
def living_worker(folder: Path, worker: UUID) -> Iterator[None]:
    """Be known as alive in `folder` until the block or the process ends. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    # It gets its name when it is locked: until then nobody may take it for a dead worker's.
    own, other = folder / str(worker), folder / f"{worker}.new"
    descriptor = os.open(other, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        other.rename(own)
        yield
        own.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextmanager
def dead_workers(folder: Path) -> Iterator[list[UUID]]:
    """The workers of `folder` that died; they are forgotten when the block ends without an error, and not before."""
    found = {path: descriptor for path in sorted(folder.iterdir()) if (descriptor := _locked(path)) is not None}
    try:
        yield [UUID(path.name) for path in found]
        for path in found:
            path.unlink(missing_ok=True)
    finally:
        for descriptor in found.values():
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    """The lock of a worker's file, which only a dead worker leaves free."""
    try:
        UUID(path.name)
        descriptor = os.open(path, os.O_RDWR)
    except (ValueError, FileNotFoundError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
