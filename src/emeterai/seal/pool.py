"""A bounded pool of openers, seen from the parent: one request each at a time, killed and replaced when one fails."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket, socketpair
from typing import cast

import msgspec

from emeterai.core.refusal import refusal_from
from emeterai.seal.limits import SWOLLEN_SIZE_BYTES
from emeterai.seal.messages import LENGTH, MESSAGE_SIZE_BYTES_MAX, Answer, RefusedAnswer, Request, Unreadable, frame
from emeterai.seal.refusals import PDF_TOO_COMPLEX, SEALER_BUSY

_decode = msgspec.msgpack.Decoder[Answer](Answer).decode
_WORKED_SHARE = 0.4
_START_TIMEOUT_S = 30.0
_STARTS_MAX = 3
_HEARING_S = 0.02
_BUFFER_SIZE_BYTES = 65_536
_BUFFER_SIZE_BYTES_KEPT = 4_194_304
"""A buffer that a repaired file has made larger is given back."""


class OpenerGoneError(Exception):
    """The opener ended before it answered."""


class OpenerStartError(Exception):
    """No opener starts on this machine; the program cannot serve."""


class _Channel(asyncio.BufferedProtocol):
    """The parent's end of the socket: collects one framed message at a time into one buffer."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_SIZE_BYTES)
        self._filled = 0
        self._waiting: asyncio.Future[bytes] | None = None
        self._early: bytes | None = None
        self.gone = False

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._filled == len(self._buffer):
            self._buffer = self._buffer + bytearray(max(sizehint, len(self._buffer)))
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled < LENGTH.size:
            return
        size = LENGTH.unpack_from(self._buffer)[0]
        if size > MESSAGE_SIZE_BYTES_MAX:
            self.connection_lost(None)
        elif self._filled >= LENGTH.size + size:
            body = bytes(self._buffer[LENGTH.size : LENGTH.size + size])
            self._filled = 0
            if len(self._buffer) > _BUFFER_SIZE_BYTES_KEPT:
                self._buffer = bytearray(_BUFFER_SIZE_BYTES)
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(body)
            else:
                # An opener may be ready before its parent listens: on a busy machine the parent comes second.
                self._early = body

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        self.gone = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(OpenerGoneError())

    async def message(self) -> bytes:
        """The next message. Raises OpenerGoneError."""
        if self._early is not None:
            body, self._early = self._early, None
            return body
        if self.gone:
            raise OpenerGoneError
        self._waiting = asyncio.get_running_loop().create_future()
        return await self._waiting


class Opener:
    """One opener process."""

    def __init__(self, process: asyncio.subprocess.Process, channel: _Channel, transport: asyncio.Transport) -> None:
        self._process = process
        self._channel = channel
        self._transport = transport

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether the process is known to have ended."""
        return self._channel.gone

    @classmethod
    async def start(cls, *, cpu_s: int) -> Opener:
        """Start a process and wait until it is ready: about 0.1 s. Raises OpenerGoneError or TimeoutError."""
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *_command(theirs, cpu_s),
                pass_fds=(theirs.fileno(),),
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
            )
        ours.setblocking(False)
        transport, channel = await _connect(_Channel, ours)
        opener = cls(process, channel, transport)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await channel.message()
        except BaseException:
            await opener.kill()
            raise
        return opener

    async def ask(self, request: Request, *, timeout_s: float) -> Answer:
        """Send one request, wait for its answer. Raises OpenerGoneError or TimeoutError; then the opener is spent."""
        self._transport.write(frame(request))
        async with asyncio.timeout(timeout_s):
            return cast("Answer", _decode(await self._channel.message()))

    def cpu_s(self) -> float:
        """The processor time that the process has used so far, in seconds; 0 when it cannot be told."""
        try:
            # The number that clock_getcpuclockid(3) gives for a process; /proc takes twenty times as long.
            return time.clock_gettime(~self.pid << 3 | 2)
        except OSError:
            return 0.0

    def is_swollen(self) -> bool:
        """Whether the process holds so much memory that the file must be to blame, however little it could work."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return False
        return pages * os.sysconf("SC_PAGE_SIZE") > SWOLLEN_SIZE_BYTES

    async def kill(self) -> None:
        """End the process now and reap it."""
        self._transport.abort()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()


def _command(theirs: socket, cpu_s: int) -> list[str]:
    # -I: neither the environment nor the working folder can put other code in front of ours.
    arguments = (str(theirs.fileno()), str(os.getpid()), str(cpu_s))
    return [sys.executable, "-I", "-m", "emeterai.seal.opener", *arguments]


async def _connect(factory: Callable[[], _Channel], ours: socket) -> tuple[asyncio.Transport, _Channel]:
    transport, channel = await asyncio.get_running_loop().create_unix_connection(factory, sock=ours)
    return transport, channel


class OpenerPool:
    """A fixed number of openers. A request waits for a free one no longer than its own time limit."""

    def __init__(self, size: int, *, timeout_s: float) -> None:
        self._size = size
        self._timeout_s = timeout_s
        self._idle: asyncio.LifoQueue[Opener] = asyncio.LifoQueue()
        self._replacing: set[asyncio.Task[None]] = set()
        self._all: set[Opener] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The process ids of the openers that live now."""
        return [opener.pid for opener in self._all]

    async def start(self) -> None:
        """Start all openers. Raises OpenerStartError when one cannot be started."""
        await asyncio.gather(*(self._add() for _ in range(self._size)))

    async def ask(self, request: Request, *, timeout_s: float | None = None, wait_s: float | None = None) -> Answer:
        """The opener's answer, within `timeout_s`, once one was free within `wait_s`, or else the pool's own limits.

        Raises Refused: what the opener refused; sealer_busy when none is free, or none gets to work, in time;
        pdf_too_complex when the file keeps an opener at work for too long, or has ended two of them. One that ends for
        a reason of its own does not cost the request. Raises OSError when the path cannot be read.
        """
        limit_s = timeout_s or self._timeout_s
        for _ in range(2):
            opener = await self._take(self._timeout_s if wait_s is None else wait_s)
            before_s = opener.cpu_s()
            try:
                answer = await opener.ask(request, timeout_s=limit_s)
            except OpenerGoneError:
                self._replace(opener)
                # Openers killed together: the others' ends must be heard of, or the second try would meet one of them.
                await asyncio.sleep(_HEARING_S)
                continue
            except TimeoutError as error:
                # An opener that hardly got to work was starved by this machine: that is our fault, not the file's.
                has_worked = opener.cpu_s() - before_s >= limit_s * _WORKED_SHARE or opener.is_swollen()
                self._replace(opener)
                raise (PDF_TOO_COMPLEX() if has_worked else SEALER_BUSY()) from error
            except BaseException:
                self._replace(opener)
                raise
            self._idle.put_nowait(opener)
            if isinstance(answer, RefusedAnswer):
                raise refusal_from(answer.code, answer.facts)
            if isinstance(answer, Unreadable):
                raise OSError(answer.reason)
            return answer
        raise PDF_TOO_COMPLEX()

    async def close(self) -> None:
        """End all openers."""
        self._closed = True
        for task in self._replacing:
            task.cancel()
        await asyncio.gather(*self._replacing, return_exceptions=True)
        await asyncio.gather(*(opener.kill() for opener in self._all))
        self._all.clear()

    async def _take(self, wait_s: float) -> Opener:
        while not self._idle.empty():
            opener = self._idle.get_nowait()
            if not opener.gone:
                return opener
            self._replace(opener)
        try:
            async with asyncio.timeout(wait_s):
                while (opener := await self._idle.get()).gone:
                    self._replace(opener)
                return opener
        except TimeoutError as error:
            raise SEALER_BUSY() from error

    async def _add(self) -> None:
        for _ in range(_STARTS_MAX):
            try:
                opener = await Opener.start(cpu_s=int(self._timeout_s) + 1)
            except (OpenerGoneError, TimeoutError, OSError):
                continue
            self._all.add(opener)
            self._idle.put_nowait(opener)
            return
        raise OpenerStartError("no opener process starts; is the memory of this machine exhausted?")

    def _replace(self, opener: Opener) -> None:
        if self._closed:
            return
        self._all.discard(opener)
        task = asyncio.get_running_loop().create_task(self._replaced(opener))
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _replaced(self, opener: Opener) -> None:
        await opener.kill()
        while True:
            try:
                await self._add()
            except OpenerStartError:
                await asyncio.sleep(1)
            else:
                return
