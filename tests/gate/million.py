"""A million people in a waiting room, simulated: when their pages look, and what of it reaches the origin.

A page looks as core/turns.py says, each with its own chance. Between people and origin is a cache model: `points`
caches, each of which keeps the file for one second (`max-age=1`) and asks the origin once when it has expired (what
every CDN calls request collapsing). Simulated time: nothing here waits.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from emeterai.core.turns import Rate, look_again_s, wait_of
from emeterai.gate.now import CACHE_S

POINTS = 40
"""Places where a CDN keeps files, as far as they serve one country."""


@dataclass(frozen=True)
class Minute:
    """What happened in one simulated minute, a second each on average."""

    waiting: int
    looks_per_s: float
    origin_per_s: float


def minute(waiting: int, *, per_s: float = 200.0, points: int = POINTS, seed: int = 1, seconds: int = 60) -> Minute:
    """A minute of a line of `waiting` people who are called `per_s` a second."""
    chance = random.Random(seed)
    rate = Rate(per_s * 0.85, per_s, per_s * 1.15)
    looks: list[tuple[float, int]] = []
    for turn in range(1, waiting + 1):
        low_s, _ = wait_of(turn, rate)
        looks.append((look_again_s(low_s, chance.random()) * chance.random(), turn))
    heapq.heapify(looks)
    fresh_until = [0.0] * points
    count = origin = 0
    while looks and looks[0][0] < seconds:
        at_s, turn = looks[0]
        ahead = turn - int(at_s * per_s)
        count += 1
        point = turn % points
        if at_s >= fresh_until[point]:
            fresh_until[point] = at_s + CACHE_S
            origin += 1
        if ahead <= 0:
            heapq.heappop(looks)
            continue
        low_s, _ = wait_of(ahead, rate)
        heapq.heapreplace(looks, (at_s + look_again_s(low_s, chance.random()), turn))
    return Minute(waiting, count / seconds, origin / seconds)
