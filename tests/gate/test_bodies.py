"""Large bodies on their way in: what counts is what has come, no network takes all, and whoever was let in goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from litestar.types import Receive, Scope, Send
from served_door import SlowWork, plain_pass

from emeterai.core.admission import Work
from emeterai.core.refusal import Refused
from emeterai.gate.bodies import BYTES_MAX, PLACE_BYTES, PLACES_MAX, STEP_BYTES, Bodies, Body
from emeterai.gate.door import Door
from emeterai.gate.shedding import Shedding

FILE_BYTES = 25_000_000
KEY = "emk_" + "p" * 43
CAMPUS, ANOTHER = "198.51.100.0/24", "203.0.113.0/24"


@pytest.fixture
def door() -> Door:
    """A door with a share for two lanes."""
    found = Door(clock=time.monotonic)
    found.share({"retail": 0.4, "partners": 0.2})
    return found


def begun(bodies: Bodies, count: int, *, lane: str = "retail", network: str = CAMPUS) -> list[Body]:
    """So many bodies of 25 MB of a network, of which nothing has come yet, or as many as there was room for."""
    found = [bodies.begin(lane, Work.BUY, announced_bytes=FILE_BYTES, network=network) for _ in range(count)]
    return [body for body in found if body is not None]


def test_a_body_counts_as_what_has_come(door: Door) -> None:
    """A megabyte at first, whatever it announces, and no more than it announces; then in steps as it comes."""
    body = door.bodies.begin("retail", Work.BUY, announced_bytes=float("inf"))
    assert body is not None
    assert body.came(PLACE_BYTES)
    assert PLACE_BYTES == door.bodies.held_bytes
    assert body.came(1)
    assert PLACE_BYTES + STEP_BYTES == door.bodies.held_bytes
    assert body.came(3 * STEP_BYTES)
    assert PLACE_BYTES + 4 * STEP_BYTES == door.bodies.held_bytes
    small = door.bodies.begin("retail", Work.BUY, announced_bytes=100_000)
    assert small is not None
    body.end()
    body.end()
    assert (100_000, 1) == (door.bodies.held_bytes, door.bodies.slots.used)


def test_many_who_announce_much_and_send_little_keep_nobody_out(door: Door) -> None:
    """Two hundred slow files of 25 MB from all over, five times the room if they had come; the next ones come in."""
    slow = [body for one in range(200) for body in begun(door.bodies, 1, network=f"10.0.{one}.0/24")]
    assert all(body.came(20_000) for body in slow)
    assert (200, 100) == (len(slow), len(begun(door.bodies, 100, network=ANOTHER)))


@pytest.mark.parametrize("others", [0, 300])
def test_one_network_leaves_room_for_everybody_else(door: Door, others: int) -> None:
    """Half of what there is while nobody else wants it, a quarter when others have the rest; nobody else is refused."""
    assert others == len(begun(door.bodies, others, network=""))
    theirs = begun(door.bodies, PLACES_MAX)
    assert (501 if not others else 250) == len(theirs)
    assert 100 == len(begun(door.bodies, 100, network=ANOTHER))
    assert [] == begun(door.bodies, 1)
    for body in theirs:
        body.end()
    assert begun(door.bodies, 1)


def test_few_large_bodies_of_one_network_leave_room_too(door: Door) -> None:
    """What has come counts, not only how many they are."""
    theirs = begun(door.bodies, 20)
    assert all(body.came(FILE_BYTES) for body in theirs)
    assert [] == begun(door.bodies, 1)
    assert begun(door.bodies, 1, network=ANOTHER)
    assert begun(door.bodies, 1, lane="partners")


def test_who_was_let_in_goes_on_when_there_is_no_room_for_more(door: Door) -> None:
    """Sixty files from all over: all come to their ends, only new ones are turned away; what they held comes back."""
    bodies = [body for one in range(60) for body in begun(door.bodies, 1, network=f"10.0.{one}.0/24")]
    for _ in range(25):
        assert all(body.came(FILE_BYTES // 25) for body in bodies)
    assert door.bodies.held_bytes > 1.4 * BYTES_MAX
    assert [] == begun(door.bodies, 1, network=ANOTHER)
    for body in bodies:
        body.end()
    assert (0, 0) == (door.bodies.held_bytes, door.bodies.slots.used)
    assert begun(door.bodies, 1, network=ANOTHER)


def test_a_network_that_holds_half_by_itself_goes_no_further_once_all_is_full(door: Door) -> None:
    """Its own bodies are told so, nobody else's."""
    honest = begun(door.bodies, 10, network=ANOTHER)
    theirs = begun(door.bodies, 300)
    went_on = [body.came(4_000_000) for body in theirs]
    assert True in went_on
    assert not any(went_on[-10:])
    assert door.bodies.held_bytes > BYTES_MAX
    assert all(body.came(FILE_BYTES) for body in honest)


def test_beyond_twice_the_room_only_those_go_on_who_hold_less_than_the_others(door: Door) -> None:
    """However many were let in while they were small; a lane below its share goes on in any case."""
    bodies = [body for one in range(500) for body in begun(door.bodies, 1, network=f"10.{one // 256}.{one % 256}.0/24")]
    (partner,) = begun(door.bodies, 1, lane="partners")
    for body in bodies[:100]:
        body.came(20_000_000)
    assert door.bodies.held_bytes > 2 * BYTES_MAX
    assert not bodies[0].came(STEP_BYTES)
    assert bodies[-1].came(PLACE_BYTES + STEP_BYTES)
    assert partner.came(FILE_BYTES)
    for _ in range(40):
        told = [body for body in bodies if not body.came(1_000_000)]
        for body in told:
            body.end()
        bodies = [body for body in bodies if body not in told]
        assert bodies
        assert door.bodies.held_bytes < 3 * BYTES_MAX


def test_nothing_is_kept_of_networks_that_have_gone(door: Door) -> None:
    """Nor of those that were turned away."""
    bodies = [body for one in range(50) for body in begun(door.bodies, 1, network=f"10.0.{one}.0/24")]
    door.bodies.slots.resize(50)
    assert [] == begun(door.bodies, 1, network=ANOTHER)
    for body in bodies:
        body.end()
    assert (0, 0) == (len(door.bodies._of_network), len(door.bodies._places))


@asynccontextmanager
async def browser_at(app: Any, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at an address, before an application in this process."""
    transport = httpx.ASGITransport(cast("Any", app), client=(address, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://meterai.example") as client:
        yield client


@pytest.mark.parametrize(
    ("address", "neighbour", "stranger"),
    [("198.51.100.7", "198.51.100.200", "203.0.113.9"), ("2001:db8:1:2::7", "2001:db8:1:ff::1", "2001:db8:2::1")],
)
async def test_the_network_of_a_body_is_where_it_comes_from(
    door: Door, address: str, neighbour: str, stranger: str
) -> None:
    """An IPv4 /24 or an IPv6 /48 shares the bound; whoever is on this machine has none."""
    app = Shedding(SlowWork(), door, pass_of=plain_pass)
    door.bodies.slots.resize(10)
    waiting = [door.bodies.begin("retail", Work.BUY, announced_bytes=1, network=name) for name in [CAMPUS] * 5]
    waiting += [door.bodies.begin("retail", Work.BUY, announced_bytes=1, network="2001:db8:1::/48") for _ in range(3)]
    assert None not in waiting
    for one, status in ((address, 503), (neighbour, 503), (stranger, 200), ("127.0.0.1", 200)):
        async with browser_at(app, one) as browser:
            assert status == (await browser.post("/v1/uploads", content=b"x" * 100_000)).status_code, one


async def test_a_program_with_a_lane_of_its_own_may_send_all_from_one_address(door: Door) -> None:
    """Its key says whose it is; people of the same lane at one address are bounded as everywhere."""
    keys = {hashlib.sha256(KEY.encode()).digest(): "partners"}
    app = Shedding(SlowWork(), door, pass_of=plain_pass, lane_of_key=keys.get)
    door.bodies.slots.resize(10)
    assert 6 == len(begun(door.bodies, 6, lane="partners"))
    async with browser_at(app, "198.51.100.7") as sender:
        for status, headers in ((503, {"Emeterai-Pass": "partners"}), (200, {"Authorization": f"Bearer {KEY}"})):
            answer = await sender.post("/v1/uploads", content=b"x" * 100_000, headers=headers)
            assert status == answer.status_code


async def test_who_may_not_go_on_hears_so_and_holds_nothing(door: Door) -> None:
    """In the middle of the body, as a refusal with a time to come again; whoever reads on hears that it is over."""
    said, others = list[object](), list[Body]()

    async def reads(_scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while True:
                await receive()
        except Refused as refused:
            said.extend((refused.code, "retry_after_s" in refused.facts, (await receive())["type"]))
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def file() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 500_000
        others.extend(begun(door.bodies, 1))
        others[0].came(BYTES_MAX)
        for _ in range(4):
            yield b"x" * 500_000

    async with browser_at(Shedding(reads, door, pass_of=plain_pass), "198.51.100.7") as browser:
        assert 503 == (await browser.post("/v1/uploads", content=file())).status_code
    assert ["uploads_crowded", True, "http.disconnect"] == said
    assert (1, others[0].held_bytes) == (door.bodies.slots.used, door.bodies.held_bytes)
    assert 1 == door.tally("retail").refused[Work.BUY]
