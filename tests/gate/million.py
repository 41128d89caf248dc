"""A million people in a waiting room, simulated: when their pages look, and what of it reaches the origin.

A page looks as core/turns.py says, each with its own chance. Between people and origin is a cache model: `points`
caches, each of which keeps the file for one second (`max-age=1`) and asks the origin once when it has expired (what
every CDN calls request collapsing). Some people have no script: their page is one person's, so no cache keeps it, and
each time it refreshes itself the origin is asked, which makes so many a second and tells the others when to come again.
Simulated time: nothing here waits.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from functools import cache

from emeterai.core.turns import SPREAD, Rate, look_again_s, wait_of
from emeterai.gate.free_road import PAGE_HELD_S, PAGES_MAX
from emeterai.gate.now import CACHE_S
from emeterai.gate.room_page import refresh_s

POINTS = 40
"""Places where a CDN keeps files, as far as they serve one country."""
NO_SCRIPT = 0.02
"""Which part of the people has no script."""
_TOLD_S = 8.0
"""When whoever is refused for want of a place is told to come again, on the average (gate/door.py)."""
_QUEUE_S = 64 * PAGE_HELD_S / PAGES_MAX
"""So long waits the last of the 64 who may wait for a place (gate/free_road.py)."""


@dataclass(frozen=True)
class Minute:
    """What happened in one simulated minute, a second each on average: how often pages looked, how often the origin was
    asked for the file, how often for a page without a script, and how many of these it made.
    """

    waiting: int
    looks_per_s: float
    origin_per_s: float
    pages_per_s: float
    made_per_s: float


@cache
def minute(
    waiting: int,
    *,
    per_s: float = 200.0,
    points: int = POINTS,
    seed: int = 1,
    seconds: int = 60,
    no_script: float = NO_SCRIPT,
) -> Minute:
    """A minute of a line of `waiting` people who are called `per_s` a second."""
    chance, rate = random.Random(seed), Rate(per_s * (1 - SPREAD), per_s, per_s * (1 + SPREAD))
    looks: list[tuple[float, int, bool]] = []
    for turn in range(1, waiting + 1):
        still = chance.random() < no_script
        looks.append((_next_s(turn, rate, chance.random(), still=still) * chance.random(), turn, still))
    heapq.heapify(looks)
    fresh_until, free_at = [0.0] * points, [0.0] * PAGES_MAX
    count = origin = pages = made = 0
    while looks and looks[0][0] < seconds:
        at_s, turn, still = looks[0]
        ahead = turn - int(at_s * per_s)
        count += 1
        again_s = _next_s(ahead, rate, chance.random(), still=still)
        if still:
            pages += 1
            if free_at[0] <= at_s + _QUEUE_S:
                heapq.heapreplace(free_at, max(at_s, free_at[0]) + PAGE_HELD_S)
                made += 1
            else:
                again_s, ahead = _TOLD_S * (0.7 + chance.random()), max(1, ahead)
        elif at_s >= fresh_until[turn % points]:
            fresh_until[turn % points] = at_s + CACHE_S
            origin += 1
        if ahead <= 0:
            heapq.heappop(looks)
        else:
            heapq.heapreplace(looks, (at_s + again_s, turn, still))
    return Minute(waiting, *(seen / seconds for seen in (count, origin, pages, made)))


def _next_s(ahead: int, rate: Rate, chance: float, *, still: bool) -> float:
    """After how long a page looks again."""
    low_s, _ = wait_of(ahead, rate)
    return refresh_s(low_s, chance) if still else look_again_s(low_s, chance)
