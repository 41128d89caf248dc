"""Whoever is told to come again much later is not inside meanwhile, and keeps nobody out: a provider that is away."""

from __future__ import annotations

import time
from typing import Any

import pytest
from litestar.types import Receive, Scope, Send
from served_door import plain_pass

from emeterai.gate.carrying import PASS_HEADER
from emeterai.gate.door import INSIDE_S, Door
from emeterai.gate.lanes import RETAIL
from emeterai.gate.shedding import Shedding

HEADERS = [(PASS_HEADER, b"retail"), (b"accept", b"application/json")]


@pytest.mark.parametrize(
    ("status", "later_s", "inside"),
    [(503, b"10", 0), (503, b"60", 0), (503, b"2", 1), (503, b"soon", 1), (201, b"60", 1), (429, b"60", 1)],
)
async def test_told_to_come_again_later_than_people_count_as_inside(status: int, later_s: bytes, inside: int) -> None:
    """The next request of the same person counts again; a moment's wait and every other answer change nothing."""
    assert INSIDE_S <= 10

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"retry-after", later_s)]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> Any:
        raise AssertionError

    async def send(_message: Any) -> None:
        counted.append(door.inside()[RETAIL])

    counted: list[int] = []
    door = Door(clock=time.monotonic)
    scope: Any = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/orders", "query_string": b""}
    await Shedding(app, door, pass_of=plain_pass)({**scope, "headers": HEADERS}, receive, send)
    assert [inside] * 2 == counted
    assert door.knows(RETAIL, b"retail")
    await Shedding(app, door, pass_of=plain_pass)({**scope, "headers": HEADERS, "path": "/v1/quota"}, receive, send)
    assert [inside] * 4 == counted
