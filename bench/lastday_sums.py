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
BURST = 1.25
"""A few seconds count for so many times the usual at the most: a backlog that is worked off pays for no hole."""
LASTING_S = 60.0
"""The mean of a longer time would forgive a slump of half a minute for what was more than usual after it."""
HOLE_S, HOLE_SHARE = 10, 0.5
"""So long and no more than so large a part of what is usual is a hole."""
TOLERANCE_S = 5.0
"""A wait may end so long before or after its promised range: people look every few seconds only."""
_LOOK_S, _LOOK_SHARE, _LOOK_S_MAX, _LOOK_SPREAD, _HEARD_S = 5.0, 0.1, 60.0, 1.25, 1.5
"""How the crowd looks: after a tenth of what is left, a minute at the most, spread by a quarter; five seconds when it
knows nothing. What it hears may be a second old, and it acts in steps of half a second."""
_OK = range(200, 300)
_ELSEWHERE = frozenset({"generator", "room", "room, its opener", "sandbox"})
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
    """One answered request of somebody inside: p50, p99, p99.9. Not the bodies by the line of a phone: how long those
    take says how slow the phone is."""
    partner_ms: Spread
    partner_ok: float
    classes: dict[str, float]
    refused: Counter[tuple[str, int]]
    """What of *finish* was not served: request and status, 0 for no answer."""
    waiting: float
    looks_per_s: float
    """Looks at the now-serving file, for each person in line."""
    service_cpu: float
    """Of the service's core, in cores."""
    idle_s: float
    """Seconds in which people were in line although the core had room: the door's doing."""
    unused_s: dict[str, float]
    """What the core had left of them and of all others with a line, in its own seconds, by why."""
    person_cpu_ms: dict[str, float]
    """Processor time of each role for everybody who came, looked, waited or was refused, by person who was served."""
    beat_ms: float
    """What a small piece of work cost on the service's core: more, where the core was slower; 0 when nobody looked."""
    late_ms: float
    """How late the crowd itself was, p99: what is measured is worth nothing when this is large."""


@dataclass(frozen=True)
class Line:
    """How fair the line was, and how true its estimates."""

    people: int
    inversions: int
    """Pairs next to each other of which one had its number before the other asked, and got a higher one."""
    overtaken_ms: float
    out_of_turn: int
    """Pairs of people who waited at the same time, of whom the one with the higher turn was called first, by more than
    looking every few seconds explains."""
    passed_by: int
    """So many had the lower turn in such a pair."""
    promised: int
    """Waits that have ended and had a promised range: what follows is of them."""
    kept: float
    """The part of them that were within it, give or take TOLERANCE_S."""
    error: float
    """The middle half's edge: median of |wait - middle| as a part of the wait."""
    still_in_line: int
    """Whoever was in line when the day ended, as the service counts: what was promised to them is in no figure."""


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
    waiting = fmean([_waiting(one) for one in samples] or [0.0])
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
        stamps_per_s=(len(stamps) + sum(is_sealed_of_partner(one) for one in partner)) / seconds,
        stamp_ms=_spread([one[1] for one in stamps]),
        inside_ms=_spread([one[4] for one in inside if one[3] in _OK and one[2] != "phone"]),
        partner_ms=_spread([one[1] for one in partner if is_sealed_of_partner(one)]),
        partner_ok=_share([is_sealed_of_partner(one) for one in partner]),
        classes=served,
        refused=Counter((one[2], one[3]) for one in inside if one[1] == "finish" and one[3] not in _OK),
        waiting=waiting,
        looks_per_s=looks / seconds / waiting if waiting >= 10 else 0.0,
        service_cpu=(cpu[-1] - cpu[0]) / took_s if took_s else 0.0,
        idle_s=_idle_s(samples),
        unused_s=_unused_s(samples),
        person_cpu_ms=_by_person(samples, len(done) * took_s / seconds),
        beat_ms=day.beat_ms(began_s, ended_s),
        late_ms=quantile([one[1] for one in _during(heard.of("late"), began_s, ended_s)], 0.99),
    )


def _stays(outs: Iterable[Event], began_ms: float, ended_ms: float) -> float:
    """How many stays of people who were served lie in a time, each for the part of it that does."""
    parts = 0.0
    for left_ms, stay_ms, _, why, *_ in outs:
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
        if _waiting(after) >= _LINE_MIN and 0 <= used < _BUSY * took_s:
            idle_s += took_s
    return idle_s


def _unused_s(samples: Sequence[Sample]) -> dict[str, float]:
    """Of the service's core while somebody was in line."""
    found = dict.fromkeys(samples[-1].unused_s if samples else (), 0.0)
    for before, after in pairwise(samples):
        if _waiting(after) >= _LINE_MIN:
            for why in found:
                found[why] += after.unused_s.get(why, 0.0) - before.unused_s.get(why, 0.0)
    return found


def _waiting(sample: Sample) -> int:
    return int(sample.paces.get("retail", {}).get("waiting", 0))


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


def is_sealed_of_partner(stamp: Event) -> bool:
    """Whether a partner's stamp was sealed; 201 is also the answer to one that was given back."""
    return bool(stamp[2] == 201 and stamp[4] == "sealed")


def _sealed(stamp: Event) -> bool:
    return bool(stamp[3] == "sealed")


def recovery_s(day: Day, from_s: float, *, good_per_s: float, until_s: float) -> float | None:
    """How long after `from_s` goodput was back for good. None: not before `until_s`.

    It is back from a second on when three things are so. In the next SMOOTH_S, in the next LASTING_S, and in all that
    is left of the time, it is GOOD_SHARE of `good_per_s`; there any SMOOTH_S count for BURST times what is usual at the
    most, or the backlog of an outage, sealed at once, would make up for a hole that follows. And no HOLE_S of what is
    left have less than HOLE_SHARE of it. So what is left must be HOLE_S long at least.

    Chance alone (a standard deviation of 16 % in 5 s of 8 stamps a second, 11 % in 10 s, 6 % in 35 s) makes no hole and
    is hardly cut by the bound; it makes the mean of a short time fall short now and then, and so a return look later.
    """
    sealed = sorted(one[0] / 1000 for one in day.heard.of("stamp") if _sealed(one))

    def count(begin_s: float, end_s: float) -> int:
        return bisect.bisect_left(sealed, end_s) - bisect.bisect_left(sealed, begin_s)

    def is_good(begin_s: float, end_s: float) -> bool:
        whole, at_s = 0.0, begin_s
        while at_s < end_s:
            next_s = min(at_s + SMOOTH_S, end_s)
            whole += min(count(at_s, next_s), BURST * good_per_s * (next_s - at_s))
            at_s = next_s
        return whole >= GOOD_SHARE * good_per_s * (end_s - begin_s)

    def has_hole(begin_s: float, end_s: float) -> bool:
        starts = (begin_s + second for second in range(int(end_s - begin_s) - HOLE_S + 1))
        return any(count(at_s, at_s + HOLE_S) < HOLE_SHARE * good_per_s * HOLE_S for at_s in starts)

    at_s = from_s
    while at_s + HOLE_S <= until_s:
        ends_s = (at_s + SMOOTH_S, min(at_s + LASTING_S, until_s), until_s)
        if all(is_good(at_s, end_s) for end_s in ends_s) and not has_hole(at_s, until_s):
            return at_s - from_s
        at_s += 0.25
    return None


def line_of(day: Day) -> Line:
    """Fairness and estimates of everybody who came in with a number, and how many were in line at the day's end.

    Of an `in`: when, number, asked, answered, promised low and high in seconds, called, turn.
    """
    came = [one for one in day.heard.of("in") if one[2] and one[3]]
    inversions, overtaken_ms = _inversions(came)
    out_of_turn, passed_by = _out_of_turn(came)
    kept, errors = [], []
    for _, _, _, answered, low_s, high_s, called, _ in came:
        if low_s is None or high_s is None:
            continue
        waited_s = (called - answered) / 1000
        kept.append(low_s - TOLERANCE_S <= waited_s <= high_s + TOLERANCE_S)
        if waited_s >= 10:
            errors.append(abs(waited_s - (low_s + high_s) / 2) / waited_s)
    ended_s = max((ended_s for _, _, ended_s in day.spans()), default=day.began_s)
    lines = [one.paces["retail"] for one in day.samples if one.at_s <= ended_s and "retail" in one.paces]
    return Line(
        people=len(came),
        inversions=inversions,
        overtaken_ms=overtaken_ms,
        out_of_turn=out_of_turn,
        passed_by=passed_by,
        promised=len(kept),
        kept=_share(kept),
        error=quantile(errors, 0.5),
        still_in_line=lines[-1].get("waiting", 0) if lines else 0,
    )


def _inversions(came: Iterable[Event]) -> tuple[int, float]:
    """Who got a higher number than somebody who asked only later, and by how much later at the worst, in ms."""
    inversions, overtaken_ms = 0, 0.0
    last_asked = float("-inf")
    for one in sorted(came, key=lambda one: one[1]):
        # Somebody with a lower number had asked only after this one had its answer.
        if last_asked > one[3]:
            inversions += 1
            overtaken_ms = max(overtaken_ms, last_asked - one[3])
        last_asked = max(last_asked, one[2])
    return inversions, overtaken_ms


def _out_of_turn(came: Iterable[Event]) -> tuple[int, int]:
    """Pairs who waited at the same time and of whom the higher turn was called first, and how many were passed by so.

    Whoever looks every few seconds finds out late: so much later is no fault of the line. How far apart one's looks
    are at the most follows from one's own wait.
    """
    pairs, passed_by = 0, 0
    called_before: list[float] = []
    for one in sorted(came, key=lambda one: -(one[7] or one[1])):
        answered, called = one[3], one[6]
        apart_s = _LOOK_SPREAD * max(_LOOK_S, min(_LOOK_S_MAX, _LOOK_SHARE * (called - answered) / 1000)) + _HEARD_S
        until = bisect.bisect_left(called_before, called - 1000 * apart_s)
        found = max(0, until - bisect.bisect_right(called_before, answered))
        pairs += found
        passed_by += found > 0
        bisect.insort(called_before, called)
    return pairs, passed_by


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
