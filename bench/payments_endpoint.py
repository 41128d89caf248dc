"""How long a notification waits for its answer, at 500 a second, beside a plain answer of the same server."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from figures import TESTS, Figures

sys.path.insert(0, str(TESTS / "crash"))

from flood import Answered, request_of, send_all
from paydesk import PayDesk, news_of, open_desk
from payments_burst import BURST, measure_burst

from twins.midtrans_twin import MidtransTwin
from twins.xendit_twin import XenditTwin

RATE, LINES = 500.0, 64
ORDERS = 100
GOAL_MS = 50.0
SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}
_JSON = {"content-type": "application/json"}


async def measure_endpoint(figures: Figures, *, seconds: float) -> list[str]:
    """Measure and say; the goal is 50 ms whatever happens behind. Gives the faults: each p99 above it.

    While PostgreSQL hangs the first wait for their 503 (docs/measured.md), so that case has no goal, and neither has
    the burst, which is more than a second of work.
    """
    faults = list[str]()
    folder = Path(tempfile.mkdtemp(prefix="emeterai-endpoint-"))
    folder.chmod(0o755)
    async with open_desk(folder / "desk") as desk:
        url = desk.service.base_url
        plain = await at_rate(url, [request_of(f"{url}/healthz", {}, b"", method="GET")], seconds=seconds)
        news = await signed_news(desk, count=round(RATE * seconds))
        xendits = await token_news(desk)
        for name, requests in (
            ("a new notification", news),
            ("a known notification", news[:1]),
            ("one of Xendit, about which we ask", xendits),
        ):
            faults += tell(figures, name, await at_rate(url, requests, seconds=seconds), plain)
        desk.twins["xendit"].day.slow_s = 30.0
        silent = await at_rate(url, xendits, seconds=seconds)
        faults += tell(figures, "one of Xendit, which is silent", silent, plain)
        desk.twins["xendit"].day.slow_s = 0.0
        burst = await signed_news(desk, count=BURST)
        await measure_burst(figures, desk, burst, plain_max_ms=quantile_ms(plain, 1.0))
        with desk.database_hangs():
            tell(figures, "any, while PostgreSQL hangs: 503", await at_rate(url, news, seconds=seconds / 2), plain)
    shutil.rmtree(folder, ignore_errors=True)
    return faults


async def at_rate(url: str, requests: Sequence[bytes], *, seconds: float) -> list[Answered]:
    """500 a second, beginning anew when all were sent."""
    count = round(RATE * seconds)
    every = [requests[number % len(requests)] for number in range(count)]
    return await send_all(url, every, lines=LINES, rate=RATE)


async def signed_news(desk: PayDesk, *, count: int) -> list[bytes]:
    """Settlements and other signed news, all different, in disorder."""
    twin = desk.twins["midtrans"]
    assert isinstance(twin, MidtransTwin)
    orders = [await desk.order("midtrans") for _ in range(ORDERS)]
    for order in orders:
        desk.pay(order)
    each = -(-count // ORDERS)
    bodies = [body for order in orders for body in news_of(twin, order, count=each)]
    random.Random(1).shuffle(bodies)  # noqa: S311 - to be repeated
    return [request_of(desk.address("midtrans"), _JSON, body) for body in bodies]


async def token_news(desk: PayDesk) -> list[bytes]:
    """Payments that Xendit tells: each makes us ask."""
    twin = desk.twins["xendit"]
    assert isinstance(twin, XenditTwin)
    orders = [await desk.order("xendit") for _ in range(ORDERS)]
    for order in orders:
        desk.pay(order)
    return [request_of(desk.address("xendit"), letter.headers, letter.body) for letter in twin.post]


def tell(figures: Figures, name: str, answers: Sequence[Answered], plain: Sequence[Answered]) -> list[str]:
    """Its quantiles in milliseconds beside those of the plain answer; and how it was answered. Gives a fault."""
    for share, part in SHARES.items():
        mine, other = (quantile_ms(each, part) for each in (answers, plain))
        figures.say(f"{name}, {share}", mine, "ms", yardstick="plain answer", yardstick_value=other)
    statuses = sorted({answer.status for answer in answers})
    figures.note(f"  answered with {', '.join(map(str, statuses))}")
    p99_ms = quantile_ms(answers, SHARES["p99"])
    return [f"{name}: p99 of {p99_ms:.1f} ms, the goal is {GOAL_MS:.0f}"] if p99_ms > GOAL_MS else []


def quantile_ms(answers: Sequence[Answered], part: float) -> float:
    """The time within which that part of them was answered."""
    took_s = sorted(answer.took_s for answer in answers)
    return took_s[round(part * (len(took_s) - 1))] * 1e3
