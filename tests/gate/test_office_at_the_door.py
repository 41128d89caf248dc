"""The lane of staff is for staff: nobody else takes its slots, and whoever is new gets through in a rush."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from served_door import ServedDoor, until

from emeterai.core.admission import Work
from emeterai.core.brownout import Step
from emeterai.gate.door import PAYMENTS, STRANGERS_MAX
from emeterai.gate.lanes import STAFF
from emeterai.gate.office import ASKS_AT_ONCE, KNOWN_MAX, KNOWN_S, Office
from emeterai.gate.side_entrance import SmallRate

OFFICE = ("/operator", "/petugas/uang", "/perbendaharaan")
SARI = {"Cookie": "other=1; emeterai_session=ems_sari; x=y"}


@pytest.fixture
def served() -> ServedDoor:
    """A door with four slots, half of them promised to staff and payment providers."""
    return ServedDoor(limit=4, shares={STAFF: 0.5})


@pytest.fixture
async def client(served: ServedDoor) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody outside, on this machine."""
    async with served.serving() as found:
        yield found


def at(served: ServedDoor, address: str, **headers: str) -> httpx.AsyncClient:
    """Somebody at an address."""
    transport = httpx.ASGITransport(cast("Any", served.app), client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url="http://meterai.example", headers=headers)


def admitted(served: ServedDoor, lane: str) -> int:
    """How many went in by a lane."""
    return sum(served.door.tally(lane).admitted.values())


async def test_who_was_shown_a_page_of_staff_goes_in_by_their_lane(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """From the next request on, whatever page it is; whoever has another session or none does not."""
    for path in OFFICE:
        assert 200 == (await client.get(path, headers=SARI)).status_code
    assert (1, 2) == (admitted(served, "retail"), admitted(served, STAFF))
    await client.get("/operator")
    await client.get("/operator", headers={"Cookie": "emeterai_session=ems_somebody"})
    await client.get("/operator", headers={"Authorization": "Bearer ems_sari"})
    assert (4, 2) == (admitted(served, "retail"), admitted(served, STAFF))


@pytest.mark.parametrize("status", [303, 302, 400, 401, 403, 404, 422, 500, 503])
async def test_who_was_not_shown_one_is_not_known(served: ServedDoor, client: httpx.AsyncClient, status: int) -> None:
    """Refused, sent to sign in or elsewhere, or nothing there: the places of strangers, however often they ask."""
    for _ in range(3):
        answer = await client.get("/operator", headers={**SARI, "X-Answers": str(status)})
        assert status == answer.status_code
    assert 0 == admitted(served, STAFF)


async def test_a_session_that_is_over_is_forgotten(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Sent to sign in; a page that he may not see, or one that is not there, says nothing of who he is."""
    await client.get("/operator", headers=SARI)
    for status, staff in ((403, 1), (404, 2), (303, 3), (200, 3), (200, 4)):
        await client.get("/operator", headers={**SARI, "X-Answers": str(status)})
        assert staff == admitted(served, STAFF), status


async def test_strangers_take_two_places_and_no_slot(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """However many ask at once; people's work and the staff's goes on."""
    await client.get("/operator", headers=SARI)
    asking = [asyncio.create_task(client.get("/operator", headers={"X-Takes": "1.5"})) for _ in range(8)]
    await until(lambda: served.door.strangers.slots.waiting == 6)
    assert (STRANGERS_MAX, 0) == (served.door.strangers.slots.used, served.door.work.slots.used)
    assert 200 == (await client.get("/v1/stamps/x")).status_code
    assert 200 == (await client.get("/operator", headers=SARI)).status_code
    assert served.door.strangers.slots.waiting > 0
    await asyncio.gather(*asking)
    assert (0, 0) == (served.door.strangers.slots.used, served.door.strangers.slots.waiting)


async def test_a_first_request_of_staff_gets_through_in_a_rush(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Every slot taken and a crowd waiting for them, at the last step of the brown-out."""
    served.door.lane_steps = {"retail": Step.STAMPING, STAFF: Step.STAMPING}
    for _ in range(4):
        assert await served.door.work.enter("retail", Work.FINISH)
    crowd = [asyncio.create_task(client.get("/v1/stamps/x")) for _ in range(30)]
    await until(lambda: served.door.work.slots.waiting == 30)
    assert 200 == (await client.get("/operator", headers=SARI)).status_code
    assert served.door.work.slots.waiting > 0
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_a_script_at_one_address_keeps_no_staff_at_another_out(served: ServedDoor) -> None:
    """After some tries it is told to come again, and takes nothing; those are said at once and cheaply."""
    async with at(served, "198.51.100.7") as script, at(served, "203.0.113.9", **SARI) as staff:
        statuses = [(await script.get("/operator")).status_code for _ in range(200)]
        assert {200, 503} == set(statuses)
        assert ASKS_AT_ONCE <= statuses.count(200) < 4 * ASKS_AT_ONCE
        assert {200} == {(await staff.get("/operator")).status_code for _ in range(3 * ASKS_AT_ONCE)}
    assert 0 == served.door.tally("retail").refused[Work.FINISH]


async def test_a_file_of_staff_whom_this_process_does_not_know_arrives(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """They saw the form in another one; it comes in as all files do, and then takes a place of strangers."""
    answer = await client.post("/petugas/setelmen", content=b"x" * 200_000, headers=SARI)
    assert (200, "200000") == (answer.status_code, answer.text)
    assert 200 == (await client.post("/petugas/setelmen", content=b"x" * 200_000, headers=SARI)).status_code
    assert (1, 1) == (admitted(served, "retail"), admitted(served, STAFF))
    assert (0, 0, 0) == (served.door.strangers.slots.used, served.door.bodies.slots.used, served.door.work.slots.used)


@pytest.mark.parametrize("crowd", ["/v1/payments/sandbox/notifications", "/operator"])
async def test_payment_providers_and_staff_do_not_keep_each_other_out(
    served: ServedDoor, client: httpx.AsyncClient, crowd: str
) -> None:
    """Each has half of their share to itself: one more goes in before a crowd of the others has."""
    await client.get("/operator", headers=SARI)
    other = "/operator" if crowd != "/operator" else "/v1/payments/sandbox/notifications"
    method = {"/operator": "GET"}
    takes = {**SARI, "X-Takes": "1.5"}
    many = [asyncio.create_task(client.request(method.get(crowd, "POST"), crowd, headers=takes)) for _ in range(24)]
    await until(lambda: served.door.work.slots.waiting == 20)
    assert (4, 20) == (served.door.in_flight(STAFF), served.door.queued(STAFF))
    before = len(served.work.begun)
    assert 200 == (await client.request(method.get(other, "POST"), other, headers=SARI)).status_code
    assert other in served.work.begun[before : before + 8]
    assert not all(task.done() for task in many)
    await asyncio.gather(*many)
    assert (0, 0) == (served.door.work.slots.used_by(PAYMENTS), served.door.in_flight(STAFF))


def test_payment_providers_are_promised_half_of_the_slots_of_staff(served: ServedDoor) -> None:
    """Of the slots alone: they bring no files and sign nobody in."""
    slots = served.door.work.slots
    assert (1, 1) == (slots.guaranteed_to(STAFF), slots.guaranteed_to(PAYMENTS))
    served.door.share({STAFF: 0.1, "retail": 0.4})
    slots.resize(100)
    assert (5, 5, 40) == tuple(slots.guaranteed_to(lane) for lane in (STAFF, PAYMENTS, "retail"))
    assert (100, 0) == tuple(served.door.bodies.slots.guaranteed_to(lane) for lane in (STAFF, PAYMENTS))
    served.door.share({"retail": 1.0})
    assert (0, 0, 100) == tuple(slots.guaranteed_to(lane) for lane in (STAFF, PAYMENTS, "retail"))


async def test_what_is_remembered_is_bounded_and_forgotten_after_hours() -> None:
    """The one served longest ago goes first; who goes on being served stays."""
    now_s = [0.0]
    office = Office(clock=lambda: now_s[0])

    async def shown(session: bytes) -> None:
        async def send(_: object) -> None:
            """Nobody reads it."""

        await office.watched(session, send)({"type": "http.response.start", "status": 200, "headers": []})

    for number in range(KNOWN_MAX + 5):
        await shown(b"%d" % number)
        await shown(b"always")
    await shown(b"")
    known = [number for number in range(KNOWN_MAX + 5) if office.knows(b"%d" % number)]
    assert (KNOWN_MAX - 1, KNOWN_MAX + 4) == (len(known), known[-1])
    assert (True, False) == (office.knows(b"always"), office.knows(b""))
    now_s[0] = KNOWN_S
    assert not office.knows(b"always")


def test_a_small_rate_has_its_own_bound_for_one_address() -> None:
    """So many at once, then so many a second."""
    now_s = [0.0]
    rate = SmallRate(100.0, clock=lambda: now_s[0], at_once=10, per_s_of_one=1.0)
    assert 10 == sum(rate.take("198.51.100.7") for _ in range(50))
    now_s[0] = 2.0
    assert 2 == sum(rate.take("198.51.100.7") for _ in range(50))
