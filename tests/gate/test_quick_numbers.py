"""Numbers in a rush: given at the door without a look-up, and as good as any other when their turn comes. Those that
cannot be had are refused there, rush or not.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from litestar.types import Receive, Scope, Send
from room_app import create_room_app
from waiting_people import OPEN, SECRET, changed, publish

from emeterai.app import create_app
from emeterai.gate import new_numbers
from emeterai.gate.door import Door
from emeterai.gate.giver import NUMBERS_PAUSED, NumberGiver
from emeterai.gate.keeper import Keeper
from emeterai.gate.quick_numbers import RUSH_PER_S, QuickNumbers
from emeterai.gate.receipts import Receipts, nothing_on_record
from emeterai.gate.reception import Reception
from emeterai.gate.room_crowd import Numbers
from emeterai.gate.room_routes import Gate, gate_folder
from emeterai.gate.shedding import Shedding
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings

SITI, BUDI = new_id(), new_id()
TICKETS = "/gate/retail/tickets"
STRANGER = "203.0.113.9"
SIGNED_IN = {"x-account": str(SITI), "cookie": "emeterai_session=ems_siti"}


@pytest.fixture
def door() -> Door:
    """A door of a service with a line."""
    found = Door(clock=time.monotonic)
    found.passes_needed = frozenset({"retail"})
    return found


@pytest.fixture
async def reception(db: Database, tmp_path: Path) -> AsyncIterator[Reception]:
    """The reception of a lane where turn 100 is served and the next number is 21."""
    publish(tmp_path, OPEN)
    await db.fetch("INSERT INTO gate.rooms (lane, next_number) VALUES ('retail', 21)")
    found = Reception(db, tmp_path, SECRET)
    yield found
    await found.close()


@pytest.fixture
def inside() -> list[str]:
    """What the application behind the door was asked for."""
    return []


@pytest.fixture
async def client(db: Database, reception: Reception, door: Door, inside: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody outside."""
    receipts = Receipts(SECRET, "http://localhost", paid=nothing_on_record, uploaded=nothing_on_record)
    app = create_room_app(Gate(db, reception, receipts, https=False, inside="/"))

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        inside.append(scope["path"])
        await app(scope, receive, send)

    quick = QuickNumbers(reception, https=True, headers=[(b"x-ours", b"yes")])
    numbers = Numbers(quick.answer, quick.refuse)
    behind: Any = Shedding(counted, door, pass_of=lambda _: None, numbers=numbers)
    transport = httpx.ASGITransport(behind, client=(STRANGER, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as found:
        yield found


async def take(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    """Ask for a number, from a browser that keeps no cookie."""
    client.cookies.clear()
    return await client.post(TICKETS, **{"json": {}, **more})


async def test_in_a_rush_a_number_is_of_whoever_holds_it_until_its_holder_comes_in(client: httpx.AsyncClient) -> None:
    """Also of somebody who is signed in: it has a recovery code, and all that the ordinary answer has."""
    calm = await take(client, headers={"x-account": str(SITI)})
    quick: httpx.Response | None = None
    for _ in range(4 * RUSH_PER_S):
        answer = await take(client, headers={"x-account": str(BUDI)})
        if answer.json()["recovery_code"]:
            quick = answer
            break
    assert quick is not None
    assert calm.json().keys() == quick.json().keys()
    assert (201, "no-store", "yes") == (quick.status_code, quick.headers["cache-control"], quick.headers["x-ours"])
    cookie = quick.headers["set-cookie"].split("; ")
    assert f"emeterai_ticket_retail={quick.json()['ticket']}" == cookie[0]
    assert {"Path=/gate/retail", "HttpOnly", "Secure"} <= set(cookie)
    entered = await client.post(
        "/gate/retail/passes", json={"ticket": quick.json()["ticket"]}, headers={"x-account": str(BUDI)}
    )
    assert (201, True) == (entered.status_code, entered.json()["bound"])
    client.cookies.clear()
    thief = await client.post(
        "/gate/retail/passes", json={"ticket": quick.json()["ticket"]}, headers={"x-account": str(SITI)}
    )
    assert "ticket_of_another" == thief.json()["code"]


async def test_who_shows_a_ticket_in_a_rush_keeps_it(client: httpx.AsyncClient) -> None:
    """In the body or as a cookie: nobody gets a later number for asking again."""
    mine = (await take(client)).json()
    for _ in range(2 * RUSH_PER_S):
        assert mine["number"] == (await take(client, json={"ticket": mine["ticket"]})).json()["number"]
        shown = {"cookie": f"emeterai_ticket_retail={mine['ticket']}"}
        assert mine["number"] == (await take(client, headers=shown)).json()["number"]


async def test_without_a_line_or_a_rush_an_account_has_one_number(client: httpx.AsyncClient, door: Door) -> None:
    """However often it asks while no pass is asked for, and when few ask."""
    few = {(await take(client, headers={"x-account": str(SITI)})).json()["number"] for _ in range(RUSH_PER_S // 3)}
    assert 1 == len(few)
    door.passes_needed = frozenset()
    many = {(await take(client, headers={"x-account": str(SITI)})).json()["number"] for _ in range(3 * RUSH_PER_S)}
    assert few == many


async def test_where_there_are_no_numbers_nobody_waits_for_one_twice(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said at the door as it is said inside; who is signed in has the place that they had."""
    calm = await take(client, headers={"x-account": str(SITI)})
    asked: list[str] = []

    async def none_left(_: NumberGiver, lane: str, **__: int) -> int:
        asked.append(lane)
        raise NUMBERS_PAUSED(retry_after_s=3)

    monkeypatch.setattr(NumberGiver, "take", none_left)
    said = [await take(client) for _ in range(3 * RUSH_PER_S)]
    assert len(said) == len(asked)
    assert {(503, "numbers_paused")} == {(answer.status_code, answer.json()["code"]) for answer in said}
    assert 1 == len({tuple(sorted(answer.json())) for answer in said})
    assert 3 <= min(int(answer.headers["retry-after"]) for answer in said)
    assert calm.json()["number"] == (await take(client, headers=SIGNED_IN)).json()["number"]


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes for the numbers that an address has."""
    monkeypatch.setattr(new_numbers, "time", SimpleNamespace(monotonic=lambda: 1_000.0))


async def take_all(reception: Reception) -> None:
    """Take the numbers that the stranger's address has."""
    while reception.refused("retail", shown="", address=STRANGER) is None:
        await reception.ticket("retail", account_id=None, address=STRANGER)


@pytest.mark.usefixtures("standing")
@pytest.mark.parametrize("has_line", [True, False])
@pytest.mark.parametrize("sent", [{}, {"ticket": "t1.retail.forged"}, {"ticket": ""}])
async def test_who_has_had_his_numbers_is_refused_at_the_door_as_he_would_be_inside(
    client: httpx.AsyncClient,
    reception: Reception,
    door: Door,
    inside: list[str],
    sent: dict[str, str],
    *,
    has_line: bool,
) -> None:
    """Byte for byte, in a rush and before it, with and without a line; the application hears nothing of it."""
    door.passes_needed = frozenset({"retail"} if has_line else ())
    await take_all(reception)
    told = await take(client, json=sent, headers={"cookie": "emeterai_session=ems_invented"})
    assert (429, "numbers_too_many", [TICKETS]) == (told.status_code, told.json()["code"], inside)
    for _ in range(3 * RUSH_PER_S):
        said = await take(client, json=sent)
        assert (told.status_code, told.content) == (said.status_code, said.content)
        assert {**told.headers, "x-ours": "yes"} == dict(said.headers)
    assert [TICKETS] == inside


@pytest.mark.usefixtures("standing")
async def test_in_a_rush_it_is_said_wherever_the_road_would_lead(
    client: httpx.AsyncClient, reception: Reception, door: Door, inside: list[str]
) -> None:
    """Also where numbers are lots, as far as the door knows, and have places."""
    door.before_opening = frozenset({"retail"})
    await take_all(reception)
    said = [await take(client) for _ in range(3 * RUSH_PER_S)]
    assert {(429, "numbers_too_many")} == {(answer.status_code, answer.json()["code"]) for answer in said}
    assert len(inside) < len(said)


@pytest.mark.usefixtures("standing")
async def test_behind_an_address_that_has_had_its_numbers_everybody_keeps_theirs(
    client: httpx.AsyncClient, reception: Reception, tmp_path: Path
) -> None:
    """By ticket, cookie or code, and an account gets one, in a rush too; what else there is to say is said."""
    mine = (await take(client)).json()
    shown: list[dict[str, Any]] = [
        {"json": {"ticket": mine["ticket"]}},
        {"headers": {"cookie": f"emeterai_ticket_retail={mine['ticket']}"}},
        {"json": {"code": mine["recovery_code"]}},
        {"content": f'{{"\\u0063ode": "{mine["recovery_code"]}"}}'.encode(), "json": None},
    ]
    await take_all(reception)
    for _ in range(2 * RUSH_PER_S):
        assert 429 == (await take(client)).status_code
    assert {mine["number"]} == {(await take(client, **more)).json()["number"] for more in shown}
    assert 201 == (await take(client, headers=SIGNED_IN)).status_code
    assert 400 == (await take(client, json={"tiket": "x"})).status_code
    assert 405 == (await client.put(TICKETS, json={})).status_code
    assert "lane_unknown" == (await client.post("/gate/none/tickets", json={})).json()["code"]
    publish(tmp_path, changed(OPEN, state="closed"))
    reception.now._known.clear()
    assert {"lane_closed"} == {(await take(client, json=sent)).json()["code"] for sent in ({}, {"ticket": ""})}


@pytest.mark.usefixtures("standing")
async def test_in_the_whole_service_the_door_refuses_them(database_url: str, tmp_path: Path) -> None:
    """The application tells it how."""
    settings, keeper, said = Settings(data_dir=str(tmp_path), database_url=database_url), Keeper(SECRET), list[Any]()
    publish(gate_folder(settings), OPEN)
    scope: Any = {"path": TICKETS, "client": (STRANGER, 1), "headers": []}

    async def send(message: Any) -> None:
        said.append(message)

    app = create_app(settings, keeper)
    async with app.lifespan():
        assert not await keeper.numbers.refuse(scope, {}, b"{}", send, "retail")
        await take_all(app.state["room"].reception)
        assert await keeper.numbers.refuse(scope, {}, b"{}", send, "retail")
    assert 429 == said[0]["status"]
