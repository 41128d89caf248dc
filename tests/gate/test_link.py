"""The link that files come in by: each lane has its share of it, and what one leaves others use. In simulated time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest
from litestar.types import HTTPReceiveMessage, Message, Receive, Scope, Send
from prometheus_client import REGISTRY
from served_door import plain_pass
from simulated_loop import SimulatedLoop, now_s, simulated

from emeterai.app import _keeper
from emeterai.core.admission import Work, divide
from emeterai.gate.door import Door
from emeterai.gate.link import Link
from emeterai.gate.listening import Tempo
from emeterai.gate.shedding import Shedding
from emeterai.infra.settings import Settings

SHARES = {"retail": 0.4, "partners": 0.25, "enterprises": 0.15, "staff": 0.05}
LINK_BYTES_PER_S = 12_500_000.0
SLOW_BYTES_PER_S = 100_000.0
NEXT_PIECE_S = 0.004
"""What is done with a piece, and how long it then takes until there is more to read."""


class Sending:
    """Many who send files over a link of 100 Mbit/s. `first_s` is when the first piece of a lane was through."""

    def __init__(self) -> None:
        self.link = Link(LINK_BYTES_PER_S, clock=now_s)
        self.link.share(SHARES)
        self.first_s: dict[str, float] = {}
        self._came_bytes = Counter[str]()
        self._chance = random.Random(1)
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    def begin(self, lane: str, count: int, *, wants_bytes_per_s: float = inf) -> None:
        """So many begin to send in a lane, as much as they can or, together, so much a second."""
        ones = self._tasks.setdefault(lane, [])
        ones += [asyncio.create_task(self._send(lane, wants_bytes_per_s / count)) for _ in range(count)]

    async def end(self, lane: str) -> None:
        """All of a lane hang up."""
        ones = self._tasks.pop(lane)
        for one in ones:
            one.cancel()
        await asyncio.gather(*ones, return_exceptions=True)

    async def parts(self, for_s: float) -> dict[str, float]:
        """What comes in so many seconds, by lane, as parts of what the link carries."""
        before = Counter(self._came_bytes)
        await asyncio.sleep(for_s)
        return {lane: (self._came_bytes[lane] - before[lane]) / LINK_BYTES_PER_S / for_s for lane in self._came_bytes}

    async def _send(self, lane: str, wants_bytes_per_s: float) -> None:
        due_s = now_s()
        while True:
            size_bytes = self._chance.randint(8_000, 400_000)
            await self.link.turn(lane, size_bytes)
            self._came_bytes[lane] += size_bytes
            self.first_s.setdefault(lane, now_s())
            due_s += size_bytes / wants_bytes_per_s
            await asyncio.sleep(max(NEXT_PIECE_S, due_s - now_s()))


@asynccontextmanager
async def sending() -> AsyncIterator[Sending]:
    """A link that is free; whoever still sends on it in the end hangs up."""
    found = Sending()
    yield found
    for lane in list(found._tasks):
        await found.end(lane)


@pytest.mark.parametrize(
    "wanted",
    [
        {"retail": inf, "partners": inf},
        {"retail": inf, "partners": inf, "enterprises": inf, "staff": inf},
        {"retail": inf, "partners": 0.1, "enterprises": inf},
        {"retail": 0.2, "partners": 0.5, "enterprises": inf},
    ],
)
def test_lanes_that_fill_the_link_have_their_shares_and_what_others_leave(wanted: Mapping[str, float]) -> None:
    """By bytes, whatever the pieces are and however many send in a lane: as everything else here is divided."""

    async def sent() -> dict[str, float]:
        async with sending() as senders:
            for lane, part in wanted.items():
                count = 790 if lane == "retail" and part == inf else 10
                senders.begin(lane, count, wants_bytes_per_s=part * LINK_BYTES_PER_S)
            await senders.parts(10.0)
            return await senders.parts(60.0)

    parts = simulated(sent())
    expected = divide(1.0, SHARES, {lane: min(1.0, part) for lane, part in wanted.items()})
    assert expected == pytest.approx(parts, rel=0.03)


def test_one_partner_beside_a_flood_has_the_lanes_share() -> None:
    """Of one who sends by himself there is never more than one piece to wait."""

    async def sent() -> dict[str, float]:
        async with sending() as senders:
            senders.begin("retail", 790)
            senders.begin("partners", 1)
            return await senders.parts(60.0)

    assert simulated(sent())["partners"] >= SHARES["partners"]


def test_an_idle_link_is_lent_in_full_and_back_within_a_second() -> None:
    """Whoever is alone has all of it; who comes back has his share of that very second, and nobody owes anything."""

    async def sent() -> None:
        async with sending() as senders:
            senders.begin("staff", 200)
            assert 1.0 == pytest.approx((await senders.parts(30.0))["staff"], rel=0.02)
            came_back_s = now_s()
            senders.begin("partners", 10)
            parts = await senders.parts(1.0)
            assert parts["partners"] >= SHARES["partners"]
            assert senders.first_s["partners"] - came_back_s < 0.1
            assert parts["partners"] + parts["staff"] == pytest.approx(1.0, rel=0.05)
            senders.begin("retail", 10)
            parts = await senders.parts(1.0)
            assert parts["retail"] >= SHARES["retail"]
            assert parts["partners"] >= SHARES["partners"]
            await senders.end("retail")
            await senders.end("partners")
            assert 1.0 == pytest.approx((await senders.parts(1.0))["staff"], rel=0.05)

    simulated(sent())


def test_other_shares_count_at_once() -> None:
    """They come by the door, as those of everything."""

    async def sent() -> float:
        async with sending() as senders:
            door = Door(clock=now_s)
            door.link = senders.link
            for lane in ("retail", "partners"):
                senders.begin(lane, 50)
            await senders.parts(5.0)
            door.share({"retail": 0.1, "partners": 0.9})
            return (await senders.parts(5.0))["partners"]

    assert 0.9 == pytest.approx(simulated(sent()), rel=0.03)


def test_a_busy_process_costs_the_link_nothing() -> None:
    """Nobody looks for a thirtieth of a second, again and again; what could have come meanwhile comes then."""

    async def sent() -> float:
        loop = cast("SimulatedLoop", asyncio.get_running_loop())

        async def work() -> None:
            while True:
                loop.busy(0.03)
                await asyncio.sleep(0.01)

        async with sending() as senders:
            busy = asyncio.create_task(work())
            senders.begin("retail", 200)
            parts = await senders.parts(30.0)
            busy.cancel()
            return parts["retail"]

    assert 1.0 == pytest.approx(simulated(sent()), rel=0.02)


def test_whoever_is_given_up_leaves_nothing_behind() -> None:
    """Neither pieces that wait nor bytes that count, nor a timer: the next one has the whole link at once."""

    async def sent() -> None:
        link = Link(SLOW_BYTES_PER_S, clock=now_s)
        link.share(SHARES)
        await link.turn("retail", 50_000)
        ones = [asyncio.create_task(link.turn("retail", 1_000_000)) for _ in range(100)]
        await asyncio.sleep(0)
        assert 100 == link.waiting
        for one in ones:
            one.cancel()
        await asyncio.gather(*ones, return_exceptions=True)
        since_s = now_s()
        await link.turn("staff", 50_000)
        assert (0, True) == (link.waiting, now_s() - since_s <= 0.5)
        await asyncio.sleep(0.5)
        assert ({}, None) == (link._waiting, link._timer)
        since_s = now_s()
        await link.turn("retail", 50_000)
        assert since_s == now_s()

    simulated(sent())


PIECE = b"x" * 100_000


class Uploads:
    """A door with a slow link before an application that reads files."""

    def __init__(self, tempo: Tempo, *, shares: Mapping[str, float] = SHARES) -> None:
        self.door = Door(clock=now_s, link_bytes_per_s=SLOW_BYTES_PER_S)
        self.door.share(shares)
        self._shedding = Shedding(self._read, self.door, pass_of=plain_pass, tempo=tempo)

    async def send(self, lane: str, *, pieces: int, pause_s: float = 0.0, path: str = "/v1/uploads") -> tuple[int, int]:
        """Send a file of so many pieces; answers the status and how much of it was read."""
        left, piece = pieces, PIECE if path == "/v1/uploads" else b"{}"
        said: list[Any] = []

        async def receive() -> HTTPReceiveMessage:
            nonlocal left
            await asyncio.sleep(pause_s)
            if not left:
                await asyncio.Event().wait()
            left -= 1
            return {"type": "http.request", "body": piece, "more_body": left > 0}

        async def send(message: Message) -> None:
            said.append(message)

        headers = [(b"host", b"x"), (b"content-length", str(pieces * len(piece)).encode())]
        headers += [(b"emeterai-pass", lane.encode())] if lane else [(b"accept", b"text/html")]
        scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "POST", "path": path}
        scope |= {"headers": headers, "client": ("127.0.0.1", 4711), "query_string": b""}
        await self._shedding(cast("Scope", scope), receive, send)
        return said[0]["status"], (pieces - left) * len(piece)

    async def _read(self, _: Scope, receive: Receive, send: Send) -> None:
        status, more = 201, True
        while more:
            message = cast("HTTPReceiveMessage", await receive())
            if message["type"] != "http.request":
                status, more = 400, False
            else:
                more = message["more_body"]
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def came_bytes(lane: str) -> float:
    """How much has come by a link in a lane, by the metric."""
    return REGISTRY.get_sample_value("emeterai_door_link_bytes_total", {"lane": lane}) or 0.0


def test_a_file_comes_no_faster_than_the_link_and_is_counted_in_its_lane() -> None:
    """A megabyte at 100 kB a second; what was held is counted, too."""

    async def sent() -> float:
        since_s = now_s()
        assert (201, 1_000_000) == await Uploads(Tempo()).send("partners", pieces=10)
        return now_s() - since_s

    before = came_bytes("partners")
    assert 9.0 == pytest.approx(simulated(sent()), abs=0.1)
    assert 1_000_000 == came_bytes("partners") - before
    assert (REGISTRY.get_sample_value("emeterai_door_link_held_seconds_total", {"lane": "partners"}) or 0.0) > 8.0


def test_who_is_held_back_by_us_is_not_slow() -> None:
    """Twenty share a link on which each sends a piece in twenty seconds: nobody is hung up on, though the grace is one;
    but whoever really sends nothing for that long is.
    """

    async def sent() -> None:
        uploads = Uploads(Tempo(grace_s=1.0, floor_bytes_per_s=1_000.0))
        files = [asyncio.create_task(uploads.send("retail", pieces=3)) for _ in range(20)]
        slow = asyncio.create_task(uploads.send("partners", pieces=3, pause_s=1.5))
        assert {(201, 300_000)} == set(await asyncio.gather(*files))
        assert (400, 0) == await slow
        assert (0, 0) == (uploads.door.bodies.slots.used, uploads.door.bodies.held_bytes)

    simulated(sent())


def test_who_is_told_to_stop_while_held_back_leaves_nothing() -> None:
    """No place, no bytes held, no turn at the link."""

    async def sent() -> None:
        uploads = Uploads(Tempo())
        files = [asyncio.create_task(uploads.send("retail", pieces=30)) for _ in range(5)]
        await asyncio.sleep(3.0)
        assert uploads.door.link.waiting
        for file in files:
            file.cancel()
        await asyncio.gather(*files, return_exceptions=True)
        assert (0, 0) == (uploads.door.bodies.slots.used, uploads.door.bodies.held_bytes)
        assert (201, 200_000) == await uploads.send("partners", pieces=2)
        assert 0 == uploads.door.link.waiting

    simulated(sent())


def test_what_is_refused_uses_no_more_of_the_link_than_what_is_taken() -> None:
    """What comes of it before its sender hears so counts in its lane, and waits for its turn."""

    async def sent() -> float:
        uploads = Uploads(Tempo())
        uploads.door.bodies.slots.resize(2)
        held = [uploads.door.bodies.begin("retail", Work.BUY, announced_bytes=1) for _ in range(2)]
        assert None not in held
        since_s = now_s()
        assert (503, 1_000_000) == await uploads.send("retail", pieces=10)
        return now_s() - since_s

    assert 9.0 == pytest.approx(simulated(sent()), abs=0.1)


def test_small_bodies_wait_for_no_turn() -> None:
    """They are a packet or two: neither those that are let in nor those that are turned away stand behind files."""

    async def sent() -> None:
        uploads = Uploads(Tempo())
        uploads.door.passes_needed = frozenset({"retail"})
        files = [asyncio.create_task(uploads.send("retail", pieces=10)) for _ in range(3)]
        await asyncio.sleep(1.0)
        since_s = now_s()
        assert (201, 2) == await uploads.send("retail", pieces=1, path="/v1/orders")
        assert (303, 2) == await uploads.send("", pieces=1, path="/beli")
        assert since_s == now_s()
        await asyncio.gather(*files)

    simulated(sent())


def test_without_a_speed_nothing_is_in_between() -> None:
    """The pieces are heard the very way they were."""

    async def next_piece() -> HTTPReceiveMessage:
        return {"type": "http.disconnect"}

    link = Door(clock=lambda: 0.0).link
    assert link.paced(next_piece, "retail") is next_piece
    assert inf == Settings().link_bytes_per_s


def test_the_links_speed_is_divided_among_the_web_processes(tmp_path: Path) -> None:
    """Of 100 Mbit/s and four processes each has 3.125 million bytes a second, at its door; the counter is one."""
    settings = Settings(data_dir=str(tmp_path), upload_mbit_s=100.0, web_processes=4)
    assert 3_125_000.0 == settings.link_bytes_per_s == _keeper(settings, "web").door.link.bytes_per_s
    counted = Settings(data_dir=str(tmp_path), upload_mbit_s=100.0, web_processes=3, counter_port=8100)
    assert 3_125_000.0 == counted.link_bytes_per_s
