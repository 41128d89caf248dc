"""A supervisor of child processes: starts them in order, restarts the dead with back-off, stops all in reverse order.

Nothing outlives it: children are told by the kernel when it dies, even by kill -9. One supervisor per data folder;
`pids.json` there names every child that runs, for operators and for tests that kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import structlog

from emeterai.infra.process import ChildCommand, PipedProcess, kill_group

EXIT_WILL_NOT_GET_BETTER = 78
"""The exit code (EX_CONFIG of sysexits.h) of a child that asks not to be restarted: the supervisor stops everything."""
_PIDS_FILE = "pids.json"
_LOCK_FILE = "serve.lock"
_PROBE_PAUSE_S = 0.05
_LINE_BYTES_MAX = 65_536
_LAST_LINES_TIMEOUT_S = 2.0
_log = structlog.get_logger("supervisor")


class SupervisorError(Exception):
    """The children cannot be run; the text says why, for an operator."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Between two starts of a child: `first_s`, then twice as long each time up to `longest_s`.

    The time that it lived counts, so that only one that dies at once waits so long; `first_s` is waited always. A life
    of `stable_s` forgets all deaths before it.
    """

    first_s: float = 0.2
    longest_s: float = 10.0
    stable_s: float = 60.0

    def delay_s(self, deaths: int, *, lived_s: float = 0.0) -> float:
        """How long to wait after so many deaths in a row (1 is the first), the last one after a life of `lived_s`."""
        between_starts_s = min(self.longest_s, self.first_s * 2.0 ** min(deaths - 1, 30))
        return max(self.first_s, between_starts_s - lived_s)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child. It starts when all that it `needs` are ready, and is stopped before any of them.

    `command` may be a callable, asked (in a thread) before every start. `is_ready` None means ready once started;
    `once_ready` runs one time, before dependents start. `death_signal` is what the child gets when the supervisor dies.
    """

    name: str
    command: ChildCommand | Callable[[], ChildCommand]
    needs: tuple[str, ...] = ()
    is_ready: Callable[[], Awaitable[bool]] | None = None
    once_ready: Callable[[], Awaitable[None]] | None = None
    ready_timeout_s: float = 30.0
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 10.0
    death_signal: int = signal.SIGKILL
    chatter: tuple[str, ...] = ()
    """Lines that begin so are the child's small talk: passed on only when the supervisor itself talks at level info."""


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    running: PipedProcess | None = None
    forwarding: asyncio.Task[None] | None = None
    first_start_s: float = 0.0
    deaths: int = 0
    proven: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class _HopelessError(SupervisorError):
    """A child that asked not to be started again."""


class Supervisor:
    """Runs the children of one data folder. Use it from the main thread, on asyncio's standard loop.

    `plain` prefixes every line of a child with its name, for people; otherwise JSON lines pass and others become JSON.
    `before_first` is called once nobody else can serve this folder and before any child is started, `after_death` each
    time a child has died.
    """

    def __init__(
        self,
        specs: Iterable[ChildSpec],
        folder: Path,
        *,
        plain: bool = False,
        backoff: Backoff | None = None,
        before_first: Callable[[], None] | None = None,
        after_death: Callable[[], None] | None = None,
        output: TextIO | None = None,
    ) -> None:
        self._children = {spec.name: _Child(spec) for spec in specs}
        self._folder = folder
        self._plain = plain
        self._backoff = backoff or Backoff()
        self._before_first = before_first
        self._after_death = after_death
        self._output = output or sys.stderr
        self._stopping = asyncio.Event()
        self._refuse_impossible_needs()

    async def run(self) -> None:
        """Run until `stop`, SIGTERM or Ctrl-C, then stop all. Raises SupervisorError when a child cannot be run at all.

        A child that cannot be started or is not ready in time the first time is final, as is exit code 78 of one that
        has never lived `stable_s`; after that, whatever happens to it, it is started again.
        """
        with self._alone_in_folder(), self._stopping_on_signals():
            if self._before_first is not None:
                self._before_first()
            tasks = [asyncio.create_task(self._keep(child), name=name) for name, child in self._children.items()]
            stop = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stopping.set()
                for task in (stop, *tasks):
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.shield(self._stop_all())
        for result in results:
            if isinstance(result, Exception):
                raise result

    def stop(self) -> None:
        """Ask `run` to stop all children and return."""
        self._stopping.set()

    async def wait_ready(self) -> None:
        """Return when every child has been ready once; never, when `run` ends before (wait for either)."""
        for child in self._children.values():
            await child.ready.wait()

    def pids(self) -> dict[str, int]:
        """The children that run now, by name, and `supervisor`."""
        running = {name: child.running.pid for name, child in self._children.items() if child.running is not None}
        return {"supervisor": os.getpid(), **running}

    def _refuse_impossible_needs(self) -> None:
        known: set[str] = set()
        for name, child in self._children.items():
            missing = [need for need in child.spec.needs if need not in known]
            if missing:
                raise SupervisorError(f"{name} needs {missing[0]}, which is not before it")
            known.add(name)

    async def _keep(self, child: _Child) -> None:
        """Start one child and start it again whenever it dies, until cancelled."""
        for need in child.spec.needs:
            await self._children[need].ready.wait()
        now_s = asyncio.get_running_loop().time
        child.first_start_s = now_s()
        while True:
            started_s = now_s()
            try:
                await self._live(child)
            except Exception as error:
                if isinstance(error, OSError) and not child.ready.is_set():
                    raise SupervisorError(f"{child.spec.name} cannot be started: {error}") from error
                if not child.ready.is_set() or isinstance(error, _HopelessError):
                    raise
                _log.exception("child_not_started", child=child.spec.name)
            if not child.ready.is_set() and now_s() - child.first_start_s >= child.spec.ready_timeout_s:
                raise SupervisorError(f"{child.spec.name} died again and again; its last lines say why")
            lived_s = now_s() - started_s
            child.deaths = 1 if lived_s >= self._backoff.stable_s else child.deaths + 1
            delay_s = self._backoff.delay_s(child.deaths, lived_s=lived_s)
            _log.warning("child_restarting", child=child.spec.name, delay_s=delay_s, deaths=child.deaths)
            await asyncio.sleep(delay_s)

    async def _live(self, child: _Child) -> None:
        """One life of one child: from its start to its death."""
        spec = child.spec
        command = spec.command if isinstance(spec.command, ChildCommand) else await asyncio.to_thread(spec.command)
        child.running = running = await command.spawn_piped(death_signal=spec.death_signal)
        child.forwarding = asyncio.create_task(self._forward(spec.name, running.output))
        self._write_pids()
        _log.info("child_started", child=spec.name, pid=running.pid)
        started_s = asyncio.get_running_loop().time()
        becoming_ready = asyncio.create_task(self._become_ready(child))
        death = asyncio.create_task(running.process.wait())
        try:
            await asyncio.wait([death, becoming_ready], return_when=asyncio.FIRST_COMPLETED)
            if becoming_ready.done():
                becoming_ready.result()
            await death
        except Exception:
            if child.ready.is_set():
                # It is started again: two of it at once would fight over its port or its files.
                await self._ask_to_end(spec, running.process)
                await self._end(child, running)
            raise
        finally:
            becoming_ready.cancel()
            death.cancel()
        lived_s = asyncio.get_running_loop().time() - started_s
        child.proven = child.proven or lived_s >= self._backoff.stable_s
        await self._bury(child, running)

    async def _become_ready(self, child: _Child) -> None:
        spec = child.spec
        if spec.is_ready is not None:
            try:
                async with asyncio.timeout(spec.ready_timeout_s):
                    while not await spec.is_ready():  # noqa: ASYNC110 - a probe of another process
                        await asyncio.sleep(_PROBE_PAUSE_S)
            except TimeoutError as error:
                if child.ready.is_set():
                    _log.error("child_not_ready", child=spec.name, after_s=spec.ready_timeout_s)
                    return
                raise SupervisorError(f"{spec.name} was not ready after {spec.ready_timeout_s:g} s") from error
        if not child.ready.is_set() and spec.once_ready is not None:
            await spec.once_ready()
        child.ready.set()
        _log.info("child_ready", child=spec.name)

    async def _bury(self, child: _Child, running: PipedProcess) -> None:
        """What a death needs: its helpers are ended, its last lines shown, the register brought up to date."""
        await self._end(child, running)
        self._write_pids()
        code = running.process.returncode or 0
        cause = {"signal": signal.Signals(-code).name} if code < 0 else {"exit_code": code}
        _log.warning("child_died", child=child.spec.name, pid=running.pid, **cause)
        await self._tell_of_death()
        if code == EXIT_WILL_NOT_GET_BETTER and not child.proven:
            raise _HopelessError(f"{child.spec.name} cannot run; its last lines say why")

    async def _tell_of_death(self) -> None:
        if self._after_death is None:
            return
        try:
            await asyncio.to_thread(self._after_death)
        except Exception:  # noqa: BLE001 - what follows a death elsewhere must not keep the child from coming back
            _log.exception("after_death_failed")

    async def _end(self, child: _Child, running: PipedProcess) -> None:
        """Kill what a dead child left in its group and show its last lines; who still holds the pipe loses it."""
        kill_group(running.pid)
        if child.forwarding is not None:
            await asyncio.wait([child.forwarding], timeout=_LAST_LINES_TIMEOUT_S)
            child.forwarding.cancel()
        running.pipe.close()
        child.running = child.forwarding = None

    async def _stop_all(self) -> None:
        _log.info("supervisor_stopping")
        await asyncio.gather(*(self._stop(child) for child in self._children.values()))
        (self._folder / _PIDS_FILE).unlink(missing_ok=True)
        _log.info("supervisor_stopped")

    async def _stop(self, child: _Child) -> None:
        """Stop one child after all that need it; what has not ended after its time is killed."""
        for other in self._children.values():
            if child.spec.name in other.spec.needs:
                await other.stopped.wait()
        running = child.running
        if running is not None:
            await self._ask_to_end(child.spec, running.process)
            await self._end(child, running)
            _log.info("child_stopped", child=child.spec.name)
        child.stopped.set()

    async def _ask_to_end(self, spec: ChildSpec, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(spec.stop_signal)
        try:
            async with asyncio.timeout(spec.stop_timeout_s):
                await process.wait()
        except TimeoutError:
            _log.warning("child_killed", child=spec.name, after_s=spec.stop_timeout_s)
            kill_group(process.pid)
            await process.wait()

    async def _forward(self, name: str, output: asyncio.StreamReader) -> None:
        """Pass on what the child says, line by line; a line longer than 64 KiB is cut into several."""
        rest = b""
        while chunk := await output.read(_LINE_BYTES_MAX):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) >= _LINE_BYTES_MAX:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._say(name, line)
        if rest:
            self._say(name, rest)

    def _say(self, name: str, line: bytes) -> None:
        text = line.decode(errors="replace")
        if text.startswith(self._children[name].spec.chatter) and not logging.getLogger().isEnabledFor(logging.INFO):
            return
        # A full disk costs lines, and so does a character that the output has not. A child whose lines nobody takes any
        # more would stand still at its next one.
        with contextlib.suppress(OSError, ValueError):
            if self._plain:
                self._output.write(f"{name:>10} | {text}\n")
            elif text.startswith("{"):
                self._output.write(f"{text}\n")
            elif text:
                _log.info(text, child=name)
            self._output.flush()

    def _write_pids(self) -> None:
        """Replace `pids.json` in one step, so that readers see the old or the new one.

        A full disk leaves the old one: a child that has just started must not be lost sight of for that.
        """
        unfinished = self._folder / f"{_PIDS_FILE}.unfinished"
        try:
            unfinished.write_text(json.dumps(self.pids()) + "\n")
            unfinished.replace(self._folder / _PIDS_FILE)
        except OSError as error:
            _log.error("register_not_written", file=_PIDS_FILE, error=str(error))

    @contextlib.contextmanager
    def _alone_in_folder(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = read_pids(self._folder).get("supervisor", "unknown")
                raise SupervisorError(
                    f"{self._folder} is served already, by process {holder}; stop it, or choose another data folder"
                ) from None
            yield

    @contextlib.contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def read_pids(folder: Path) -> dict[str, int]:
    """The processes of the data folder's supervisor by name, as it last wrote them; empty after a clean stop."""
    try:
        return {str(name): int(pid) for name, pid in json.loads((folder / _PIDS_FILE).read_text()).items()}
    except FileNotFoundError:
        return {}
