"""What the service can do: in a closed loop without its door, and through its door while far more people come.

The closed loop knows no front page, no number and no pause, so it flatters. One time the capacity of the last day is
what the whole way lets through, from the front page to the downloaded file.
"""

from __future__ import annotations

from dataclasses import dataclass

from lastday_stage import SCRIPTS_EACH, VUS, Phase, Stage, people_of
from lastday_sums import Sums, sums_of

CLOSED_S, CLOSED_EACH = 15.0, 1
RUSH_TIMES, WARM_S, RUSH_S = 2.0, 60.0, 120.0
"""A rush is so many times what a closed loop gets through; it is measured for so long, once it is warm."""
_PEOPLE_A_SECOND_MAX = 80.0


@dataclass(frozen=True)
class Capacity:
    """`people_per_s`: served through the door in a rush, or as given; the others: in a closed loop, with the door off,
    and 0 when that was not measured.
    """

    people_per_s: float
    closed_people_per_s: float = 0.0
    closed_stamps_per_s: float = 0.0


async def closed_loop(stage: Stage) -> Sums:
    """What a service without its door does for people who never wait."""
    async with stage.open(int(CLOSED_S * _PEOPLE_A_SECOND_MAX) + VUS * 40) as db:
        phases = [Phase("closed loop", 1.0, CLOSED_S, 0.0)]
        return sums_of(await stage.live(db, phases, CLOSED=str(CLOSED_EACH), THINK="0", PHONES="0", HOME_S="5"))[0]


async def capacity_of(off: Stage, on: Stage) -> Capacity:
    """Both, each on a service of its own."""
    closed = await closed_loop(off)
    people_per_s = RUSH_TIMES * closed.done_per_s
    scripts_per_s = SCRIPTS_EACH * people_per_s  # the crowd of the day, with all that hammers
    rush = [
        Phase(name, RUSH_TIMES, seconds, people_per_s, scripts_per_s)
        for name, seconds in (("warm", WARM_S), ("rush", RUSH_S))
    ]
    async with on.open(int(1.3 * people_of(rush)) + VUS * 40) as db:
        served = sums_of(await on.live(db, rush))[-1]
    return Capacity(served.done_per_s, closed.done_per_s, closed.stamps_per_s)
