"""Ten thousand notifications within one second, whoever answers: each is sent when it is due, answers or not."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from figures import Figures
from flood import NOT_ANSWERED, Answered
from paydesk import PATIENCE_S, PayDesk

from twins.midtrans_twin import MidtransTwin

BURST, WITHIN_S, LINES = 10_000, 1.0, 2_000
"""Five to a line, a fifth of a second apart; a line's answers come in the order of its requests. A web process takes
4,096 connections at once, so with a line for each some could not even be opened."""
CONNECTING = 500
"""So many lines are opened at once, before the second begins."""
ANSWERS_WITHIN_S = 60.0
RETRIES_MAX = 4
"""So often Midtrans sends a notification again that was answered with 503."""
AGAIN_WITHIN_S = 30.0
"""Its pauses are of *about* so many minutes, so what was refused in one second comes again over half a minute. All of
it within one second again would be the same burst, with as little room."""
PAUSE_S = 5.0
"""Between two waves, where the provider pauses for minutes: nothing happens in them, and we come to rest sooner."""
_OTHER_FILES = 500


@dataclass(frozen=True, slots=True)
class Wave:
    """What was offered at once: for how long, the answers in that order, and when the last 200 came, in seconds."""

    offered_in_s: float
    answers: list[Answered]
    taken_by_s: float


class _Line(asyncio.Protocol):
    """One connection; `heard` has the status of each answer and when it came, in the order of the requests."""

    def __init__(self, ended: asyncio.Semaphore) -> None:
        self.sent: list[int] = []
        self.heard: list[tuple[int, float]] = []
        self.transport: asyncio.Transport
        self._ended = ended
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, number: int, request: bytes) -> None:
        """Send at once, whatever was sent before."""
        self.sent.append(number)
        if self.transport.is_closing():
            self._hear(NOT_ANSWERED)
        else:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower().split(b"\r\n")
            size = next(line for line in head if line.startswith(b"content-length:")).partition(b":")[2]
            whole = end + 4 + int(size)
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            self._hear(int(head[0].split(b" ", 2)[1]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        for _ in self.sent[len(self.heard) :]:
            self._hear(NOT_ANSWERED)

    def _hear(self, status: int) -> None:
        self.heard.append((status, time.perf_counter()))
        self._ended.release()


async def measure_burst(figures: Figures, desk: PayDesk, news: Sequence[bytes], *, plain_max_ms: float) -> None:
    """Offer `news`, all different and of Midtrans, within a second, and again what was not taken, as Midtrans does."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files < LINES + _OTHER_FILES:
        figures.note(f"a burst over {LINES:,} lines needs {LINES + _OTHER_FILES:,} open files; here are {files:,}")
        return
    began_at, waiting, waves = await desk.db.fetchval("SELECT now()"), list(news), list[Wave]()
    while waiting and len(waves) <= RETRIES_MAX:
        await asyncio.sleep(PAUSE_S)
        wave = await offer(desk.service.base_url, waiting, within_s=AGAIN_WITHIN_S if waves else WITHIN_S)
        waves.append(wave)
        waiting = [one for one, answer in zip(waiting, wave.answers, strict=True) if not taken(answer)]
    on_record = await desk.db.fetchval(
        "SELECT count(*) FROM purchase.notifications WHERE provider = 'midtrans' AND received_at >= $1", began_at
    )
    tell(figures, waves, on_record, plain_max_ms=plain_max_ms)


async def offer(url: str, requests: Sequence[bytes], *, within_s: float) -> Wave:
    """Send them evenly over that time, as far as this process can; a wait begins when its request was due."""
    ended = asyncio.Semaphore(0)
    lines = await _connected(url, ended)
    began_s, sent = time.perf_counter(), 0
    while sent < len(requests):
        due = min(len(requests), 1 + int((time.perf_counter() - began_s) / within_s * len(requests)))
        for number in range(sent, due):
            lines[number % LINES].send(number, requests[number])
        sent = due
        await asyncio.sleep(0.001)
    offered_in_s = time.perf_counter() - began_s
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            for _ in requests:
                await ended.acquire()
    heard = [(NOT_ANSWERED, time.perf_counter())] * len(requests)
    for line in lines:
        line.transport.abort()
        for number, answer in zip(line.sent, line.heard, strict=False):
            heard[number] = answer
    answers = [
        Answered(status, at_s - began_s - number / len(requests) * within_s)
        for number, (status, at_s) in enumerate(heard)
    ]
    return Wave(offered_in_s, answers, max((at_s - began_s for status, at_s in heard if status == 200), default=0.0))


async def _connected(url: str, ended: asyncio.Semaphore) -> list[_Line]:
    parts, lines = urlsplit(url), list[_Line]()
    loop = asyncio.get_running_loop()
    while len(lines) < LINES:
        some = min(CONNECTING, LINES - len(lines))
        opened = await asyncio.gather(
            *(loop.create_connection(lambda: _Line(ended), parts.hostname, parts.port) for _ in range(some))
        )
        lines += [line for _, line in opened]
    return lines


def taken(answer: Answered) -> bool:
    """Whether the provider heard 200 while it still listened."""
    return answer.status == 200 and answer.took_s <= PATIENCE_S["midtrans"]


def tell(figures: Figures, waves: Sequence[Wave], on_record: int, *, plain_max_ms: float) -> None:
    """What the first second brought, and when all were on record by the provider's own schedule."""
    first, count = waves[0], len(waves[0].answers)
    figures.say("a burst: offered within", first.offered_in_s, "s", yardstick="wanted", yardstick_value=WITHIN_S)
    statuses = Counter(answer.status for answer in first.answers)
    late = sum(answer.status == 200 and not taken(answer) for answer in first.answers)
    for name, value in (
        ("answered with 200", statuses[200]),
        ("of these after the provider had hung up", late),
        ("refused with 503", statuses[503]),
        ("answered otherwise, or not at all", count - statuses[200] - statuses[503]),
    ):
        figures.say(f"a burst: {name}", value, "answers", yardstick="offered", yardstick_value=count)
    longest_ms = max(answer.took_s for answer in first.answers) * 1e3
    figures.say("a burst: longest wait", longest_ms, "ms", yardstick="plain answer", yardstick_value=plain_max_ms)
    figures.say("a burst: on record in the end", on_record, "news", yardstick="offered", yardstick_value=count)
    retries = len(waves) - 1
    all_by_s = sum(MidtransTwin.retries_s[:retries]) + waves[-1].taken_by_s
    took = "all on record after" if on_record == count else "its last wave was over after"
    figures.say(f"a burst: {took}", all_by_s, "s", yardstick="offered within", yardstick_value=first.offered_in_s)
    figures.note(f"  taken in each wave: {', '.join(str(sum(map(taken, wave.answers))) for wave in waves)}")
