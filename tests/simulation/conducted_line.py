"""The simulated line with the service's own conductor, which does not know how many of those called will come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from simulated_line import Chain, SimulatedLine

from emeterai.core.pacing import Pace, Pacer
from emeterai.gate.conductor import Admission, step
from emeterai.gate.controller import WINDOW_MIN, WINDOW_START
from emeterai.gate.lanes import Lane
from emeterai.gate.room_store import Counts, RoomRow

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RETAIL = Lane(name="retail", title="Umum")


class ConductedLine(SimulatedLine):
    """`numbers` were given out before it began; of those called in a second the part `comes(second)` comes."""

    def __init__(self, seed: int, numbers: int, comes: Callable[[float], float], *, chain: Chain) -> None:
        pacer = Pacer(start=WINDOW_START, floor=WINDOW_MIN)
        super().__init__(seed, lambda _: 0.0, controller=pacer, chain=chain, comes=comes)
        self.waiting = numbers
        self.counts = Counts(given=numbers, last_number=numbers)
        self.row = RoomRow("retail", 1, 0, 0.0, AT, "[]", 1.0, None, None, AT)

    def call(self, second: int, pace: Pace) -> int:
        """So many turns are called; who came in is told a second later."""
        before = min(self.row.now_serving, self.counts.last_number)
        at = AT + timedelta(seconds=second)
        admission = Admission(pace.per_s, pass_needed=pace.pass_needed)
        self.row, _ = step(replace(self.row, moved_at=self.row.at, at=at), RETAIL, admission, self.counts)
        self.counts = replace(self.counts, came=self.came)
        return min(self.row.now_serving, self.counts.last_number) - before
