"""Last days that nobody lived: made event by event, so that what the report says of them is known beforehand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from lastday_capacity import Capacity
from lastday_ears import Event, Heard
from lastday_page import Goal, Ramp, Report, Storm
from lastday_promises import Promises
from lastday_stage import Day, Phase, Sample

BEGAN_S = 1_800_000_000.0


def moment_ms(at_s: float) -> float:
    """A second of the day, as events have it."""
    return (BEGAN_S + at_s) * 1000


def stamp_at(at_s: float, state: str = "sealed", took_ms: float = 100) -> Event:
    """Somebody was told what became of a stamp."""
    return [moment_ms(at_s), took_ms, "id", state]


def stamps_of(stamps_per_s: Iterable[int]) -> list[Event]:
    """So many stamps sealed in each second."""
    return [stamp_at(second + one / count) for second, count in enumerate(stamps_per_s) for one in range(count)]


def day_with(phases: list[Phase], samples: Sequence[Sample] = (), **events: list[Event]) -> Day:
    """A day on which this was heard and seen, and nothing else."""
    return Day(BEGAN_S, phases, Heard(events), list(samples))


def report_with(
    ramp: Ramp | None = None,
    storm: Storm | None = None,
    promises: Promises | None = None,
    lags_ms: tuple[float, float] = (0.0, 0.0),
    goals: Sequence[Goal] = (),
) -> Report:
    """A report of these."""
    return Report(
        parted=True,
        room=True,
        capacity=Capacity(20.0),
        ramp=ramp,
        storm=storm,
        promises=promises or Promises(),
        lags_ms=lags_ms,
        goals=list(goals),
    )
