"""Of one person only so much is worked on, or waits for a slot, at once: nobody fills the queue of all others."""

from __future__ import annotations

import asyncio
import hashlib

import httpx
import pytest
from served_door import ServedDoor, until

from emeterai.core.admission import Work
from emeterai.gate.door import AT_ONCE_MAX

MANY = 3 * AT_ONCE_MAX
HOLDER = {"Emeterai-Pass": "retail"}
SESSION = "ems_" + "s" * 43
KEY = "emk_" + "k" * 43


async def take_both_slots(served: ServedDoor) -> None:
    """And have time stand still for all who wait, so that nobody loses patience."""
    served.door.work._clock = lambda: 0.0
    for _ in range(2):
        assert await served.door.work.enter("retail", Work.FINISH)


async def let_all_in(served: ServedDoor, asked: list[asyncio.Task[httpx.Response]]) -> list[int]:
    """Give the slots back; how the requests were answered."""
    for _ in range(2):
        served.door.work.leave("retail")
    return sorted(answer.status_code for answer in await asyncio.gather(*asked))


@pytest.mark.parametrize("headers", [HOLDER, {"Cookie": f"emeterai_session={SESSION}"}], ids=["pass", "browser"])
async def test_one_person_has_few_places_in_the_queue(
    served: ServedDoor, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """What goes beyond is refused as all is for which there is no room, but is no sign of load. Others wait beside it,
    and afterwards all is as before.
    """
    await take_both_slots(served)
    asked = [asyncio.create_task(client.get(f"/v1/stamps/{one}", headers=headers)) for one in range(MANY)]
    await until(lambda: sum(one.done() for one in asked) == MANY - AT_ONCE_MAX)
    assert {"service_crowded"} == {one.result().json()["code"] for one in asked if one.done()}
    assert AT_ONCE_MAX == served.door.work.slots.waiting
    served.door.second()
    assert 0.0 == served.door.pressure
    asked.append(asyncio.create_task(client.get("/v1/stamps/other", headers={"Emeterai-Pass": "retail+"})))
    await until(lambda: served.door.work.slots.waiting == AT_ONCE_MAX + 1)
    assert [200] * (AT_ONCE_MAX + 1) + [503] * (MANY - AT_ONCE_MAX) == await let_all_in(served, asked)
    assert not served.door._at_once
    assert 200 == (await client.get("/v1/stamps/later", headers=headers)).status_code


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Bearer {SESSION}"}, {}],
    ids=["key", "program", "nobody"],
)
async def test_a_program_stands_for_many_and_nobody_is_no_one(
    served: ServedDoor, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """A key's lane has limits of its own; of whom nothing is known is not one person."""
    served.lanes_of_keys[hashlib.sha256(KEY.encode()).digest()] = "retail"
    await take_both_slots(served)
    asked = [asyncio.create_task(client.get(f"/v1/stamps/{one}", headers=headers)) for one in range(MANY)]
    await until(lambda: served.door.work.slots.waiting == MANY)
    assert [200] * MANY == await let_all_in(served, asked)


async def test_so_it_is_with_files(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Once they are here: until then a file holds no slot, and has bounds of its own."""
    await take_both_slots(served)
    file = b"x" * 100_000
    asked = [asyncio.create_task(client.post("/v1/uploads", headers=HOLDER, content=file)) for _ in range(MANY)]
    await until(lambda: served.door.work.slots.waiting == AT_ONCE_MAX)
    await until(lambda: sum(one.done() for one in asked) == MANY - AT_ONCE_MAX)
    served.door.second()
    assert 0.0 == served.door.pressure
    assert AT_ONCE_MAX == (await let_all_in(served, asked)).count(200)
    assert not served.door._at_once


async def test_who_hangs_up_is_counted_no_more(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """While they wait."""
    for _ in range(2):
        assert await served.door.work.enter("retail", Work.FINISH)
    asked = [asyncio.create_task(client.get("/v1/stamps/x", headers=HOLDER)) for _ in range(AT_ONCE_MAX)]
    await until(lambda: served.door.work.slots.waiting == AT_ONCE_MAX)
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await until(lambda: not served.door._at_once)
