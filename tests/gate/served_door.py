"""A web application behind its door, served by Granian, whose work can be told how long to take."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar.types import Receive, Scope, Send

from emeterai.gate.door import Door
from emeterai.gate.listening import TEMPO, Tempo
from emeterai.gate.remembered import Remembered
from emeterai.gate.shedding import Shedding
from running import free_port

PASS_HEADER = b"emeterai-pass"


@dataclass(frozen=True)
class PlainPass:
    """A pass as the door sees it; its text in these tests is `LANE` or `LANE+`."""

    lane: str
    finish: bool
    subject: bytes


def plain_pass(headers: Mapping[bytes, bytes]) -> PlainPass | None:
    """The pass of a request of these tests."""
    text = headers.get(PASS_HEADER, b"").decode()
    return PlainPass(text.rstrip("+"), text.endswith("+"), text.encode()) if text else None


class SlowWork:
    """Takes as long as `X-Takes` says, answers the status of `X-Answers` with the Retry-After of `X-Later`;
    `/.../events` streams for 2 s.

    `begun` are the paths whose work was begun.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers, path = dict(scope["headers"]), scope["path"]
        size, more = 0, headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        while more:
            message: Any = await receive()
            if message["type"] != "http.request":
                return
            size, more = size + len(message["body"]), message["more_body"]
        self.begun.append(path)
        await asyncio.sleep(float(headers.get(b"x-takes", b"0")))
        if path.endswith("/events"):
            await self.stream(send)
            return
        body = str(size).encode()
        answer, said = int(headers.get(b"x-answers", b"200")), [(b"content-length", str(len(body)).encode())]
        said += [(b"location", b"/masuk?back=x")] if answer == 303 else []
        said += {b"set-cookie": [(b"set-cookie", b"a=b")], b"no-store": [(b"cache-control", b"no-store")]}.get(
            headers.get(b"x-says", b""), []
        )
        said += [(b"retry-after", headers[b"x-later"])] if b"x-later" in headers else []
        await send({"type": "http.response.start", "status": answer, "headers": said})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def stream(self, send: Send) -> None:
        """Events for a while."""
        kind = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
            await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class FixedLimit:
    """A limit that stays."""

    def __init__(self, limit: int) -> None:
        self.limit, self.ratio = limit, 0.0

    def sample(self, *_: Any, **__: Any) -> None:
        """Learn nothing."""

    def turn(self, _: float) -> int:
        """The same as ever."""
        return self.limit


class EverybodyKnown(Remembered):
    """Whoever asks has been answered as themselves before, so that the class of work is that of the path."""

    def knows(self, who: bytes) -> bool:
        """Always."""
        return True


class ServedDoor:
    """The application, its door and its server, in this process. `all_known`: nobody here is a stranger."""

    def __init__(
        self,
        *,
        limit: int = 2,
        shares: Mapping[str, float] | None = None,
        tempo: Tempo = TEMPO,
        all_known: bool = True,
    ) -> None:
        self.work, self.door = SlowWork(), Door(clock=time.monotonic, chance=random.Random(1))
        self.door.limit = FixedLimit(limit)  # type: ignore[assignment]
        self.door.work.slots.resize(limit)
        self.door.share(shares or {})
        self.lanes_of_keys: dict[bytes, str] = {}
        self.app = app = Shedding(
            self.work,
            self.door,
            pass_of=plain_pass,
            lane_of_key=self.lanes_of_keys.get,
            tempo=tempo,
            known=EverybodyKnown(lasts_s=60, most=1) if all_known else None,
        )
        self.port = free_port()
        self._server = Server(
            app, address="127.0.0.1", port=self.port, interface=Interfaces.ASGI, log_enabled=False, websockets=False
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[httpx.AsyncClient]:
        """Serve inside the block; answers a client."""
        task = asyncio.create_task(self._server.serve())
        limits = httpx.Limits(max_connections=200)
        url = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10, limits=limits) as client:
            async with asyncio.timeout(10):
                while not await self.answers(client):
                    await asyncio.sleep(0.02)
            yield client
        self._server.stop()
        await task

    async def answers(self, client: httpx.AsyncClient) -> bool:
        """Whether the server is there."""
        try:
            return (await client.get("/healthz")).is_success
        except httpx.TransportError:
            return False


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)
