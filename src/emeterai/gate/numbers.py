"""Numbers: given out in order, never twice, at the price of two system calls; the database is asked for leases only.

All web processes of a machine draw from one small file, under a file lock: there a number is first come, first served
to the microsecond, and a process that is killed between two instructions gives none twice, because the file says that a
number is gone before anybody hears of it. The file is filled by *leases*: ranges that the database gives to this
machine. A machine that is alone leases for the next half minute, so that a database that is away stops nobody; beside
other machines it leases for some hundredths of a second, so that nobody overtakes by more than that.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

ALONE_S, TOGETHER_S = 30.0, 0.05
"""A lease is as large as what is given out in so long; beside other machines it grows to that by doubling."""
LEASE_MIN_ALONE, LEASE_MIN_TOGETHER, LEASE_MAX = 512, 1, 65_536
LOW = 0.5
"""The next lease of a machine that is alone is fetched when so much of the last one is left."""
STALE_S = 0.25
"""Beside other machines a lease that was not given out within so long is dropped: its numbers would overtake."""
_REFILL_S = 2.0
"""Who set out to fetch a lease and has not come back for so long is not waited for."""
_FORM = struct.Struct("<16sQQQQdQd")


@dataclass(slots=True)
class _Lease:
    """The file, as it was read and as it will be written: numbers `first` to `end` - 1, then those of the next lease.

    Times are of the monotonic clock.
    """

    boot: bytes
    first: int = 0
    end: int = 0
    next_first: int = 0
    next_end: int = 0
    leased_s: float = 0.0
    size: int = 0
    refill_s: float = 0.0

    @property
    def left(self) -> int:
        return self.end - self.first + self.next_end - self.next_first

    def empty(self) -> None:
        """Drop all numbers."""
        self.first = self.end = self.next_first = self.next_end = self.size = 0

    def skip_to(self, above: int) -> None:
        """Drop the numbers that are not greater than `above`."""
        self.first = max(self.first, min(above + 1, self.end))
        self.next_first = max(self.next_first, min(above + 1, self.next_end))
        self.move_up()

    def move_up(self) -> None:
        """The next lease takes the place of one that is used up."""
        if self.first == self.end and self.next_first < self.next_end:
            self.first, self.end, self.next_first, self.next_end = self.next_first, self.next_end, 0, 0


@dataclass(frozen=True, slots=True)
class Taken:
    """A number, or None when there is none; `wanted` is the size of the lease that this caller is to fetch, or 0."""

    number: int | None
    wanted: int


class NumberFile:
    """The numbers of one lane on this machine."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A file that lived through a crash of the machine may be older than what was given out.
        self._boot = boot_id().bytes

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def take(self, *, above: int = 0, together: bool = False) -> Taken:
        """The next number that is greater than `above`; what the file holds below is dropped."""
        now_s = time.monotonic()
        with self._locked() as lease:
            stale = together and now_s - lease.leased_s > STALE_S
            if stale:
                lease.empty()
            lease.skip_to(above)
            number = lease.first if lease.first < lease.end else None
            if number is not None:
                lease.first += 1
                lease.move_up()
            wanted = _wanted_together(lease, now_s, number) if together else _wanted_alone(lease, now_s)
            if wanted:
                lease.refill_s = now_s + _REFILL_S
            self._write(lease)
        return Taken(number, wanted)

    def fill(self, first: int, size: int) -> None:
        """Put a lease of `size` numbers behind what is there. One that does not fit is lost, never given twice."""
        with self._locked() as lease:
            lease.move_up()
            if lease.next_first == lease.next_end:
                lease.next_first, lease.next_end = first, first + size
                lease.leased_s, lease.size, lease.refill_s = time.monotonic(), size, 0.0
                lease.move_up()
                self._write(lease)

    def give_back(self) -> tuple[int, int]:
        """Take out the last lease's rest, for the database: (first, end), empty when there is nothing."""
        with self._locked() as lease:
            if lease.next_first < lease.next_end:
                rest = lease.next_first, lease.next_end
                lease.next_first = lease.next_end = lease.size = 0
            else:
                rest = lease.first, lease.end
                lease.first = lease.end = lease.size = 0
            self._write(lease)
        return rest

    @property
    def left(self) -> int:
        """How many numbers the file still holds."""
        with self._locked() as lease:
            return lease.left

    @contextmanager
    def _locked(self) -> Iterator[_Lease]:
        """The lease, while no other process of this machine touches it. Microseconds: nothing waits inside."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            content = os.pread(self._descriptor, _FORM.size, 0)
            lease = _Lease(*_FORM.unpack(content)) if len(content) == _FORM.size else _Lease(self._boot)
            yield lease if lease.boot == self._boot else _Lease(self._boot)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _write(self, lease: _Lease) -> None:
        content = _FORM.pack(
            lease.boot,
            lease.first,
            lease.end,
            lease.next_first,
            lease.next_end,
            lease.leased_s,
            lease.size,
            lease.refill_s,
        )
        os.pwrite(self._descriptor, content, 0)


def boot_id() -> UUID:
    """The id of this start of the machine. All-zero where the system does not tell."""
    try:
        return UUID(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return UUID(int=0)


def _is_free(lease: _Lease, now_s: float) -> bool:
    """Whether nobody is fetching a lease now. A moment too far ahead is of another start of the clock."""
    return not now_s < lease.refill_s <= now_s + _REFILL_S


def _wanted_alone(lease: _Lease, now_s: float) -> int:
    """How many numbers to lease now; 0 while there are enough, or while somebody else is fetching them."""
    if not _is_free(lease, now_s) or lease.next_first < lease.next_end:
        return 0
    if lease.left > LOW * lease.size and lease.left >= LEASE_MIN_ALONE // 2:
        return 0
    # What came all at once, when the first lease was there, is no rate.
    over_s = max(1.0, now_s - lease.leased_s)
    per_s = (lease.size - lease.left) / over_s if lease.size else 0.0
    return int(min(LEASE_MAX, max(LEASE_MIN_ALONE, per_s * ALONE_S)))


def _wanted_together(lease: _Lease, now_s: float, number: int | None) -> int:
    """The same beside other machines: nothing is fetched before somebody asks in vain, it would only grow stale."""
    if number is not None or not _is_free(lease, now_s):
        return 0
    # Twice as many as last time at most: what is used up at once may be all that anybody wants.
    over_s = max(TOGETHER_S / 2, now_s - lease.leased_s)
    return min(LEASE_MAX, max(LEASE_MIN_TOGETHER, round(lease.size / over_s * TOGETHER_S)))
