"""What the room makes for each person who looks without a script: cheaply, so many a second, and nobody is stranded."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from litestar.types import Receive, Send
from room_app import create_room_app
from served_door import until
from waiting_people import DRAWN, OPEN, SECRET, changed, publish

from emeterai.core.brownout import Step
from emeterai.gate import free_road, receipt_pages, room_page
from emeterai.gate.door import Door
from emeterai.gate.free_road import PAGE_HELD_S, PAGES_MAX, PROOF_HELD_S, PROOFS_MAX
from emeterai.gate.receipts import Receipts
from emeterai.gate.reception import Given, Reception
from emeterai.gate.room_crowd import Numbers
from emeterai.gate.room_page import draw_page, still_page
from emeterai.gate.room_routes import Gate
from emeterai.gate.shedding import Shedding
from emeterai.gate.tickets import Ticket
from emeterai.infra.database import Database

TURN = "/gate/retail/giliran"
BOUNDED = [
    (TURN, PAGES_MAX),
    (f"{TURN}?refresh=0", PAGES_MAX),
    ("/gate/retail/bukti", PROOFS_MAX),
    ("/gate/retail/bukti.txt", PROOFS_MAX),
    ("/gate/retail/undian?nomor=7", PROOFS_MAX),
    ("/gate/not-a-lane", PROOFS_MAX),
    ("/gate/not-a-lane.json", PROOFS_MAX),
]
CROWD = 200


class AtOnce:
    """What is behind the door: it makes each answer in one go, as the room's pages are made."""

    def __init__(self) -> None:
        self.worked: list[str] = []

    async def __call__(self, scope: Any, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        self.worked.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def looking(
    app: Any, *, door: Door | None = None, numbers: Numbers | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without a script in front of an application behind its door."""
    behind: Any = Shedding(app, door or Door(clock=time.monotonic), pass_of=lambda _: None, numbers=numbers)
    transport = httpx.ASGITransport(behind, client=("203.0.113.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as found:
        yield found


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a place keeps it for as long as a test lasts."""
    monkeypatch.setattr(free_road, "PAGE_HELD_S", 600.0)
    monkeypatch.setattr(free_road, "PROOF_HELD_S", 600.0)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(("path", "places"), BOUNDED)
async def test_so_many_are_made_and_the_others_get_a_page_that_asks_again(path: str, places: int) -> None:
    """In Indonesian first, with the place that they keep, whatever form their browser says that it takes; not all at
    once.
    """
    behind = AtOnce()
    async with looking(behind) as client:
        said = await asyncio.gather(*(client.get(path) for _ in range(CROWD)))
    assert places == len(behind.worked)
    refused = [one for one in said if one.status_code != 200]
    assert {(503, "text/html; charset=utf-8", "no-store")} == {
        (one.status_code, one.headers["content-type"], one.headers["cache-control"]) for one in refused
    }
    for one in refused:
        assert f'<meta http-equiv="refresh" content="{one.headers["retry-after"]}">' in one.text
        assert 0 < one.text.index("tempat Anda di antrean tetap") < one.text.index("you keep your place in line")
    assert len({one.headers["retry-after"] for one in refused}) > 1


@pytest.mark.parametrize(
    ("path", "places", "held_s"), [(TURN, PAGES_MAX, PAGE_HELD_S), ("/gate/retail/undian", PROOFS_MAX, PROOF_HELD_S)]
)
async def test_a_place_comes_back_a_moment_later(path: str, places: int, held_s: float) -> None:
    """So however quickly each is made, so many are made in a second; who waits for a moment gets one of the next."""
    behind, began_s = AtOnce(), time.monotonic()
    async with looking(behind) as client:
        said = await asyncio.gather(*(client.get(path) for _ in range(CROWD)))
    turns = (time.monotonic() - began_s) / held_s
    assert places < [one.status_code for one in said].count(200) <= places * (turns + 1)


@pytest.mark.usefixtures("held")
async def test_the_crowd_of_one_lane_leaves_another_its_pages() -> None:
    """Each has its share of these places too."""
    behind, door = AtOnce(), Door(clock=time.monotonic)
    door.lane_steps = {"retail": Step.NONE, "partners": Step.NONE}
    async with looking(behind, door=door) as client:
        door.share({"retail": 0.75, "partners": 0.25})
        for last, places in (("giliran", PAGES_MAX), ("bukti", PROOFS_MAX)):
            crowd = [asyncio.create_task(client.get(f"/gate/retail/{last}")) for _ in range(CROWD)]
            await until(lambda places=places: len(behind.worked) == places)  # type: ignore[misc]
            assert 200 == (await client.get(f"/gate/partners/{last}")).status_code
            await asyncio.gather(*crowd)
            behind.worked.clear()


async def test_whoever_is_called_has_the_next_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before all who wait for theirs."""
    monkeypatch.setattr(free_road, "PAGE_HELD_S", 0.5)
    behind = AtOnce()
    numbers = Numbers(is_called=lambda _scope, headers, _body: b"called" in headers.get(b"cookie", b""))
    async with looking(behind, numbers=numbers) as client:
        crowd = [asyncio.create_task(client.get(TURN)) for _ in range(CROWD)]
        await until(lambda: len(behind.worked) == PAGES_MAX)
        called = await client.get(f"{TURN}/", headers={"cookie": "emeterai_ticket_retail=called"})
        await asyncio.gather(*crowd)
    assert (200, f"{TURN}/") == (called.status_code, behind.worked[PAGES_MAX])


@pytest.mark.usefixtures("held")
async def test_what_is_the_same_for_all_and_what_is_sent_need_none_of_these_places() -> None:
    """Nor do the two sorts take each other's."""
    behind, door = AtOnce(), Door(clock=time.monotonic)
    door.lane_steps = {"retail": Step.NONE}
    async with looking(behind, door=door) as client:
        await asyncio.gather(*(client.get(TURN) for _ in range(CROWD)))
        assert 200 == (await client.get("/gate/retail/undian")).status_code
        await asyncio.gather(*(client.get("/gate/retail/undian") for _ in range(CROWD)))
        for path in ("/gate/retail", "/gate/retail.json", "/static/x.png", "/healthz"):
            assert 200 == (await client.get(path)).status_code, path
        assert 200 == (await client.post(TURN, data={"do": "ambil"})).status_code


async def test_without_the_database_they_are_made_behind_the_door(tmp_path: Path) -> None:
    """The signed ticket and the file say all."""
    publish(tmp_path, changed(OPEN, draw=DRAWN))
    away = cast("Database", None)
    reception = Reception(away, tmp_path, SECRET)
    gate = Gate(away, reception, Receipts(SECRET, "http://localhost"), https=False, inside="/beli")
    ticket = reception.press.sign(Ticket("retail", 300, int(OPEN.updated_at.timestamp() * 1000)))
    async with looking(create_room_app(gate, extra=receipt_pages.controllers)) as client:
        for path, word in ((TURN, "300"), ("/gate/retail/bukti", "r1."), ("/gate/retail/undian?nomor=7", "Nomor 7")):
            page = await client.get(path, headers={"cookie": f"emeterai_ticket_retail={ticket}"})
            assert (200, True) == (page.status_code, word in page.text), path


def given(number: int, code: str) -> Given:
    """A ticket as its holder gets it."""
    return Given(Ticket("retail", number, 0), "", code, number)


def test_a_page_is_made_once_for_all_who_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each only the gaps are filled: number, turn, wait; packed or not, each finds their own and nobody else's."""
    made: list[str] = []
    make = room_page._page

    def counted(name: str, **context: Any) -> Any:
        made.append(name)
        return make(name, **context)

    monkeypatch.setattr(room_page, "_page", counted)
    lane = changed(OPEN, title="Umum & <cepat>", draw=DRAWN, last_number=2_000_000)
    for number in range(200_000, 1_200_000, 9_973):
        code = f"K{number}-&<"
        page = still_page(lane, given(number, code), age_s=0.0, chance=number % 7 / 7, refresh=True)
        assert page.content == gzip.decompress(page.packed())
        text = page.content.decode()
        for word in (
            f"<dd id=n>{number:,}".replace(",", "."),
            f"<b id=c>K{number}-&amp;&lt;</b>",
            "Umum &amp; &lt;cepat",
        ):
            assert word in text
        assert "\0" not in text
        drawn = draw_page(lane, number)
        assert drawn.content == gzip.decompress(drawn.packed())
        assert f"--number {number}<" in drawn.content.decode()
    assert ["room.html", "draw.html"] == made
