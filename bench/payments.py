"""`emeterai bench payments`: a rush of orders paid at providers on a bad day, beside the same rush on a good one.

Money arrives over HTTP from twins of Midtrans and Xendit, which are processes of their own, and from the sandbox: 30 %
of the notifications are lost, 30 % doubled, all late and in disorder, 5 % of the amounts wrong; each provider is away
once, and web, steward and PostgreSQL are killed ten times. At the end every rupiah in the providers' own books is
looked for in ours. Exit code 1 when one is missing, or was credited twice, or when the notification endpoint's p99 is
above 50 ms while PostgreSQL answers. With the defaults it takes about 25 minutes.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from figures import TESTS, Figures, parser

sys.path.insert(0, str(TESTS / "crash"))  # the storm and its reckoning are the tests' own

from killing import Deed, Killer
from payments_endpoint import measure_endpoint
from payments_page import Run, write_picture
from storm import PaymentStorm, Shops, storm_environment
from storm_books import Reckoning, reckon
from storm_twins import TwinProcess

from emeterai.infra.logs import configure_logging
from running import RunningService

ORDERS, RATE = 50_000, 65.0
KILLS = 10
VICTIMS = ("web", "steward", "postgres", "web worker", "postgres and steward")
OUTAGE_SHARE, OUTAGE_S_MAX = 0.06, 40.0
"""Each provider is away for this part of the rush, at most so long."""
QUOTA_DUE_S = 20.0
PATIENCE_S = 600.0
PROGRESS_S = 10.0
SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


@dataclass
class Trouble:
    """What was done to a run, with times in seconds since 1970."""

    deeds: list[tuple[float, Deed]] = field(default_factory=list)
    outages: list[tuple[float, float, str]] = field(default_factory=list)


def main() -> None:
    """Run both, report; exit 1 when a rupiah is missing."""
    options = parser(__doc__ or "")
    options.add_argument("--orders", type=int, default=ORDERS)
    options.add_argument("--calm-orders", type=int, default=None, help="of the good day; as many without this")
    options.add_argument("--rate", type=float, default=RATE, help="orders a second, as far as the machine can")
    options.add_argument("--seed", type=int, default=None, help="decides who pays what, what is lost and who is killed")
    options.add_argument("--endpoint-only", action="store_true", help="only the time of the notification endpoint")
    options.add_argument("--picture", type=Path, default=Path("var/bench/payments-lag.svg"))
    asked = options.parse_args()
    figures = Figures(as_json=asked.json)
    configure_logging("json", "critical")  # what the desks of this process meet is counted in `repeats`
    slow = asyncio.run(measure_endpoint(figures, seconds=asked.seconds or 20.0))
    if asked.endpoint_only:
        end(slow)
        return
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    say(f"seed {seed}")
    storm = asyncio.run(run(asked.orders, asked.rate, seed, troubled=True))
    calm_orders = asked.orders if asked.calm_orders is None else asked.calm_orders
    calm = asyncio.run(run(calm_orders, asked.rate, seed, troubled=False))
    show(figures, storm, calm)
    say(f"the picture: {write_picture(asked.picture, storm, calm)}")
    end([*slow, *storm.found.faults, *calm.found.faults])


def end(faults: list[str]) -> None:
    """Say the faults; exit 1 when there is one."""
    for fault in faults[:50]:
        say(f"FAULT: {fault}")
    if faults:
        sys.exit(1)


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


async def run(orders: int, rate: float, seed: int, *, troubled: bool) -> Run:
    """One rush, from an empty service to its reckoning."""
    folder = Path(tempfile.mkdtemp(prefix="emeterai-payments-"))
    folder.chmod(0o755)
    service = RunningService(folder / "service")
    twin_seed = seed if troubled else None
    twins = {name: TwinProcess(name, service.base_url, seed=twin_seed) for name in ("midtrans", "xendit")}
    service.environment |= storm_environment(folder / "secrets", list(twins.values()), quota_due_s=QUOTA_DUE_S)
    try:
        await service.start()
        shops = await Shops.open(service, list(twins.values()))
        storm = PaymentStorm(service, shops, twins, seed=seed, orders=orders, rate=rate, troubled=troubled)
        outcome = await rush(storm, folder)
        await shops.close()
        if await service.stop() != 0:
            outcome.found.faults.append("the service did not stop cleanly")
    finally:
        service.kill_rest()
        for twin in twins.values():
            twin.kill()
    if outcome.found.faults:
        say(f"what the service left: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


async def rush(storm: PaymentStorm, folder: Path) -> Run:
    """Everybody buys while somebody makes trouble; then all is reckoned."""
    began_s, trouble = time.time(), Trouble()
    telling = asyncio.create_task(tell_progress(storm, trouble, began_s))
    staff = asyncio.create_task(storm.staff())
    lasts_s = storm.orders / storm.rate
    works = [storm.go_on()]
    if storm.troubled:
        works += [kill_on(storm, trouble, folder, lasts_s), be_away(storm, trouble, lasts_s)]
    await asyncio.gather(*works)
    bought_s = time.time() - began_s
    found = await reckon(storm, patience_s=PATIENCE_S)
    storm.ended.set()
    await staff
    telling.cancel()
    done = [(at_s, str(deed)) for at_s, deed in trouble.deeds]
    repeats = dict(storm.repeats)
    return Run(began_s, bought_s, time.time() - began_s, done, trouble.outages, repeats, dict(storm.decisions), found)


async def kill_on(storm: PaymentStorm, trouble: Trouble, folder: Path, lasts_s: float) -> None:
    """Ten kills, evenly over the rush, of victims that the seed chooses; each is awaited until all is whole again."""
    rng, began_s = random.Random(storm.seed), time.monotonic()  # noqa: S311 - to be repeated
    killer = Killer(storm.service, sleep_s=0.0, faults=folder, rng=rng)
    trouble.deeds = killer.done
    victims = [*VICTIMS, *rng.choices(VICTIMS, k=KILLS - len(VICTIMS))]
    rng.shuffle(victims)
    for number, victim in enumerate(victims, start=1):
        await asyncio.sleep(max(0.0, began_s + lasts_s * number / (KILLS + 1) - time.monotonic()))
        await killer.do(Deed("kill -9", victim))


async def be_away(storm: PaymentStorm, trouble: Trouble, lasts_s: float) -> None:
    """Midtrans says nothing at all for a while; later Xendit refuses every question, while its payers pay on."""
    outage_s, began_s = min(OUTAGE_SHARE * lasts_s, OUTAGE_S_MAX), time.monotonic()
    await asyncio.sleep(began_s + 0.25 * lasts_s - time.monotonic())
    trouble.outages.append((time.time(), time.time() + outage_s, "Midtrans is silent"))
    os.kill(storm.twins["midtrans"].pid, signal.SIGSTOP)
    await asyncio.sleep(outage_s)
    os.kill(storm.twins["midtrans"].pid, signal.SIGCONT)
    await asyncio.sleep(began_s + 0.6 * lasts_s - time.monotonic())
    trouble.outages.append((time.time(), time.time() + outage_s, "Xendit refuses"))
    await storm.order("xendit", "refuse", {"requests": 10**9})
    await asyncio.sleep(outage_s)
    await storm.order("xendit", "refuse", {"requests": 0})


async def tell_progress(storm: PaymentStorm, trouble: Trouble, began_s: float) -> None:
    """A line every 10 s."""
    while True:
        await asyncio.sleep(PROGRESS_S)
        ends = await storm.open_ends()
        say(
            f"{time.time() - began_s:5.0f} s  {len(storm.bought)} orders, under way: {ends or 'nothing'},"
            f" {len(trouble.deeds)} kills, {len(trouble.outages)} outages, {sum(storm.repeats.values())} repeated"
        )


def show(figures: Figures, storm: Run, calm: Run) -> None:
    """Every figure of the bad day beside the good one."""
    found = storm.found
    charges = found.settled
    figures.say("rupiah that came", found.settled_idr, "Rp", yardstick="came", yardstick_value=found.settled_idr)
    for name, value in (("became quota", found.quota_idr), ("went back", found.returned_idr)):
        figures.say(f"rupiah that {name}", value, "Rp", yardstick="came", yardstick_value=found.settled_idr)
    missing_idr = found.settled_idr - found.quota_idr - found.returned_idr
    figures.say("rupiah not accounted for", missing_idr, "Rp", yardstick="came", yardstick_value=found.settled_idr)
    figures.say("faults of the reckoning", len(found.faults), "faults", yardstick="charges", yardstick_value=charges)
    for name, part in SHARES.items():
        lag_s, calm_s = quantile(lags_of(found), part), quantile(lags_of(calm.found), part)
        figures.say(f"money to quota, {name}", lag_s, "s", yardstick="on a good day", yardstick_value=calm_s)
    for name, mine, other in (
        ("orders a second", rate_of(storm), rate_of(calm)),
        ("questions to providers for an order", asked_of(found), asked_of(calm.found)),
        ("the rush, until all is quiet", storm.lasted_s, calm.lasted_s),
    ):
        unit = "s" if name.startswith("the rush") else "1"
        figures.say(name, mine, unit, yardstick="on a good day", yardstick_value=other)
    for name, counts in (
        ("orders", found.orders),
        ("returns", found.returns),
        ("notifications", found.outcomes),
        ("paid at", found.providers),
        ("decided by two people", storm.decisions),
        ("requests made again by buyers and staff", storm.repeats),
        ("kills", Counter(deed for _, deed in storm.deeds)),
    ):
        figures.note(f"{name}: {', '.join(f'{word} {count}' for word, count in sorted(counts.items()))}")


def lags_of(found: Reckoning) -> list[float]:
    """From the provider's settlement to the credit, in order."""
    return sorted(lag_s for _, lag_s in found.lags_s)


def rate_of(run: Run) -> float:
    """Orders a second while people bought."""
    return sum(run.found.orders.values()) / run.bought_s


def asked_of(found: Reckoning) -> float:
    """How often the steward asked a provider about an order, on average."""
    return found.checks / max(1, sum(found.orders.values()))


def quantile(values: list[float], part: float) -> float:
    """The value below which that part of sorted values lies."""
    return values[min(len(values) - 1, round(part * (len(values) - 1)))] if values else 0.0


if __name__ == "__main__":
    main()
