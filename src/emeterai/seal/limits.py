"""What the opener may do to the machine: nearly nothing. Set once, before the first file is opened."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
from pathlib import Path

MEMORY_SIZE_BYTES_MAX = 1024 * 1024 * 1024
SWOLLEN_SIZE_BYTES = MEMORY_SIZE_BYTES_MAX // 3
"""A process that holds more has met a file that is to blame."""
_LARGEST_KB = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_OPEN_FILES_MAX = 32
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def confine(parent_pid: int) -> None:
    """Die with the parent, have no network, no new privileges, no files to write, bounded memory.

    The network is taken away by an empty network namespace where the kernel allows one; elsewhere the other
    limits still hold. Raises SystemExit when the parent is already gone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    # After unshare, which may clear it; then the parent is asked for, since it may have died before this line.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise SystemExit(0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for kind, bound in (
        (resource.RLIMIT_AS, MEMORY_SIZE_BYTES_MAX),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES_MAX),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (bound, bound))


def allow_cpu(seconds: int) -> None:
    """Let this process use so many more seconds of CPU; then the kernel ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    bound = int(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (bound, resource.RLIM_INFINITY))


def swollen() -> bool:
    """Whether this process has ever held so much memory that a file must be to blame; then it should end soon."""
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 <= SWOLLEN_SIZE_BYTES:
        return False
    # That number outlives exec: a large parent's memory counts in it. VmHWM does not, and takes twenty times as long.
    found = _LARGEST_KB.search(Path("/proc/self/status").read_text())
    return found is None or int(found[1]) * 1024 > SWOLLEN_SIZE_BYTES
