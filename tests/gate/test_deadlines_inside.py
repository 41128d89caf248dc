"""From the door to the database: who has stopped waiting, or has hung up, is not worked for; an answer is finished."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any, cast

import pytest
from litestar.types import HTTPReceiveMessage, Message, Receive, Scope, Send
from served_door import FixedLimit, plain_pass

from emeterai.core.admission import Work
from emeterai.core.refusal import Refused
from emeterai.gate.connections import ConnectionTurns
from emeterai.gate.door import Door
from emeterai.gate.lanes import RETAIL
from emeterai.gate.shedding import Shedding
from emeterai.infra.database import Database
from emeterai.infra.lane import Caller, Deadline, deadline

PATIENCE_S = 30
ONE = Caller(RETAIL, Work.FINISH)


class Limit(FixedLimit):
    """A limit that remembers what it was told of work that failed for lack of something."""

    def __init__(self) -> None:
        super().__init__(8)
        self.failed: list[bool] = []

    def sample(self, *_: Any, failed: bool = False) -> None:
        """One piece of work has ended."""
        self.failed.append(failed)


class Site:
    """An application that looks at the database; below `/events` once more, when its answer has begun and a deadline
    that still stands has passed.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        status, body = 200, b"7"
        try:
            await self._db.fetchval("SELECT 7")
        except Refused as refused:
            status, body = refused.kind.status, refused.code.encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        if cast("str", scope["path"]).endswith("/events"):
            if deadline().until_s < inf:
                deadline().until_s = time.monotonic()
            body = str(await self._db.fetchval("SELECT 8")).encode()
        await send({"type": "http.response.body", "body": body, "more_body": False})


class Desk:
    """A site behind its door, with two connections to share."""

    def __init__(self, db: Database) -> None:
        self.turns = ConnectionTurns.of(db)
        self.limit, self.door = Limit(), Door(clock=time.monotonic)
        self.door.limit = self.limit  # type: ignore[assignment]
        self.door.work.slots.resize(8)
        self._app = Shedding(Site(db), self.door, pass_of=plain_pass)

    async def asked(self, path: str, *, hangs_up: asyncio.Event | None = None, **headers: str) -> tuple[int, bytes]:
        """The answer to a request, whose sender hangs up when told to."""
        said = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": said}
        made: list[Any] = []

        async def receive() -> HTTPReceiveMessage:
            await (hangs_up or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            made.append(message)

        rest = {"http_version": "1.1", "client": ("192.0.2.7", 40_000)}
        await self._app(cast("Scope", scope | rest), receive, send)
        return made[0]["status"], made[1]["body"]

    @asynccontextmanager
    async def all_taken(self) -> AsyncIterator[None]:
        """Every connection is taken inside the block."""
        assert [True] * 2 == [await self.turns.enter(ONE, Deadline()) for _ in range(2)]
        yield
        for _ in range(2):
            self.turns.leave(ONE)

    async def waits(self) -> None:
        """Return when somebody waits for a connection."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.turns._budget.slots.waiting:
                await asyncio.sleep(0.01)


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """The site."""
    db = await Database.connect(database_url, connections_max=2, wait_s=PATIENCE_S)
    yield Desk(db)
    await db.close()


async def test_a_request_is_not_worked_for_beyond_its_deadline(desk: Desk) -> None:
    """It has its slot and waits for a connection; that its own time was over says nothing of the service's health."""
    async with desk.all_taken(), asyncio.timeout(PATIENCE_S):
        assert (503, b"service_busy") == await desk.asked("/v1/stamps/x", x_request_timeout="0.2")
    assert (200, b"7") == await desk.asked("/v1/stamps/x", x_request_timeout="20")
    assert [False, False] == desk.limit.failed
    assert 0 == desk.turns.used_by(RETAIL) == desk.door.work.slots.used


async def test_who_hangs_up_is_not_worked_for(desk: Desk) -> None:
    """It gives up its place among those who wait for a connection, and its slot."""
    hangs_up = asyncio.Event()
    async with desk.all_taken(), asyncio.timeout(PATIENCE_S):
        asked = asyncio.create_task(desk.asked("/v1/stamps/x", hangs_up=hangs_up))
        await desk.waits()
        hangs_up.set()
        assert (503, b"service_busy") == await asked
    assert [False] == desk.limit.failed
    assert 0 == desk.turns.used_by(RETAIL) == desk.door.work.slots.used


async def test_an_answer_that_has_begun_is_given_to_its_end(desk: Desk) -> None:
    """The deadline was for its beginning."""
    assert (200, b"8") == await desk.asked("/v1/stamps/x/events", x_request_timeout="20")
