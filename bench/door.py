"""What the door costs, part of `emeterai bench gate`: a pass checked, a request let in, a refusal, a look at the line.

The first figures are of this process alone; the others of the whole service over HTTP on the same cores, as processor
time of the web process for each answer, so that a busy machine and the load generator do not count.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from bare_server import bare_server
from figures import Figures, parser, rate
from litestar.types import Receive, Scope, Send

from emeterai.core.brownout import Step
from emeterai.gate.bodies import PLACES_MAX
from emeterai.gate.carrying import PASS_HEADER
from emeterai.gate.door import Door
from emeterai.gate.keeper import pass_reader
from emeterai.gate.lanes import RETAIL, Lanes
from emeterai.gate.passes import PASS_LIFE_S, Pass, Passes
from emeterai.gate.shedding import Shedding
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.logs import configure_logging
from emeterai.web.static_files import StaticFiles
from processes import family_of
from running import RunningService

CONNECTIONS = 16
LOOK, REFUSED, HOME = "/gate/retail.json", "/v/ABCDEFGHIJKLMNOPQRSTUV", "/"
RESTS = "part_resting to a GET"
"""The cheapest refusal."""
_CROWD, _PATIENCE_S = 128, 0.15
"""Lines on which those ask who are refused only after they have waited."""
_WARM_S, _WARM_TIMES, _REFUSED_SHARE = 1.0, 20, 0.98
_LOOK_S, _QUIET_LOOKS, _IDLE_SHARE = 0.3, 2, 0.15


@dataclass(frozen=True)
class Refusal:
    """One refusal: its code, what is asked for it, how much is sent, on how many lines, and as what.

    `wait_s` is about how long it is waited for: so long waits the server that it is compared with.
    """

    code: str
    target: str
    body_bytes: int
    lines: int = CONNECTIONS
    media_type: str = "application/json"
    wait_s: float = 0.0

    @property
    def name(self) -> str:
        """As it is reported."""
        return f"{self.code} to a POST of {self.body_bytes / 1e3:.0f} KB"

    def request(self) -> bytes:
        """One more request, of somebody who was not told yet to come again: a session is shown, as a program does."""
        head = (
            f"POST {self.target} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nContent-Type: {self.media_type}\r\n"
            f"Authorization: Bearer ems_{secrets.token_hex(21)}a\r\nContent-Length: {self.body_bytes}\r\n\r\n"
        )
        return head.encode() + b" " * self.body_bytes

    def of_nothing(self) -> Refusal:
        """The same asked of a server that does nothing."""
        return replace(self, target=f"/?code={self.code}" + (f"&wait_s={self.wait_s}" if self.wait_s else ""))


NEEDS_PASS = Refusal("pass_needed", "/v1/orders", 1_000)
CROWDED = Refusal(
    "service_crowded", "/v1/orders/00000000-0000-7000-8000-000000000000/cancel", 1_000, lines=_CROWD, wait_s=_PATIENCE_S
)
UPLOADS = Refusal("uploads_crowded", "/v1/verify", 100_000, media_type="application/pdf")
_POSTS = (UPLOADS, CROWDED, NEEDS_PASS)


def main() -> None:
    """Measure and print."""
    chosen = parser(__doc__ or "").parse_args()
    measure(Figures(as_json=chosen.json), chosen.seconds or 3.0)


def measure(figures: Figures, seconds: float) -> None:
    """All figures of the door."""
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as name:
        Path(name).chmod(0o755)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measure_passes(figures, seconds)
            runner.run(measure_door(figures, seconds))
            runner.run(measure_service(figures, Path(name), seconds))


def measure_passes(figures: Figures, seconds: float) -> None:
    """A pass read and checked, beside one MAC of the two that it needs at least."""
    secret = b"0" * 32
    passes, now_s = Passes(secret), int(time.time())
    text = passes.sign(Pass(RETAIL, 7, b"1" * 12, now_s, now_s + PASS_LIFE_S))
    pass_of = pass_reader(passes, frozenset)
    headers = {PASS_HEADER: text.encode()}
    assert pass_of(headers) is not None
    check_us = 1e6 / rate(lambda: pass_of(headers), seconds / 2)
    mac_us = 1e6 / rate(lambda: hmac.digest(secret, b"token retail" + b"1" * 25, "sha256"), seconds / 2)
    figures.say("a pass checked", check_us, "us", yardstick="one HMAC-SHA256", yardstick_value=mac_us)


async def measure_door(figures: Figures, seconds: float) -> None:
    """The wrapper around an application that does nothing, beside that application."""

    async def nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    door = Door(clock=time.monotonic)
    shedding = Shedding(nothing, door, pass_of=lambda _: None)
    people = count()

    def asked(method: str, path: str) -> Any:
        """A request of somebody new: who repeats before he was told to is held back, which costs no work but time."""
        session = b"Bearer ems_%043d" % next(people)
        headers = [(b"host", b"x"), (b"authorization", session), (b"accept", b"*/*")]
        return {"type": "http", "http_version": "1.1", "method": method, "path": path, "headers": headers}

    bare_us = await call_us(lambda: nothing(asked("GET", "/v1/stamps/x"), _receive, _send), seconds / 2)
    admitted_us = await call_us(lambda: shedding(asked("GET", "/v1/stamps/x"), _receive, _send), seconds / 2)
    door.lane_steps = {RETAIL: Step.STAMPING}
    refused_us = await call_us(lambda: shedding(asked("POST", "/v1/stamps"), _receive, _send), seconds / 2)
    figures.say("let in, in the process", admitted_us - bare_us, "us", yardstick="no door", yardstick_value=bare_us)
    figures.say("turned away, in the process", refused_us, "us", yardstick="no door", yardstick_value=bare_us)


async def measure_service(figures: Figures, folder: Path, seconds: float) -> None:
    """Refusals and looks at the line over HTTP, beside a static file and the front page of the same server."""
    configure_logging("console", "error")
    service = RunningService(folder)
    await service.start()
    try:
        static = StaticFiles().url("logo.svg")
        cost = {path: await cost_ms(service, path, seconds) for path in (static, HOME, LOOK)}
        refusals = await refusals_ms(service, seconds)
        cost[REFUSED] = await cost_ms(service, REFUSED, seconds)
    finally:
        await service.stop()
    del refusals[RESTS]  # with its answers a second below
    bare = await bare_refusals_ms(seconds)
    for name in (one for one in refusals if one in bare):
        figures.say(
            f"CPU: {name}", refusals[name], "ms", yardstick="a server that does nothing", yardstick_value=bare[name]
        )
    for name, path in (("a refusal over HTTP", REFUSED), ("a look at the line", LOOK)):
        for beside, other in (("a static file", static), ("the front page", HOME)):
            figures.say(f"CPU: {name}", cost[path][0], "ms", yardstick=beside, yardstick_value=cost[other][0])
            figures.say(name, cost[path][1], "answers/s", yardstick=beside, yardstick_value=cost[other][1])


async def refusals_ms(service: RunningService, seconds: float) -> dict[str, float]:
    """Processor time of the web process for one refusal of each kind, its waiting not counted.

    What does not come about (a machine that allows few connections) is left out. At the end all that only looks rests.
    """
    found = {}
    for refusal, brought_about in ((UPLOADS, uploads_held(service)), (CROWDED, database_stopped(service))):
        async with brought_about:
            found[refusal.name] = await refusal_ms(service.port, service.pids()["web"], refusal, seconds)
    await change_lane(service, always_room=True)
    found[NEEDS_PASS.name] = await refusal_ms(service.port, service.pids()["web"], NEEDS_PASS, seconds)
    await turn_away(service)
    found[RESTS], _ = await cost_ms(service, REFUSED, seconds)
    return {name: cost for name, cost in found.items() if cost is not None}


async def bare_refusals_ms(seconds: float) -> dict[str, float]:
    """The same of the same server with an application that does nothing else."""
    async with bare_server() as (port, pid):
        found = {one.name: await refusal_ms(port, pid, one.of_nothing(), seconds) for one in _POSTS}
    return {name: spent_ms for name, spent_ms in found.items() if spent_ms is not None}


async def refusal_ms(port: int, pid: int, refusal: Refusal, seconds: float) -> float | None:
    """Processor time of a server for one such refusal, once nearly all get it; None when they do not."""
    for _ in range(_WARM_TIMES):
        refused, others = await hammer_refused(port, refusal, _WARM_S)
        if refused >= _REFUSED_SHARE * (refused + others) > 0:
            break
    else:
        return None
    before = cpu_seconds(pid)
    refused, others = await hammer_refused(port, refusal, seconds)
    cost = cpu_seconds(pid) - before
    return cost / refused * 1e3 if refused >= _REFUSED_SHARE * (refused + others) > 0 else None


async def hammer_refused(port: int, refusal: Refusal, seconds: float) -> tuple[int, int]:
    """Ask again and again; answers how many were refused so, and how many were answered otherwise."""
    end, code, found = time.perf_counter() + seconds, f'"{refusal.code}"'.encode(), [0, 0]

    async def one_line() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(TimeoutError):  # a request that got in hangs with the database
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + seconds + 1):
                while time.perf_counter() < end:
                    writer.write(refusal.request())
                    found[code not in await read_answer(reader)] += 1
        writer.close()

    await asyncio.gather(*(one_line() for _ in range(refusal.lines)))
    return found[0], found[1]


@asynccontextmanager
async def uploads_held(service: RunningService) -> AsyncIterator[None]:
    """Every place of a large body is held by one that has begun and sends nothing more."""
    begun = UPLOADS.request()[: -UPLOADS.body_bytes]
    async with AsyncExitStack() as stack:
        for _ in range(PLACES_MAX):
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            stack.callback(writer.close)
            writer.write(begun)
        # Whoever asks before the server has read them all may take the last place, of which one network has no more.
        await idle(service.pids()["web"])
        yield


async def idle(pid: int) -> None:
    """Wait until a process has nothing more to do: in two looks one after another."""
    quiet = 0
    async with asyncio.timeout(30):
        while quiet < _QUIET_LOOKS:
            before = cpu_seconds(pid)
            await asyncio.sleep(_LOOK_S)
            quiet = quiet + 1 if cpu_seconds(pid) - before < _IDLE_SHARE * _LOOK_S else 0


@asynccontextmanager
async def database_stopped(service: RunningService) -> AsyncIterator[None]:
    """The database stands still: whoever gets a slot keeps it, and all others wait in vain for as long as they may."""
    family = family_of(service.pids()["postgres"])
    try:
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def turn_away(service: RunningService) -> None:
    """Let everything that only looks rest, as an operator would, and wait until the door knows."""
    await change_lane(service, rests_from=int(Step.LOOKING))
    async with asyncio.timeout(10):
        while await status_of(service, REFUSED) != 503:
            await asyncio.sleep(0.1)


async def change_lane(service: RunningService, **levers: Any) -> None:
    """Pull levers of the retail lane, as an operator would."""
    db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
    bus = Bus(service.database_url)
    await bus.start()
    try:
        lanes = Lanes(db, bus)
        await lanes.look()
        lane = msgspec.structs.replace(lanes.get(RETAIL), **levers)
        await lanes.change(lane, by="bench", seen=lanes.number_of(RETAIL))
    finally:
        await bus.close()
        await db.close()


async def status_of(service: RunningService, path: str) -> int:
    """The status of one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def cost_ms(service: RunningService, path: str, seconds: float) -> tuple[float, float]:
    """Processor time of the web process for one answer in ms, and answers a second, once the answer is there."""
    async with asyncio.timeout(10):
        while await status_of(service, path) == 404:
            await asyncio.sleep(0.1)
    await hammer(service, path, 0.3)
    web = service.pids()["web"]
    before, began = cpu_seconds(web), time.perf_counter()
    answers = await hammer(service, path, seconds)
    return (cpu_seconds(web) - before) / answers * 1e3, answers / (time.perf_counter() - began)


async def hammer(service: RunningService, path: str, seconds: float) -> int:
    """Ask again and again on some lines; answers how many answers came."""
    end = time.perf_counter() + seconds
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n".encode()

    async def one_line() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        count = 0
        while time.perf_counter() < end:
            writer.write(request)
            await read_answer(reader)
            count += 1
        writer.close()
        return count

    return sum(await asyncio.gather(*(one_line() for _ in range(CONNECTIONS))))


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The body of one answer, read to its end, whether its length is said or it comes in chunks."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" not in head:
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return await reader.readexactly(int(length or b"0"))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all that descend from it, so far."""
    parents: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                spent_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                parents[int(entry.name)] = int(fields[1]), spent_s
    family = {pid}
    while more := {child for child, (parent, _) in parents.items() if parent in family} - family:
        family |= more
    return sum(parents[one][1] for one in family if one in parents)


async def call_us(call: Callable[[], Awaitable[None]], seconds: float) -> float:
    """How long a call takes, in microseconds."""
    for _ in range(100):
        await call()
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for _ in range(50):
            await call()
        count += 50
    return spent / count * 1e6


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Any) -> None:
    return None


if __name__ == "__main__":
    main()
