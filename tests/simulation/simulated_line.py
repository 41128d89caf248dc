"""A line of people, a chain that makes stamps, and whoever lets people in, second by second in simulated time.

Whoever is let in comes a few seconds later or not at all, thinks, asks for some stamps one after another, and goes. The
chain has a capacity; when very many units are under way it gets less done. A unit that is older than HOLD_LIFE_S goes
back, its work is lost, and the person asks again. While all units
fail, each is tried for a second or two and given back.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emeterai.core.pacing import LaneSeen, Pace, Pacer, Seen

CAPACITY = 60.0
"""Units a second."""
UNITS_EACH = 2.5
COMES = 0.7
THINKS_S = (2.0, 15.0)
HOLD_LIFE_S = 60.0
_WALK_IN_PER_S, _SURGE, _USUAL = 25.0, 2.0, 0.1
"""While no pass is asked for, as at the door."""
_THRASH = 6_000.0
_TRIED_S = 1


class Controller(Protocol):
    """Who decides how many are called."""

    def turn(self, seen: Seen) -> dict[str, Pace]:
        """The pace for the next second."""


class NaiveRate:
    """The yardstick: lets in what is asked for, as long as nothing has failed lately; doubles and halves."""

    def __init__(self) -> None:
        self.rate = 20.0

    def turn(self, seen: Seen) -> dict[str, Pace]:
        """As many as the rate says, doubled while all goes well."""
        lane = seen.lanes["retail"]
        self.rate = max(1.0, self.rate / 2) if seen.oldest_s > HOLD_LIFE_S / 2 else min(5_000.0, self.rate * 2)
        return {"retail": Pace(self.rate, pass_needed=lane.waiting > 0)}


@dataclass(frozen=True)
class Chain:
    """What makes stamps, and for whom: units a second, units and seconds of thinking each, and for how long somebody
    who has finished still counts as inside.
    """

    capacity: float = CAPACITY
    units_each: float = UNITS_EACH
    thinks_s: tuple[float, float] = THINKS_S
    lingers_s: int = 0


PLAIN = Chain()


@dataclass
class Tick:
    """One second."""

    settled: float
    lost: int
    inside: int
    under_way: int
    called: int
    capacity: float
    oldest_s: float


class SimulatedLine:
    """`arriving(second)` people join the line each second, and of those called `comes(second)` come. `capacity(second)`
    is the part of CAPACITY that works, unless `failing(second)`: then every unit fails.
    """

    def __init__(
        self,
        seed: int,
        arriving: Callable[[float], float],
        *,
        controller: Controller | None = None,
        capacity: Callable[[float], float] = lambda _: 1.0,
        chain: Chain = PLAIN,
        late_s: float = 0.0,
        failing: Callable[[float], bool] = lambda _: False,
        comes: Callable[[float], float] = lambda _: COMES,
    ) -> None:
        self.chance = random.Random(seed)
        self.arriving, self.capacity = arriving, capacity
        self.failing, self.comes = failing, comes
        self.controller = controller or Pacer()
        self.chain, self.late_s = chain, late_s
        self.waiting = 0
        self.open, self.usual = False, 0.0
        self.lingering: list[int] = []
        self.coming: list[int] = []
        self.thinking: list[tuple[float, int]] = []
        self.queue: deque[tuple[int, int]] = deque()
        """Units under way: since when, and how many more its person wants."""
        self.inside = self.came = 0
        self.part = self.due = 0.0
        self.ticks: list[Tick] = []

    def run(self, seconds: int) -> list[Tick]:
        """Simulate; answers what happened in each second."""
        for second in range(len(self.ticks), len(self.ticks) + seconds):
            self.tick(second)
        return self.ticks

    def tick(self, second: int) -> None:
        """One second of all."""
        expected = self.arriving(second)
        came = int(expected) + (self.chance.random() < expected % 1)
        walked_in = min(came, int(max(_WALK_IN_PER_S, _SURGE * self.usual))) if self.open else 0
        self.usual += _USUAL * (walked_in - self.usual) if self.open else 0.0
        self.waiting += came - walked_in
        entered = walked_in + sum(at <= second for at in self.coming)
        self.coming = [at for at in self.coming if at > second]
        self.inside += entered
        self.came += entered - walked_in
        self.thinking += [(second + self.chance.uniform(*self.chain.thinks_s), self.wants()) for _ in range(entered)]
        ready = [more for at, more in self.thinking if at <= second]
        self.thinking = [(at, more) for at, more in self.thinking if at > second]
        self.queue.extend((second, more) for more in ready)
        given_back = self.fail(second) if self.failing(second) else 0
        settled, lost, capacity = (0, 0, 0.0) if self.failing(second) else self.make(second)
        oldest_s = float(second - self.queue[0][0]) if self.queue else 0.0
        self.lingering = [at for at in self.lingering if at > second]
        inside = self.inside + len(self.lingering)
        turned_away = came - walked_in if self.open else 0
        # Where the doors are what is full, they say how late they are against how late they may be, up to four times.
        pressure = min(4.0, oldest_s / self.late_s) if self.late_s else 0.0
        sealed_s = 0.0 if self.late_s else oldest_s
        lane = LaneSeen(
            waiting=self.waiting,
            inside=inside,
            entered=entered,
            turned_away=turned_away,
            oldest_s=sealed_s,
            share=1.0,
        )
        seen = Seen(
            {"retail": lane},
            settled=settled,
            under_way=len(self.queue),
            oldest_s=sealed_s,
            given_back=given_back,
            pressure=pressure,
        )
        pace = self.controller.turn(seen)["retail"]
        self.open = not pace.pass_needed
        called = self.call(second, pace)
        self.waiting -= called
        comes = self.comes(second)
        self.coming += [second + self.chance.randint(1, 8) for _ in range(called) if self.chance.random() < comes]
        self.ticks.append(Tick(settled, lost, inside, len(self.queue), called, capacity, oldest_s))

    def call(self, second: int, pace: Pace) -> int:
        """So many are called, of whom as many come as may."""
        self.due = min(self.due + pace.per_s / self.comes(second), float(self.waiting))
        called = int(self.due)
        self.due -= called
        return called

    def wants(self) -> int:
        """So many units, the first one not counted."""
        spread = min(1.5, self.chain.units_each - 1.0)
        return int(self.chain.units_each + self.chance.uniform(-spread, spread)) or 1

    def make(self, second: int) -> tuple[float, int, float]:
        """What the chain gets done; units that are too old go back and are asked for again."""
        lost = 0
        while self.queue and second - self.queue[0][0] > HOLD_LIFE_S:
            _, more = self.queue.popleft()
            self.queue.append((second, more))
            lost += 1
        noise = self.chance.uniform(0.9, 1.1)
        capacity = self.chain.capacity * self.capacity(second) * noise / (1.0 + (len(self.queue) / _THRASH) ** 2)
        capacity = max(0.0, capacity - lost)
        self.part += capacity
        settled = min(int(self.part), len(self.queue))
        self.part = min(self.part - settled, 1.0)
        for _ in range(settled):
            _, more = self.queue.popleft()
            if more > 1:
                self.thinking.append((second + self.chance.uniform(*self.chain.thinks_s), more - 1))
            else:
                self.leave(second)
        return settled, lost, capacity

    def fail(self, second: int) -> int:
        """What was tried for long enough is given back, and its people go; answers how many."""
        before = len(self.queue)
        while self.queue and second - self.queue[0][0] > _TRIED_S:
            self.queue.popleft()
            self.leave(second)
        return before - len(self.queue)

    def leave(self, second: int) -> None:
        """One of those inside is done, or has given up."""
        self.inside -= 1
        self.lingering += [second + self.chain.lingers_s] if self.chain.lingers_s else []
