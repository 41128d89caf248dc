"""How many people are let in: a window of people inside, which follows what the whole chain gets done.

People, not requests: whoever is inside is to finish at normal speed, so a person is let in when one has finished or has
gone. That needs no typed rate, and holds by itself: when the chain gets slower people stay inside for longer, and
fewer are let in. The window itself is changed slowly: it shrinks when the work waits too long or people inside are
refused, grows while they are served well and there is a line, and is kept as it is while nothing gets done at all,
because an outage says nothing of how many the service can serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emeterai.core.admission import divide

CALLED_S = 10.0
"""Whoever is let in comes within this time, or does not come."""
_GROWTH_A_S, _PROBING_A_S, _DRAINING_A_S = 0.05, 0.005, 0.01
"""How fast the window grows to where it has been of use before, grows beyond that, and shrinks while work is late."""
_OPENING_A_S, _AMPLE = 0.1, 1.2
_KNOWN_SHARE = 0.95
_DRAINED_MIN = 0.9
_BEST_FADES_A_S = 0.002
_CUT = 0.85
_REST_S = 4.0
"""After a cut the window rests: its effect is seen only when those inside have had their turn."""
_FULL_SHARE = 0.85
_PRESSURE_GOOD = 0.8
_SMOOTH, _SMOOTH_CYCLE = 0.2, 0.05
_QUIET_S = 5.0


@dataclass(frozen=True, slots=True)
class LaneSeen:
    """One lane in the last second. `waiting` have a number whose turn has not come; `inside` are at work."""

    waiting: int = 0
    inside: int = 0
    share: float = 0.0
    floor_per_s: float = 0.2
    ceiling_per_s: float = 0.0
    paused: bool = False
    always_room: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The whole chain in the last second.

    `oldest_s` is how long the longest waiting unit waits to be sealed; `pressure` that of the doors (core/brownout);
    `refused` so many requests of people inside were refused. `known` False: nothing could be measured.
    """

    lanes: Mapping[str, LaneSeen]
    settled: float = 0.0
    under_way: int = 0
    oldest_s: float = 0.0
    pressure: float = 0.0
    refused: int = 0
    known: bool = True


@dataclass(frozen=True, slots=True)
class Pace:
    """What one lane does until the next second: so many people let in, a pass needed or not, and why (codes)."""

    per_s: float
    pass_needed: bool
    reasons: Sequence[str] = ()


@dataclass(slots=True)
class _LanePace:
    called: list[float] = field(default_factory=list)
    """People let in in each of the last CALLED_S seconds, the newest last."""
    room: bool = False
    quiet_s: float = 0.0


class Pacer:
    """Call `turn` once a second. `oldest_s_max` is how long a unit may wait to be sealed before that is too long."""

    def __init__(
        self, *, start: float = 300.0, floor: float = 10.0, ceiling: float = 1e6, oldest_s_max: float = 2.0
    ) -> None:
        self.window = start
        self._floor, self._ceiling = floor, ceiling
        self._oldest_s_max = oldest_s_max
        self._rested_s = _REST_S
        self._goodput = self._best = 0.0
        self._inside = self._settled = 0.0
        self._was_full = False
        self._lanes: dict[str, _LanePace] = {}
        self.reasons: list[str] = []

    def turn(self, seen: Seen) -> dict[str, Pace]:
        """The pace of every lane for the next second."""
        self._resize(seen)
        wanted = {
            name: 0.0 if lane.paused else float(lane.inside + lane.waiting + self._coming(name))
            for name, lane in seen.lanes.items()
        }
        windows = divide(self.window, {name: lane.share for name, lane in seen.lanes.items()}, wanted)
        return {
            name: self._pace(name, lane, windows[name], crowded=wanted[name] > windows[name] + 1e-6)
            for name, lane in seen.lanes.items()
        }

    def _resize(self, seen: Seen) -> None:
        """Change the window by what was seen; `reasons` says what was found."""
        self.reasons, self._rested_s = [], self._rested_s + 1.0
        if not seen.known:
            self.reasons = ["unknown"]
            return
        if seen.under_way and not seen.settled and seen.oldest_s > self._oldest_s_max:
            self.reasons = ["standing"]
            return
        self._follow(seen)
        self.window = min(self._ceiling, max(self._floor, self.window))

    def _follow(self, seen: Seen) -> None:
        """The window after a second in which something could be measured."""
        inside = sum(lane.inside for lane in seen.lanes.values())
        slow, doors = seen.oldest_s / self._oldest_s_max, max(seen.pressure, 2.0 * (seen.refused > 0.02 * inside))
        self._learn(seen, inside, is_busy=slow > 0.5)
        if slow > 1.0:
            self.reasons, self._was_full, self._rested_s = ["sealing_slow"], True, 0.0
            enough = max(self._floor, self._goodput * self._cycle_s())
            drained = max(_DRAINED_MIN * enough, self.window * (1.0 - _DRAINING_A_S))
            self.window = min(self.window, enough, drained)
        elif doors > 1.0:
            self.reasons, self._was_full = ["doors_full"], True
            if self._rested_s >= _REST_S:
                # Not from the window but from those who are inside: a window that nobody fills says nothing.
                self.window, self._rested_s = _CUT * min(self.window, max(float(inside), self._floor)), 0.0
        elif max(slow, doors) < _PRESSURE_GOOD and not any(pace.room for pace in self._lanes.values()):
            # Nobody is kept out and all are served well: there is room for more than these, and a crowd is no surprise.
            self.window = max(self.window, min(_AMPLE * inside, self.window * (1.0 + _OPENING_A_S) + 1.0))
        elif max(slow, doors) < _PRESSURE_GOOD and self._is_used(seen, inside) and self._rested_s > _REST_S:
            is_known = not self._was_full or self.window < _KNOWN_SHARE * self._best * self._cycle_s()
            self.window *= 1.0 + (_GROWTH_A_S if is_known else _PROBING_A_S)

    def _learn(self, seen: Seen, inside: int, *, is_busy: bool) -> None:
        """What the chain gets done, and how long a person is inside for each unit when nothing is late."""
        self._goodput += _SMOOTH * (seen.settled - self._goodput)
        self._best = max(self._goodput, self._best * (1.0 - _BEST_FADES_A_S))
        if not is_busy:
            self._inside += _SMOOTH_CYCLE * (inside - self._inside)
            self._settled += _SMOOTH_CYCLE * (seen.settled - self._settled)

    def _cycle_s(self) -> float:
        """Little's law: people inside for each unit that is settled in a second."""
        return self._inside / self._settled if self._settled > 0 else 0.0

    def _is_used(self, seen: Seen, inside: int) -> bool:
        """Whether people wait, and the window is what keeps them out."""
        waiting = any(lane.waiting and not lane.paused for lane in seen.lanes.values())
        present = inside + sum(self._coming(name) for name in seen.lanes)
        return waiting and present >= _FULL_SHARE * self.window

    def _coming(self, name: str) -> float:
        """Those who were let in and are still on their way."""
        called = self._lanes[name].called if name in self._lanes else []
        return sum(people * (1 - (len(called) - at - 0.5) / CALLED_S) for at, people in enumerate(called))

    def _pace(self, name: str, lane: LaneSeen, window: float, *, crowded: bool) -> Pace:
        pace, reasons = self._lanes.setdefault(name, _LanePace()), list(self.reasons)
        stopped = "standing" in reasons or "unknown" in reasons
        free = 0.0 if stopped else max(0.0, window - lane.inside - self._coming(name))
        per_s = max(lane.floor_per_s, free / 2)
        if lane.ceiling_per_s and per_s > lane.ceiling_per_s:
            per_s = lane.ceiling_per_s
            reasons.append("ceiling")
        if lane.paused:
            per_s, reasons = 0.0, ["paused"]
        pace.called = [*pace.called[-(int(CALLED_S) - 1) :], min(per_s, float(lane.waiting))]
        self._decide_room(pace, lane, crowded=crowded)
        return Pace(per_s, pace.room, tuple(reasons))

    def _decide_room(self, pace: _LanePace, lane: LaneSeen, *, crowded: bool) -> None:
        """Passes are asked for at once when it is crowded, and until it has been quiet for a while.

        What is not known, or stands still, asks for none by itself: a fault is no crowd.
        """
        busy = crowded or lane.waiting > 0 or lane.paused or lane.always_room
        pace.quiet_s = 0.0 if busy else pace.quiet_s + 1.0
        pace.room = busy or (pace.room and pace.quiet_s < _QUIET_S)
