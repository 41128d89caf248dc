"""What the last day's events add up to: each phase in numbers, and the ten figures of the report."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from lastday_ears import Event, Heard
from lastday_stage import Day, Phase, Sample

GOOD_SHARE = 0.95
"""Goodput is back when it is again so large a part of what it was."""
SMOOTH_S = 5
_OK = range(200, 300)
_ELSEWHERE = frozenset({"generator", "room", "room, its opener"})
"""Not on the service's core."""
_BUSY, _LINE_MIN = 0.9, 10
Spread = tuple[float, float, float]
"""p50, p99, p99.9; all 0 of nothing."""


@dataclass(frozen=True)
class Sums:
    """One phase. Rates are a second; `classes` is the part of requests of people inside that were served, by class."""

    phase: Phase
    came_per_s: float
    done_per_s: float
    stays_per_s: float
    """People served, each counted in the phases in which they were inside: whom one phase let in, another sees out."""
    stamps_per_s: float
    stamp_ms: Spread
    """From asking for a stamp until it is sealed, repeated requests included: p50, p99, p99.9."""
    inside_ms: Spread
    """One answered request of somebody inside: p50, p99, p99.9."""
    partner_ms: Spread
    partner_ok: float
    classes: dict[str, float]
    waiting: float
    looks_per_s: float
    """Looks at the now-serving file, for each person in line."""
    service_cpu: float
    """Of the service's core, in cores."""
    idle_s: float
    """Seconds in which people were in line although the core had room: the door's doing."""
    person_cpu_ms: dict[str, float]
    """Processor time of each role for everybody who came, looked, waited or was refused, by person who was served."""
    late_ms: float
    """How late the crowd itself was, p99: what is measured is worth nothing when this is large."""


@dataclass(frozen=True)
class Line:
    """How fair the line was, and how true its estimates."""

    people: int
    inversions: int
    """Pairs next to each other of which one had its number before the other asked, and got a higher one."""
    overtaken_ms: float
    kept: float
    """The part of waits that were within the promised range, give or take the five seconds between looks."""
    error: float
    """The middle half's edge: median of |wait - middle| as a part of the wait."""


def sums_of(day: Day) -> list[Sums]:
    """Every phase of a day."""
    return [_phase_sums(day, phase, began_s, ended_s) for phase, began_s, ended_s in day.spans()]


def _phase_sums(day: Day, phase: Phase, began_s: float, ended_s: float) -> Sums:
    heard, seconds = day.heard, ended_s - began_s
    asked = _during(heard.of("r"), began_s, ended_s)
    inside = [one for one in asked if one[1] in {"finish", "buy", "browse"} and one[2] != "front page"]
    stamps = [one for one in _during(heard.of("stamp"), began_s, ended_s) if one[3] == "sealed"]
    partner = _during(heard.of("partner"), began_s, ended_s)
    samples = [one for one in day.samples if began_s <= one.at_s < ended_s]
    waiting = fmean([one.paces.get("retail", {}).get("waiting", 0) for one in samples] or [0.0])
    looks = _counted(heard, "look", began_s, ended_s)
    cpu = [sum(value for role, value in one.cpu_s.items() if role not in _ELSEWHERE) for one in samples]
    served = {name: _share([one[3] in _OK for one in inside if one[1] == name]) for name in ("finish", "buy", "browse")}
    took_s = samples[-1].at_s - samples[0].at_s if len(samples) > 1 else 0.0
    done = [one for one in _during(heard.of("out"), began_s, ended_s) if one[3] == "done"]
    return Sums(
        phase=phase,
        came_per_s=len(_during(heard.of("came"), began_s, ended_s)) / seconds,
        done_per_s=len(done) / seconds,
        stays_per_s=_stays(heard.of("out"), began_s * 1000, ended_s * 1000) / seconds,
        stamps_per_s=(len(stamps) + sum(one[2] == 201 for one in partner)) / seconds,
        stamp_ms=_spread([one[1] for one in stamps]),
        inside_ms=_spread([one[4] for one in inside if one[3] in _OK]),
        partner_ms=_spread([one[1] for one in partner if one[2] == 201]),
        partner_ok=_share([one[2] == 201 for one in partner]),
        classes=served,
        waiting=waiting,
        looks_per_s=looks / seconds / waiting if waiting >= 10 else 0.0,
        service_cpu=(cpu[-1] - cpu[0]) / took_s if took_s else 0.0,
        idle_s=_idle_s(samples),
        person_cpu_ms=_by_person(samples, len(done) * took_s / seconds),
        late_ms=quantile([one[1] for one in _during(heard.of("late"), began_s, ended_s)], 0.99),
    )


def _stays(outs: Iterable[Event], began_ms: float, ended_ms: float) -> float:
    """How many stays of people who were served lie in a time, each for the part of it that does."""
    parts = 0.0
    for left_ms, stay_ms, _, why, _ in outs:
        inside_ms = min(left_ms, ended_ms) - max(left_ms - stay_ms, began_ms)
        if why == "done" and inside_ms > 0:
            parts += inside_ms / max(1.0, stay_ms)
    return parts


def _idle_s(samples: Sequence[Sample]) -> float:
    """Seconds in which somebody was in line and the service's core was not busy."""
    idle_s = 0.0
    for before, after in pairwise(samples):
        took_s = after.at_s - before.at_s
        used = sum(after.cpu_s[role] - before.cpu_s.get(role, 0.0) for role in after.cpu_s if role not in _ELSEWHERE)
        if after.paces.get("retail", {}).get("waiting", 0) >= _LINE_MIN and 0 <= used < _BUSY * took_s:
            idle_s += took_s
    return idle_s


def _by_person(samples: Sequence[Sample], people: float) -> dict[str, float]:
    if len(samples) < 2 or not people:
        return {}
    first, last = samples[0].cpu_s, samples[-1].cpu_s
    return {role: 1e3 * (last[role] - first.get(role, 0.0)) / people for role in last if role != "generator"}


def rates(day: Day, kind: str = "stamp") -> list[float]:
    """How many stamps were sealed (or people came, and so on) in each second of a day."""
    whole = int(sum(phase.seconds for phase in day.phases)) + 1
    counts = Counter(int(one[0] / 1000 - day.began_s) for one in day.heard.of(kind) if kind != "stamp" or _sealed(one))
    return [float(counts.get(second, 0)) for second in range(whole)]


def _sealed(stamp: Event) -> bool:
    return bool(stamp[3] == "sealed")


def recovery_s(day: Day, from_s: float, *, good_per_s: float, until_s: float) -> float | None:
    """How long after `from_s` goodput was back for good: in the next SMOOTH_S, and in all that was left of the time.

    None: not before `until_s`.
    """
    sealed = sorted(one[0] / 1000 for one in day.heard.of("stamp") if _sealed(one))

    def is_good(begin_s: float, end_s: float) -> bool:
        count = bisect.bisect(sealed, end_s) - bisect.bisect(sealed, begin_s)
        return count >= GOOD_SHARE * good_per_s * (end_s - begin_s)

    at_s = from_s
    while at_s + SMOOTH_S <= until_s:
        if is_good(at_s, at_s + SMOOTH_S) and is_good(at_s, until_s):
            return at_s - from_s
        at_s += 0.25
    return None


def line_of(heard: Heard) -> Line:
    """Fairness and estimates of everybody who came in with a number.

    Of an `in`: when, number, asked, answered, promised low and high in seconds, called, turn.
    """
    came = [one for one in heard.of("in") if one[2] and one[3]]
    by_number = sorted(came, key=lambda one: one[1])
    inversions, overtaken_ms = 0, 0.0
    last_asked = float("-inf")
    for one in by_number:
        # Somebody with a lower number had asked only after this one had its answer.
        if last_asked > one[3]:
            inversions += 1
            overtaken_ms = max(overtaken_ms, last_asked - one[3])
        last_asked = max(last_asked, one[2])
    kept, errors = [], []
    for _, _, _, answered, low_s, high_s, called, _ in came:
        if low_s is None or high_s is None:
            continue
        waited_s = (called - answered) / 1000
        kept.append(low_s - 5 <= waited_s <= high_s + 5)
        if waited_s >= 10:
            errors.append(abs(waited_s - (low_s + high_s) / 2) / waited_s)
    return Line(len(came), inversions, overtaken_ms, _share(kept), quantile(errors, 0.5))


def lags_ms(heard: Heard) -> list[float]:
    """From the payment until its buyer sees the quota: the provider's lateness and the buyer's looks included."""
    return [float(one[2]) for one in heard.of("quota")]


def quantile(values: Iterable[float], part: float) -> float:
    """The value below which that part of all lies; 0 of none."""
    found = sorted(values)
    return found[min(len(found) - 1, int(part * len(found)))] if found else 0.0


def _spread(values: Sequence[float]) -> Spread:
    return quantile(values, 0.5), quantile(values, 0.99), quantile(values, 0.999)


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 1.0


def _during(events: Iterable[Event], began_s: float, ended_s: float) -> list[Event]:
    return [one for one in events if began_s * 1000 <= one[0] < ended_s * 1000]


def _counted(heard: Heard, name: str, began_s: float, ended_s: float) -> int:
    return sum(
        count for (second, what, _), count in heard.counts.items() if what == name and began_s <= second < ended_s
    )
