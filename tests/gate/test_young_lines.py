"""What those are told who come to a line that has just begun, after hours without one: as if each were judged."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import msgspec
import pytest
from simulated_day import RETAIL, ROW, Day, later
from waiting_people import AT

from emeterai.gate.conductor import Admission, step
from emeterai.gate.now import ESTIMATE_TOLERANCE_S, NowServing, Turns
from emeterai.gate.room_store import Counts


class ToldLine:
    """A line of which everybody is told a wait in the second in which they come, and judged when they are called."""

    def __init__(self) -> None:
        self.day = Day()
        self.second = self.kept = self.broken = 0
        self._told: dict[int, tuple[int, float, float]] = {}

    def run(self, seconds: int, *, per_s: float, usual_per_s: float = 0.0, arrivals: int = 0) -> NowServing:
        """So many seconds at this admission."""
        for _ in range(seconds):
            given = self.day.counts.given
            now = self.day.run(1, per_s=per_s, usual_per_s=usual_per_s, arrivals=arrivals)
            self.second += 1
            for number in range(max(given, now.now_serving) + 1, given + arrivals + 1):
                low_s, high_s = now.wait_of(number)
                self._told[number] = self.second, low_s, inf if high_s is None else high_s
            for number in [one for one in self._told if one <= now.now_serving]:
                self._judge(*self._told.pop(number))
        return self.day.now

    def _judge(self, told_at: int, low_s: float, high_s: float) -> None:
        is_kept = low_s - ESTIMATE_TOLERANCE_S <= self.second - told_at <= high_s + ESTIMATE_TOLERANCE_S
        self.kept, self.broken = self.kept + is_kept, self.broken + (not is_kept)


@pytest.fixture
def line() -> ToldLine:
    """After an hour in which whoever came walked in."""
    found = ToldLine()
    found.run(3_600, per_s=20)
    return found


def test_a_minute_after_a_crowd_came_the_range_is_narrow_and_true(line: ToldLine) -> None:
    """Four hundred people who wait are called eight a second."""
    line.run(1, per_s=8, arrivals=400)
    now = line.run(60, per_s=8, arrivals=8)
    assert now.turns_per_s.high <= 2 * now.turns_per_s.low
    last, told_at = now.last_number, line.second
    low_s, high_s = now.wait_of(last)
    while line.day.now.now_serving < last:
        line.run(1, per_s=8)
    assert high_s is not None
    assert low_s <= line.second - told_at <= high_s


def test_a_pace_that_quickens_breaks_nobodys_promise(line: ToldLine) -> None:
    """Seven a second for forty seconds and then ten, where a full window lets in nine and a half."""
    line.run(1, per_s=7, usual_per_s=9.5, arrivals=300)
    line.run(39, per_s=7, usual_per_s=9.5, arrivals=9)
    line.run(200, per_s=10, usual_per_s=9.5, arrivals=9)
    line.run(60, per_s=10, usual_per_s=9.5)
    assert line.kept > 2_000
    assert 0 == line.broken


def test_a_line_that_empties_begins_anew_each_time() -> None:
    """Sixty come every quarter of a minute and are called in half of it; before, a line had crept for five minutes.
    What came true before makes each range wide, and breaks no promise.
    """
    line = ToldLine()
    line.run(1, per_s=2, arrivals=600)
    line.run(310, per_s=2)
    for _ in range(20):
        line.run(1, per_s=8, usual_per_s=8, arrivals=60)
        line.run(14, per_s=8, usual_per_s=8)
    assert line.kept > 1_400
    assert 0 == line.broken


def test_what_was_said_while_nobody_waited_makes_no_line_slower(line: ToldLine) -> None:
    """Whoever came walked in as fast as they may; those who wait now were never told that pace."""
    line.run(1, per_s=8, arrivals=4_000)
    assert {None} == {line.run(1, per_s=8).why for _ in range(400)}


def test_a_pause_takes_nothing_from_the_age_of_a_line(line: ToldLine) -> None:
    """What was called in the hour before it began does not count after ten minutes of standing either."""
    line.run(1, per_s=8, arrivals=4_000)
    line.run(100, per_s=8)
    line.day.lane = msgspec.structs.replace(RETAIL, paused=True)
    assert 0.0 == line.run(600, per_s=8).turns_per_s.low
    line.day.lane = RETAIL
    turns = line.run(1, per_s=8).turns_per_s
    assert (6.4, 8.0, 9.6) == pytest.approx((turns.low, turns.mid, turns.high), rel=0.02)


def test_a_line_goes_on_whose_record_does_not_say_when_it_began() -> None:
    """All that is on record counts."""
    marks = {"turns": [[AT.timestamp() - 59, 0]], "came": [], "told": [], "promise": None}
    row = replace(ROW, now_serving=470, marks=msgspec.json.encode(marks).decode())
    admission, counts = Admission(10.0, pass_needed=True), Counts(given=1_000, last_number=1_000)
    _, now = step(later(row, 1.0), RETAIL, admission, counts)
    assert (480, Turns(6.4, 8.0, 12.0)) == (now.now_serving, now.turns_per_s)
