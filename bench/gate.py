"""`python bench/gate.py`: what it costs to wait - passes, tickets, numbers, the now-serving file, a million waiting."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
from pathlib import Path
from uuid import UUID

import door
import httpx
from figures import TESTS, Figures, parser, rate

sys.path.insert(0, str(TESTS / "gate"))

from million import minute
from waiting_people import OPEN, SECRET

from emeterai.core.draw import key_of, turn_of
from emeterai.gate.numbers import NumberFile
from emeterai.gate.passes import Passes
from emeterai.gate.receipts import Receipts
from emeterai.gate.room_page import living_page
from emeterai.gate.tickets import Ticket, TicketPress
from running import RunningService

NOW_S = 1_795_000_000
_REQUESTS, _AT_ONCE = 4_000, 32


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "").parse_args()
    figures, seconds = Figures(as_json=options.json), options.seconds or 1.0
    pure(figures, seconds)
    million(figures)
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as folder:
        Path(folder).chmod(0o755)
        asyncio.run(served(figures, Path(folder)))
    door.measure(figures, seconds)


def pure(figures: Figures, seconds: float) -> None:
    """What one process does without asking anybody, beside one SHA-256 of a kilobyte."""
    kilobyte = bytes(1024)
    yardstick = rate(lambda: hashlib.sha256(kilobyte).digest(), seconds)
    press, passes, account = TicketPress(SECRET), Passes(SECRET), UUID(int=7 << 96)
    ticket = Ticket("retail", 12_345, NOW_S * 1000, low_s=60, high_s=120)
    text, code = press.sign(ticket), press.code_of(ticket)
    granted = passes.sign(passes.of_ticket(Ticket("retail", 7, 0, passes.holder_of(account)), NOW_S))
    key, receipts = key_of(SECRET, lane="retail", count=1_000_000), Receipts(SECRET, "https://meterai.example")
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as folder:
        file = NumberFile(Path(folder) / "retail")
        file.fill(1, 2**29)
        for name, work in (
            ("gate: passes checked", lambda: passes.check(granted, lanes=("retail",), account_id=account, now_s=NOW_S)),
            ("gate: tickets read", lambda: press.read(text)),
            ("gate: tickets signed", lambda: press.sign(ticket)),
            ("gate: recovery codes read", lambda: press.recovered("retail", code)),
            ("gate: numbers given by one process", file.take),
            ("gate: turns of a draw of a million", lambda: turn_of(12_345, key=key, count=1_000_000)),
            ("gate: receipts made", lambda: receipts.of_ticket(ticket)),
        ):
            figures.say(name, rate(work, seconds), "/s", yardstick="SHA-256 of 1 KB", yardstick_value=yardstick)
        file.close()
    page = living_page(OPEN, inside="/beli")
    figures.say("gate: the page", len(page.content), "bytes", yardstick="limit", yardstick_value=10_000)
    figures.say("gate: the page in gzip", len(page.packed()), "bytes", yardstick="limit", yardstick_value=10_000)


def million(figures: Figures) -> None:
    """Requests at the origin a second as a function of the number who wait, simulated."""
    few = minute(1_000, seconds=30)
    for waiting in (1_000, 10_000, 100_000, 1_000_000):
        seen = minute(waiting, seconds=30)
        figures.say(
            f"gate: origin, {waiting:,} waiting",
            seen.origin_per_s,
            "requests/s",
            yardstick="1,000 waiting",
            yardstick_value=few.origin_per_s,
        )
        figures.say(
            f"gate: pages, {waiting:,} waiting",
            seen.looks_per_s,
            "requests/s",
            yardstick="at the origin",
            yardstick_value=seen.origin_per_s,
        )
        figures.say(
            f"gate: origin, pages without a script, {waiting:,} waiting",
            seen.pages_per_s,
            "requests/s",
            yardstick="of them made",
            yardstick_value=seen.made_per_s,
        )


async def served(figures: Figures, folder: Path) -> None:
    """CPU of the web role for one answer of each kind, of the running service, beside `/healthz`."""
    service = RunningService(folder / "service")
    await service.start()
    try:
        async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as client:
            while (await client.get("/gate/retail.json")).status_code != 200:
                await asyncio.sleep(0.1)
            plain_us = await cost_us(service, client, "GET", "/healthz")
            for name, method, path in (
                ("now-serving file", "GET", "/gate/retail.json"),
                ("waiting room's page", "GET", "/gate/retail"),
                ("page without a script", "GET", "/gate/retail/giliran"),
            ):
                spent_us = await cost_us(service, client, method, path)
                figures.say(f"gate: {name}", spent_us, "us CPU", yardstick="/healthz", yardstick_value=plain_us)
    finally:
        await service.stop()


async def cost_us(service: RunningService, client: httpx.AsyncClient, method: str, path: str) -> float:
    """Microseconds of processor time that the web role spends for one answer."""
    before, left = cpu_s(service), iter(range(_REQUESTS))

    async def ask() -> None:
        for _ in left:
            (await client.request(method, path)).raise_for_status()

    await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
    return (cpu_s(service) - before) / _REQUESTS * 1e6


def cpu_s(service: RunningService) -> float:
    """Processor time of the web role and its workers so far."""
    return sum(_spent_s(pid) for pid in family(service.pids()["web"]))


def family(pid: int) -> list[int]:
    """A process and all its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(one for child in children for one in family(int(child)))]


def _spent_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
