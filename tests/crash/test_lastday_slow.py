"""Lines of phones: what goes by the relay goes at its pace, from its sender's address, and some of it breaks midway."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from lastday_slow import (
    BREAKS,
    FALLS_SILENT,
    HOST,
    PACE_BYTES_PER_S,
    Carried,
    Line,
    Relay,
    carried_in,
    lines,
    relayed,
)

SENDER = "127.0.1.7"
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
BODY = bytes(range(256)) * 400


@dataclass
class Service:
    """Takes a body of a known size, or what comes of it, answers, and hangs up."""

    wanted: int
    senders: list[str] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    has_taken: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    port: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.writers.append(writer)
        self.senders.append(writer.get_extra_info("peername")[0])
        body = b""
        try:
            while len(body) < self.wanted and (piece := await reader.read(65_536)):
                body += piece
        except ConnectionError:
            pass
        self.taken.append(body)
        self.has_taken.set()
        writer.write(ANSWER)
        writer.close()


class Clock:
    """Sleeps at once, and adds up."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Nothing but a turn of the loop."""
        self.slept.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def service_of(wanted: int) -> AsyncIterator[Service]:
    """One that takes so much."""
    service = Service(wanted)
    server = await asyncio.start_server(service.take, HOST, 0)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for writer in service.writers:
            writer.close()


@asynccontextmanager
async def relay_to(port: int, line: Line, clock: Clock, written: list[Carried]) -> AsyncIterator[int]:
    """A relay by which every line is this one; answers its port."""
    relay = Relay(port, itertools.repeat(line), written.append, sleep=clock.sleep)
    server = await relay.serve(socket.create_server((HOST, 0)))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    while not is_so():
        await asyncio.sleep(0.01)


async def sent_by(port: int, body: bytes) -> bytes:
    """Send it and answer what is said until the line ends; nothing when it broke."""
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(SENDER, 0))
    try:
        writer.write(body)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_what_is_sent_arrives_whole_at_the_pace_of_its_line_and_from_its_senders_address() -> None:
    """A hundred kilobytes at 40 KB/s are 2.56 s, in steps of a tenth; what is answered comes back."""
    clock, written = Clock(), list[Carried]()
    async with service_of(len(BODY)) as service, relay_to(service.port, Line(40_000.0), clock, written) as port:
        assert ANSWER == await sent_by(port, BODY)
        await until(lambda: bool(written))
    assert ([BODY], [SENDER]) == (service.taken, service.senders)
    assert len(BODY) / 40_000 == pytest.approx(sum(clock.slept))
    assert 0.1 == pytest.approx(max(clock.slept))
    assert [(len(BODY), False)] == [(one.size_bytes, one.broke) for one in written]
    assert written[0].began_s <= written[0].ended_s


@pytest.mark.parametrize("falls_silent", [False, True])
async def test_a_line_that_breaks_carries_no_byte_more_and_its_sender_knows(falls_silent: bool) -> None:
    """The service is told, or hears nothing any more: then it is still listening when the sender has given up."""
    clock, written = Clock(), list[Carried]()
    line = Line(40_000.0, breaks_after=30_001, falls_silent=falls_silent)
    async with service_of(len(BODY)) as service, relay_to(service.port, line, clock, written) as port:
        assert b"" == await sent_by(port, BODY)
        assert [(30_001, True)] == [(one.size_bytes, one.broke) for one in written]
        if falls_silent:
            await asyncio.sleep(0.05)
            gc.collect()
            await asyncio.sleep(0.05)
            assert [] == service.taken
        else:
            await service.has_taken.wait()
            assert BODY[:30_001].startswith(service.taken[0])


async def test_what_is_less_than_the_line_holds_gets_through() -> None:
    """It would have broken later; the rest of a file that broke once is such a body."""
    clock, written = Clock(), list[Carried]()
    line = Line(40_000.0, breaks_after=30_001)
    async with service_of(30_000) as service, relay_to(service.port, line, clock, written) as port:
        assert ANSWER == await sent_by(port, BODY[:30_000])
        await until(lambda: bool(written))
    assert [(30_000, False)] == [(one.size_bytes, one.broke) for one in written]


async def test_with_nobody_behind_it_the_line_ends_at_once() -> None:
    """And nothing was carried."""
    with socket.create_server((HOST, 0)) as nobody:
        port_of_nobody = nobody.getsockname()[1]
    clock, written = Clock(), list[Carried]()
    async with relay_to(port_of_nobody, Line(40_000.0), clock, written) as port:
        assert b"" == await sent_by(port, BODY)
    assert [] == written


def test_phones_are_as_slow_and_break_as_often_as_is_said() -> None:
    """Of ten thousand: each pace within its bounds; within a hundredth as many break, and half of those say nothing."""
    found = list(itertools.islice(lines(random.Random(1), 98_500), 10_000))
    low, high = PACE_BYTES_PER_S
    assert all(low <= one.bytes_per_s <= high for one in found)
    broken = [one for one in found if one.breaks_after is not None]
    assert BREAKS == pytest.approx(len(broken) / len(found), abs=0.01)
    assert FALLS_SILENT == pytest.approx(sum(one.falls_silent for one in broken) / len(broken), abs=0.05)
    assert all(0 < (one.breaks_after or 0) < 98_500 for one in broken)
    assert not any(one.falls_silent for one in found if one.breaks_after is None)


async def test_in_a_process_of_its_own_it_writes_down_what_it_carried(tmp_path: Path) -> None:
    """Some bodies that are far too small to break; a line of the file that was cut short is none."""
    async with service_of(300) as service:
        with relayed(tmp_path / "carried", service.port, size_bytes=1_000_000_000) as url:
            port = int(url.rpartition(":")[2])
            answers = [await sent_by(port, BODY[:300]) for _ in range(3)]
            await until(lambda: (tmp_path / "carried").read_bytes().count(b"\n") >= 3)
    assert 3 == len(carried_in(tmp_path / "carried"))
    assert [ANSWER] * 3 == answers
    (tmp_path / "carried").write_text("17.250 19.500 4000 1\n17.500 18.0")
    assert [Carried(17.25, 19.5, 4_000, True)] == carried_in(tmp_path / "carried")
