"""Large bodies on their way in to one web process: their places and their bytes, shared between the lanes.

What counts is what has come, not what is announced: who announces much and sends little holds little. Where it lies is
the application's affair (an upload in pieces: a megabyte in memory; a form's file: on the disk from a megabyte on; a
form's text: in memory), so this bounds what can be held, whatever is sent. A body that was let in goes on, and only new
ones are turned away while there is no room. What they come to by then is bounded all the same: a network that holds
half of it all by itself, and at twice the bound whoever holds more than the others, is told to come again in the
middle. Nobody waits for anybody, so nothing can stand still.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import ceil

from emeterai.core.admission import Slots, Work

PLACES_MAX = 1_000
BYTES_MAX = 1_000_000_000
"""A lane's share of it is let in on top of what others hold."""
PLACE_BYTES = BYTES_MAX // PLACES_MAX
"""A body counts as so much from its beginning, or as what it announces when that is less."""
STEP_BYTES = 262_144
"""What comes beyond that is counted in steps."""
_OVERFLOW_TIMES = 2


class Body:
    """One body that has its place until `end`."""

    __slots__ = ("_bodies", "_is_over", "_received_bytes", "held_bytes", "lane", "network")

    def __init__(self, bodies: Bodies, lane: str, network: str, held_bytes: float) -> None:
        self._bodies, self.lane, self.network = bodies, lane, network
        self.held_bytes = held_bytes
        """As how much it counts."""
        self._received_bytes = 0
        self._is_over = False

    def came(self, size_bytes: int) -> bool:
        """Some more of it is here; answers whether it may go on."""
        self._received_bytes += size_bytes
        more_bytes = self._received_bytes - self.held_bytes
        return more_bytes <= 0 or self._bodies.grown(self, STEP_BYTES * ceil(more_bytes / STEP_BYTES))

    def end(self) -> None:
        """It is here whole, or its sender has gone. To say so twice changes nothing."""
        if not self._is_over:
            self._is_over = True
            self._bodies.ended(self)


class Bodies:
    """All of them. `slots` are their places, of which nobody waits for one."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.held_bytes = 0.0
        """As how much they count together."""
        self._of_lane: defaultdict[str, float] = defaultdict(float)
        self._of_network: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._places: Counter[tuple[str, str]] = Counter()

    def begin(self, lane: str, work: Work, *, announced_bytes: float, network: str = "") -> Body | None:
        """The place of a body that comes from a network, or None when there is no room. An empty network has no bound
        of its own.

        A lane that holds less than its share has room, though others have borrowed all. Once more than half of what a
        lane may hold is in use, a network that holds a quarter of it gets no more: many honest people may stand behind
        one address, but half of the room is for everybody else.
        """
        held_bytes = min(announced_bytes, PLACE_BYTES)
        if not self._is_owed(lane) and self.held_bytes + held_bytes > BYTES_MAX:
            return None
        if (network and self._has_enough(lane, network)) or not self.slots.ask_now(lane, work):
            return None
        body = Body(self, lane, network, held_bytes)
        self._places[lane, network] += 1
        self._count(body, held_bytes)
        return body

    def grown(self, body: Body, more_bytes: float) -> bool:
        """A body counts as so much more from now on; answers whether it may go on."""
        body.held_bytes += more_bytes
        self._count(body, more_bytes)
        if self.held_bytes <= BYTES_MAX or self._is_owed(body.lane):
            return True
        if body.network and self._of_network[body.lane, body.network] > BYTES_MAX / 2:
            return False
        return self.held_bytes <= _OVERFLOW_TIMES * BYTES_MAX or body.held_bytes * self.slots.used <= self.held_bytes

    def ended(self, body: Body) -> None:
        """A body holds nothing any more."""
        key = body.lane, body.network
        self._count(body, -body.held_bytes)
        self._places[key] -= 1
        if not self._places[key]:
            del self._places[key], self._of_network[key]
        self.slots.end(body.lane)

    def _count(self, body: Body, more_bytes: float) -> None:
        self.held_bytes += more_bytes
        self._of_lane[body.lane] += more_bytes
        self._of_network[body.lane, body.network] += more_bytes

    def _guaranteed_bytes(self, lane: str) -> float:
        return BYTES_MAX * self.slots.guaranteed_to(lane) / self.slots.limit

    def _is_owed(self, lane: str) -> bool:
        return self._of_lane[lane] < self._guaranteed_bytes(lane)

    def _room_bytes(self, lane: str) -> float:
        """What a lane may hold now: what others do not, and its share at least."""
        others_bytes = self.held_bytes - self._of_lane[lane]
        return max(self._guaranteed_bytes(lane), BYTES_MAX - others_bytes)

    def _has_enough(self, lane: str, network: str) -> bool:
        slots, key = self.slots, (lane, network)
        used = slots.used_by(lane)
        room = max(slots.guaranteed_to(lane), slots.limit - (slots.used - used))
        return _is_too_much(used, self._places[key], room) or _is_too_much(
            self._of_lane[lane], self._of_network.get(key, 0.0), self._room_bytes(lane)
        )


def _is_too_much(of_lane: float, of_network: float, room: float) -> bool:
    return of_lane > room / 2 and of_network >= room / 4
