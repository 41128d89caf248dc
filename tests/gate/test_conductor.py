"""The conductor: one line, one mover, a turn that never goes back, and a draw that nobody can steer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from prometheus_client import REGISTRY
from simulated_day import RETAIL, ROW, Day, later
from waiting_people import AT, SEED, Room

from emeterai.core.draw import commitment_of
from emeterai.gate import pace_store, room_store
from emeterai.gate.conductor import GRACE_S, STILL_S_MAX, Admission, step
from emeterai.gate.lanes import Lane
from emeterai.gate.now import NowFiles, NowServing, Reason
from emeterai.gate.room_store import Counts
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

WRITER = """
import itertools, sys
from pathlib import Path
import msgspec
sys.path.insert(0, sys.argv[2])
from waiting_people import OPEN
from emeterai.gate.now import NowFiles
files = NowFiles(Path(sys.argv[1]))
for turn in itertools.count():
    now = msgspec.structs.replace(OPEN, now_serving=turn, title="x" * (turn % 4096))
    files.write("retail", msgspec.json.encode(now))
"""


def test_a_quiet_lane_lets_everybody_walk_straight_in() -> None:
    """The turn runs a little ahead of the last number."""
    now = Day().run(30, per_s=0.2)
    assert (10, False) == (now.now_serving, now.pass_needed)


def test_after_a_quiet_night_a_crowd_is_let_in_at_the_pace_too() -> None:
    """Turns that nobody had were called and nobody came: that says nothing of those who come now."""
    day = Day()
    now = day.run(3_600, per_s=20)
    assert (10, 1.0) == (now.now_serving, day.row.come_share)
    now = day.run(10, per_s=20, arrivals=1_000)
    assert 300 >= now.now_serving


def test_a_crowd_is_let_in_at_the_controllers_pace() -> None:
    """And the estimate is what comes true."""
    day = Day()
    day.run(60, per_s=20, arrivals=400)
    now = day.run(600, per_s=20)
    assert 13_200 == pytest.approx(now.now_serving, rel=0.05)
    low_s, high_s = now.wait_of(now.last_number)
    left = now.last_number - now.now_serving
    assert high_s is None or low_s <= left / 20 <= high_s
    assert day.row.come_share > 0.95


def test_those_who_do_not_come_block_nobody() -> None:
    """When a third comes, about three times as many are called, so that as many come in as may."""
    day = Day(come_share=1 / 3)
    day.run(1, per_s=20, arrivals=500_000)
    day.run(900, per_s=20)
    before = day.came
    day.run(300, per_s=20)
    assert 20 * 300 == pytest.approx(day.came - before, rel=0.1)
    assert 0.3 < day.row.come_share < 0.45


def test_whoever_was_called_has_half_an_hour() -> None:
    """Then the turn is over; while the line is paused nobody's time runs."""
    day = Day()
    day.run(1, per_s=10, arrivals=100_000)
    first = day.run(100, per_s=10).now_serving
    assert 1 == day.now.grace_from
    day.run(GRACE_S, per_s=10)
    assert first - 160 <= day.now.grace_from <= first + 10
    grace, served = day.now.grace_from, day.now.now_serving
    day.lane = Lane(name="retail", title="Umum", paused=True)
    paused = day.run(3_600, per_s=10)
    assert ("paused", grace, served) == (paused.state, paused.grace_from, paused.now_serving)


def test_when_the_wait_grows_the_page_says_why() -> None:
    """In the controller's words, or that it is slower; not while nothing has changed."""
    day = Day()
    day.run(1, per_s=50, arrivals=200_000)
    assert day.run(700, per_s=50).why is None
    assert "slower" == (day.run(90, per_s=10).why or Reason("", "", "")).code
    told = Reason("sealing_slow", "Penyegelan lambat.", "Sealing is slow.")
    assert told == day.run(10, per_s=10, why=told).why
    assert day.run(2_000, per_s=10, why=told).why is None


def test_a_line_that_stands_for_a_moment_is_not_said_to_stand_for_ever() -> None:
    """While nobody can be let in for some seconds, pages are told what it will go on at, and look again in time."""
    counts = Counts(given=100, last_number=100)
    for usual_per_s, low_s in ((0.0, 416), (10.0, 8)):
        admission = Admission(0.2, pass_needed=True, usual_per_s=usual_per_s)
        _, now = step(later(ROW, 1.0), RETAIL, admission, counts, seed=SEED)
        assert low_s == int(now.wait_of(100)[0])


@pytest.mark.parametrize(("measured", "lever", "rests"), [(0, 4, 4), (3, 1, 3), (2, 0, 2)])
def test_what_rests_in_a_lane_is_told_there(measured: int, lever: int, rests: int) -> None:
    """As much as the service has measured, or as the operator has said for this lane."""
    lane = msgspec.structs.replace(RETAIL, rests_from=lever)
    _, now = step(later(ROW, 1.0), lane, Admission(1.0, pass_needed=False, brown_out=measured), Counts(), seed=SEED)
    assert rests == now.brown_out


def test_after_a_standstill_nobody_floods_in() -> None:
    """An hour without a conductor is not made up for at once."""
    day = Day()
    day.run(60, per_s=10, arrivals=1_000)
    before = day.now.now_serving
    row, now = step(later(day.row, 3_600), RETAIL, Admission(10, pass_needed=True), day.counts)
    assert now.now_serving - before <= 60
    assert row.now_serving == now.now_serving


@pytest.mark.parametrize("paused", [False, True])
def test_a_standstill_of_the_service_ends_nobodys_grace(paused: bool) -> None:
    """However long nobody moved the line: it goes on as after some seconds, if it was open, and else as it was left."""
    day = Day()
    day.run(GRACE_S + 100, per_s=10, arrivals=20)
    grace, rate = day.now.grace_from, day.now.turns_per_s
    assert grace > 1
    day.lane = msgspec.structs.replace(RETAIL, paused=paused)
    admission = Admission(10, pass_needed=True)
    row, late = step(later(day.row, 3_600), day.lane, admission, day.counts)
    _, soon = step(later(day.row, STILL_S_MAX), day.lane, admission, day.counts)
    assert (soon.grace_from, soon.now_serving) == (late.grace_from, late.now_serving)
    assert soon.turns_per_s == late.turns_per_s
    assert grace <= late.grace_from <= grace + (0 if paused else 160)
    day.row, day.lane = row, RETAIL
    on = day.run(60, per_s=10)
    assert late.grace_from <= on.grace_from <= late.grace_from + 800
    assert rate.low * 0.9 <= on.turns_per_s.low


@pytest.mark.parametrize("came", [0, 5_000])
def test_a_lane_that_was_open_before_its_draw_begins_anew_with_it(came: int) -> None:
    """What its turns ran ahead by ends nobody's turn, and who came before says nothing of those who are drawn."""
    day = Day()
    day.run(GRACE_S + 400, per_s=10)
    day.came = came
    assert day.now.grace_from > 1
    day.lane = msgspec.structs.replace(RETAIL, opens_at=day.row.at + timedelta(seconds=60))
    assert "before_opening" == day.run(30, per_s=10).state
    day.row = replace(day.row, next_number=100_001)
    day.run(30, per_s=10)
    assert (1, 100_000) == (day.now.grace_from, day.row.draw_count)
    assert 1.0 == day.row.come_share
    day.come_share = 0.0
    day.run(200, per_s=10)
    assert day.row.come_share < 0.5
    day.run(GRACE_S - 300, per_s=10)
    assert 1 == day.now.grace_from
    day.run(200, per_s=10)
    assert day.now.grace_from > 1


def test_the_draw_is_committed_before_and_revealed_after_opening() -> None:
    """The seed is kept from the first look on; the pool is closed in the moment of opening."""
    lane = Lane(name="retail", title="CPNS", opens_at=AT + timedelta(seconds=60))
    day = Day(lane)
    now = day.run(30, per_s=10, arrivals=40)
    assert ("before_opening", 0) == (now.state, now.now_serving)
    assert now.draw is not None
    assert (commitment_of(SEED), None, None) == (now.draw.commitment, now.draw.seed, now.draw.count)
    assert now.turn_of(7) is None
    day.row = replace(day.row, next_number=1_301)
    now = day.run(40, per_s=10)
    assert now.draw is not None
    assert (commitment_of(bytes.fromhex(now.draw.seed or "")), 1_300) == (now.draw.commitment, now.draw.count)
    assert list(range(1, 1_301)) == sorted(now.turn_of(number) or 0 for number in range(1, 1_301))
    assert 1_301 == now.turn_of(1_301)
    assert 0 < now.now_serving < 500
    day.row = replace(day.row, next_number=5_000)
    assert (day.run(5, per_s=10).draw or now.draw) == now.draw


def test_after_a_draw_people_wait_until_its_last_turn_has_come() -> None:
    """Its turns are for numbers, too, that were leased and given to nobody: 1,024 of them to 300 people."""
    row = replace(ROW, draw_seed=SEED, draw_count=1_024, now_serving=400)
    quiet, counts = Admission(1.0, pass_needed=False), Counts(given=300, last_number=300)
    _, now = step(later(row, 1.0), RETAIL, quiet, counts)
    assert (True, 300) == (now.pass_needed, now.last_number)
    _, now = step(later(replace(row, now_serving=1_030), 1.0), RETAIL, quiet, counts)
    assert not now.pass_needed


async def test_who_waits_after_a_draw_is_told_to_the_controller_and_the_operator(db: Database, tmp_path: Path) -> None:
    """Of all turns of the draw, those that have not come; without one, of the numbers that were given."""
    room = Room(db, tmp_path)
    room.per_s = 0.0
    await room.conductor.move()
    await room_store.write_counts(db, new_id(), [("retail", Counts(given=300, last_number=300), False)])
    await db.fetch("UPDATE gate.rooms SET now_serving = 250")
    assert [50] == [row["waiting"] for row in await pace_store.read_lines(db)]
    await db.fetch("UPDATE gate.rooms SET draw_seed = $1, draw_count = 1024, now_serving = 400, moved_at = now()", SEED)
    assert [624] == [row["waiting"] for row in await pace_store.read_lines(db)]
    await room.conductor.move()
    waiting = REGISTRY.get_sample_value("emeterai_gate_waiting", {"lane": "retail"})
    assert (300, 1_024 - room.now.now_serving) == (room.now.last_number, waiting)


def test_a_lane_that_is_postponed_after_its_draw_stands_still() -> None:
    """Nobody's turn comes before the new time, and the draw that everybody has seen holds."""
    day = Day(Lane(name="retail", title="CPNS", opens_at=AT + timedelta(seconds=10)))
    drawn = day.run(30, per_s=10, arrivals=40)
    day.lane = msgspec.structs.replace(day.lane, opens_at=AT + timedelta(seconds=90))
    stands = day.run(30, per_s=10)
    assert ("paused", drawn.now_serving, drawn.draw) == (stands.state, stands.now_serving, stands.draw)
    assert "open" == day.run(60, per_s=10).state


def test_a_lane_closes_at_its_time() -> None:
    """And the line stands."""
    day = Day(Lane(name="retail", title="CPNS", closes_at=AT + timedelta(seconds=30)))
    day.run(29, per_s=10, arrivals=100)
    served = day.now.now_serving
    assert ("closed", served) == ((now := day.run(30, per_s=10)).state, now.now_serving)


async def test_two_conductors_move_a_line_once(db: Database, tmp_path: Path) -> None:
    """One holds it; both machines have the file."""
    first, second = Room(db, tmp_path / "a"), Room(db, tmp_path / "b")
    for number in (first, second):
        await number.conductor.move()
    assert first.now == second.now
    began = first.now.updated_at
    await asyncio.sleep(1.1)
    await asyncio.gather(first.conductor.move(), second.conductor.move(), first.conductor.move())
    await second.conductor.move()
    moved_s = (second.now.updated_at - began).total_seconds()
    assert first.now.now_serving == second.now.now_serving <= 10 * moved_s + 1
    await db.fetch("UPDATE gate.rooms SET writer_until = now() - interval '1 s'")
    before = second.now.updated_at
    await second.conductor.move()
    assert second.now.updated_at > before


async def test_a_conductor_that_lost_its_line_writes_nothing(db: Database, tmp_path: Path) -> None:
    """It slept past its lease, and another has moved the line since."""
    room, sleeper = Room(db, tmp_path), new_id()
    rows = await room_store.claim_rooms(db, ["retail"], sleeper, lease_s=0.0)
    await room.conductor.move()
    before = room.now
    assert not await room_store.write_room(db, sleeper, replace(rows[0], now_serving=9_000), "{}")
    assert [("retail", msgspec.json.encode(before).decode())] == await room_store.read_published(db)


async def test_people_come_wait_and_enter(db: Database, tmp_path: Path) -> None:
    """Numbers, turns, passes and counts over a real database."""
    room = Room(db, tmp_path)
    room.per_s = 2.0
    await room.conductor.move()
    numbers = [await room.number() for _ in range(30)]
    await room.reception._look()
    await room.conductor.move()
    assert (30, True) == (room.now.last_number, room.now.pass_needed)
    assert room.now.now_serving < 30
    assert list(range(1, 31)) == numbers
    await room.reception.close()


async def test_the_row_refuses_a_turn_that_goes_back_and_another_seed(db: Database, tmp_path: Path) -> None:
    """Whatever writes it."""
    room = Room(db, tmp_path)
    await room.conductor.move()
    await db.fetch("UPDATE gate.rooms SET now_serving = 50, draw_seed = $1", SEED)
    for change in ("now_serving = 49", "draw_seed = sha256('x')", "draw_seed = NULL"):
        with pytest.raises(asyncpg.RaiseError):
            await db.fetch(f"UPDATE gate.rooms SET {change}")


async def test_a_lane_that_is_no_more_has_no_file(db: Database, tmp_path: Path) -> None:
    """Its room is closed."""
    room = Room(db, tmp_path)
    room.lanes["cpns-2026"] = Lane(name="cpns-2026", title="CPNS")
    await room.conductor.move()
    assert ["cpns-2026", "retail"] == NowFiles(tmp_path / "now").lanes()
    del room.lanes["cpns-2026"]
    await room.conductor.move()
    assert ["retail"] == NowFiles(tmp_path / "now").lanes()


def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    """Kill -9 at any moment, ten times; readers always find one that can be read, and the next writer tidies up."""
    files, seen = NowFiles(tmp_path), -1
    for _ in range(10):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)])
        until_s = time.monotonic() + 10
        turns = 0
        while turns < 50 and time.monotonic() < until_s:
            if files.path("retail").exists():
                now = msgspec.json.decode(files.path("retail").read_bytes(), type=NowServing)
                turns += now.now_serving != seen
                seen = now.now_serving
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert 50 == turns
        assert msgspec.json.decode(files.path("retail").read_bytes(), type=NowServing)
    files.clear()
    assert ["retail.json"] == [path.name for path in tmp_path.iterdir()]
