"""Who repeats at once although told to come later is held back first: refusals cost little so."""

from __future__ import annotations

import asyncio
import hashlib

import httpx
import pytest
from prometheus_client import REGISTRY
from served_door import ServedDoor, until

from emeterai.core.brownout import Step
from emeterai.gate import early
from emeterai.gate.early import Early

ASKED = ("retail", b"one", "look")
IMPATIENT = {"Authorization": "Bearer ems_" + "i" * 43, "Cookie": "emeterai_session=ems_" + "i" * 43}
"""A program, and on pages a browser: the same session."""
BUSY = {**IMPATIENT, "X-Answers": "503"}


class Hands:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now_s


@pytest.fixture
def hands() -> Hands:
    """The clock of `held`."""
    return Hands()


@pytest.fixture
def held(hands: Hands) -> Early:
    """Nobody was told anything yet."""
    return Early(clock=hands)


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is held is held for as long as any of these tests takes."""
    monkeypatch.setattr(early, "HELD_S_MAX", 60.0)


async def is_held(early_ones: Early, asked: early.Asked = ASKED, until_s: float = float("inf")) -> bool:
    """Whether somebody who asks now has to wait first."""
    task = asyncio.create_task(early_ones.wait(asked, until_s=until_s))
    for _ in range(5):
        await asyncio.sleep(0)
    was_held = not task.done()
    assert was_held == bool(early_ones.held)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert 0 == early_ones.held
    return was_held


async def test_who_was_told_nothing_is_looked_at_at_once(held: Early) -> None:
    """Everybody's ordinary way."""
    assert not await is_held(held)


@pytest.mark.parametrize(
    ("later_s", "waits"),
    [(0.0, True), (4.9, True), (5.0, False), (90.0, False)],
    ids=["at once", "early", "due", "late"],
)
async def test_only_who_comes_sooner_than_told_waits(held: Early, hands: Hands, later_s: float, *, waits: bool) -> None:
    """Whoever keeps to what was said notices nothing."""
    held.told(ASKED, 5.0)
    hands.now_s += later_s
    assert waits == await is_held(held)


async def test_once_looked_at_it_is_as_if_nothing_had_been_said(held: Early) -> None:
    """Whoever was served meanwhile is not held for what was said before; whoever is refused is told anew."""
    held.told(ASKED, 5.0)
    assert await is_held(held)
    assert not await is_held(held)


@pytest.mark.parametrize(
    "other", [("cpns", b"one", "look"), ("retail", b"two", "look"), ("retail", b"one", "stamp")], ids=str
)
async def test_what_was_said_of_one_thing_holds_nothing_else(held: Early, other: early.Asked) -> None:
    """A history that rests holds up nobody's stamp, and nobody else's history."""
    held.told(ASKED, 5.0)
    assert not await is_held(held, other)
    assert await is_held(held)


@pytest.mark.parametrize(("patient_s", "waits"), [(0.0, False), (1.9, False), (2.0, False), (2.1, True)])
async def test_nobody_is_held_beyond_his_own_deadline(
    held: Early, hands: Hands, patient_s: float, *, waits: bool
) -> None:
    """Who would have given up by then is looked at now: held first, nothing would ever be begun for him."""
    held.told(ASKED, 5.0)
    assert waits == await is_held(held, until_s=hands.now_s + patient_s)


async def test_nobody_is_held_for_long(held: Early, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was said: an hour here."""
    monkeypatch.setattr(early, "HELD_S_MAX", 0.01)
    held.told(ASKED, 3600.0)
    await held.wait(ASKED)


async def test_so_many_are_held_and_no_more(held: Early, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs a connection; the next is looked at as if nothing had been said."""
    monkeypatch.setattr(early, "_HELD_MAX", 1)
    other = ("retail", b"two", "look")
    for asked in (ASKED, other):
        held.told(asked, 5.0)
    first = asyncio.create_task(held.wait(ASKED))
    await asyncio.sleep(0)
    assert 1 == held.held
    await held.wait(other)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_so_much_is_remembered_and_no_more(held: Early, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can invent sessions: what is over makes room, what is not over stays, and the rest is not remembered."""
    monkeypatch.setattr(early, "_KEPT_MAX", 2)
    people = [("retail", name, "look") for name in (b"brief", b"long", b"more", b"later")]
    for asked, told_s in zip(people, (1.0, 60.0, 60.0), strict=False):
        held.told(asked, told_s)
    hands.now_s += 2.0
    held.told(people[3], 60.0)
    assert [False, True, False, True] == [await is_held(held, asked) for asked in people]


def refused(served: ServedDoor) -> int:
    """How many were turned away."""
    return served.door.tally("retail").refused.total()


def held_back() -> float:
    """What is measured of it."""
    return REGISTRY.get_sample_value("emeterai_door_held_back_total") or 0.0


@pytest.mark.usefixtures("lasting")
async def test_whoever_repeats_at_once_is_refused_once(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """The second time nothing is said until the time has come, or its sender gives up: nobody is refused again."""
    before = held_back()
    served.door.lane_steps = {"retail": Step.LOOKING}
    assert 503 == (await client.get("/verifikasi", headers=IMPATIENT)).status_code
    again = asyncio.create_task(client.get("/verifikasi", headers=IMPATIENT))
    await until(lambda: served.app._early.held == 1)
    assert (1, 1) == (refused(served), held_back() - before)
    assert 503 == (await client.get("/verifikasi")).status_code  # nobody knows who this is
    assert 200 == (await client.post("/v1/orders", headers=IMPATIENT)).status_code
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


async def test_who_was_held_is_served_when_there_is_room(
    served: ServedDoor, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He has not asked in vain: after the wait the request is looked at like any other."""
    monkeypatch.setattr(early, "HELD_S_MAX", 0.2)
    served.door.lane_steps = {"retail": Step.LOOKING}
    assert 503 == (await client.get("/verifikasi", headers=IMPATIENT)).status_code
    again = asyncio.create_task(client.get("/verifikasi", headers=IMPATIENT))
    await until(lambda: served.app._early.held == 1)
    served.door.lane_steps = {}
    assert 200 == (await again).status_code


@pytest.mark.usefixtures("lasting")
async def test_what_the_application_says_counts_too(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """A provider that is away: who asks again at once does not reach the application again before the time."""
    assert 503 == (await client.post("/v1/orders", headers={**BUSY, "X-Later": "12"})).status_code
    again = asyncio.create_task(client.post("/v1/orders", headers=IMPATIENT))
    await until(lambda: served.app._early.held == 1)
    assert 1 == served.work.begun.count("/v1/orders")
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


async def test_what_says_no_time_holds_nobody(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """A 503 without Retry-After."""
    assert 503 == (await client.post("/v1/orders", headers=BUSY)).status_code
    assert 200 == (await client.post("/v1/orders", headers=IMPATIENT)).status_code
    assert 2 == served.work.begun.count("/v1/orders")


@pytest.mark.usefixtures("lasting")
async def test_a_program_that_asks_for_many_things_at_once_is_not_held(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """Whatever was said to one request of a partner's says nothing of the next."""
    key = "emk_" + "a" * 43
    served.lanes_of_keys[hashlib.sha256(key.encode()).digest()] = "partners"
    served.door.lane_steps = {"partners": Step.STAMPING}
    for _ in range(2):
        assert 503 == (await client.post("/v1/stamps", headers={"Authorization": f"Bearer {key}"})).status_code


@pytest.mark.usefixtures("lasting")
async def test_who_is_held_back_is_in_nobodys_place(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Sent away for somebody else's outage he is not inside, however often he asks before his time."""
    headers = {**IMPATIENT, "X-Answers": "503", "X-Later": "12"}
    assert 200 == (await client.post("/v1/orders", headers=IMPATIENT)).status_code
    assert 503 == (await client.post("/v1/orders", headers=headers)).status_code
    assert 0 == served.door.inside()["retail"]
    again = asyncio.create_task(client.post("/v1/orders", headers=headers))
    await until(lambda: served.app._early.held == 1)
    assert 0 == served.door.inside()["retail"]
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


@pytest.mark.usefixtures("lasting")
async def test_who_is_held_back_uses_up_nobodys_way_in(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """So many may walk in in a second: whoever waits before he is looked at is none of them."""
    served.door.lane_steps = {"retail": Step.STAMPING}
    assert 503 == (await client.post("/v1/orders", headers=IMPATIENT)).status_code
    before = served.door._walked_in["retail"]
    again = asyncio.create_task(client.post("/v1/orders", headers=IMPATIENT))
    await until(lambda: served.app._early.held == 1)
    assert before == served.door._walked_in["retail"]
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
