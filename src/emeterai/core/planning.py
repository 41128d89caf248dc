"""How a campaign fills up, and what a line of a given speed makes of it: fluid arithmetic, minute by minute.

The shape is that of the largest campaign on record (CPNS 2024: open 22 days; 73 % of what came, came in the last 6.3
days and 57 % in the last four; here 76 and 61): a small even flow and a crowd that grows by e every 4.2 days.
Inside a day it follows the hours at which people are awake, and on the last day the last hours count once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp

STEP_S = 60
"""The line is followed in steps of a minute."""
_STEPS_A_DAY = 86_400 // STEP_S
_GROWTH_DAYS, _CROWD_SHARE = 4.2, 0.9
_RUSH_DAYS, _RUSH = 0.17, 2.0
"""In the last hours of the last day, the crowd of the hour grows by so much again."""
_HOURS = (0.45, 0.3, 0.2, 0.15, 0.2, 0.35, 0.6, 0.85, 1.1, 1.35, 1.45, 1.4)
_HOURS_PM = (1.25, 1.3, 1.35, 1.3, 1.25, 1.15, 1.2, 1.45, 1.6, 1.6, 1.35, 0.8)
BURST = 3.0
"""For some minutes of the busiest hour so many times as many come as in its mean."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """So many people who each need so many stamps, within `days` before a deadline at `deadline_hour` local time."""

    people: float
    per_person: float
    days: float = 22.0
    deadline_hour: float = 24.0

    @property
    def stamps(self) -> float:
        """All stamps of the campaign."""
        return self.people * self.per_person


@dataclass(frozen=True, slots=True)
class LineSeen:
    """What a line of some speed makes of a campaign. Moments are steps from the opening."""

    wait_s_max: float
    """The longest wait, in seconds; endless for those who are left at the deadline."""
    longest_at: int
    waiting_max: float
    """The most stamps that wait at once."""
    left: float
    """Stamps that are not made at the deadline."""
    waits_s: Sequence[float]
    """For each step the wait of whoever comes then, while the speed stays as it is."""


def arrivals_of(campaign: Campaign) -> list[float]:
    """How many stamps are asked for in each step, from the opening to the deadline."""
    steps = max(1, round(campaign.days * _STEPS_A_DAY))
    weights = [_weight((steps - step - 0.5) / _STEPS_A_DAY, campaign) for step in range(steps)]
    each = campaign.stamps / sum(weights)
    return [weight * each for weight in weights]


def _weight(days_left: float, campaign: Campaign) -> float:
    """How many come at a moment, against others: the crowd of the day, by the hour, with the rush of the last hours."""
    even = (1.0 - _CROWD_SHARE) / campaign.days
    crowd = even + _CROWD_SHARE / _GROWTH_DAYS * exp(-days_left / _GROWTH_DAYS)
    hour = int((campaign.deadline_hour - days_left * 24.0) % 24.0)
    return crowd * (_HOURS + _HOURS_PM)[hour] * (1.0 + _RUSH * exp(-days_left / _RUSH_DAYS))


def busiest_per_s(arrivals: Sequence[float], steps: int) -> float:
    """The highest mean rate over so many steps in a row, in stamps a second."""
    sums = [0.0, *accumulate(arrivals)]
    steps = min(steps, len(arrivals))
    return max(sums[at + steps] - sums[at] for at in range(len(arrivals) - steps + 1)) / (steps * STEP_S)


def line_of(
    arrivals: Sequence[float], per_s: float, *, until: int | None = None, before_per_s: float = 0.0
) -> LineSeen:
    """The line at a speed of `per_s`; before the step `until` it is `before_per_s`."""
    waiting, waiting_max, longest_at, longest_s = 0.0, 0.0, 0, 0.0
    waits_s = []
    for step, came in enumerate(arrivals):
        speed = before_per_s if until is not None and step < until else per_s
        waiting = max(0.0, waiting + came - speed * STEP_S)
        wait_s = waiting / speed if speed else float("inf")
        waits_s.append(wait_s)
        waiting_max = max(waiting_max, waiting)
        if wait_s > longest_s:
            longest_s, longest_at = wait_s, step
    return LineSeen(longest_s, longest_at, waiting_max, waiting, waits_s)


def speed_needed(arrivals: Sequence[float], *, wait_s_max: float) -> float:
    """The lowest speed, in stamps a second, at which nobody waits longer and nobody is left at the deadline."""
    low, high = 0.0, max(arrivals) / STEP_S
    for _ in range(40):
        middle = (low + high) / 2
        seen = line_of(arrivals, middle)
        low, high = (low, middle) if seen.wait_s_max <= wait_s_max and seen.left < 1 else (middle, high)
    return high


def last_useful_step(arrivals: Sequence[float], before_per_s: float, per_s: float) -> int | None:
    """The last moment at which going from one speed to the other still serves everybody by the deadline.

    None when even the higher speed from the beginning does not. The number of steps when the lower one is enough.
    """

    def serves_all(until: int) -> bool:
        return line_of(arrivals, per_s, until=until, before_per_s=before_per_s).left < 1

    if not serves_all(0):
        return None
    low, high = 0, len(arrivals)
    if serves_all(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if serves_all(middle) else (low, middle)
    return low
