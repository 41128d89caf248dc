"""`emeterai bench ledger`: quota transfers a second, beside a plain row-lock ledger and pgbench TPC-B, in one run.

One embedded PostgreSQL, as durable as the product runs it, serves them all; every round measures each of them once, so
that noise of the machine meets all alike, and the median of the rounds is shown. Ours are holds and the settles that
end them. A transfer of the plain ledger moves units between two of the same accounts.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import ledger_peers
import uvloop
from figures import Figures, parser

from emeterai.core.ledger import Kind, Posted, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.garbage import collect_seldom
from emeterai.infra.ids import new_id
from emeterai.infra.migrate import migrate
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger

ACCOUNTS = 100_000
QUOTA_EACH = 10_000_000
SIZES = (1, 10, 100, 1_000)
SPREADS = ("uniform", "skewed (Zipf)", "one hot account")
CONNECTIONS, POSTERS, CALLERS = 16, 8, 512
"""At once: connections of the peers and of ours one by one; processes that post batches; callers of one process."""
_ZIPF_EXPONENT = 1.1
_ZIPF_DRAWS = 1_000_000
_FILL_BATCH = 1_000
# Python 3.11 looks a member of an enumeration up by a function, each time.
_HOLD, _SETTLE, _CANCELLED, _SEALED = Kind.HOLD, Kind.SETTLE, Reason.CANCELLED, Reason.SEALED
Measure = Callable[[float], Awaitable[float]]
Accounts = Iterator[int]
"""Numbers of accounts, without end."""


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=3, help="how often each measurement is taken; medians are shown")
    options.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="batch sizes")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as name:
        Path(name).chmod(0o755)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(Figures(as_json=chosen.json), Path(name), chosen))


async def run(figures: Figures, folder: Path, chosen: argparse.Namespace) -> None:
    """One server for all; afterwards the ledger is audited."""
    server = EmbeddedPostgres(folder / "data")
    await server.start()
    db = await Database.connect(server.url(), connections_max=CONNECTIONS, wait_s=30)
    try:
        await migrate(server.url())
        measures = await prepare(server, db, chosen.sizes)
        collect_seldom()  # as every process of the service does, when all that stays is there
        taken: dict[str, list[Taken]] = {name: [] for name in measures}
        for turn in range(chosen.rounds + 1):
            for name, measure in measures.items():
                found = await take(server, measure, chosen.seconds or 2.0)
                if turn:  # the first one warms up
                    taken[name].append(found)
        show(figures, {name: Taken(*map(statistics.median, zip(*them, strict=True))) for name, them in taken.items()})
        report = await check_ledger(db)
    finally:
        await db.close()
        await server.stop()
        server.remove()
    figures.note(f"{report.transfers:,} transfers; the audit holds: {report.holds_true}")
    if not report.holds_true:
        sys.exit("the ledger does not hold")


class Taken(NamedTuple):
    """What one measurement found: transfers a second, and the processor time of one on all sides, in microseconds."""

    per_s: float
    cpu_us: float


async def take(server: EmbeddedPostgres, measure: Measure, seconds: float) -> Taken:
    """Measure once."""
    assert server.pid is not None
    spent, began = cpu_seconds(server.pid), time.perf_counter()
    per_s = await measure(seconds)
    spent, took_s = cpu_seconds(server.pid) - spent, time.perf_counter() - began
    return Taken(per_s, spent / (per_s * took_s) * 1e6)


def cpu_seconds(server_pid: int) -> float:
    """Processor time so far: of this process, of those it has run, of the server and of all its children."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if server_pid in {int(entry.name), int(fields[1])}:
                    ticks += sum(int(fields[index]) for index in (11, 12, 13, 14))
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


async def prepare(server: EmbeddedPostgres, db: Database, sizes: Sequence[int]) -> dict[str, Measure]:
    """Fill the accounts of both ledgers and TPC-B's tables; answers what there is to measure, by name."""
    ledger, accounts = Ledger(db), [new_id() for _ in range(ACCOUNTS)]
    for start in range(0, ACCOUNTS, _FILL_BATCH):
        part = accounts[start : start + _FILL_BATCH]
        await ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, QUOTA_EACH, account=it) for it in part])
    plain = await ledger_peers.PlainLedger.prepare(server.url(), ACCOUNTS, QUOTA_EACH)
    await asyncio.to_thread(ledger_peers.prepare_pgbench, server)
    measures: dict[str, Measure] = {"TPC-B": functools.partial(ledger_peers.tpcb_tps, server, CONNECTIONS)}
    measures["plain by pgbench"] = functools.partial(plain.tps_by_pgbench, CONNECTIONS)
    for spread in SPREADS:
        numbers = spread_of(spread)
        measures[f"plain, {spread}"] = functools.partial(plain.tps, numbers, CONNECTIONS)
        for size in sizes:
            ours = functools.partial(post_batches, ledger, accounts, numbers, size)
            measures[name_of(size, spread)] = ours
        measures[f"requests, {spread}"] = functools.partial(post_requests, ledger, accounts, numbers)
    return measures


def name_of(size: int, spread: str) -> str:
    """What a measurement of ours is called."""
    return f"{'one a commit' if size == 1 else f'batches of {size:,}'}, {spread}"


def show(figures: Figures, medians: dict[str, Taken]) -> None:
    """Ours beside the plain ledger on accounts spread alike; uniformly also beside TPC-B and the plain one by pgbench.

    The processor's time tells the same when others use the machine too.
    """
    for name, taken in medians.items():
        spread = next((it for it in SPREADS if name.endswith(it)), "")
        yardsticks = ["TPC-B"]
        if spread and not name.startswith("plain"):
            yardsticks = [f"plain, {spread}", *(("plain by pgbench", "TPC-B") if spread == SPREADS[0] else ())]
        for yardstick in yardsticks:
            beside = medians[yardstick]
            figures.say(name, taken.per_s, "transfers/s", yardstick=yardstick, yardstick_value=beside.per_s)
            figures.say(f"CPU: {name}", taken.cpu_us, "us/transfer", yardstick=yardstick, yardstick_value=beside.cpu_us)


def spread_of(spread: str) -> Accounts:
    """Account numbers, drawn uniformly, by Zipf's law, or always the same."""
    chance = random.Random(spread)  # noqa: S311 - to choose accounts
    if spread == "uniform":
        return iter(lambda: chance.randrange(ACCOUNTS), -1)
    if spread == "one hot account":
        return itertools.repeat(0)
    weights = [1 / rank**_ZIPF_EXPONENT for rank in range(1, ACCOUNTS + 1)]
    return itertools.cycle(chance.choices(range(ACCOUNTS), weights, k=_ZIPF_DRAWS))


async def post_batches(ledger: Ledger, ids: Sequence[UUID], numbers: Accounts, size: int, seconds: float) -> float:
    """Transfers a second: each of some connections posts a batch of holds, then a batch that settles them."""
    end = time.perf_counter() + seconds

    async def one_connection() -> int:
        posted = 0
        while time.perf_counter() < end:
            held = [hold(ids[next(numbers)]) for _ in range(size)]
            answers = await ledger.post(held)
            answers += await ledger.post([settle(one) for one in held])
            posted += sum(isinstance(answer, Posted) for answer in answers)
        return posted

    return await rate_of(one_connection, CONNECTIONS if size == 1 else POSTERS)


async def post_requests(ledger: Ledger, ids: Sequence[UUID], numbers: Accounts, seconds: float) -> float:
    """Transfers a second when many callers of one process post a transfer each, and the ledger makes the batches."""
    end = time.perf_counter() + seconds

    async def one_caller() -> int:
        posted = 0
        while time.perf_counter() < end:
            held = hold(ids[next(numbers)])
            answers = [await ledger.post_one(held), await ledger.post_one(settle(held))]
            posted += sum(isinstance(answer, Posted) for answer in answers)
        return posted

    return await rate_of(one_caller, CALLERS)


async def rate_of(work: Callable[[], Awaitable[int]], tasks: int) -> float:
    """What `tasks` at once get done in a second."""
    began = time.perf_counter()
    done = await asyncio.gather(*(work() for _ in range(tasks)))
    return sum(done) / (time.perf_counter() - began)


def hold(account: UUID) -> Transfer:
    """One unit is set aside."""
    return Transfer(new_id(), _HOLD, _CANCELLED, 1, account=account, subject=new_id(), life_s=600.0)


def settle(held: Transfer) -> Transfer:
    """It is used."""
    return Transfer(new_id(), _SETTLE, _SEALED, 1, account=held.account, hold_id=held.id, subject=held.subject)


if __name__ == "__main__":
    main()
