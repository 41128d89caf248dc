"""What the crowd tells while it lives: a small HTTP server that keeps every event, and counts of what is too many."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

Event = list[Any]
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Told(msgspec.Struct):
    """One batch: events, and how often something happened, by `second name status`."""

    events: list[Event]
    counts: dict[str, int]


@dataclass
class Heard:
    """Everything of one run. Times in events are milliseconds since 1970."""

    events: dict[str, list[Event]] = field(default_factory=dict)
    counts: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    """How often something was answered: (second since 1970, what, status)."""

    def of(self, kind: str) -> list[Event]:
        """The events of a kind, without it."""
        return self.events.get(kind, [])

    def take(self, body: bytes) -> None:
        """Keep one batch."""
        told = msgspec.json.decode(body, type=_Told)
        for event in told.events:
            self.events.setdefault(event[0], []).append(event[1:])
        for key, count in told.counts.items():
            second, name, status = key.split()
            self.counts[int(second), name, int(status)] += count


class Ears:
    """The server, on a port of its own. `heard` is what it keeps; replace it between runs."""

    def __init__(self) -> None:
        self.heard = Heard()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Ears:
        self._server = await asyncio.start_server(self._listen, "127.0.0.1", 0, limit=2**20, backlog=1024)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
                self.heard.take(await reader.readexactly(length))
                writer.write(_ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
