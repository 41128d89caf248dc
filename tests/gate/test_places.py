"""Places of those who send large files or wait for news: a lane's share is there whoever holds the rest, and places
come back from those who only dribble.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from litestar.types import ASGIApp, HTTPReceiveMessage, Message
from served_door import ServedDoor, until

from emeterai.core.admission import Work
from emeterai.gate.bodies import BYTES_MAX, Body
from emeterai.gate.door import Door
from emeterai.gate.listening import Incoming, Tempo, whole_body

KEY = "emk_" + "p" * 43
PARTNER = {"Authorization": f"Bearer {KEY}"}
FILE = b"x" * 100_000
SHARES = {"retail": 0.4, "partners": 0.2}
FILE_BYTES = 25_000_000


def begun(door: Door, lane: str, *, count: int = 1, size_bytes: int = 1) -> list[Body]:
    """So many bodies of this size that have come, or as many of them as there was room for."""
    bodies = [door.bodies.begin(lane, Work.BUY, announced_bytes=size_bytes) for _ in range(count)]
    for body in bodies:
        assert body is None or body.came(size_bytes)
    return [body for body in bodies if body is not None]


def begun_in_turn(door: Door, lane: str, *, count: int) -> list[Body]:
    """So many large files, each of which comes before the next begins, or as many as there was room for."""
    return [body for _ in range(count) for body in begun(door, lane, size_bytes=FILE_BYTES)]


@pytest.fixture
def served() -> ServedDoor:
    """A door with ten places of each kind, a fifth of them the partners'."""
    found = ServedDoor(limit=2, shares=SHARES)
    found.door.bodies.slots.resize(10)
    found.door.waiters.slots.resize(10)
    found.lanes_of_keys[hashlib.sha256(KEY.encode()).digest()] = "partners"
    return found


async def test_a_partners_file_comes_in_though_others_hold_every_place(served: ServedDoor) -> None:
    """At once, since nobody knows when the others end; beyond what it is guaranteed it is told to come again."""
    retails = begun(served.door, "retail", count=11)
    assert 10 == len(retails)
    async with served.serving() as client:
        assert "uploads_crowded" == (await client.post("/v1/uploads", content=FILE)).json()["code"]
        assert 200 == (await client.post("/v1/uploads", content=FILE, headers=PARTNER)).status_code
        partners = begun(served.door, "partners", count=3)
        assert 2 == len(partners)
        assert 503 == (await client.post("/v1/uploads", content=FILE, headers=PARTNER)).status_code
    retails[0].end()
    partners[0].end()
    assert (10, 10.0) == (served.door.bodies.slots.used, served.door.bodies.held_bytes)


async def test_a_partner_waits_for_news_though_others_hold_every_place(served: ServedDoor) -> None:
    """The same for those who wait."""
    assert [True] * 10 + [False] == [served.door.waiters.enter_now("retail", Work.FINISH) for _ in range(11)]
    async with served.serving() as client:
        waits = {"Prefer": "wait=1"}
        assert 503 == (await client.get("/v1/stamps/x", headers=waits)).status_code
        assert 200 == (await client.get("/v1/stamps/x", headers={**PARTNER, **waits})).status_code


def test_a_lane_has_its_share_of_the_memory_though_others_hold_it_all() -> None:
    """Until it holds its share; and again, once it has given that back. A lane without a share borrows only."""
    door = Door(clock=time.monotonic)
    door.share(SHARES)
    others = BYTES_MAX // FILE_BYTES
    theirs = others // 5
    for _ in range(2):
        retails = begun_in_turn(door, "retail", count=others + 1)
        assert others == len(retails)
        assert [] == begun(door, "campaign")
        partners = begun_in_turn(door, "partners", count=theirs + 1)
        assert theirs == len(partners)
        for body in (*retails, *partners):
            body.end()
        assert (0, 0.0) == (door.bodies.slots.used, door.bodies.held_bytes)
    assert begun(door, "campaign")


def test_memory_that_nobody_holds_is_lent() -> None:
    """A lane without a share may have all of it, and gets no more of what is full."""
    door = Door(clock=time.monotonic)
    door.share(SHARES)
    assert begun(door, "campaign", size_bytes=BYTES_MAX)
    assert [] == begun(door, "campaign")


async def dribble(app: ASGIApp) -> None:
    """Somebody inside, who sends one byte now and then for as long as anybody listens."""
    headers = [(b"host", b"x"), (b"emeterai-pass", b"retail"), (b"content-length", b"1000000")]
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/uploads"}
    scope |= {"headers": headers, "client": ("127.0.0.1", 4711)}

    async def receive() -> HTTPReceiveMessage:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(_: Message) -> None:
        """Nobody reads the answer."""

    await app(cast("Any", scope), receive, send)


async def test_a_hundred_who_dribble_keep_an_honest_one_out_for_no_longer_than_the_grace() -> None:
    """All places are theirs, then the honest one's; what they held, memory too, is free again, and they are let go."""
    served = ServedDoor(limit=2, tempo=Tempo(grace_s=1.0, floor_bytes_per_s=10_000))
    served.door.bodies.slots.resize(100)
    lines = [asyncio.create_task(dribble(served.app)) for _ in range(100)]
    transport = httpx.ASGITransport(cast("Any", served.app))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            await until(lambda: served.door.bodies.slots.used == 100)
            assert 503 == (await client.post("/v1/uploads", content=FILE)).status_code
            await until(lambda: served.door.bodies.slots.used < 100)
            assert 200 == (await client.post("/v1/uploads", content=FILE)).status_code
            await until(lambda: all(line.done() for line in lines))
    finally:
        for line in lines:
            line.cancel()
    assert {None} == set(await asyncio.gather(*lines))
    assert (0, 0) == (served.door.bodies.slots.used, served.door.bodies.held_bytes)
    assert ["/v1/uploads"] == served.work.begun


async def test_who_keeps_the_tempo_is_heard_to_the_end_however_long_it_takes() -> None:
    """Longer than the grace, above the floor all the time."""
    served = ServedDoor(limit=2, tempo=Tempo(grace_s=1.0, floor_bytes_per_s=10_000))

    async def file() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 5_000
            await asyncio.sleep(0.07)

    async with served.serving() as client:
        answer = await client.post("/v1/uploads", content=file())
    assert (200, str(20 * 5_000)) == (answer.status_code, answer.text)


class Sender:
    """Says what it is given, piece by piece, each after its pause; then it is silent."""

    def __init__(self, *pieces: tuple[float, bytes]) -> None:
        self._pieces = list(pieces)

    async def __call__(self) -> HTTPReceiveMessage:
        """The next piece."""
        if not self._pieces:
            await asyncio.Event().wait()
        pause_s, body = self._pieces.pop(0)
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": body, "more_body": True}


async def test_what_came_before_a_sender_fell_behind_is_there() -> None:
    """The pieces, then that the line is gone, as often as somebody asks."""
    incoming = Incoming(Sender((0.0, b"one"), (0.0, b"two")), Tempo(grace_s=0.1, floor_bytes_per_s=1_000))
    said = [await incoming.next_piece() for _ in range(4)]
    assert [b"one", b"two"] == [one["body"] for one in said if one["type"] == "http.request"]
    assert ["http.disconnect"] * 2 == [one["type"] for one in said[2:]]
    assert incoming.has_gone
    assert incoming.is_over


async def test_who_is_hung_up_on_while_a_piece_is_already_here_has_gone_all_the_same() -> None:
    """For good: whoever reads to the end would go on for ever."""
    piece: asyncio.Future[HTTPReceiveMessage] = asyncio.get_running_loop().create_future()

    async def says() -> HTTPReceiveMessage:
        return await piece

    incoming = Incoming(says, Tempo())
    hearing = asyncio.create_task(incoming.next_piece())
    await asyncio.sleep(0)
    piece.set_result({"type": "http.request", "body": b"x", "more_body": True})
    incoming.hang_up()
    assert {"type": "http.disconnect"} == await hearing
    assert incoming.is_over
    assert incoming.has_gone


async def test_a_fast_beginning_buys_no_slow_end() -> None:
    """However much came at once, after it a sender may be silent for no longer than the grace."""
    tempo = Tempo(grace_s=0.3, floor_bytes_per_s=1.0)
    incoming = Incoming(Sender((0.0, FILE)), tempo)
    await incoming.next_piece()
    async with asyncio.timeout(60 * tempo.grace_s):
        assert "http.disconnect" == (await incoming.next_piece())["type"]


async def test_what_is_done_with_a_piece_is_not_the_senders_time() -> None:
    """A database that is away for longer than the grace costs no sender the line."""
    incoming = Incoming(Sender((0.0, b"one"), (0.0, b"two")), Tempo(grace_s=0.2, floor_bytes_per_s=1_000_000))
    await incoming.next_piece()
    await asyncio.sleep(0.4)
    assert "http.request" == (await incoming.next_piece())["type"]


async def test_a_small_body_that_dribbles_ends_too() -> None:
    """It holds no place, but a line; whoever reads it hears that nobody is there any more."""
    dribbles = Sender(*[(0.02, b"x")] * 1_000)
    receive = await whole_body(Incoming(dribbles, Tempo(grace_s=0.2, floor_bytes_per_s=1_000)))
    assert ["http.disconnect"] * 2 == [(await receive())["type"] for _ in range(2)]


async def test_a_body_ends_with_the_last_byte_that_was_announced() -> None:
    """The server is not asked whether there is more; whoever listens afterwards hears of the client alone."""
    hears = Sender((0.0, b"abc"), (0.0, b"de"), (0.0, b""))
    incoming = Incoming(hears, Tempo(grace_s=0.2, floor_bytes_per_s=1_000))
    receive = await whole_body(incoming, announced_bytes=5)
    assert {"type": "http.request", "body": b"abcde", "more_body": False} == await receive()
    assert 1 == len(hears._pieces)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await receive()
    assert [] == hears._pieces


async def test_after_the_last_piece_whoever_listens_waits_for_the_client_alone() -> None:
    """The tempo is of the body: an answer may take as long as it likes."""
    saying: list[HTTPReceiveMessage] = [
        {"type": "http.request", "body": b"x", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> HTTPReceiveMessage:
        if len(saying) == 1:
            await asyncio.sleep(0.3)
        return saying.pop(0)

    incoming = Incoming(receive, Tempo(grace_s=0.05, floor_bytes_per_s=1_000))
    await incoming.next_piece()
    assert (True, False) == (incoming.is_over, incoming.has_gone)
    await incoming.next_piece()
    assert [] == saying
