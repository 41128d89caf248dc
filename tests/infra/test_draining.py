"""An early answer waits for the rest of the body, and arrives whatever became of that body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.types import HTTPReceiveMessage, HTTPRequestEvent, Message, Receive, Scope, Send

from emeterai.core.refusal import Refused
from emeterai.gate.turning_away import CROWDED
from emeterai.infra.draining import DrainedRequests

SCOPE: Any = {"type": "http", "headers": [(b"content-length", b"20")]}


class Body:
    """A body of two pieces. At its end there is no room for whoever sent it; after that nothing ever comes."""

    def __init__(self, *, refused: bool) -> None:
        self.asked = 0
        self._refused = refused

    async def receive(self) -> HTTPReceiveMessage:
        """The next piece."""
        self.asked += 1
        if self.asked > 2:
            await asyncio.Event().wait()
        if self.asked == 2 and self._refused:
            raise CROWDED(retry_after_s=1)
        piece: HTTPRequestEvent = {"type": "http.request", "body": b"x" * 10, "more_body": self.asked == 1}
        return piece


async def answered(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], body: Body, *, method: str = "POST"
) -> list[Message]:
    """What is sent to whoever sent this body."""
    sent: list[Message] = []
    scope: Any = {**SCOPE, "method": method}

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(5):
        await DrainedRequests(app, size_bytes_max=1000)(scope, body.receive, send)
    return sent


async def early(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers without having read anything."""
    await send({"type": "http.response.start", "status": 401, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def late(_scope: Scope, receive: Receive, send: Send) -> None:
    """Reads to the end; answers with whatever refusal it meets there."""
    status = 201
    try:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
    except Refused as refused:
        status = refused.kind.status
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_an_early_answer_comes_after_the_body() -> None:
    """All of it is read first."""
    body = Body(refused=False)
    assert 401 == (await answered(early, body))[0]["status"]  # type: ignore[typeddict-item]
    assert 2 == body.asked


async def test_an_early_answer_arrives_although_there_was_no_room_for_the_body() -> None:
    """That the work would have been refused is no reason to lose the answer that there is."""
    body = Body(refused=True)
    assert 401 == (await answered(early, body))[0]["status"]  # type: ignore[typeddict-item]


async def test_who_is_refused_at_the_end_of_the_body_hears_so_at_once() -> None:
    """There is nothing more to read, and nobody waits for it."""
    body = Body(refused=True)
    assert 503 == (await answered(late, body))[0]["status"]  # type: ignore[typeddict-item]
    assert 2 == body.asked


async def test_the_body_of_a_look_is_not_waited_for() -> None:
    """It means nothing, and whoever announced it may never send it."""
    body = Body(refused=False)
    assert 401 == (await answered(early, body, method="GET"))[0]["status"]  # type: ignore[typeddict-item]
    assert 0 == body.asked
