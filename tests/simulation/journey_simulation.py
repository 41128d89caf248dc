"""Simulated days of the whole journey: people, web processes, sealers, the steward, the database, a payment provider.

    python tests/simulation/journey_simulation.py --seed 7 --days 2     replay a seed and print what happened
    python tests/simulation/journey_simulation.py --seconds 60          as many seeds as that takes, and the rate

The decisions are those of emeterai.core; the order of the steps is that of the services. docs/simulation.md says more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simulated_guards import BrokenPromiseError, Guard
from simulated_house import House
from simulated_people import OPEN_FROM_S, OPEN_UNTIL_S, Person
from simulated_sealer import Sealer
from simulated_steward import Steward
from simulated_time import Steps
from simulated_web import Web

from emeterai.core.stamping import StampState

DAY_S = 86_400.0
PEOPLE, WEBS, SEALERS, STEWARDS = 3, 2, 2, 1
WISHES_A_DAY = (6, 16)
CHANCES = (0.0, 0.001, 0.004, 0.012)
"""Of a death and, by itself, of a sleep at each step of a process: drawn anew each day."""
SKEW_S_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened in a run in which every promise held."""

    seed: int
    days: int
    events: int
    deaths: int
    stalls: int
    sealed: int
    given_back: int
    orders: int
    latest_hold_s: float
    fingerprint: int


class Simulation:
    """One service and its people, from one seed. `missing` guards are taken away; `trace` gets readable lines."""

    def __init__(self, seed: int, *, missing: Iterable[Guard] = (), trace: Callable[[str], None] | None = None) -> None:
        self.house = house = House(seed, missing=frozenset(missing), trace=trace)
        house.webs += [Web(house, f"web-{number}") for number in range(WEBS)]
        self.sealers = sealers = [Sealer(house, f"sealer-{number}") for number in range(SEALERS)]
        house.promises.stewards += [Steward(house, f"steward-{number}") for number in range(STEWARDS)]
        for process in [*house.webs, *sealers, *house.promises.stewards]:
            process.skew_s = (2 * house.random() - 1) * SKEW_S_MAX
        self.people = [Person(house, f"person-{number}") for number in range(PEOPLE)]
        house.spawn(self._every_hour())

    def run(self, days: int = 1) -> Outcome:
        """Let `days` go by. Raises BrokenPromiseError."""
        house = self.house
        for day in range(days):
            self._begin_day()
            house.run_until(day * DAY_S + OPEN_UNTIL_S)
            house.death = house.stall = 0.0
            house.run_until((day + 1) * DAY_S)
            house.promises.quiet()
        watch_s = house.settings.closed_watch_s
        house.run_until(max(house.now_s + watch_s, house.provider.away_until_s) + DAY_S)
        house.promises.quiet()
        house.promises.settled_money(watch_s)
        return self._outcome(days)

    def _begin_day(self) -> None:
        house = self.house
        house.death, house.stall = house.chance.choice(CHANCES), house.chance.choice(CHANCES)
        rush_s = OPEN_FROM_S + house.random() * (OPEN_UNTIL_S - OPEN_FROM_S - 1_800)
        for person in self.people:
            person.live(house.chance.randint(*WISHES_A_DAY), rush_s)
        if house.random() < 0.1:
            house.provider.away_until_s = house.now_s + rush_s % DAY_S + house.random() * 5 * DAY_S
        for trouble in (self._database_dies, self._no_sealers, self._no_key, self._no_steward):
            if house.random() < 0.4:
                house.spawn(trouble(), after_s=rush_s + house.random() * 120)

    def _database_dies(self) -> Steps[None]:
        for _ in range(self.house.chance.randrange(1, 5)):
            self.house.say("database", "is killed and comes back")
            self.house.store.restart()
            yield self.house.random() * 5

    def _no_sealers(self) -> Steps[None]:
        """All of them are away, mostly for longer than a hold lives; some are dead and some asleep."""
        away_s = self.house.random() * 150
        for sealer in self.sealers:
            if self.house.random() < 0.5:
                self.house.kill(sealer, away_s=away_s)
            else:
                self.house.stop(sealer, away_s)
        yield 0.0

    def _no_key(self) -> Steps[None]:
        """Sealing stands still for everybody, while leases are renewed."""
        self.house.key_away_until_s = self.house.now_s + self.house.random() * 150
        yield 0.0

    def _no_steward(self) -> Steps[None]:
        for steward in self.house.promises.stewards:
            self.house.kill(steward, away_s=self.house.random() * 120)
        yield 0.0

    def _every_hour(self) -> Steps[None]:
        while True:
            yield 3_600.0
            self.house.promises.hourly()

    def _outcome(self, days: int) -> Outcome:
        house, stamps = self.house, self.house.store.stamps.values()
        sealed = sum(stamp.state is StampState.SEALED for stamp in stamps)
        return Outcome(
            house.seed,
            days,
            house.events,
            house.deaths,
            house.stalls,
            sealed,
            len(stamps) - sealed,
            len(house.store.orders),
            house.promises.latest_hold_s,
            house.chance.getrandbits(64),
        )


def simulate(seed: int, days: int = 1, *, missing: Iterable[Guard] = ()) -> Outcome:
    """Run one seed. Raises BrokenPromiseError whose text says how to replay it."""
    simulation = Simulation(seed, missing=missing)
    try:
        return simulation.run(days)
    except BrokenPromiseError as error:
        without = "".join(f" --without {guard.name}" for guard in missing)
        command = f"python tests/simulation/journey_simulation.py --seed {seed} --days {days}{without}"
        error.add_note(f"replay: {command}")
        raise


def replay(seed: int, days: int, missing: Iterable[Guard]) -> bool:
    """Print the trace of one seed and whether every promise held."""
    simulation = Simulation(seed, missing=missing, trace=print)
    try:
        print(simulation.run(days))
    except BrokenPromiseError as error:
        simulation.house.say("promise", str(error))
        return False
    return True


def measure(seconds: float, first_seed: int) -> bool:
    """Run seeds, a day each, for so many seconds; print the rate, and each seed that breaks a promise."""
    began_s, cpu_s = time.monotonic(), time.process_time()
    outcomes: list[Outcome] = []
    broken: list[str] = []
    seed = first_seed
    while time.monotonic() - began_s < seconds:
        try:
            outcomes.append(simulate(seed))
        except BrokenPromiseError as error:
            broken.append(f"seed {seed}: {error}")
            print(broken[-1], *error.__notes__, sep="\n  ")
        seed += 1
    took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    days, events = len(outcomes), sum(it.events for it in outcomes)
    print(f"{days} days, seeds {first_seed} to {seed - 1}: {days / took_s * 60:,.0f} days/min by the wall clock, ")
    print(
        f"{days / cpu_s * 60:,.0f} days/min of CPU; {events / cpu_s:,.0f} events/s of CPU, {events / days:,.0f} a day"
    )
    print(
        f"{sum(it.sealed for it in outcomes):,} sealed, {sum(it.given_back for it in outcomes):,} given back, "
        f"{sum(it.orders for it in outcomes):,} orders, {sum(it.deaths for it in outcomes):,} deaths, "
        f"{sum(it.stalls for it in outcomes):,} sleeps; the latest hold ended "
        f"{max(it.latest_hold_s for it in outcomes):.1f} s after its life; {len(broken)} broken promises"
    )
    return not broken


def main() -> int:
    """Replay one seed, or measure the rate."""
    parser = argparse.ArgumentParser(description="Simulated days of the journey.")
    parser.add_argument("--seed", type=int, default=1, help="the seed to replay, or the first one to measure with")
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="run many seeds for so long and print the rate")
    parser.add_argument("--without", action="append", default=[], choices=[it.name for it in Guard])
    chosen = parser.parse_args()
    missing = [Guard[name] for name in chosen.without]
    held = measure(chosen.seconds, chosen.seed) if chosen.seconds else replay(chosen.seed, chosen.days, missing)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
