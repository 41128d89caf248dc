"""Who goes in next: scarce slots, shared between lanes, with classes of work inside each lane.

A lane is guaranteed its share of the slots and may borrow what is idle. Whoever has a guarantee waits for the next slot
that comes free, whoever it comes from, and never longer than GIVE_BACK_S: then it is let in above the limit, because a
borrower that does not end must not cost a lender its share. What cannot wait is let in so at once. Inside a lane
finishing comes before buying before browsing. Waiting is bounded in time, not in length alone: a queue that has not
been empty for a while is cut down to those who came just now (docs/decisions/0022).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from math import inf
from typing import Any

GIVE_BACK_S = 0.1
"""A lane waits at most this long for a slot of its guarantee that others have borrowed."""
_SHARE_MIN = 1e-6


class Work(IntEnum):
    """Classes of work, the most urgent first."""

    FINISH = 0
    """Something is paid for or under way: a stamp, a download, a payment, somebody with money in flight."""
    BUY = 1
    """It may become something: an order, an upload, the next step of somebody who is in."""
    BROWSE = 2
    """Looking."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long work of a class waits for a slot: `patient_s`, or `hurried_s` once its queue is standing.

    A queue that has not been empty for `standing_s` is standing: it makes everybody wait and serves nobody sooner.
    """

    patient_s: float
    standing_s: float
    hurried_s: float
    newest_first: bool
    """Once its queue is standing. Who looks has reloaded and left by the time its turn would come, so the newest is the
    one who is still there; who pays is answered in order, because its program waits and its place was earned."""
    length_max: int
    reserved: float = 0.0
    """The part of the slots that it never borrows, kept for what is more urgent: so a crowd that begins something does
    not keep out those who finish, not even in the second in which it comes."""


PATIENCE: Mapping[Work, Patience] = {
    Work.FINISH: Patience(3.0, 1.5, 0.25, newest_first=False, length_max=512),
    Work.BUY: Patience(1.0, 0.3, 0.15, newest_first=False, length_max=256, reserved=0.2),
    Work.BROWSE: Patience(0.25, 0.2, 0.05, newest_first=True, length_max=64, reserved=0.2),
}


@dataclass(slots=True, eq=False)
class Waiting:
    """One who waits for a slot. `over` once it was let in, given up or has gone."""

    lane: str
    work: Work
    since_s: float
    until_s: float
    over: bool = False
    tag: Any = None
    """Whatever the caller needs to find it again."""


@dataclass(slots=True)
class _Queue:
    """Those of one lane and class, in the order in which they came."""

    patience: Patience
    line: deque[Waiting] = field(default_factory=deque)
    empty_s: float = -inf
    """When it was last empty."""

    def is_standing(self, now_s: float) -> bool:
        return bool(self.line) and now_s - self.empty_s > self.patience.standing_s

    def tidy(self, now_s: float) -> None:
        """Drop those at both ends who have gone or were let in."""
        line = self.line
        while line and line[0].over:
            line.popleft()
        while line and line[-1].over:
            line.pop()
        if not line:
            self.empty_s = now_s

    def bound_s(self, now_s: float) -> float:
        return self.patience.hurried_s if self.is_standing(now_s) else self.patience.patient_s

    def expire(self, now_s: float) -> list[Waiting]:
        """Take out those who have waited too long or whose own deadline has come."""
        line, given_up, bound_s = self.line, [], self.bound_s(now_s)
        if any(now_s >= one.until_s or now_s - one.since_s >= bound_s or one.over for one in line):
            kept = deque[Waiting]()
            for one in line:
                if one.over:
                    continue
                if now_s >= one.until_s or now_s - one.since_s >= bound_s:
                    one.over = True
                    given_up.append(one)
                else:
                    kept.append(one)
            self.line = kept
        self.tidy(now_s)
        return given_up

    def take(self, now_s: float) -> Waiting:
        """The next of a queue that has been tidied and is not empty."""
        newest = self.patience.newest_first and self.is_standing(now_s)
        one = self.line.pop() if newest else self.line.popleft()
        one.over = True
        self.tidy(now_s)
        return one


class _Lane:
    """What one lane holds and who waits in it."""

    __slots__ = ("guaranteed", "queues", "share", "used")

    def __init__(self, patience: Mapping[Work, Patience]) -> None:
        self.share = 0.0
        self.guaranteed = 0
        self.used = 0
        self.queues = [_Queue(patience[work]) for work in Work]

    def first(self) -> _Queue | None:
        """The queue of the most urgent work that waits."""
        for queue in self.queues:
            if queue.line:
                return queue
        return None

    def oldest_s(self) -> float:
        return min((one.since_s for queue in self.queues for one in queue.line if not one.over), default=inf)


class Slots:
    """`limit` slots for lanes. Time comes in as `now_s` of a clock that never goes back; nothing here waits or calls.

    `shares` are fractions of the slots by lane, their sum at most 1; a lane that is not named has no guarantee and
    borrows only.
    """

    def __init__(
        self, limit: int, shares: Mapping[str, float], *, patience: Mapping[Work, Patience] = PATIENCE
    ) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._patience = patience
        self._shares: Mapping[str, float] = {}
        self.limit = limit
        self.used = 0
        self.waiting = 0
        self.share(shares)

    def share(self, shares: Mapping[str, float]) -> None:
        """Other shares, from now on. Raises ValueError when they promise more than there is."""
        if any(share < 0 for share in shares.values()) or sum(shares.values()) > 1.000_001:
            raise ValueError("the lanes' shares promise more than there is")
        self._shares = dict(shares)
        for name in {*self._shares, *self._lanes}:
            self._lane(name).share = self._shares.get(name, 0.0)
        self.resize(self.limit)

    def resize(self, limit: int) -> None:
        """Another number of slots, from now on; those in use stay in use."""
        self.limit = max(1, limit)
        for lane in self._lanes.values():
            lane.guaranteed = int(lane.share * self.limit)
        # A guarantee of less than one slot is still one slot at a time, as long as the sum stays within the limit.
        spare = self.limit - sum(lane.guaranteed for lane in self._lanes.values())
        for _, lane in sorted(self._lanes.items(), key=lambda item: (-item[1].share, item[0])):
            if spare > 0 and lane.share > 0 and lane.guaranteed == 0:
                lane.guaranteed, spare = 1, spare - 1

    def used_by(self, lane: str) -> int:
        """How many slots a lane holds."""
        found = self._lanes.get(lane)
        return found.used if found else 0

    def guaranteed_to(self, lane: str) -> int:
        """How many slots a lane is guaranteed."""
        found = self._lanes.get(lane)
        return found.guaranteed if found else 0

    def waiting_in(self, lane: str) -> int:
        """How many wait in a lane."""
        found = self._lanes.get(lane)
        return sum(not one.over for queue in found.queues for one in queue.line) if found else 0

    def ask(self, lane: str, work: Work, *, now_s: float, until_s: float = inf) -> Waiting | bool:
        """True: the slot is yours, give it back with `end`. False: refused at once. Otherwise who waits from now on."""
        found = self._lane(lane)
        if self._has_room(found, work) and (
            self.waiting == 0 or self._first_of_all(found, work) or self._next(now_s) is None
        ):
            self._enter(found)
            return True
        queue = found.queues[work]
        queue.tidy(now_s)
        if len(queue.line) >= queue.patience.length_max or now_s >= until_s:
            return False
        waiting = Waiting(lane, work, now_s, until_s)
        queue.line.append(waiting)
        self.waiting += 1
        return waiting

    def ask_now(self, lane: str, work: Work) -> bool:
        """Whether the slot is yours at once, for what does not wait. Below its guarantee a lane always has one, if need
        be above the limit: what others have borrowed may be theirs for hours. The excess is at most the guarantees.
        """
        found = self._lane(lane)
        is_in = found.used < found.guaranteed or (self.waiting == 0 and self._has_room(found, work))
        if is_in:
            self._enter(found)
        return is_in

    def end(self, lane: str) -> None:
        """A slot of the lane is free again; `admit` then says who gets it."""
        found = self._lanes[lane]
        found.used -= 1
        self.used -= 1

    def leave(self, waiting: Waiting) -> None:
        """One who waits has gone."""
        if not waiting.over:
            waiting.over = True
            self.waiting -= 1

    def admit(self, now_s: float) -> list[Waiting]:
        """Those who get a slot now, in order."""
        admitted: list[Waiting] = []
        while self.waiting and self.used < self.limit and (lane := self._next(now_s)) is not None:
            admitted.append(self._let_in(lane, now_s))
        if self.waiting and self.used >= self.limit:
            admitted += self._repaid(now_s)
        return admitted

    def expire(self, now_s: float) -> list[Waiting]:
        """Those whose waiting has lasted too long: they are refused, having cost nothing."""
        if not self.waiting:
            return []
        given_up = [one for lane in self._lanes.values() for queue in lane.queues for one in queue.expire(now_s)]
        self.waiting -= len(given_up)
        return given_up

    def _lane(self, name: str) -> _Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(self._patience)
        return lane

    def _enter(self, lane: _Lane) -> None:
        lane.used += 1
        self.used += 1

    def _let_in(self, lane: _Lane, now_s: float) -> Waiting:
        queue = lane.first()
        assert queue is not None
        waiting = queue.take(now_s)
        self.waiting -= 1
        self._enter(lane)
        return waiting

    def _has_room(self, lane: _Lane, work: Work) -> bool:
        """Whether there is a slot that this class of work may take: of its lane's guarantee, or to borrow."""
        reserved = 0.0 if lane.used < lane.guaranteed else self._patience[work].reserved
        return self.used < self.limit - int(reserved * self.limit)

    def _first_of_all(self, lane: _Lane, work: Work) -> bool:
        """Whether somebody who comes now would be next although others wait: they all come after it."""
        return lane.used < lane.guaranteed and not any(queue.line for queue in lane.queues[: work + 1])

    def _next(self, now_s: float) -> _Lane | None:
        """The lane that the next free slot goes to: one below its guarantee; else the most urgent work that borrows."""
        best: _Lane | None = None
        best_rank: tuple[float, ...] = ()
        for lane in self._lanes.values():
            for queue in lane.queues:
                if queue.line:
                    queue.tidy(now_s)
            queue_now = lane.first()
            if queue_now is None or not self._has_room(lane, Work(lane.queues.index(queue_now))):
                continue
            if lane.used < lane.guaranteed:
                rank: tuple[float, ...] = (0, lane.used / lane.guaranteed, queue_now.line[0].since_s)
            else:
                over = lane.used / (lane.share or 0.001)
                rank = (1, lane.queues.index(queue_now), over, queue_now.line[0].since_s)
            if best is None or rank < best_rank:
                best, best_rank = lane, rank
        return best

    def _repaid(self, now_s: float) -> list[Waiting]:
        """Those below their lane's guarantee who have waited for GIVE_BACK_S: let in above the limit."""
        repaid: list[Waiting] = []
        for lane in self._lanes.values():
            while lane.used < lane.guaranteed and now_s - lane.oldest_s() >= GIVE_BACK_S:
                for queue in lane.queues:
                    queue.tidy(now_s)
                repaid.append(self._let_in(lane, now_s))
        return repaid


def divide(total: float, shares: Mapping[str, float], wanted: Mapping[str, float]) -> dict[str, float]:
    """`total` divided among lanes: each gets what it wants up to its share, then what is idle goes to those who want
    more, in proportion to their shares. Nobody gets more than it wants; lanes without a share come last, evenly.
    """
    given = {name: min(want, shares.get(name, 0.0) * total) for name, want in wanted.items()}
    for group in (
        {name: shares[name] for name in wanted if shares.get(name, 0.0) >= _SHARE_MIN},
        {name: 1.0 for name in wanted if shares.get(name, 0.0) < _SHARE_MIN},
    ):
        _pour(total - sum(given.values()), group, wanted, given)
    return given


def _pour(idle: float, weights: Mapping[str, float], wanted: Mapping[str, float], given: dict[str, float]) -> None:
    """Give what is idle to those who want more, by their weights, until it is gone or nobody wants more."""
    hungry = {name for name in weights if wanted[name] > given[name]}
    while hungry and idle > 1e-9:
        whole = sum(weights[name] for name in hungry)
        level = min((wanted[name] - given[name]) / weights[name] for name in hungry)
        step = min(level, idle / whole)
        for name in hungry:
            given[name] += step * weights[name]
        idle -= step * whole
        hungry = {name for name in hungry if wanted[name] - given[name] > 1e-9}


def fair_shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Shares as fractions: kept as they are while they promise no more than 1, else scaled down to it."""
    total = sum(weights.values())
    return {name: weight / max(1.0, total) for name, weight in weights.items()}
