"""A lane whose seconds are counted by the test: what the conductor makes of a day, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from waiting_people import AT, OPEN, SEED, changed

from emeterai.gate.conductor import Admission, step
from emeterai.gate.lanes import Lane
from emeterai.gate.now import NowServing, Reason
from emeterai.gate.room_store import Counts, RoomRow

RETAIL = Lane(name="retail", title="Umum")
ROW = RoomRow("retail", 1, 0, 0.0, AT, "[]", 1.0, None, None, AT)


def later(row: RoomRow, seconds: float) -> RoomRow:
    """The row as it is read that much later."""
    return replace(row, moved_at=row.at, at=row.at + timedelta(seconds=seconds))


class Day:
    """A simulated day of one lane: people come, are called, and a part of them comes in."""

    def __init__(self, lane: Lane = RETAIL, *, come_share: float = 1.0) -> None:
        self.lane, self.row, self.come_share = lane, ROW, come_share
        self.counts, self.came = Counts(), 0.0
        self.now: NowServing = changed(OPEN, now_serving=0)

    def run(
        self,
        seconds: int,
        *,
        per_s: float,
        usual_per_s: float = 0.0,
        arrivals: float = 0.0,
        why: Reason | None = None,
    ) -> NowServing:
        """So many seconds at this admission."""
        for _ in range(seconds):
            given = self.counts.given + int(arrivals)
            before = self.now.now_serving
            self.counts = replace(self.counts, given=given, last_number=given)
            needed = given > self.now.now_serving
            admission = Admission(per_s, pass_needed=needed, why=why, usual_per_s=usual_per_s)
            self.row, self.now = step(later(self.row, 1.0), self.lane, admission, self.counts, seed=SEED)
            self.came += max(0, min(self.now.now_serving, given) - min(before, given)) * self.come_share
            self.counts = replace(self.counts, came=int(self.came))
        return self.now
