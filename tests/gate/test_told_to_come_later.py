"""Whoever is told to come again much later is not inside meanwhile, and keeps nobody out: a provider that is away."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from litestar.types import Receive, Scope, Send
from served_door import plain_pass

from emeterai.core.admission import Work
from emeterai.core.brownout import Step
from emeterai.core.refusal import Refused
from emeterai.gate.carrying import PASS_HEADER
from emeterai.gate.door import INSIDE_S, Door
from emeterai.gate.lanes import RETAIL
from emeterai.gate.shedding import Shedding

HEADERS = [(PASS_HEADER, b"retail"), (b"accept", b"application/json")]


@pytest.mark.parametrize(
    ("status", "later_s", "inside"),
    [(503, b"10", 0), (503, b"60", 0), (503, b"2", 1), (503, b"soon", 1), (201, b"60", 1), (429, b"60", 1)],
)
async def test_told_to_come_again_later_than_people_count_as_inside(status: int, later_s: bytes, inside: int) -> None:
    """The next request of the same person counts again; a moment's wait and every other answer change nothing."""
    assert INSIDE_S <= 10

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"retry-after", later_s)]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> Any:
        raise AssertionError

    async def send(_message: Any) -> None:
        counted.append(door.inside()[RETAIL])

    counted: list[int] = []
    door = Door(clock=time.monotonic)
    scope: Any = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/orders", "query_string": b""}
    await Shedding(app, door, pass_of=plain_pass)({**scope, "headers": HEADERS}, receive, send)
    assert [inside] * 2 == counted
    await Shedding(app, door, pass_of=plain_pass)({**scope, "headers": HEADERS, "path": "/v1/quota"}, receive, send)
    assert [inside] * 4 == counted
    assert 1 == door.tally(RETAIL).entered, "known all the time"


async def answered(door: Door, later_s: bytes, times: int, *, who: bytes = b"retail") -> None:
    """So many orders one after another, each of which hears to come again so much later."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", later_s)]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> Any:
        raise AssertionError

    async def send(_message: Any) -> None:
        pass

    scope: Any = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/orders", "query_string": b""}
    headers = [(PASS_HEADER, who), (b"accept", b"application/json")]
    for _ in range(times):
        await Shedding(app, door, pass_of=plain_pass)({**scope, "headers": headers}, receive, send)


@pytest.mark.parametrize(("later_s", "is_ours"), [(b"10", False), (b"2", True)])
async def test_the_outage_of_somebody_else_is_not_taken_for_too_much_work(*, later_s: bytes, is_ours: bool) -> None:
    """A payment provider that is away says nothing of how many may be served; a database without a connection does."""
    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += 0.01
        return now_s

    door = Door(clock=clock)
    limit = door.work.slots.limit
    await answered(door, later_s, 500)
    door.second()
    assert is_ours == (door.work.slots.limit < limit)
    assert is_ours == (door.slowness > 0.1)
    assert 0 == door.in_flight(RETAIL)


async def test_who_is_told_to_come_later_has_not_left_and_does_not_come_in_once_more() -> None:
    """The reading says how many were sent away and how many are back, each once however often they ask."""
    door = Door(clock=time.monotonic)
    for who in (b"retail", b"retail+"):
        door.seen(RETAIL, who)
    await answered(door, b"10", 3)
    first: Any = door.reading()["lanes"]
    assert (1, 2) == (first[RETAIL]["inside"], first[RETAIL]["entered"])
    assert 1 == first[RETAIL]["sent_away"] - first[RETAIL]["came_back"]
    door.seen(RETAIL, b"retail")
    second: Any = door.reading()["lanes"]
    assert (2, 0, 1) == tuple(second[RETAIL][name] for name in ("inside", "entered", "came_back"))


async def test_what_was_slow_once_is_forgotten_where_nothing_is_asked_any_more() -> None:
    """A process that answers few would otherwise keep the line of all shut by one late answer."""
    now_s = 0.0
    door = Door(clock=lambda: now_s)
    for _ in range(10):
        now_s += 0.2
        door.work.enter_now(RETAIL, Work.BUY)
        door.ended(RETAIL, "order", 0.01, failed=True)
    assert door.limit.ratio > 1.0
    for _ in range(30):
        now_s += 1.0
        door.second()
    assert 0.0 == door.limit.ratio
    assert door.slowness < 0.01


def test_one_who_asks_again_and_again_is_one() -> None:
    """A hundred requests of somebody who cannot wait are no sign that many are refused: nothing rests for it."""
    now_s = 1_000.0
    door = Door(clock=lambda: now_s)
    for _ in range(30):
        for _ in range(100):
            door.admitted("retail", Work.FINISH, waited_s=0.0)
            door.refused("retail", Work.FINISH, b"budi", is_inside=True, for_room=True)
        now_s += 1.0
        door.second()
        reading: Any = door.reading()["lanes"]
        assert (1, 100) == (reading["retail"]["inside_refused"], reading["retail"]["refused"]["finish"])
    assert Step.NONE == door.step
    assert door.pressure < 0.5


def test_what_rests_hides_no_refusal_that_counts() -> None:
    """The same person in the same second: a history that rests, and a stamp that there is no room for."""
    door = Door(clock=lambda: 1_000.0)
    door.refused("retail", Work.BROWSE, b"budi", is_inside=True, for_room=False)
    door.refused("retail", Work.FINISH, b"budi", is_inside=True, for_room=True)
    reading: Any = door.reading()["lanes"]
    assert 1 == reading["retail"]["inside_refused"]
    door.second()
    assert door.pressure > 0.5


def test_a_program_stands_for_many() -> None:
    """Each of its refused requests may be another person's, and says as much as another person's; it is one inside."""
    pressures = []
    for is_member in (False, True):
        door = Door(clock=lambda: 1_000.0)
        for _ in range(100):
            door.admitted("partners", Work.FINISH, waited_s=0.0)
            door.refused("partners", Work.FINISH, b"key", is_inside=True, for_room=True, is_member=is_member)
        reading: Any = door.reading()["lanes"]
        assert 1 == reading["partners"]["inside_refused"]
        door.second()
        pressures.append(door.pressure)
    assert pressures[0] < 0.5 < pressures[1]


async def test_our_own_lack_of_room_is_nobody_elses_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by the door while the application already reads the file, and told to come again late: still inside."""
    monkeypatch.setattr(Door, "retry_after_s", lambda *_, **__: int(INSIDE_S) + 5)
    door = Door(clock=time.monotonic)
    statuses: list[int] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except Refused as refused:
            later = [(b"retry-after", str(refused.facts["retry_after_s"]).encode())]
            await send({"type": "http.response.start", "status": refused.kind.status, "headers": later})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": False}

    async def send(message: Any) -> None:
        statuses.append(message["status"])

    monkeypatch.setattr(door.work, "enter", _no_room)
    scope: Any = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/uploads", "query_string": b""}
    scope |= {"client": ("198.51.100.7", 4711), "headers": [*HEADERS, (b"content-length", b"100000")]}
    await Shedding(app, door, pass_of=plain_pass)(scope, receive, send)
    assert [503] == statuses
    assert 1 == door.inside()[RETAIL]


async def _no_room(*_: object, **__: object) -> bool:
    return False


class OneChance(random.Random):
    """Comes out as it is told: from 0, as low as can be, to 1."""

    part = 1.0

    def uniform(self, a: float, b: float) -> float:
        """So far from one end to the other."""
        return a + self.part * (b - a)


def told_s(door: Door, chance: OneChance, *, is_inside: bool) -> set[int]:
    """All that a buyer can be told, one time or another."""
    found = set()
    for hundredth in range(101):
        chance.part = hundredth / 100
        found.add(door.retry_after_s(Work.BUY, is_inside=is_inside))
    return found


def test_nobody_inside_is_told_to_come_once_their_place_is_given_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much rests: they would count as gone, and others would come in for them. They do not come together for
    that, and what those outside are told has no such bound.
    """
    monkeypatch.setattr(Door, "step", Step.STAMPING)
    chance = OneChance()
    door = Door(clock=time.monotonic, chance=chance)
    inside, outside = (told_s(door, chance, is_inside=is_inside) for is_inside in (True, False))
    assert (4, INSIDE_S - 1) == (min(inside), max(inside))
    assert (9, 23) == (min(outside), max(outside))


@pytest.mark.parametrize(("headers", "later_s"), [(HEADERS, 9), (HEADERS[1:], 23)])
async def test_the_door_tells_those_inside_to_come_while_they_count(
    monkeypatch: pytest.MonkeyPatch, headers: list[tuple[bytes, bytes]], later_s: int
) -> None:
    """By the refusal of what rests, to the holder of a pass and to somebody without one."""
    monkeypatch.setattr(Door, "step", Step.STAMPING)
    door = Door(clock=time.monotonic, chance=OneChance())
    door.lane_steps = {RETAIL: Step.BUYING}
    said: list[Any] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        said.append(message)

    scope: Any = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/orders", "query_string": b""}
    await Shedding(app, door, pass_of=plain_pass)({**scope, "headers": headers}, receive, send)
    assert (503, str(later_s).encode()) == (said[0]["status"], dict(said[0]["headers"])[b"retry-after"])
