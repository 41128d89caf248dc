"""Nobody passes the front door by writing an address in another way."""

from __future__ import annotations

import time
from typing import Any, cast

import httpx
import pytest
from served_door import SlowWork, plain_pass

from emeterai.gate.door import Door
from emeterai.gate.shedding import Shedding
from emeterai.infra.one_path import OnePath


@pytest.mark.parametrize("path", ["/v1/orders", "//v1/orders", "/v1//orders", "///v1///orders"])
async def test_a_doubled_slash_needs_a_pass_too(path: str) -> None:
    """The router takes all of these for one address, so its handler would be reached."""
    work, door = SlowWork(), Door(clock=time.monotonic)
    door.passes_needed = frozenset({"retail"})
    app = OnePath(Shedding(cast("Any", work), door, pass_of=plain_pass, lane_of_key=dict[bytes, str]().get))
    transport = httpx.ASGITransport(cast("Any", app))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        answer = await client.post(f"http://127.0.0.1:8080{path}", json={})
    assert (429, "pass_needed") == (answer.status_code, answer.json()["code"])
    assert [] == work.begun
