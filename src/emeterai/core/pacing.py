"""How many people are let in: a window of people inside, which follows what the whole chain gets done.

People, not requests: whoever is inside is to finish at normal speed, so a person is let in when one has finished or has
gone. That needs no typed rate, and holds by itself: when the chain gets slower people stay inside for longer, and
fewer are let in. The window itself is changed slowly, by how late the work is (`load`, 1 is as late as it may be).
Below 1 it grows, the less the closer it comes, and beyond where it has been of use before only by a part a stay; above
1 it shrinks, but not below what those who leave need (Little's law). It is kept as it is while nothing gets done at
all, because an outage says nothing of how many the service can serve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emeterai.core.admission import divide

CALLED_S, _ON_THE_WAY_S = 10.0, 2.0
"""Whoever is let in comes within about the first of these, or does not come; most come within the second."""
OPENING_PER_S = 25.0
"""So many may be let in a second however few leave: a chain that has just begun shows only later what it can do."""
_FOLD = 1.5
"""Beyond OPENING_PER_S at most so many times as many come in as leave: a stay passes before they are felt."""
_FILLS_S, _FILLS_EMPTY_S = 12.0, 2.0
"""Room is filled, and what is too much is worked off, over the first of these; where much is empty, over the second.
Filled faster, those who came together would leave together, and their places be given on together: for good."""
_GROWTH_A_S, _PROBING_A_STAY, _DRAINING_A_S, _DRAINING_A_STAY = 0.12, 0.25, 0.04, 0.4
"""How fast the window grows to where it has been of use before, grows beyond that, and shrinks when all is late: what a
cut does is felt a stay later, so it is never cut by more than a part in that time."""
_STAY_S_MIN = 10.0
_OPENING_A_S, _OPENING, _AMPLE = 0.15, 5.0, 1.2
_KNOWN_SHARE = 0.95
_ENOUGH = 1.15
"""Somewhat more than Little's law wants: those who leave come in waves, and in a trough nothing should stand still. All
that is beyond it only makes everybody's stay longer.
"""
_BEST_FADES_A_S = 0.002
_FULL_SHARE, _USED_SHARE = 0.7, 0.7
_LOAD_GOOD = 0.9
_PRESSED = 0.65
"""So much of the pressure at which a door refuses is as much as there may be while people wait outside: whoever is
inside is to be refused nothing, and a door that is full has been too full for a stay already. Where nobody waits it is
not the crowd that presses."""
_REFUSED_SHARE = 0.02
_SMOOTH, _SMOOTH_LEAVING, _SMOOTH_STAY, _SMOOTH_STAY_LATE = 0.2, 0.06, 0.2, 0.03
_QUIET_S = 5.0
_CALM_SHARE = 0.5
"""A longer stay than before is believed when nothing was late for so large a part of it."""
_STAYS_S_MAX, _UNKNOWN_S_MAX, _FLOW_MIN_PER_S = 900, 15, 0.5
"""The longest stay that is looked for; for so long everything may be late before any stay is known; and where fewer
leave there is no stay to be learned."""
_FAILED, _FORGOTTEN_S = 3, 120
"""So many units given back since the last stamp was settled are no accident. They are forgotten once none was for so
long: on a quiet day nobody may come for minutes who would show that all is well."""


@dataclass(frozen=True, slots=True)
class LaneSeen:
    """One lane in the last second. `waiting` have a number whose turn has not come; `inside` are at work, of whom
    `entered` came in in this second; `sent_away` were told to come again later, and `came_back` again who had been.
    `turned_away` would have come in without a pass, but too many did. `oldest_s` is how long its longest waiting unit
    waits to be sealed; where it `is_for_programs` they send as fast as they like, whoever else is let in.
    """

    waiting: int = 0
    inside: int = 0
    entered: int = 0
    sent_away: int = 0
    came_back: int = 0
    turned_away: int = 0
    oldest_s: float = 0.0
    share: float = 0.0
    floor_per_s: float = 0.2
    ceiling_per_s: float = 0.0
    paused: bool = False
    always_room: bool = False
    is_for_programs: bool = False

    @property
    def has_line(self) -> bool:
        """Whether somebody waits for others, and not for the lane to go on."""
        return self.waiting > 0 and not self.paused


@dataclass(frozen=True, slots=True)
class Seen:
    """The whole chain in the last second.

    `oldest_s` is how long the longest waiting unit waits to be sealed, whoever's it is; so many were `given_back`
    because the service failed, whatever the file; `pressure` is that of the doors (core/brownout) that people come to;
    `refused` so many requests of people inside were refused. So many `doors` counted who is inside; where none did
    nothing could be measured.
    """

    lanes: Mapping[str, LaneSeen]
    settled: float = 0.0
    under_way: int = 0
    oldest_s: float = 0.0
    given_back: int = 0
    pressure: float = 0.0
    refused: int = 0
    doors: int = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """What one lane does until the next second: so many people let in, a pass needed or not, and why (codes)."""

    per_s: float
    pass_needed: bool
    reasons: Sequence[str] = ()
    usual_per_s: float = 0.0
    """What the lane's window lets in when it is full, by how long people stay; 0 while that is not known."""


@dataclass(slots=True)
class _LanePace:
    coming: float = 0.0
    """Who was let in and is still on the way."""
    inside: int | None = None
    left: int = 0
    leaving_per_s: float = 0.0
    seconds: int = 0
    """Since somebody left for the first time."""
    room: bool = False
    quiet_s: float = 0.0

    def look(self, lane: LaneSeen, *, is_same: bool) -> None:
        """Take in what was seen: who came, and who has left; unless others counted than before (`is_same`)."""
        self.coming, self.left = max(0.0, self.coming - lane.entered), 0
        if self.inside is not None and is_same:
            # Whoever waits elsewhere for somebody who is away has not left: nobody is let in for that.
            left = max(0, self.inside + lane.entered + lane.came_back - lane.sent_away - lane.inside)
            self.left = left
            self.seconds += bool(left or self.seconds)
            self.leaving_per_s += max(_SMOOTH_LEAVING, 1.0 / max(2, self.seconds)) * (left - self.leaving_per_s)
        self.inside = lane.inside


class _Stay:
    """How long a person is inside when nothing is late: `seconds`, 0 while that is not known.

    Who came first leaves first, by and large: once as many have left as were inside at some moment, a stay has passed
    since. In a crowd that has just come that is less than the truth, never more: a stay that is believed to be longer
    than it is lets in too many, which makes it so. For the same reason no stay is believed to be longer while all is
    late, nor soon after, when those leave who were kept waiting; and nothing is learned of the few who are inside for
    hours in the night. Where all is late before anything was learned, the shortest stay is believed, or the window
    would never be cut.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._left = self._first_left = self._first_came = 0
        self._came: deque[int] = deque(maxlen=_STAYS_S_MAX)
        """How many had come by each second, the oldest of which is the last by which no more had than have left."""
        self._late_s = self._calm_s = 0

    def follow(self, inside: int, left: int) -> None:
        """Count a second from which nothing can be learned, nor of the stays that it lengthens: who leaves has left."""
        self._calm_s = 0
        self._count(inside, left)

    def begin(self) -> None:
        """Count anew: those who were inside are not those who are. What is known of stays is kept."""
        self._came.clear()
        self._calm_s = 0

    def look(self, inside: int, left: int, leaving_per_s: float, *, is_late: bool) -> None:
        """Take in a second: so many are inside, so many left."""
        self._count(inside, left)
        is_whole = self._left > self._first_left and self._left >= self._first_came
        found_s = len(self._came) - 1.0 if is_whole else 0.0
        self._late_s = self._late_s + 1 if is_late and inside else max(0, self._late_s - 1)
        self._calm_s = 0 if is_late else self._calm_s + 1
        if not is_late and leaving_per_s < _FLOW_MIN_PER_S:
            self.seconds = 0.0
            while len(self._came) > 1:
                self._came.popleft()
        elif 0.0 < found_s <= max(self._calm_s / _CALM_SHARE, self.seconds):
            smooth = _SMOOTH_STAY_LATE if is_late else _SMOOTH_STAY
            self.seconds += smooth * (found_s - self.seconds) if self.seconds else found_s
        elif not self.seconds and self._late_s > _UNKNOWN_S_MAX:
            self.seconds = _STAY_S_MIN

    def _count(self, inside: int, left: int) -> None:
        """One more second. Until as many have left as were there in the first, nobody's whole stay was seen."""
        self._left += left
        if not self._came:
            self._first_left, self._first_came = self._left, self._left + inside
        self._came.append(self._left + inside)
        while len(self._came) > 1 and self._came[1] <= self._left:
            self._came.popleft()


class Pacer:
    """Call `turn` once a second. `oldest_s_max` is how long a unit may wait to be sealed before that is too long."""

    def __init__(
        self, *, start: float = 300.0, floor: float = 10.0, ceiling: float = 1e6, oldest_s_max: float = 2.0
    ) -> None:
        self.window = start
        self._floor, self._ceiling = floor, ceiling
        self._oldest_s_max = oldest_s_max
        self._refused_share = 0.0
        self._leaving_per_s = self._best_per_s = 0.0
        self._stay = _Stay()
        self._was_full = False
        self._doors = 0
        self._failed = self._unfailing_s = self._moving_s = 0
        self._lanes: dict[str, _LanePace] = {}
        self.reasons: list[str] = []

    def after_gap(self) -> None:
        """Before the first turn after some seconds without: whoever has gone in those did not leave in one."""
        self._doors = self._moving_s = 0

    def turn(self, seen: Seen) -> dict[str, Pace]:
        """The pace of every lane for the next second."""
        self._lanes = {name: self._lanes.get(name) or _LanePace() for name in seen.lanes}
        is_same, self._doors = 0 < seen.doors == self._doors, seen.doors
        if not is_same:
            self._stay.begin()
        for name, lane in seen.lanes.items():
            self._lanes[name].look(lane, is_same=is_same)
        self._resize(seen)
        wanted = {
            name: 0.0 if lane.paused else lane.inside + lane.waiting + self._lanes[name].coming
            for name, lane in seen.lanes.items()
        }
        windows = divide(self.window, {name: lane.share for name, lane in seen.lanes.items()}, wanted)
        return {
            name: self._pace(name, lane, windows[name], crowded=wanted[name] > windows[name] + 1e-6)
            for name, lane in seen.lanes.items()
        }

    def _resize(self, seen: Seen) -> None:
        """Change the window by what was seen; `reasons` says what was found."""
        is_standing = self._is_standing(seen)
        self.reasons = ["unknown"] if not seen.doors else ["standing"] if is_standing else []
        inside = sum(lane.inside for lane in seen.lanes.values())
        self._moving_s = 0 if self.reasons else self._moving_s + 1
        if self.reasons:
            self._stay.follow(inside, self._left())
            return
        self._follow(seen, inside)
        self.window = min(self._ceiling, max(self._floor, self.window))

    def _is_standing(self, seen: Seen) -> bool:
        """Whether nothing gets done: what is under way waits for too long, or fails too soon to have waited."""
        self._unfailing_s = 0 if seen.given_back else self._unfailing_s + 1
        self._failed += seen.given_back
        if seen.settled or self._unfailing_s >= _FORGOTTEN_S:
            self._failed = 0
        is_late = seen.under_way > 0 and seen.oldest_s > self._oldest_s_max
        return not seen.settled and (is_late or self._failed >= _FAILED)

    def _follow(self, seen: Seen, inside: int) -> None:
        """The window after a second in which something could be measured."""
        self._refused_share += _SMOOTH * (seen.refused / max(10, inside) - self._refused_share)
        slow = _oldest_s(seen) / self._oldest_s_max
        pressed = _PRESSED if _has_line(seen) else 1.0
        doors = max(seen.pressure / pressed, self._refused_share / _REFUSED_SHARE)
        load = max(slow, doors)
        self._learn(inside, slow, doors)
        stay_s = self._stay.seconds
        if load > 1.0:
            self.reasons, self._was_full = ["sealing_slow" if slow >= doors else "doors_full"], True
            draining_a_s = min(_DRAINING_A_S, _DRAINING_A_STAY / max(_STAY_S_MIN, stay_s))
            shrunk = self.window * (1.0 - draining_a_s * min(1.0, load - 1.0))
            # Nothing is cut before the stay is known.
            enough = self._needed(_ENOUGH * self._leaving_per_s) if stay_s else self.window
            self.window = min(self.window, max(shrunk, enough), self._filled(inside))
        elif load < _LOAD_GOOD and not any(self._lanes[it].room for it, lane in seen.lanes.items() if not lane.paused):
            # Nobody is kept out and all are served well: there is room for more than these, and a crowd is no surprise.
            opened = self.window * (1.0 + _OPENING_A_S) + _OPENING
            self.window = max(self.window, min(_AMPLE * inside, opened))
        elif load < _LOAD_GOOD and self._is_used(seen, inside):
            is_known = not self._was_full or self.window < _KNOWN_SHARE * self._needed(self._best_per_s)
            growth_a_s = _GROWTH_A_S if is_known else _PROBING_A_STAY / max(_STAY_S_MIN, stay_s)
            self.window *= 1.0 + growth_a_s * (1.0 - load / _LOAD_GOOD)

    def _learn(self, inside: int, slow: float, doors: float) -> None:
        """How many leave in a second, over many seconds, or the waves of those who came together would be taken for it;
        and how long they stay.
        """
        self._leaving_per_s = sum(pace.leaving_per_s for pace in self._lanes.values())
        self._best_per_s = max(self._leaving_per_s, self._best_per_s * (1.0 - _BEST_FADES_A_S))
        self._stay.look(inside, self._left(), self._leaving_per_s, is_late=slow > 0.5 or doors > 1.0)

    def _needed(self, per_s: float) -> float:
        """Little's law: about so many are inside and on the way when so many leave a second and nobody waits."""
        return per_s * (self._stay.seconds + _ON_THE_WAY_S)

    def _is_used(self, seen: Seen, inside: int) -> bool:
        """Whether people wait, and the window is what keeps them out."""
        return _has_line(seen) and inside + self._coming() >= _USED_SHARE * self.window

    def _filled(self, inside: int) -> float:
        """A window that nobody fills says nothing: it is cut to those who are inside and on the way, and some more. But
        not while a crowd is still coming in: for the first time, or again since the chain stood still, when those who
        were inside went and nobody was called.
        """
        is_filling = not self._stay.seconds or self._moving_s <= self._stay.seconds + CALLED_S
        return self.window if is_filling else max(_AMPLE * (inside + self._coming()), self._floor)

    def _left(self) -> int:
        return sum(pace.left for pace in self._lanes.values())

    def _coming(self) -> float:
        return sum(pace.coming for pace in self._lanes.values())

    def _pace(self, name: str, lane: LaneSeen, window: float, *, crowded: bool) -> Pace:
        pace, reasons = self._lanes[name], list(self.reasons)
        per_s, usual_per_s = lane.floor_per_s, 0.0
        if "standing" not in reasons and "unknown" not in reasons:
            usual_per_s = self._usual_per_s(lane, window)
            most = max(OPENING_PER_S, _FOLD * pace.leaving_per_s)
            free, is_empty = window - lane.inside - pace.coming, lane.inside + pace.coming < _FULL_SHARE * window
            wanted = pace.leaving_per_s + free / (_FILLS_EMPTY_S if is_empty else _FILLS_S)
            per_s = max(per_s, min(most, wanted))
        if lane.ceiling_per_s and per_s > lane.ceiling_per_s:
            per_s = lane.ceiling_per_s
            reasons.append("ceiling")
        if lane.paused:
            per_s, reasons = 0.0, ["paused"]
        pace.coming = pace.coming * (1.0 - 1.0 / CALLED_S) + min(per_s, float(lane.waiting))
        self._decide_room(pace, lane, crowded=crowded)
        return Pace(per_s, pace.room, tuple(reasons), usual_per_s)

    def _usual_per_s(self, lane: LaneSeen, window: float) -> float:
        """Little's law the other way round: as many come in as make room for them, once the window is full."""
        stay_s = self._stay.seconds
        per_s = window / (stay_s + _ON_THE_WAY_S) if stay_s else 0.0
        return min(per_s, lane.ceiling_per_s) if lane.ceiling_per_s else per_s

    def _decide_room(self, pace: _LanePace, lane: LaneSeen, *, crowded: bool) -> None:
        """Passes are asked for at once when it is crowded, and until it has been quiet for a while.

        What is not known, or stands still, asks for none by itself: a fault is no crowd.
        """
        busy = crowded or lane.waiting > 0 or lane.turned_away > 0 or lane.paused or lane.always_room
        pace.quiet_s = 0.0 if busy else pace.quiet_s + 1.0
        pace.room = busy or (pace.room and pace.quiet_s < _QUIET_S)


def _has_line(seen: Seen) -> bool:
    return any(lane.has_line for lane in seen.lanes.values())


def _oldest_s(seen: Seen) -> float:
    """How late units are sealed because too many people are inside: of lanes of people that have a line; where none
    has, of all lanes of people. Lanes share the sealers, so what one has too much of makes only its own units late.
    """
    of_people = [lane for lane in seen.lanes.values() if not lane.is_for_programs]
    counted = [lane for lane in of_people if lane.has_line] or of_people
    return max((lane.oldest_s for lane in counted), default=0.0)
