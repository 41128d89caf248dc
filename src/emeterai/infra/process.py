"""Processes of the operating system: how a child is described, and how it is kept from outliving its parent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """What to run: the program and its arguments, the whole environment, the folder, and (under root) as whom.

    `environment` None inherits the parent's; `user_id` None keeps the parent's user and groups.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    user_id: int | None = None
    group_id: int | None = None

    def run(self, text: str = "", *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run to the end with `text` on stdin. Raises OSError when it cannot start, TimeoutExpired when it was slow."""
        return subprocess.run(  # noqa: S603 - no shell, and the arguments are the caller's own
            self.argv, input=text, text=True, capture_output=True, timeout=timeout_s, check=False, **self._options()
        )

    def spawn(self, *, output: IO[bytes] | int | None, death_signal: int = signal.SIGKILL) -> subprocess.Popen[bytes]:
        """Start in a process group of its own (a terminal's Ctrl-C does not reach it), both outputs to `output`.

        The child gets `death_signal` when this process dies; see `die_with_parent` about threads.
        """
        return subprocess.Popen(  # noqa: S603 - as above
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=dying_with_me(death_signal),  # noqa: PLW1509 - one system call that is safe after a fork
            **self._options(),
        )

    async def spawn_piped(self, *, death_signal: int = signal.SIGKILL) -> PipedProcess:
        """The same on the running loop (the standard one: uvloop cannot change users), both outputs in one pipe."""
        read_end, write_end = os.pipe()
        loop = asyncio.get_running_loop()
        output = asyncio.StreamReader()
        pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                process_group=0,
                preexec_fn=dying_with_me(death_signal),
                **self._options(),
            )
        except BaseException:
            pipe.close()
            raise
        finally:
            os.close(write_end)
        return PipedProcess(process, output, pipe)

    def _options(self) -> dict[str, Any]:
        as_whom: dict[str, Any] = {}
        if self.user_id is not None:
            as_whom = {"user": self.user_id, "group": self.group_id, "extra_groups": []}
        return {"env": self.environment, "cwd": self.folder, **as_whom}


@dataclass(frozen=True, slots=True)
class PipedProcess:
    """A child and what it says. Not asyncio's own pipe: its `wait` would wait for all who hold the pipe."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader
    pipe: asyncio.ReadTransport

    @property
    def pid(self) -> int:
        """The child's id, which is also its process group's."""
        return self.process.pid


def die_with_parent(signal_number: int = signal.SIGKILL, *, parent_pid: int) -> None:
    """Ask Linux to send `signal_number` to this process when `parent_pid` dies, and obey at once if it is dead already.

    Call it in the child, after any change of user (a change of user forgets it). The kernel watches the parent's
    *thread* that forked, so children are started from a thread that lives as long as the process: the main one.
    Raises OSError when the kernel refuses.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal_number)


def dying_with_me(signal_number: int = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn` for subprocess: the child gets `signal_number` when the calling process dies, even by kill -9.

    subprocess runs it after `user=` and `group=` have taken effect, which is the order that the kernel needs.
    """
    parent_pid = os.getpid()

    def before_exec() -> None:
        die_with_parent(signal_number, parent_pid=parent_pid)

    return before_exec


def kill_group(group_id: int) -> None:
    """SIGKILL to whatever is left of a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group_id, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}
