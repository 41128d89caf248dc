"""Who was drawn is judged too: by the first range that everybody was told after the draw."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from simulated_day import Day
from waiting_people import AT, DRAWN, OPEN, SECRET, Room, changed, publish

from emeterai.gate import room_store
from emeterai.gate.lanes import Lane
from emeterai.gate.now import ESTIMATE_TOLERANCE_S, NowServing, Promise, Turns
from emeterai.gate.reception import Reception
from emeterai.gate.tally import Tally
from emeterai.gate.tickets import Ticket
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

PROMISE = Promise(AT, 10, Turns(0.5, 0.8, 1.0))
TOLD = changed(OPEN, draw=changed(DRAWN, promise=PROMISE), now_serving=50)
NUMBER = {TOLD.turn_of(number): number for number in range(1, 51)}


def judged(tally: Tally, ticket: Ticket, now: NowServing, waited_s: float, *, lately: bool = True) -> tuple[int, int]:
    """So many waits were promised and kept in all, once this one has come in so long after the draw."""
    tally.came(ticket, now, now_s=AT.timestamp() + waited_s, called_lately=lately)
    counts = tally._changing("retail")
    return counts.promised, counts.kept


def drawn(turn: int) -> Ticket:
    """The ticket of whoever was drawn to this turn, a day before; it promises nothing."""
    return Ticket("retail", NUMBER[turn], int(AT.timestamp() - 86_400) * 1000)


def test_who_was_drawn_is_judged_by_what_the_draw_promised() -> None:
    """From the draw on, not from when the number was taken: turn 40 was 30 turns away, 30 to 60 seconds."""
    assert (AT.timestamp(), 30.0, 60.0) == TOLD.promised_at_draw(NUMBER[40])
    for waited_s, kept in ((30 - 6, 0), (30 - 4, 1), (45, 1), (60 + 4, 1), (60 + 6, 0)):
        tally = Tally(new_id())
        assert (1, kept) == judged(tally, drawn(40), TOLD, waited_s)
        assert waited_s - 45 == tally._changing("retail").late_s
    assert 5 == ESTIMATE_TOLERANCE_S


def test_who_was_promised_nothing_is_not_judged() -> None:
    """Who was called in the moment of the draw, who comes long after the call, whose number came after the draw and
    tells no wait, and whoever was drawn before anybody could be told anything.
    """
    tally = Tally(new_id())
    assert (0, 0) == judged(tally, drawn(10), TOLD, 5)
    assert (0, 0) == judged(tally, drawn(40), TOLD, 45, lately=False)
    assert (0, 0) == judged(tally, Ticket("retail", 60, 0), TOLD, 45)
    assert (0, 0) == judged(tally, drawn(41), changed(OPEN, draw=DRAWN), 45)
    assert (0, 0) == judged(tally, Ticket("retail", 70, 0), OPEN, 45)
    later = Ticket("retail", 61, int(AT.timestamp()) * 1000, low_s=10, high_s=20)
    assert (1, 1) == judged(tally, later, TOLD, 15)


def test_the_first_measured_range_after_the_draw_is_kept_for_good() -> None:
    """Through pauses, a slower line, and another conductor: all that it knows is in the row."""
    lane = Lane(name="retail", title="Umum", opens_at=AT + timedelta(seconds=30))
    day = Day(lane)
    day.run(1, per_s=0.0, arrivals=5_000)
    day.row = replace(day.row, next_number=5_001)
    before = day.run(28, per_s=0.0).draw
    assert before is not None
    assert (None, None) == (before.count, before.promise)
    untold = day.run(3, per_s=0.0).draw
    assert untold is not None
    assert (5_000, None) == (untold.count, untold.promise)
    filling = day.run(60, per_s=20).draw
    assert filling is not None
    assert filling.promise is None  # so fast an empty service fills
    now = day.run(1, per_s=20)
    assert now.draw is not None
    promise = now.draw.promise
    assert Promise(now.updated_at, now.now_serving, now.turns_per_s) == promise
    day.run(100, per_s=5)
    day.lane = msgspec.structs.replace(lane, paused=True)
    day.run(200, per_s=5)
    day.lane = lane
    now = day.run(600, per_s=5)
    assert now.turns_per_s.mid < 10
    assert now.draw is not None
    assert promise == now.draw.promise


def test_a_lane_without_a_draw_promises_nothing_by_one() -> None:
    """Its numbers carry what was told with them."""
    now = Day().run(30, per_s=10, arrivals=40)
    assert now.draw is None
    assert now.promised_at_draw(7) is None


async def test_who_was_drawn_and_comes_in_counts_in_the_published_error(db: Database, tmp_path: Path) -> None:
    """From the ticket through the counts of the web process to the file of the next second, with the tolerance."""
    reception = Reception(db, tmp_path, SECRET, clock_s=lambda: AT.timestamp() + 45.0)
    publish(tmp_path, changed(TOLD, now_serving=41))
    for turn in (40, 41):
        await reception.enter("retail", account_id=None, shown=reception.press.sign(drawn(turn)))
    await reception.close()
    counts = (await room_store.read_counts(db))["retail"]
    assert (2, 2, 2) == (counts.came, counts.promised, counts.kept)
    room = Room(db, tmp_path)
    await room.conductor.move()
    error = room.now.estimate_error
    assert error is not None
    assert (2, 1.0, 5.0) == (error.people, error.within, error.tolerance_s)
    assert -0.8 == pytest.approx(error.mean_s, abs=0.1)
