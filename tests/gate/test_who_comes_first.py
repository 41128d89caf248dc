"""The most urgent class is for those who have shown that they are somebody: a token is invented in no time."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import httpx
import pytest
from litestar.routes import HTTPRoute
from served_door import ServedDoor, until

from emeterai.app import create_app
from emeterai.core.admission import Work
from emeterai.core.brownout import Step
from emeterai.gate.door import TRACKERS_MAX
from emeterai.gate.keeper import Keeper
from emeterai.gate.sorting import sort_of
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from running import RunningService

SITI = {"Authorization": "Bearer ems_siti-siti-siti-siti"}
COOKIE = {"Cookie": "emeterai_session=ems_siti-siti-siti-siti"}
KEY = "emk_" + "a" * 43
INVENTED = count()


def invented() -> dict[str, str]:
    """The headers of one whom there is not, another one each time."""
    return {"Authorization": f"Bearer ems_{next(INVENTED):016}"}


@pytest.fixture
def served() -> ServedDoor:
    """A door with two slots, at which nobody is known."""
    return ServedDoor(limit=2, all_known=False)


@pytest.fixture
async def client(served: ServedDoor) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody outside, on this machine."""
    async with served.serving() as found:
        yield found


def admitted(served: ServedDoor) -> dict[Work, int]:
    """How many went in by each class."""
    return dict(served.door.tally("retail").admitted)


@pytest.mark.parametrize("headers", [{}, SITI])
async def test_who_is_not_known_follows_after_those_who_buy(
    served: ServedDoor, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """With no token or one that nobody has seen yet it is like a look, though it never rests."""
    served.door.lane_steps = {"retail": Step.STAMPING}
    assert 200 == (await client.get("/v1/stamps/x", headers=headers)).status_code
    assert {Work.BROWSE: 1} == admitted(served)


async def test_who_was_answered_once_is_known(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """As a program and in a browser; another's token is another's."""
    for headers in (SITI, SITI, COOKIE):
        await client.get("/v1/stamps/x", headers=headers)
    assert {Work.BROWSE: 1, Work.FINISH: 2} == admitted(served)
    await client.get("/v1/stamps/x", headers=invented())
    assert {Work.BROWSE: 2, Work.FINISH: 2} == admitted(served)


@pytest.mark.parametrize("status", [303, 401, 403, 404, 422, 503])
async def test_who_is_refused_is_not_known_by_it(served: ServedDoor, client: httpx.AsyncClient, status: int) -> None:
    """However often he asks."""
    for _ in range(3):
        await client.get("/v1/stamps/x", headers={**SITI, "X-Answers": str(status)})
    assert {Work.BROWSE: 3} == admitted(served)


async def test_a_look_makes_nobody_known(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """The front page answers whatever token is shown."""
    await client.get("/kuota", headers=SITI)
    await client.get("/v1/stamps/x", headers=SITI)
    assert {Work.BROWSE: 2} == admitted(served)


async def test_those_inside_are_known(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """By a pass, by having come in before one was asked for, and by the key of a lane's member."""
    await client.get("/v1/stamps/x", headers={"Emeterai-Pass": "retail"})
    await client.post("/v1/orders", json={}, headers=SITI)
    await client.get("/v1/stamps/x", headers=SITI)
    assert {Work.FINISH: 2, Work.BUY: 1} == admitted(served)
    served.lanes_of_keys[hashlib.sha256(KEY.encode()).digest()] = "partners"
    await client.get("/v1/stamps/x", headers={"Authorization": f"Bearer {KEY}"})
    assert {Work.FINISH: 1} == dict(served.door.tally("partners").admitted)


async def test_a_storm_of_invented_tokens_turns_nothing_off(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """They fill no queue but that of those who look, so no step follows from it, and a buyer goes before them."""
    storm = [
        asyncio.create_task(client.get("/v1/stamps/x", headers={**invented(), "X-Takes": "0.2"})) for _ in range(150)
    ]
    await until(lambda: served.door.work.slots.waiting > 0)
    buyer = await client.post("/v1/orders", json={}, headers={"Emeterai-Pass": "retail"})
    refused = [one for one in await asyncio.gather(*storm) if one.status_code == 503]
    served.door.second()
    assert 200 == buyer.status_code
    assert len(refused) > 50
    assert (0.0, Step.NONE) == (served.door.pressure, served.door.step)


def test_all_of_whom_nothing_is_known_count_once_a_second() -> None:
    """One refused of two hundred who finish is no sign of load, be it the same stranger a thousand times."""
    door = ServedDoor().door
    for _ in range(200):
        door.admitted("retail", Work.FINISH, waited_s=0.0)
    for _ in range(1_000):
        door.refused("retail", Work.FINISH, b"", is_inside=False, for_room=True)
    door.second()
    assert door.pressure < 0.1


async def test_whoever_looks_for_an_order_takes_no_slot(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """They have some of their own, with a short queue; nothing of it is a sign of load."""
    crowd = [asyncio.create_task(client.get("/v1/track", headers={"X-Takes": "1"})) for _ in range(80)]
    await until(lambda: served.door.trackers.slots.waiting > 0)
    assert (TRACKERS_MAX, 0) == (served.door.trackers.slots.used, served.door.work.slots.used)
    assert 200 == (await client.get("/v1/stamps/x", headers=SITI)).status_code
    answers = {answer.status_code for answer in await asyncio.gather(*crowd)}
    served.door.second()
    assert ({200, 503}, 0.0) == (answers, served.door.pressure)
    assert (0, 0) == (served.door.trackers.slots.used, served.door.trackers.slots.waiting)


def urgent(folder: Path) -> list[tuple[str, str]]:
    """Every route of the application that is of the most urgent class for those who are known."""
    app, found, thing = create_app(Settings(data_dir=str(folder)), Keeper(b"k" * 32)), [], str(new_id())
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        path = re.sub(r"\{[^}]*\}", thing, route.path)
        for method in route.route_handler_map:
            sort = sort_of(method, path)
            if sort is not None and sort.work is Work.FINISH:
                found.append((method, path))
    return found


async def test_nothing_urgent_answers_an_invented_token(service: RunningService, tmp_path: Path) -> None:
    """Who is served by such a route has shown a real one: that is what being known stands on."""
    asked = [
        (method, path)
        for method, path in urgent(tmp_path)
        if not path.startswith(("/operator", "/petugas", "/perbendaharaan", "/v1/payments"))
    ]
    assert len(asked) > 8
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as client:
        for method, path in asked:
            for headers in (invented(), {"Cookie": f"emeterai_session=ems_{next(INVENTED):016}"}):
                answer = await client.request(method, path, headers=headers)
                assert not answer.is_success, (method, path, answer.status_code)
