"""A sealing key that never leaves its PKCS#11 token: several sessions, each in a process, replaced when they fail."""

from __future__ import annotations

import asyncio
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socketpair

import msgspec
import structlog

from emeterai.infra import metrics
from emeterai.seal.refusals import SEALING_KEY_AWAY
from emeterai.seal.token_messages import LENGTH, MESSAGE_SIZE_BYTES_MAX, Answer, Opening, frame

_START_TIMEOUT_S = 20.0
_SIGN_TIMEOUT_S = 5.0
_LOOK_AGAIN_S = 0.5
_LOGIN_S = 0.2
_away = metrics.counter("emeterai_sealing_key_away", "Signatures that the key's token did not make")
_log = structlog.get_logger(__name__)


class TokenError(OSError):
    """The token, the key in it or the PIN is not what was configured, or the module does not answer."""


class TokenPinError(TokenError):
    """The PIN is wrong. It is never tried twice: tokens lock themselves after a few wrong ones."""


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Which key of which token; `sessions` signatures are made at once."""

    module: Path
    token_label: str
    key_label: str
    pin_file: Path
    sessions: int = 2

    def opening(self) -> Opening:
        """What a session is opened with. The PIN is read each time: it may have changed. Raises OSError."""
        lines = self.pin_file.read_text(encoding="utf-8").splitlines()
        if not lines:
            raise TokenError(f"the PIN file {self.pin_file} is empty")
        return Opening(str(self.module), self.token_label, self.key_label, lines[0])


class _Session:
    """One process with one session."""

    def __init__(self, opening: Opening) -> None:
        self._socket, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - this very program
                    [sys.executable, "-I", "-m", "emeterai.seal.token_process", str(theirs.fileno()), str(os.getpid())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            self._ask(msgspec.msgpack.encode(opening), timeout_s=_START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def sign(self, to_be_signed: bytes) -> bytes:
        """The signature. Raises OSError; then the session is spent."""
        return self._ask(to_be_signed, timeout_s=_SIGN_TIMEOUT_S)

    def close(self) -> None:
        """End the process now."""
        self._socket.close()
        process = getattr(self, "_process", None)
        if process is not None:
            process.kill()
            process.wait()

    def _ask(self, body: bytes, *, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        self._socket.sendall(frame(body))
        size = LENGTH.unpack(self._read(LENGTH.size))[0]
        if size > MESSAGE_SIZE_BYTES_MAX:
            raise TokenError("the answer is too long")
        answer = msgspec.msgpack.decode(self._read(size), type=Answer)
        if answer.fault:
            raise (TokenPinError if answer.fault.startswith("Pin") else TokenError)(answer.fault)
        return answer.signature

    def _read(self, size_bytes: int) -> bytes:
        content = b""
        while len(content) < size_bytes:
            piece = self._socket.recv(size_bytes - len(content))
            if not piece:
                raise TokenError("the token's process ended")
            content += piece
        return content


@dataclass(eq=False)
class TokenKey:
    """The key. While its token is away each signature is refused at once; when it is back signing goes on by itself."""

    place: TokenPlace
    clock_s: Callable[[], float] = time.monotonic
    _idle: queue.LifoQueue[_Session | None] = field(default_factory=queue.LifoQueue)
    _look_again_at_s: float = 0.0
    _wrong_pin: str | None = None
    wrong_pins: int = 0
    """How many PINs the token has refused since this began."""

    @classmethod
    def open(cls, place: TokenPlace) -> TokenKey:
        """Open the first session; the others are opened when they are needed. Raises OSError."""
        key = cls(place)
        for _ in range(place.sessions - 1):
            key._idle.put(None)
        key._idle.put(_opened(place.opening()))
        return key

    def __post_init__(self) -> None:
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(self.place.sessions, thread_name_prefix="token")

    @property
    def session_pids(self) -> list[int]:
        """The process ids of the sessions that are idle now."""
        return [session.pid for session in list(self._idle.queue) if session is not None]

    async def sign(self, to_be_signed: bytes) -> bytes:
        """RSA PKCS#1 v1.5 or ECDSA with SHA-512. Raises the refusal `sealing_key_away`, within a bounded time."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.sign_now, to_be_signed)
        except OSError as error:
            _away.inc()
            _log.warning("sealing_key_away", error=str(error))
            raise SEALING_KEY_AWAY(retry_after_s=1) from error

    def sign_now(self, to_be_signed: bytes) -> bytes:
        """The same, in the caller's thread. Raises OSError."""
        session = self._idle.get()
        try:
            if session is not None:
                try:
                    return session.sign(to_be_signed)
                except OSError:
                    # A session that was cut says nothing about the token: another one is tried before giving up.
                    session.close()
                    session = None
            session = self._reopened()
            return session.sign(to_be_signed)
        except OSError:
            if session is not None:
                session.close()
                session = None
            raise
        finally:
            self._idle.put(session)

    def close(self) -> None:
        """End all sessions, those at work when they are done."""
        self._threads.shutdown(wait=True)
        while not self._idle.empty():
            session = self._idle.get()
            if session is not None:
                session.close()

    def _reopened(self) -> _Session:
        """A new session, looked for at most twice a second while there is none to be had."""
        with self._opening:
            if self.clock_s() < self._look_again_at_s:
                raise TokenError("the token was away a moment ago")
            try:
                opening = self.place.opening()
                if opening.pin == self._wrong_pin:
                    raise TokenPinError("the PIN in the file is the one that was wrong")
                return _opened(opening)
            except OSError as error:
                if isinstance(error, TokenPinError) and opening.pin != self._wrong_pin:
                    self._wrong_pin = opening.pin
                    self.wrong_pins += 1
                self._look_again_at_s = self.clock_s() + _LOOK_AGAIN_S
                raise


def _opened(opening: Opening) -> _Session:
    """A session. Tokens that keep their state in files look absent while another process logs in: asked twice."""
    try:
        return _Session(opening)
    except TokenPinError:
        raise
    except TokenError:
        time.sleep(_LOGIN_S)
        return _Session(opening)
