"""Strangers who probe: however many ask, few answers are made, and nobody is refused."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import httpx
import pytest
from litestar.types import Receive, Send

from emeterai.gate.door import Door
from emeterai.gate.kept_probes import KeptProbe
from emeterai.gate.shedding import Shedding

STRANGER = "203.0.113.9"


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_of_all_strangers_who_probe_few_cost_anything_and_none_is_refused(path: str) -> None:
    """Whoever watches from another machine is not blinded by those who hammer; on this machine each asks anew."""
    made: list[str] = []

    async def behind(scope: Any, _receive: Receive, send: Send) -> None:
        made.append(scope["path"])
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    app: Any = Shedding(behind, Door(clock=time.monotonic), pass_of=lambda _: None)
    asked = dict[str, int]()
    for address in (STRANGER, "127.0.0.1"):
        transport = httpx.ASGITransport(app, client=(address, 1))
        before = len(made)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = await asyncio.gather(*(client.get(path) for _ in range(100)))
        assert {200} == {one.status_code for one in answers}
        asked[address] = len(made) - before
    assert asked[STRANGER] < 50
    assert 100 == asked["127.0.0.1"]


async def test_a_probe_is_answered_anew_after_a_moment_and_after_a_fault() -> None:
    """Whoever asked first and went took no answer from the others."""
    now_s, made = [0.0], [0]

    async def app(_scope: Any, _receive: Receive, send: Send) -> None:
        made[0] += 1
        await asyncio.sleep(0.01)
        if made[0] == 2:
            raise ValueError("broken")
        await send({"type": "http.response.start", "status": 200 + made[0], "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    probe, scope = KeptProbe(app, 0.1, clock=lambda: now_s[0]), cast(Any, {"path": "/readyz"})
    heard: list[Any] = []

    async def send(message: Any) -> None:
        heard.append(message.get("status"))

    first = asyncio.create_task(probe.answer(scope, send))
    await asyncio.sleep(0)
    second = asyncio.create_task(probe.answer(scope, send))
    await asyncio.sleep(0)
    first.cancel()
    await second
    now_s[0] = 0.09
    await probe.answer(scope, send)
    assert [201, None] * 2 == heard
    now_s[0] = 0.1
    with pytest.raises(ValueError, match="broken"):
        await probe.answer(scope, send)
    await probe.answer(scope, send)
    assert [201, None, 201, None, 203, None] == heard
