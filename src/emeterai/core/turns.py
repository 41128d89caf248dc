"""The arithmetic of a waiting room: how far the turn moves, how fast it moved, how long somebody waits. Pure.

A *turn* counts the people who are called; turn n is called when `now_serving` >= n. Times are seconds of one clock,
handed in by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

WINDOWS_S = (60.0, 300.0, 900.0)
"""The rate is measured over the last minute, five and fifteen: their spread is what the estimate admits."""
SPREAD = 0.2
"""An estimate is at least so much wider than the measured rates on each side: by so much they change within a wait."""
MARK_EVERY_S = 15.0
COME_SHARE_MIN, COME_SHARE_SURE = 0.05, 0.2
"""However few came, at most twenty people are called for each one who is to come; and more than five only while no
more came in the last seconds, too.
"""
LEAD_S = 2.0
"""While nobody waits the turn runs ahead by what may be let in during so long, so that newcomers walk straight in."""
LOOK_S_MIN, LOOK_S_MAX = 2.0, 60.0
RISE_TOLD = 1.25
"""A wait that is longer by a quarter than it was some minutes ago is explained."""

Mark = tuple[float, int]
"""At this time everyone up to this turn had been called."""
Value = TypeVar("Value", int, float)


@dataclass(frozen=True, slots=True)
class Rate:
    """Turns a second: a range and its middle, `low <= mid <= high`."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, slots=True)
class Advance:
    """What one step did: the turn that is served now, and the part of a person that is carried over."""

    now_serving: int
    credit: float


def advanced(
    now_serving: int,
    *,
    credit: float,
    last_turn: int,
    admit_per_s: float,
    passed_s: float,
    come_share: float,
    lead_s: float = LEAD_S,
) -> Advance:
    """Move the turn by what may be let in during `passed_s`, and on over those who do not come.

    `last_turn` is the highest that anybody holds; the turn runs ahead of it by what may be let in during `lead_s`, of
    newcomers, who are there. It never goes back.
    """
    called_per_s = max(0.0, admit_per_s) / max(come_share, COME_SHARE_MIN)
    wanted = credit + called_per_s * passed_s
    steps = int(wanted)
    furthest = last_turn + int(max(0.0, admit_per_s) / max(come_share, COME_SHARE_SURE) * lead_s)
    reached = max(now_serving, min(now_serving + steps, furthest))
    return Advance(reached, 0.0 if reached < now_serving + steps else wanted - steps)


def come_share_of(called: int, came: int, *, before: float = 1.0) -> float:
    """Which part of those who were called came in, leaning on the share `before` while few have been called."""
    weight = 50.0
    share = (came + weight * before) / (called + weight)
    return min(1.0, max(COME_SHARE_MIN, share))


def marked(
    marks: Sequence[tuple[float, Value]], at_s: float, value: Value, *, keep_s: float
) -> list[tuple[float, Value]]:
    """The marks with a new one when it is time, and without those that are older than `keep_s` but for the last."""
    kept = list(marks)
    if not kept or at_s - kept[-1][0] >= MARK_EVERY_S:
        kept.append((at_s, value))
    while len(kept) > 1 and at_s - kept[1][0] > keep_s:
        kept.pop(0)
    return kept


def served_at(marks: Sequence[Mark], at_s: float) -> int:
    """Up to which turn everyone had been called at `at_s`: by the last mark before it, 0 before all marks."""
    return max((turn for when_s, turn in marks if when_s <= at_s), default=0)


def called_at(marks: Sequence[Mark], turn: int) -> float | None:
    """When `turn` was called, between two marks by their straight line; None when the marks do not tell."""
    for (before_s, before), (after_s, after) in pairwise(marks):
        if before < turn <= after:
            return before_s + (after_s - before_s) * (turn - before) / (after - before)
    return None


def rate_of(marks: Sequence[Mark], at_s: float, now_serving: int, *, expected: float, since_s: float) -> Rate:
    """How fast turns were called lately: over each window that the marks reach back to, and `expected` besides.

    `expected` is what the controller lets in now: the only word while there is nothing measured. The line began at
    `since_s`: before that turns were called as people came, which says nothing of how fast it moves. But while it is
    younger than the first window that is all there is, and makes the range wide: a service that fills calls faster than
    it will, and nobody is to be told a wait that is too short.
    """
    own = _measured([mark for mark in marks if mark[0] >= since_s], at_s, now_serving)
    rates = [expected, *(own or _measured(marks, at_s, now_serving))]
    return Rate(min(rates) * (1 - SPREAD), own[0] if own else expected, max(rates) * (1 + SPREAD))


def _measured(marks: Sequence[Mark], at_s: float, now_serving: int) -> list[float]:
    """Turns a second over each window that the marks reach back to."""
    old = (max((mark for mark in marks if at_s - mark[0] >= window_s), default=None) for window_s in WINDOWS_S)
    return [(now_serving - turn) / (at_s - when_s) for when_s, turn in filter(None, old)]


def wait_of(ahead: int, rate: Rate) -> tuple[float, float | None]:
    """How long somebody with so many turns ahead waits: at least and at most; None when nobody can tell."""
    if ahead <= 0:
        return 0.0, 0.0
    low_s = ahead / rate.high if rate.high > 0 else 0.0
    return low_s, ahead / rate.low if rate.low > 0 else None


def look_again_s(wait_s: float | None, chance: float) -> float:
    """After how long a page looks again: often when the turn is near, within a minute always, never all at once.

    `wait_s` is the shortest estimate, None when nobody can tell; `chance` is random in [0, 1). The page's script
    computes the same.
    """
    calm_s = LOOK_S_MAX if wait_s is None else min(LOOK_S_MAX, max(LOOK_S_MIN, wait_s / 10))
    return calm_s * (0.75 + chance / 2)
