"""The bus: "there is work" and "this has changed", between processes, over PostgreSQL's LISTEN and NOTIFY.

A notification only makes things quicker: every listener also looks by itself, seldom. Publishing is coalesced and
happens outside the writing transaction, because NOTIFY inside one serialises commits on a lock of the whole server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

import asyncpg
import structlog

from emeterai.infra.interruption import INTERRUPTIONS

_CHANNEL = "emeterai"
_FLUSH_S = 0.002
_KEYS_A_NOTE = 150
_RECONNECT_S = 1.0
_log = structlog.get_logger(__name__)


class Bus:
    """One connection that listens and notifies. Keys are UUIDs of things that changed, or names of kinds of work."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._outgoing: dict[str, None] = {}
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._flush_wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen; a lost connection is made again."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def publish(self, keys: Iterable[UUID | str]) -> None:
        """Tell every process, this one too, that `keys` have news. Returns at once; it may be lost or come twice."""
        names = [str(key) for key in keys]
        for name in names:
            self._wake(name)
            self._outgoing[name] = None
        self._flush_wanted.set()

    @contextlib.contextmanager
    def listening(self, key: UUID | str) -> Iterator[asyncio.Event]:
        """An event that is set when `key` has news. Look at the state after entering, then wait."""
        event = asyncio.Event()
        waiters = self._waiters[str(key)]
        waiters.add(event)
        try:
            yield event
        finally:
            waiters.discard(event)
            if not waiters:
                self._waiters.pop(str(key), None)

    def _wake(self, name: str) -> None:
        for event in self._waiters.get(name, ()):
            event.set()

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for name in str(payload).split(","):
            self._wake(name)

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except INTERRUPTIONS as error:
                _log.warning("bus_lost", error=type(error).__name__, retry_s=_RECONNECT_S)
            except Exception:  # noqa: BLE001 - without it all that waits would wait for its own look, and news pile up
                _log.exception("bus_failed", retry_s=_RECONNECT_S)
            await asyncio.sleep(_RECONNECT_S)

    async def _serve(self) -> None:
        connection = await asyncpg.connect(self._url, command_timeout=10, server_settings={"application_name": "bus"})
        lost = asyncio.Event()

        def hang_up(_connection: object) -> None:
            lost.set()
            self._flush_wanted.set()

        connection.add_termination_listener(hang_up)
        try:
            await connection.add_listener(_CHANNEL, self._heard)
            while not lost.is_set():
                await self._flush_wanted.wait()
                await asyncio.sleep(_FLUSH_S)
                self._flush_wanted.clear()
                await self._flush(connection)
        finally:
            connection.terminate()
        raise ConnectionResetError

    async def _flush(self, connection: asyncpg.Connection) -> None:
        names, self._outgoing = list(self._outgoing), {}
        for start in range(0, len(names), _KEYS_A_NOTE):
            note = ",".join(names[start : start + _KEYS_A_NOTE])
            await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, note)
