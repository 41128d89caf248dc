"""A service on two cores and an impatient crowd in front of it, in simulated time: with a door, or with none.

The cores are shared equally by all work under way, and lose efficiency when far too much is. People give up after
PATIENCE_S; the service does not know and works on. Who was refused or gave up comes again: most when they were told to,
some at once.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from emeterai.core.admission import Slots, Waiting, Work
from emeterai.core.limiting import AdaptiveLimit

STEP_S = 0.005
CORES = 2
PATIENCE_S = 2.0
TRIES = 4
MIX = ((Work.FINISH, 0.45), (Work.BUY, 0.25), (Work.BROWSE, 0.30))
COSTS_S = {Work.FINISH: 0.008, Work.BUY: 0.006, Work.BROWSE: 0.005}
CAPACITY = CORES / sum(share * COSTS_S[work] for work, share in MIX)
"""Requests a second that the cores can do, of this mix."""


@dataclass(eq=False)
class Asked:
    """One request of somebody."""

    at_s: float
    work: Work
    cost_s: float
    tries: int = 1
    began_s: float = 0.0
    waiting: Waiting | None = None


@dataclass
class Second:
    """What happened in one second."""

    asked: int = 0
    refused: int = 0
    in_time: int = 0
    finish_asked: int = 0
    finish_in_time: int = 0
    worth_s: float = 0.0
    """Core seconds that went into answers that somebody got."""
    took_s: list[float] = field(default_factory=list)


class SimulatedDoor:
    """`offered(now_s)` is the load as a multiple of CAPACITY, `slower(now_s)` how much slower everything is."""

    def __init__(
        self,
        seed: int,
        offered: Callable[[float], float],
        *,
        door: bool = True,
        slower: Callable[[float], float] = lambda _: 1.0,
        storm: float = 0.3,
    ) -> None:
        self.chance = random.Random(seed)
        self.offered, self.slower, self.storm = offered, slower, storm
        self.slots = Slots(32, {"retail": 1.0}) if door else None
        self.limit = AdaptiveLimit()
        self.now_s = 0.0
        self.share = 0.0  # core seconds that each piece of work has had since the beginning
        self.under_way: list[tuple[float, int, Asked]] = []
        self.later: list[tuple[float, int, Asked]] = []
        self.queued: dict[Waiting, Asked] = {}
        self.seconds: list[Second] = []
        self.limits: list[int] = []
        self.serial = 0

    def run(self, until_s: float) -> list[Second]:
        """Simulate; answers what happened in each second."""
        while self.now_s < until_s:
            if int(self.now_s + 1e-9) >= len(self.seconds):
                self.seconds.append(Second())
                self.limits.append(self.slots.limit if self.slots else 0)
            self.arrive()
            self.work()
            self.decide()
            self.now_s = round(self.now_s + STEP_S, 6)
        return self.seconds

    def arrive(self) -> None:
        """Newcomers, and those who come again."""
        expected = self.offered(self.now_s) * CAPACITY * STEP_S
        count = int(expected) + (self.chance.random() < expected % 1)
        for _ in range(count):
            work = self.chance.choices([one for one, _ in MIX], [share for _, share in MIX])[0]
            self.ask(Asked(self.now_s, work, COSTS_S[work] * self.chance.uniform(0.5, 1.5)))
        while self.later and self.later[0][0] <= self.now_s:
            asked = heapq.heappop(self.later)[2]
            asked.at_s = self.now_s
            self.ask(asked)

    def ask(self, asked: Asked) -> None:
        """At the door."""
        second = self.seconds[-1]
        second.asked += 1
        second.finish_asked += asked.work is Work.FINISH
        if self.slots is None:
            self.begin(asked)
            return
        answer = self.slots.ask("retail", asked.work, now_s=self.now_s, until_s=asked.at_s + PATIENCE_S)
        if answer is True:
            self.begin(asked)
        elif answer is False:
            self.refuse(asked)
        else:
            asked.waiting = answer
            self.queued[answer] = asked

    def begin(self, asked: Asked) -> None:
        """The cores work on it, together with all the rest."""
        asked.began_s, self.serial = self.now_s, self.serial + 1
        heapq.heappush(self.under_way, (self.share + asked.cost_s, self.serial, asked))

    def refuse(self, asked: Asked) -> None:
        """No, and come again then."""
        self.seconds[-1].refused += 1
        self.again(asked, 2.0 + 2.0 * self.chance.random())

    def again(self, asked: Asked, after_s: float) -> None:
        """Most come when they were told to, some at once, nobody for ever."""
        if asked.tries >= TRIES:
            return
        if self.chance.random() < self.storm:
            after_s = 0.1
        self.serial += 1
        retry = Asked(0.0, asked.work, asked.cost_s, asked.tries + 1)
        heapq.heappush(self.later, (self.now_s + after_s, self.serial, retry))

    def work(self) -> None:
        """One step of the cores: shared equally, and badly when there is far too much."""
        many = len(self.under_way)
        if many:
            efficiency = 1.0 / (1.0 + (many / 400) ** 2)
            self.share += STEP_S * min(1.0, CORES / many) * efficiency / self.slower(self.now_s)
        while self.under_way and self.under_way[0][0] <= self.share:
            self.end(heapq.heappop(self.under_way)[2])

    def end(self, asked: Asked) -> None:
        """It is done; whether anybody is still there is another matter."""
        second, took_s = self.seconds[-1], self.now_s + STEP_S - asked.at_s
        if took_s <= PATIENCE_S:
            second.in_time += 1
            second.worth_s += asked.cost_s
            second.finish_in_time += asked.work is Work.FINISH
            second.took_s.append(took_s)
        else:
            self.again(asked, 0.5)
        if self.slots is not None:
            self.limit.sample(asked.work.name, self.now_s + STEP_S - asked.began_s, self.slots.used)
            self.slots.end("retail")

    def decide(self) -> None:
        """The door's own turn."""
        if self.slots is None:
            return
        limit = self.limit.turn(self.now_s)
        if limit != self.slots.limit:
            self.slots.resize(limit)
        for waiting in self.slots.expire(self.now_s):
            self.refuse(self.queued.pop(waiting))
        for waiting in self.slots.admit(self.now_s):
            self.begin(self.queued.pop(waiting))


def steps(*levels: tuple[float, float]) -> Callable[[float], float]:
    """A load that changes at given moments: (from second, multiple)."""

    def level(now_s: float) -> float:
        return next((value for since_s, value in reversed(levels) if now_s >= since_s), 0.0)

    return level


def mean_worth(seconds: list[Second]) -> float:
    """The part of the cores' time that went into answers that somebody got."""
    return sum(second.worth_s for second in seconds) / (CORES * len(seconds)) if seconds else inf
