"""Bodies that are announced and do not come: they hold a bounded number of places, and no network all of them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest
from litestar.types import Scope
from served_door import EverybodyKnown, SlowWork, plain_pass, until

from emeterai.core.admission import Work
from emeterai.gate import late_bodies
from emeterai.gate.door import Door
from emeterai.gate.late_bodies import PLACES_MAX
from emeterai.gate.listening import Tempo
from emeterai.gate.shedding import Shedding

KEY = "emk_" + "p" * 43
ASKED = ("/v1/vouchers/redemptions", "/lacak", "/gate/retail/tickets")
"""Nobody is sent to the line from there."""
PATIENT = Tempo(grace_s=60.0)


@pytest.fixture(autouse=True)
def _late_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not here in a moment is late."""
    monkeypatch.setattr(late_bodies, "AT_ONCE_S", 0.02)


@pytest.fixture
def door() -> Door:
    """A door."""
    return Door(clock=time.monotonic)


@pytest.fixture
def app(door: Door) -> Shedding:
    """An application behind it."""
    keys = {hashlib.sha256(KEY.encode()).digest(): "partners"}
    known = EverybodyKnown(lasts_s=60, most=1)
    return Shedding(SlowWork(), door, pass_of=plain_pass, lane_of_key=keys.get, tempo=PATIENT, known=known)


class Sender:
    """One who announces a body; it comes when `sends` is called."""

    def __init__(
        self, path: str = ASKED[0], *, address: str = "198.51.100.7", size_bytes: int = 10, **more: str
    ) -> None:
        said = {"content-length": str(size_bytes), **more}
        self.scope: Any = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "client": (address, 4711),
            "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        }
        self._size_bytes, self._come = size_bytes, asyncio.Event()
        self.said: list[Any] = []

    def sends(self) -> None:
        """Send it."""
        self._come.set()

    async def receive(self) -> Any:
        """The body, and after it nothing."""
        await self._come.wait()
        return {"type": "http.request", "body": b"x" * self._size_bytes, "more_body": False}

    async def send(self, message: Any) -> None:
        """Hear a part of the answer."""
        self.said.append(message)

    async def asks(self, app: Shedding) -> None:
        """Ask, and wait for the answer."""
        scope: Scope = self.scope
        await app(scope, self.receive, self.send)

    @property
    def answer(self) -> tuple[int, str, bool]:
        """Status, code and whether it says when to come again."""
        start, body = self.said[0], self.said[1]["body"]
        code = msgspec.json.decode(body)["code"] if start["status"] >= 400 else ""
        return start["status"], code, b"retry-after" in dict(start["headers"])


@asynccontextmanager
async def silent(app: Shedding, count: int, make: Callable[[int], Sender]) -> AsyncIterator[None]:
    """So many who announce a body and send nothing, until the end of the block."""
    async with AsyncExitStack() as stack:
        tasks = [asyncio.create_task(make(number).asks(app)) for number in range(count)]
        for task in tasks:
            stack.callback(task.cancel)
        await until(lambda: places(app) + sum(task.done() for task in tasks) >= count)
        yield
    await asyncio.gather(*tasks, return_exceptions=True)


def places(app: Shedding) -> int:
    """How many bodies are late now."""
    return app._late.bodies.slots.used


async def comes_late(app: Shedding, sender: Sender) -> tuple[int, str, bool]:
    """The answer to somebody whose body comes after a while."""
    asking = asyncio.create_task(sender.asks(app))
    await asyncio.sleep(0.1)
    sender.sends()
    await asyncio.wait_for(asking, 10)
    return sender.answer


@pytest.mark.parametrize("path", ASKED)
async def test_a_body_that_is_here_takes_no_place(app: Shedding, path: str) -> None:
    """Though all places are taken."""
    for number in range(PLACES_MAX):
        assert app._late.bodies.slots.ask_now("retail", Work.FINISH), number
    sender = Sender(path)
    sender.sends()
    await sender.asks(app)
    assert (200, "", False) == sender.answer
    assert PLACES_MAX == places(app)


@pytest.mark.parametrize("path", ASKED)
async def test_silent_bodies_of_one_network_leave_room_for_others(app: Shedding, door: Door, path: str) -> None:
    """They have half of the places at most; whoever else is slow is waited for, they hear when to come again."""
    async with silent(app, PLACES_MAX * 6 // 10, lambda number: Sender(path, address=f"198.51.100.{number % 250}")):
        assert PLACES_MAX // 2 + 1 == places(app)
        assert (503, "sending_crowded", True) == await comes_late(app, Sender(path, address="198.51.100.251"))
        assert (200, "", False) == await comes_late(app, Sender(path, address="203.0.113.9"))
        assert 0 == door.work.slots.used
    assert 0 == places(app)


async def test_silent_bodies_of_many_networks_are_bounded(app: Shedding, door: Door) -> None:
    """What finishes has places left; those who are turned away are no sign of load, whatever they asked for."""
    async with silent(app, PLACES_MAX + 100, lambda number: Sender(address=f"10.{number // 250}.{number % 250}.7")):
        assert PLACES_MAX * 8 // 10 == places(app)
        assert (503, "sending_crowded", True) == await comes_late(app, Sender(address="203.0.113.9"))
        assert (200, "", False) == await comes_late(app, Sender("/v1/stamps", address="203.0.113.9"))
        for _ in range(PLACES_MAX // 5):
            assert app._late.bodies.slots.ask_now("retail", Work.FINISH)
        assert (503, "sending_crowded", True) == await comes_late(app, Sender("/v1/stamps", address="203.0.113.9"))
    door.second()
    assert door.pressure < 0.1


async def test_silent_bodies_of_one_lane_leave_another_its_share(app: Shedding, door: Door) -> None:
    """However many of the public send nothing from however many networks, a partner's slow body is waited for."""
    door.share({"retail": 0.75, "partners": 0.25})
    async with silent(app, PLACES_MAX + 100, lambda number: Sender(address=f"10.{number // 250}.{number % 250}.7")):
        assert (503, "sending_crowded", True) == await comes_late(app, Sender(address="203.0.113.9"))
        partner = Sender("/v1/orders", address="203.0.113.9", authorization=f"Bearer {KEY}")
        assert (200, "", False) == await comes_late(app, partner)


async def test_who_is_known_by_a_key_has_no_bound_by_network(app: Shedding) -> None:
    """A partner's programs come from one address."""
    async with silent(app, PLACES_MAX * 6 // 10, lambda _: Sender()):
        assert (503, "sending_crowded", True) == await comes_late(app, Sender())
        assert (200, "", False) == await comes_late(app, Sender(authorization=f"Bearer {KEY}"))


@pytest.mark.parametrize("path", ["/lacak", "/gate/retail/tickets"])
async def test_nobody_waits_for_a_body_that_nobody_wants(app: Shedding, path: str) -> None:
    """Who announces more than may be sent holds such a place while it is dropped, or hears at once that it may not."""
    many = PLACES_MAX * 6 // 10
    async with silent(app, many, lambda _: Sender(path, size_bytes=70_000)):
        assert PLACES_MAX // 2 + 1 == places(app)
        refused = Sender(path, size_bytes=70_000)
        await asyncio.wait_for(refused.asks(app), 10)
        assert (413, "body_too_large", False) == refused.answer
    assert 0 == places(app)


async def test_a_sender_who_is_turned_away_holds_such_a_place_too(app: Shedding, door: Door) -> None:
    """While a pass is asked for, a form that does not come is not waited for without bound."""
    door.passes_needed = frozenset({"retail"})
    async with silent(app, PLACES_MAX * 6 // 10, lambda _: Sender("/beli", accept="text/html")):
        assert PLACES_MAX // 2 + 1 == places(app)
        turned_away = Sender("/beli", accept="text/html")
        await asyncio.wait_for(turned_away.asks(app), 10)
        assert 303 == turned_away.said[0]["status"]


async def test_a_silent_sender_of_a_small_body_counts_as_gone_sooner(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Than one of a file: its place is free again."""
    monkeypatch.setattr(late_bodies, "_GRACE_S", 0.1)
    app = Shedding(SlowWork(), door, pass_of=plain_pass, tempo=PATIENT)
    gone, file = Sender(), Sender("/v1/uploads", size_bytes=100_000)
    uploading = asyncio.create_task(file.asks(app))
    await asyncio.wait_for(gone.asks(app), 10)
    assert ([], 0) == (gone.said, places(app))
    await until(lambda: door.bodies.slots.used == 1)
    file.sends()
    await uploading
    assert (200, "", False) == file.answer
