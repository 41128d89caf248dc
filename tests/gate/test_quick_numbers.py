"""Numbers in a rush: given at the door without a look-up, and as good as any other when their turn comes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from room_app import create_room_app
from waiting_people import OPEN, SECRET, publish

from emeterai.gate.door import Door
from emeterai.gate.giver import NUMBERS_PAUSED, NumberGiver
from emeterai.gate.quick_numbers import RUSH_PER_S, QuickNumbers
from emeterai.gate.receipts import Receipts, nothing_on_record
from emeterai.gate.reception import Reception
from emeterai.gate.room_crowd import Numbers
from emeterai.gate.room_routes import Gate
from emeterai.gate.shedding import Shedding
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

SITI, BUDI = new_id(), new_id()
TICKETS = "/gate/retail/tickets"


@pytest.fixture
def door() -> Door:
    """A door of a service with a line."""
    found = Door(clock=time.monotonic)
    found.passes_needed = frozenset({"retail"})
    return found


@pytest.fixture
async def client(db: Database, tmp_path: Path, door: Door) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody outside, in front of a lane where turn 100 is served and the next number is 21."""
    publish(tmp_path, OPEN)
    await db.fetch("INSERT INTO gate.rooms (lane, next_number) VALUES ('retail', 21)")
    reception = Reception(db, tmp_path, SECRET)
    receipts = Receipts(SECRET, "http://localhost", paid=nothing_on_record, uploaded=nothing_on_record)
    app = create_room_app(Gate(db, reception, receipts, https=False, inside="/"))
    quick = QuickNumbers(reception, https=True, headers=[(b"x-ours", b"yes")])
    behind: Any = Shedding(app, door, pass_of=lambda _: None, numbers=Numbers(quick.answer))
    transport = httpx.ASGITransport(behind, client=("203.0.113.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as found:
        yield found
    await reception.close()


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
    signed_in = {"x-account": str(SITI), "cookie": "emeterai_session=ems_siti"}
    assert calm.json()["number"] == (await take(client, headers=signed_in)).json()["number"]
