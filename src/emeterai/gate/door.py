"""The door of one web process: its slots by lane and class of work, and who waits for them.

Four things are scarce, each shared between the lanes in the same way (core/admission.py): work under way, whose number
adapts itself to how long work takes; passwords being checked; bodies on their way in; and requests that only wait for
news. A fifth is the link that bodies come by, where its speed is known (link.py). Besides, strangers who ask for the
pages of staff have two places of their own, and those who look for an order eight. Nothing here knows HTTP.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from emeterai.core.admission import Patience, Slots, Work
from emeterai.core.brownout import BrownOut, Step
from emeterai.core.limiting import AdaptiveLimit
from emeterai.gate.bodies import PLACES_MAX, Bodies
from emeterai.gate.budget import Budget, Clock
from emeterai.gate.came_in import CameIn, Key
from emeterai.gate.lanes import STAFF
from emeterai.gate.link import Link

ENTRIES_MAX, WAITERS_MAX, STRANGERS_MAX, TRACKERS_MAX = 8, 2_000, 2, 8
PAYMENTS = f"payments/{STAFF}"
"""The half of the share of staff that payment providers have to themselves, in the slots. No lane can be named so; of
one slot for both halves it is they who have it, being first by name: staff are few."""
TARGETS_S: Mapping[str, float] = {"stamp": 0.6, "upload": 0.3}
"""What takes longer than a page by its nature, and gets cheaper the more of it is done together."""
INSIDE_S, KNOWN_S = 10.0, 120.0
"""Whoever did something in the last ten seconds is counted as inside: who has finished must not hold a place for long,
or the line stands while nothing goes on. Whoever came in without a pass goes on so after something done in the last two
minutes, until their stay is over."""
AT_ONCE_MAX = 8
"""So much of one person is worked on, or waits for a slot, at once."""
WALK_IN_PER_S = 25.0
"""So many people may come in without a pass in any second in which none is asked for."""
_SURGE, _USUAL = 2.0, 0.1
_INSIDE_MAX = 200_000
_EARLIEST, _LATEST = 0.7, 1.7
"""Of the time after which people are to come again: it is spread, so that they do not come together."""
_AGAIN_INSIDE_S = INSIDE_S - 1.0
"""Nobody inside is told to come again later than that: the place would be another's by then."""
_URGENT_WAIT_S, _BUYING_WAIT_S = 0.2, 0.3
_SMOOTH = 0.3
_ENTRY_PATIENCE: Mapping[Work, Patience] = {
    Work.FINISH: Patience(2.5, 2.0, 1.0, newest_first=False, length_max=64),
    Work.BUY: Patience(2.0, 1.5, 0.5, newest_first=False, length_max=48),
    Work.BROWSE: Patience(0.5, 0.2, 0.1, newest_first=True, length_max=8),
}
_STRANGERS_PATIENCE: Mapping[Work, Patience] = {
    work: Patience(2.0, 1.0, 0.5, newest_first=False, length_max=32) for work in Work
}
_PLACE_PATIENCE: Mapping[Work, Patience] = {
    work: Patience(0.0, 0.0, 0.0, newest_first=False, length_max=0) for work in Work
}


@dataclass(slots=True)
class Tally:
    """What one lane's door did since the last look at it."""

    admitted: Counter[Work] = field(default_factory=Counter)
    refused: Counter[Work] = field(default_factory=Counter)
    inside_refused: int = 0
    entered: int = 0
    sent_away: int = 0
    """Who was inside and was told to come again later."""
    came_back: int = 0
    """Who had been told so, and is inside again."""


class Door:
    """All of it for one process. `share` sets the lanes' shares; `second` is called once a second."""

    def __init__(
        self,
        *,
        clock: Clock,
        chance: random.Random | None = None,
        link_bytes_per_s: float = inf,
        role: str = "web",
    ) -> None:
        self._clock = clock
        self._role = role
        self._chance = chance or random.Random()  # noqa: S311 - to spread those who come again
        self.limit = AdaptiveLimit(targets_s=TARGETS_S)
        self.work = Budget(self.limit.limit, clock=clock)
        self.entries = Budget(ENTRIES_MAX, clock=clock, patience=_ENTRY_PATIENCE)
        self.strangers = Budget(STRANGERS_MAX, clock=clock, patience=_STRANGERS_PATIENCE)
        """Those who ask for the pages of staff and are not known to be staff."""
        self.trackers = Budget(TRACKERS_MAX, clock=clock, patience=_STRANGERS_PATIENCE)
        """Those who look for an order without saying who they are."""
        self.bodies = Bodies(Slots(PLACES_MAX, {}, patience=_PLACE_PATIENCE))
        self.link = Link(link_bytes_per_s, clock=clock)
        self.waiters = Budget(WAITERS_MAX, clock=clock, patience=_PLACE_PATIENCE)
        self.shared = [self.entries.slots, self.bodies.slots, self.waiters.slots]
        """What each lane has its share of as it is; whoever else has places for all adds them here."""
        self._brown_out = BrownOut()
        self.lane_steps: Mapping[str, Step] = {}
        """At least this step in a lane, whatever is measured: an operator's lever."""
        self.passes_needed: frozenset[str] = frozenset()
        self.before_opening: frozenset[str] = frozenset()
        """Lanes that open later: nobody comes in, and numbers are lots."""
        self.lots_are_given = False
        """One of them opens within a day: all may sign in, in whichever lane they are, as whoever has an account has a
        lot."""
        self.tallies: dict[str, Tally] = {}
        self._second = 1
        self._walked_in: Counter[str] = Counter()
        self.walked_in: Counter[str] = Counter()
        """So many came in without a pass in the last second, or were about to at its end."""
        self._stayed_out: Counter[str] = Counter()
        self._turned_away: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        """So many were to have one although none was asked for, in the last second; but where more were refused than
        came in, they only held places until then, and that is no crowd."""
        self._usual_per_s: dict[str, float] = {}
        self._seen_at_s: dict[tuple[str, bytes], float] = {}
        self._came_in = CameIn()
        self._at_once: Counter[Key] = Counter()
        self._sent_away: set[tuple[str, bytes]] = set()
        self._urgent_waits_s = 0.0
        self._urgent_count = 0
        self._urgent_refused = 0
        self._refused_now: set[tuple[str, str, bytes]] = set()
        self._buying_waits_s, self._buying_count = 0.0, 0
        self.pressure = 0.0
        """How long the most urgent work waits, against how long it may; smoothed."""
        self.slowness = 0.0
        """How long people inside wait and their work takes, against how long it may; smoothed. It rises before the
        most urgent work has to wait, and says how many may be let in."""

    @property
    def step(self) -> Step:
        """The step of the brown-out, as it follows from what is measured."""
        return self._brown_out.step

    def step_in(self, lane: str) -> Step:
        """The step that counts in a lane."""
        return max(self._brown_out.step, self.lane_steps.get(lane, Step.NONE))

    def share(self, shares: Mapping[str, float]) -> None:
        """The lanes' shares of everything, from now on."""
        for slots in self.shared:
            slots.share(shares)
        self.link.share(shares)
        half = shares.get(STAFF, 0.0) / 2
        self.work.slots.share({**shares, STAFF: half, PAYMENTS: half} if half else shares)

    def in_flight(self, lane: str) -> int:
        """How many slots a lane holds; that of staff with those of payment providers."""
        slots = self.work.slots
        return slots.used_by(lane) + (slots.used_by(PAYMENTS) if lane == STAFF else 0)

    def queued(self, lane: str) -> int:
        """How many wait for a slot in a lane, in the same way."""
        slots = self.work.slots
        return slots.waiting_in(lane) + (slots.waiting_in(PAYMENTS) if lane == STAFF else 0)

    def tally(self, lane: str) -> Tally:
        """The tally of a lane."""
        found = self.tallies.get(lane)
        if found is None:
            found = self.tallies[lane] = Tally()
        return found

    def walks_in(self, lane: str) -> int:
        """Whether one more comes in without a pass: not where one is asked for, and not in a surge.

        What a crowd does is measured seconds after it came; who came in those seconds would be inside already. So
        newcomers beyond twice the usual number go to the line at once. Answers 0 for no, else what `stayed_out` wants
        when nothing came of it.
        """
        if lane in self.passes_needed:
            return 0
        if self._walked_in[lane] >= self._walk_in_max(lane):
            self._turned_away[lane] += 1
            return 0
        self._walked_in[lane] += 1
        return self._second

    def _walk_in_max(self, lane: str) -> float:
        return max(WALK_IN_PER_S, _SURGE * self._usual_per_s.get(lane, 0.0))

    def stayed_out(self, lane: str, second: int) -> None:
        """One who was to walk in has been refused inside, or has gone: nobody came in."""
        self._stayed_out[lane] += 1
        if second == self._second:
            self._walked_in[lane] -= 1

    def knows(self, lane: str, who: bytes) -> bool:
        """Whether somebody came in without a pass, is there still and has not been for too long."""
        now_s, at_s = self._clock(), self._seen_at_s.get(self._came_in.counts_as(lane, who))
        return at_s is not None and now_s - at_s < KNOWN_S and self._came_in.may_stay(lane, who, now_s=now_s)

    def came_in(self, lane: str, who: bytes, *, is_member: bool = False) -> None:
        """Somebody without a pass is inside from now on: for as long as people may stay, or, as a program whose key
        `is_member` of the lane, for good.
        """
        if not self.knows(lane, who):
            self._came_in.add(lane, who, now_s=self._clock(), for_good=is_member)
        self.seen(lane, who)

    def stayed_s(self, lane: str, who: bytes) -> float:
        """How long somebody has been inside who came in without a pass."""
        return self._came_in.stayed_s(lane, who, now_s=self._clock())

    def named(self, lane: str, who: bytes, name: bytes) -> None:
        """Somebody who came in without a pass has one now, and counts by the name in it: once, whatever they show."""
        before = self._came_in.counts_as(lane, who)
        self._came_in.rename(lane, who, name)
        after = self._came_in.counts_as(lane, who)
        if before != after and (at_s := self._seen_at_s.pop(before, None)) is not None:
            self._seen_at_s[after] = max(at_s, self._seen_at_s.get(after, at_s))

    def seen(self, lane: str, who: bytes) -> None:
        """Somebody is inside."""
        key = self._came_in.counts_as(lane, who)
        if key not in self._seen_at_s:
            if len(self._seen_at_s) >= _INSIDE_MAX:
                return
            self.tally(lane).entered += 1
        elif key in self._sent_away:
            self._sent_away.remove(key)
            self.tally(lane).came_back += 1
        self._seen_at_s[key] = self._clock()

    def sent_away(self, lane: str, who: bytes) -> None:
        """Somebody inside was told to come again later: known, but in nobody's place until then."""
        key, away_s = self._came_in.counts_as(lane, who), self._clock() - INSIDE_S
        if self._seen_at_s.get(key, away_s) > away_s:
            self._seen_at_s[key] = away_s
            self._sent_away.add(key)
            self.tally(lane).sent_away += 1

    def begins(self, lane: str, who: bytes) -> Key | None:
        """Count one request more of a person, for `ends` to forget; None where there are as many as one may have."""
        key = self._came_in.counts_as(lane, who)
        if self._at_once[key] >= AT_ONCE_MAX:
            return None
        self._at_once[key] += 1
        return key

    def ends(self, key: Key) -> None:
        """A request that was counted is over, as far as it holds anything."""
        self._at_once[key] -= 1
        if not self._at_once[key]:
            del self._at_once[key]

    def inside(self) -> Counter[str]:
        """How many people are inside, by lane."""
        now_s = self._clock()
        self._seen_at_s = {key: at_s for key, at_s in self._seen_at_s.items() if now_s - at_s < KNOWN_S}
        self._sent_away &= self._seen_at_s.keys()
        self._came_in.keep(self._seen_at_s.keys(), now_s=now_s)
        return Counter(lane for (lane, _), at_s in self._seen_at_s.items() if now_s - at_s < INSIDE_S)

    def admitted(self, lane: str, work: Work, *, waited_s: float) -> None:
        """One request got its slot."""
        self.tally(lane).admitted[work] += 1
        if work is Work.FINISH:
            self._urgent_waits_s += waited_s
            self._urgent_count += 1
        elif work is Work.BUY:
            self._buying_waits_s += waited_s
            self._buying_count += 1

    def refused(
        self, lane: str, work: Work, who: bytes, *, is_inside: bool, for_room: bool, is_member: bool = False
    ) -> None:
        """One request was turned away. `for_room`: there was no room for it.

        Who is sent off because his work rests or he has no pass says nothing of how much there is to do: counted, a
        brown-out would be kept up for ever by those whom it refuses and who ask again. For the same reason one person
        counts once a second, however often he asks, and so do all together of whom nothing is known. A key that
        `is_member` is one program inside, but each of its requests may be another person's.
        """
        tally = self.tally(lane)
        tally.refused[work] += 1
        if is_inside and work is not Work.BROWSE:
            tally.inside_refused += self._is_first("inside", lane, who)
        if work is Work.FINISH and for_room:
            self._urgent_refused += is_member or self._is_first("urgent", lane, who)

    def _is_first(self, count: str, lane: str, who: bytes) -> bool:
        """Whether somebody has not been counted there in this second; all who are unknown are one."""
        key = count, lane, who
        is_first = key not in self._refused_now
        self._refused_now.add(key)
        return is_first

    def ended(self, lane: str, kind: str, took_s: float, *, failed: bool) -> None:
        """Work of a kind has ended and gives its slot back."""
        limit = self.limit
        limit.sample(kind, took_s, self.work.slots.used, failed=failed)
        self._follow_limit()
        self.work.leave(lane)

    def _follow_limit(self) -> None:
        found = self.limit.turn(self._clock())
        if found != self.work.slots.limit:
            self.work.slots.resize(found)

    def retry_after_s(self, work: Work, *, is_inside: bool = False) -> int:
        """When to come back: later the less urgent, never all at once, and from inside while the place is one's own."""
        base_s = (1, 3, 8)[work] * (1 + self.step / 2)
        if is_inside:
            base_s = min(base_s, _AGAIN_INSIDE_S / _LATEST)
        return max(1, round(base_s * self._chance.uniform(_EARLIEST, _LATEST)))

    def second(self) -> None:
        """Once a second: how it goes, and which step follows from it."""
        crowded = {lane for lane, came in self._walked_in.items() if came >= self._stayed_out[lane]}
        self.turned_away = Counter({lane: away for lane, away in self._turned_away.items() if lane in crowded})
        for lane in {*self._walked_in, *self._usual_per_s} - self.passes_needed:
            usual = self._usual_per_s.get(lane, 0.0)
            self._usual_per_s[lane] = usual + _USUAL * (self._walked_in[lane] - usual)
        self.walked_in, self._walked_in = self._walked_in, Counter()
        self._turned_away.clear()
        self._stayed_out.clear()
        self._second += 1
        count, refused = self._urgent_count, self._urgent_refused
        wait_share = self._urgent_waits_s / count / _URGENT_WAIT_S if count else 0.0
        refused_share = refused / (count + refused) if count + refused else 0.0
        now = max(2.0 * wait_share, min(4.0, 20.0 * refused_share))
        self.pressure += _SMOOTH * (now - self.pressure)
        self._follow_limit()  # where nothing ends any more, what was slow once is no sign of how it goes now
        buying_share = self._buying_waits_s / self._buying_count / _BUYING_WAIT_S if self._buying_count else 0.0
        self.slowness += _SMOOTH * (max(now, buying_share, self.limit.ratio) - self.slowness)
        self._urgent_waits_s, self._urgent_count, self._urgent_refused = 0.0, 0, 0
        self._buying_waits_s, self._buying_count = 0.0, 0
        self._refused_now.clear()
        self._brown_out.turn(self.pressure, self._clock())

    def reading(self) -> dict[str, object]:
        """What this process measured since the last reading, for whoever decides for all of them."""
        inside, tallies, self.tallies = self.inside(), self.tallies, {}
        lanes = {
            name: {
                "inside": inside[name],
                "in_flight": self.in_flight(name),
                "queued": self.queued(name),
                "admitted": sum(tally.admitted.values()),
                "refused": {work.name.lower(): count for work, count in tally.refused.items()},
                "inside_refused": tally.inside_refused,
                "entered": tally.entered,
                "sent_away": tally.sent_away,
                "came_back": tally.came_back,
                "walked_in": self.walked_in[name],
                "turned_away": self.turned_away[name],
            }
            for name in {*inside, *tallies, *self.walked_in}
            for tally in (tallies.get(name) or Tally(),)
        }
        facts = {"pressure": round(self.pressure, 3), "step": int(self.step), "limit": self.work.slots.limit}
        return {"role": self._role, "lanes": lanes, "ratio": round(self.slowness, 3), **facts}
