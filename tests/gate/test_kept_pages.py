"""Pages that are the same for everybody are made once for a crowd, and nobody gets what is somebody's."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import httpx
import pytest
from litestar.types import Message, Receive, Scope, Send
from served_door import ServedDoor

from emeterai.core.admission import Work
from emeterai.gate.kept_page import KeptPage
from emeterai.infra.database import Database
from emeterai.infra.lane import work_for


@pytest.fixture
def served() -> ServedDoor:
    """A door with two slots, both taken."""
    found = ServedDoor(limit=2)
    assert found.door.work.enter_now("retail", Work.FINISH)
    assert found.door.work.enter_now("retail", Work.FINISH)
    return found


async def test_the_front_page_is_the_same_for_everybody_outside(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Made once for all strangers, and while passes are asked for once for all who are not inside; it takes no slot."""
    for _ in range(5):
        assert 200 == (await client.get("/")).status_code
    served.door.passes_needed = frozenset({"retail"})
    outside = {"Authorization": "Bearer ems_" + "o" * 43, "Cookie": "emeterai_session=" + "o" * 43}
    for _ in range(5):
        assert 200 == (await client.get("/", headers=outside)).status_code
    assert 1 == served.work.begun.count("/")
    served.door.work.leave("retail")
    assert 200 == (await client.get("/", headers={"Emeterai-Pass": "retail"})).status_code
    assert 2 == served.work.begun.count("/")


async def test_the_page_of_a_room_is_made_once_for_all(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Once packed and once not, whoever asks; what is one person's, or has no line, goes its ordinary way."""

    async def made(path: str, **headers: str) -> int:
        before = len(served.work.begun)
        for number in range(3):
            whose = {"Cookie": f"emeterai_ticket_retail={number}"}
            assert 200 == (await client.get(path, headers=whose | headers)).status_code
        return len(served.work.begun) - before

    plain = {"Accept-Encoding": "identity"}
    assert 3 == await made("/gate/retail")
    served.door.passes_needed = frozenset({"retail"})
    assert 1 == await made("/gate/retail")
    assert 1 == await made("/gate/retail", **plain)
    assert 0 == await made("/gate/retail", **plain)
    assert 0 == await made("/gate/retail?utm_source=pengumuman")
    for path in ("/gate/retail/giliran", "/gate/other", "/gate/retail/tickets"):
        assert 3 == await made(path)


async def test_a_front_page_that_is_somebodys_is_not_kept(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Nor is one that failed: the next one gets its own."""
    for headers in ({"X-Answers": "500"}, {"X-Says": "set-cookie"}, {"X-Says": "no-store"}):
        await client.get("/", headers=headers)
        client.cookies.clear()
    assert 3 == served.work.begun.count("/")


async def test_a_page_for_everybody_is_made_however_little_time_the_first_has(db: Database) -> None:
    """It is kept for those who look after."""
    made: list[Message] = []

    async def front(_scope: Scope, _receive: Receive, send: Send) -> None:
        body = str(await db.fetchval("SELECT 'Selamat datang'")).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def send(message: Message) -> None:
        made.append(message)

    async def looks() -> None:
        work_for("retail", Work.BROWSE, until_s=time.monotonic())
        await page.answer(cast("Scope", {"headers": []}), cast("Receive", None), send)

    page = KeptPage(front)
    await asyncio.create_task(looks())
    assert [200, b"Selamat datang"] == [made[0].get("status"), made[1].get("body")]
