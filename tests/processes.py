"""Processes as the kernel knows them: who is whose child, and who is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emeterai.infra.process import is_alive


def parents() -> dict[int, int]:
    """Every process and its parent."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                found[int(folder.name)] = int(fields[1])
    return found


def children_of(pid: int) -> list[int]:
    """The living children of a process, the oldest first."""
    return sorted(child for child, parent in parents().items() if parent == pid and is_alive(child))


def family_of(pid: int) -> list[int]:
    """A process and all that descend from it, the oldest first."""
    known = parents()
    family, added = {pid}, True
    while added:
        more = {child for child, parent in known.items() if parent in family} - family
        family, added = family | more, bool(more)
    return sorted(family)


def words_of(pid: int) -> str:
    """The command line of a process; empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def kill_all(pids: list[int]) -> None:
    """Kill -9 these processes, all of one moment: none can act on the death of another before its own."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def alive(pids: list[int]) -> list[int]:
    """Those that still run."""
    return [pid for pid in pids if is_alive(pid)]


@contextmanager
def asleep(pids: list[int]) -> Iterator[None]:
    """These processes are stopped as long as the block lasts."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
