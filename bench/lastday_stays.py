"""What became of everybody who came in on the last day, what went by slow lines, and what scripts were answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from lastday_stage import Day, Phase
from lastday_sums import quantile

SCRIPTS = {
    "orders": "POST /v1/orders",
    "sessions": "POST /v1/sessions",
    "stamps": "GET /v1/stamps/...",
    "giliran": "GET /gate/retail/giliran",
}
"""What each script hammers, by the name that it has in lastday_scripts.js."""
UNHEARD = "unheard"
"""Why somebody left of whom nothing was heard any more."""
_DONE, _TO_LINE = "done", "pass_needed"


@dataclass(frozen=True)
class Stays:
    """Everybody who came in during one phase, with a pass or, while none was asked for, without."""

    phase: Phase
    came_in: int
    done: int
    """So many got what they came for."""
    left: dict[str, int]
    """All others, by why they left without it, the most frequent first."""
    to_line: int
    """Who walked in and was sent to the line before the end: in no other number here. Whoever of them was called later
    came in then."""
    stay_ms: tuple[float, float]
    """The whole stay of those who got what they came for: p50, p99."""
    thought_ms: float
    """So much of its stay the slowest hundredth of them thought, on average: that is their own time."""


@dataclass(frozen=True)
class SlowLines:
    """What went by the lines of phones in one phase."""

    at_once: float
    """Bodies on their way, on average."""
    broke: int
    documents: int
    """So many arrived whole, however often their line had broken."""


def stays_of(day: Day) -> list[Stays]:
    """Of every phase."""
    return [_stays(day, phase, 1000 * began_s, 1000 * ended_s) for phase, began_s, ended_s in day.spans()]


def _stays(day: Day, phase: Phase, began_ms: float, ended_ms: float) -> Stays:
    """Of an `out`: when, how long, stamps, why, who, whether with a pass, thought."""
    entered = sum(began_ms <= one[0] < ended_ms for one in day.heard.of("enter"))
    outs = [one for one in day.heard.of("out") if began_ms <= one[0] - one[1] < ended_ms]
    to_line = sum(one[3] == _TO_LINE and not one[5] for one in outs)
    why = Counter(one[3] for one in outs if one[3] != _TO_LINE or one[5])
    done = why.pop(_DONE, 0)
    why[UNHEARD] += entered - len(outs)
    served = sorted((one[1], one[6]) for one in outs if one[3] == _DONE)
    p99_ms = quantile([stay_ms for stay_ms, _ in served], 0.99)
    return Stays(
        phase=phase,
        came_in=entered - to_line,
        done=done,
        left={reason: count for reason, count in why.most_common() if count},
        to_line=to_line,
        stay_ms=(quantile([stay_ms for stay_ms, _ in served], 0.5), p99_ms),
        thought_ms=fmean([thought_ms for stay_ms, thought_ms in served if stay_ms >= p99_ms] or [0.0]),
    )


def slow_lines_of(day: Day) -> list[SlowLines]:
    """Of every phase."""
    return [
        SlowLines(
            sum(max(0.0, min(one.ended_s, ended_s) - max(one.began_s, began_s)) for one in day.carried) / phase.seconds,
            sum(one.broke and began_s <= one.ended_s < ended_s for one in day.carried),
            sum(began_s <= one[0] / 1000 < ended_s for one in day.heard.of("phone")),
        )
        for phase, began_s, ended_s in day.spans()
    ]


def scripts_of(day: Day) -> list[dict[str, Counter[int]]]:
    """How often each script was answered with each status, 0 for not at all: of every phase, by what it hammers."""
    found = []
    for _, began_s, ended_s in day.spans():
        answers = {name: Counter[int]() for name in SCRIPTS}
        for (second, what, status), count in day.heard.counts.items():
            name = what.removeprefix("script-")
            if what != name and began_s <= second < ended_s:
                answers[name][status] += count
        found.append({SCRIPTS[name]: counts for name, counts in answers.items()})
    return found
