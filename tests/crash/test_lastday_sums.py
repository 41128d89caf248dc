"""What the events of a last day add up to: fairness, estimates, recovery, and each phase in numbers."""

from __future__ import annotations

import os
import random
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from lastday_ears import Event
from lastday_pulse import beating, beats_of, unused_s
from lastday_stage import Day, Phase, Sample
from lastday_sums import Line, line_of, rates, recovery_s, sums_of
from made_days import BEGAN_S, day_with, moment_ms, stamp_at, stamps_of

# ---- the line


def came_in(
    number: int,
    asked_s: float,
    answered_s: float,
    waited_s: float = 0.0,
    promised: bool = False,
    turn: int | None = None,
) -> Event:
    """Somebody asked for a number, got it, and was called; what was promised is 10 to 20 s."""
    low_s, high_s = (10, 20) if promised else (None, None)
    called_ms = moment_ms(answered_s + waited_s)
    return [called_ms, number, moment_ms(asked_s), moment_ms(answered_s), low_s, high_s, called_ms, turn]


def line_with(*people: Event) -> Line:
    """The line of a day on which these came in."""
    return line_of(day_with([], (), **{"in": list(people)}))


def test_whoever_asks_after_another_was_answered_and_gets_a_lower_number_has_overtaken() -> None:
    """The one with the higher number had it a second before the other asked."""
    line = line_with(came_in(2, 5.0, 9.0), came_in(1, 10.0, 10.2), came_in(3, 11.0, 11.1))
    assert (3, 1, 1_000.0) == (line.people, line.inversions, line.overtaken_ms)


def test_nobody_overtakes_somebody_who_was_not_answered_yet() -> None:
    """Who asks at the same time gets a number in any order."""
    line = line_with(came_in(2, 5.0, 9.0), came_in(1, 8.9, 9.5))
    assert (2, 0, 0.0) == (line.people, line.inversions, line.overtaken_ms)


def in_turn(people: int) -> list[Event]:
    """Ten a second take a number and are called in its order half a minute later, each up to seven seconds late."""
    late = random.Random(7)
    return [came_in(one, one / 10, one / 10 + 0.1, 30 + late.uniform(0, 7)) for one in range(1, people + 1)]


def test_who_looks_every_few_seconds_is_let_in_out_of_turn_by_no_more_than_that() -> None:
    """Tens of thousands, called in turn and heard of it when they looked."""
    line = line_with(*in_turn(20_000))
    assert (0, 0, 0) == (line.inversions, line.out_of_turn, line.passed_by)


def test_whoever_is_let_in_long_before_a_lower_turn_that_waits_is_out_of_turn() -> None:
    """Two were called half a minute before somebody with a lower number, who asked first: no number tells of that."""
    first, late = came_in(1, 0.0, 0.1, 20.0), came_in(2, 1.0, 1.1, 60.0)
    others = [came_in(3, 2.0, 2.1, 28.0), came_in(4, 3.0, 3.1, 28.0), came_in(5, 4.0, 4.1, 57.5)]
    line = line_with(first, late, *others)
    assert (0, 2, 1) == (line.inversions, line.out_of_turn, line.passed_by)


def test_whoever_came_when_another_was_called_already_did_not_wait_with_it() -> None:
    """A turn of the draw is lower than its holder's number; one who takes a number afterwards is nobody's fellow."""
    drawn = [came_in(900, 0.0, 0.1, 60.0, turn=2), came_in(100, 0.0, 0.1, 20.0, turn=3)]
    assert (1, 1) == ((line := line_with(*drawn)).out_of_turn, line.passed_by)
    assert 0 == line_with(came_in(1, 30.0, 30.1, 60.0), came_in(2, 0.0, 0.1, 20.0)).out_of_turn


def test_a_wait_outside_its_promised_range_is_not_kept() -> None:
    """Of waits of 5, 12, 25 and 31 s, promised to be 10 to 20, the last is too long by more than a look's five seconds.

    The middle, 15 s, is off by a quarter, two fifths and more than half of those of ten seconds and longer.
    """
    waits_s = (5.0, 12.0, 25.0, 31.0)
    line = line_with(*(came_in(one, one - 0.5, one, wait_s, promised=True) for one, wait_s in enumerate(waits_s, 1)))
    assert (4, 0.75, 0.4) == pytest.approx((line.promised, line.kept, line.error))


def test_who_was_promised_nothing_says_nothing_of_promises() -> None:
    """No range, no error; it is still a place in line."""
    line = line_with(came_in(1, 1.0, 1.1, waited_s=500.0))
    assert (1, 0, 1.0, 0.0) == (line.people, line.promised, line.kept, line.error)


def test_who_is_in_line_when_the_day_ends_is_counted_as_such() -> None:
    """By the last look at the service before the end: afterwards people go home."""
    samples = [Sample(BEGAN_S + at_s, {}, {"retail": {"waiting": 100 - at_s}}) for at_s in (10, 59, 70)]
    samples.insert(2, Sample(BEGAN_S + 59.5, {}))
    assert 41 == line_of(day_with([Phase("1 x", 1.0, 60.0, 1.0)], samples)).still_in_line


# ---- the return


@pytest.mark.parametrize(
    ("stamps_per_s", "back_s"),
    [
        ([10] * 60, 0.0),
        ([10] * 10 + [5] * 10 + [10] * 40, 9.5),
        ([10] * 30 + [0] + [10] * 29, 0.0),
        ([10] * 30 + [0] * 5 + [10] * 25, 24.75),
    ],
    ids=["at once", "later", "a dip of a moment", "at once, and a hole afterwards"],
)
def test_goodput_is_back_when_it_stays(stamps_per_s: list[int], back_s: float) -> None:
    """From the tenth second on, of ten stamps a second: whatever follows counts too."""
    day = day_with([Phase("1 x", 1.0, 60.0, 1.0)], stamp=stamps_of(stamps_per_s))
    found = recovery_s(day, BEGAN_S + 10, good_per_s=10.0, until_s=BEGAN_S + 60)
    assert back_s == pytest.approx(found, abs=0.25)


def test_more_than_usual_afterwards_pays_for_no_slump() -> None:
    """Forty seconds at six of ten, then more than ten: the mean of all is 99 %, and it is back after the slump."""
    slump = [10] * 5 + [6] * 40 + [12] * 75
    day = day_with([Phase("1 x", 1.0, 120.0, 1.0)], stamp=stamps_of(slump))
    assert sum(slump) >= 0.95 * 10 * 120
    found = recovery_s(day, BEGAN_S, good_per_s=10.0, until_s=BEGAN_S + 120)
    assert found is not None
    assert 25 < found < 45


def test_nine_of_ten_is_never_back() -> None:
    """95 % are wanted; units that were given back are no goodput."""
    given_back = [stamp_at(second + 0.5, "given_back") for second in range(60)]
    day = day_with([Phase("1 x", 1.0, 60.0, 1.0)], stamp=[*stamps_of([9] * 60), *given_back])
    assert recovery_s(day, BEGAN_S + 10, good_per_s=10.0, until_s=BEGAN_S + 60) is None


def by_chance(per_s: float, seconds: int, chance: random.Random) -> list[Event]:
    """Stamps that are sealed independently of each other, so many a second on average."""
    found, at_s = [], chance.expovariate(per_s)
    while at_s < seconds:
        found.append(stamp_at(at_s))
        at_s += chance.expovariate(per_s)
    return found


@pytest.mark.parametrize(
    "stamps_per_s",
    [
        [8] * 3 + [21] * 6 + [8] * 10 + [5, 3, 1, 0, 1, 2, 4, 4, 4] + [8] * 7,
        [16] * 12 + [8] * 8 + [2] * 9 + [8] * 6,
        [24] * 10 + [6] * 25,
    ],
    ids=["a burst and then a hole", "a long burst and then a hole", "a burst and then three quarters"],
)
def test_no_backlog_pays_for_a_hole(stamps_per_s: list[int]) -> None:
    """The mean of all of it is what is usual, 8 a second, and it is not back: neither at once nor for good."""
    day = day_with([Phase("1 x", 1.0, 35.0, 1.0)], stamp=stamps_of(stamps_per_s))
    assert sum(stamps_per_s) >= 0.95 * 8 * 35
    assert recovery_s(day, BEGAN_S, good_per_s=8.0, until_s=BEGAN_S + 35) is None


@pytest.mark.parametrize(("per_s", "late_max"), [(8.0, 60), (25.0, 20)])
def test_chance_alone_seldom_makes_a_return_late(per_s: float, late_max: int) -> None:
    """Of 300 times in which nothing ever was away, 35 s each: so many, at the most, look later than five seconds, most
    look immediate, and not one in sixteen is said not to return.
    """
    found = []
    for seed in range(300):
        day = day_with([Phase("1 x", 1.0, 35.0, 1.0)], stamp=by_chance(per_s, 35, random.Random(seed)))
        found.append(recovery_s(day, BEGAN_S, good_per_s=per_s, until_s=BEGAN_S + 35))
    assert found.count(None) <= 18
    assert sum(back_s is None or back_s > 5 for back_s in found) <= late_max
    assert found.count(0.0) > 150


# ---- the sums


def asked(at_s: float, kind: str, status: int, took_ms: float, name: str = "it") -> Event:
    """A request of somebody, and its answer."""
    return [moment_ms(at_s), kind, name, status, took_ms, 1]


def small_day() -> Day:
    """Twenty seconds: ten with the core half used and a hundred in line, ten with the core full and nobody in line."""
    samples = [
        Sample(
            BEGAN_S + at_s,
            {
                "web": 0.5 * min(at_s, 10) + max(0, at_s - 10),
                "room": 0.1 * at_s,
                "sandbox": 0.2 * at_s,
                "generator": 0.9 * at_s,
            },
            {"retail": {"waiting": 100 if at_s < 10 else 0}},
            {"idle": 0.3 * at_s, "was taken away": 0.2 * at_s},
        )
        for at_s in range(20)
    ]
    day = day_with(
        [Phase("1 x", 1.0, 10.0, 5.0), Phase("2 x", 2.0, 10.0, 10.0)],
        samples,
        came=[[moment_ms(one / 5)] for one in range(50)] + [[moment_ms(11)]] * 20,
        stamp=[stamp_at(one / 10, took_ms=one + 1) for one in range(100)] + [stamp_at(5, "given_back", 9_999)],
        partner=[
            *[[moment_ms(3), 200, 201, "", "sealed"]] * 20,
            *[[moment_ms(3), 9_000, 201, "", "given_back"]] * 2,
            *[[moment_ms(3), 9_000, 503, None, None]] * 3,
        ],
        r=[
            *[asked(1, "finish", 200, 10)] * 4,
            *[*[asked(2, "buy", 201, 10)] * 3, asked(2, "buy", 503, 7_000)],
            *[asked(3, "browse", 200, 20), asked(3, "browse", 503, 7_000)],
            *[asked(4, "browse", 503, 7_000, name="front page")] * 9,
        ],
        out=[[moment_ms(15), 10_000, 1, "done", 1], [moment_ms(12), 9_000, 0, "gone", 2]],
        late=[[moment_ms(1), one] for one in range(100)],
    )
    day.heard.counts[int(BEGAN_S) + 4, "look", 200] = 200
    return day


def test_rates_are_of_the_phase_in_which_things_happen() -> None:
    """A stay counts in both phases in which it lies; a stamp that was given back is none; the partner's are."""
    first, second = sums_of(small_day())
    assert (5.0, 2.0) == (first.came_per_s, second.came_per_s)
    assert (12.0, 0.0) == (first.stamps_per_s, second.stamps_per_s)
    assert (0.0, 0.1) == (first.done_per_s, second.done_per_s)
    assert (0.05, 0.05) == pytest.approx((first.stays_per_s, second.stays_per_s))
    assert [10.0] * 10 + [0.0] * 11 == rates(small_day())


def test_spreads_are_of_what_was_served() -> None:
    """What was refused or given back took long, and is not in them."""
    first, second = sums_of(small_day())
    assert (51, 100, 100) == first.stamp_ms
    assert (10, 20, 20) == first.inside_ms
    assert (200, 200, 200) == first.partner_ms
    assert (0, 0, 0) == second.stamp_ms
    assert 99 == first.late_ms


def test_classes_are_parts_of_the_requests_of_those_inside() -> None:
    """Nobody needs to be inside for the front page."""
    first, second = sums_of(small_day())
    assert {"finish": 1.0, "buy": 0.75, "browse": 0.5} == first.classes
    assert {"finish": 1.0, "buy": 1.0, "browse": 1.0} == second.classes
    assert 0.8 == first.partner_ok


def test_what_of_finish_was_not_served_is_named() -> None:
    """By request and status; what of the other classes was refused is theirs to lose."""
    day = small_day()
    day.heard.events["r"] += [asked(1, "finish", 503, 9, name="stamp")] * 2 + [asked(11, "finish", 0, 9, name="follow")]
    first, second = sums_of(day)
    assert {("stamp", 503): 2} == first.refused
    assert {("follow", 0): 1} == second.refused


def test_a_beat_is_of_the_phase_in_which_it_was() -> None:
    """The core was slower in the second one; where nobody looked, nothing is known."""
    day = small_day()
    assert [0.0, 0.0] == [one.beat_ms for one in sums_of(day)]
    day.beats = [(BEGAN_S - 1, 9.0), (BEGAN_S + 1, 2.0), (BEGAN_S + 2, 4.0), (BEGAN_S + 10, 5.0)]
    assert [3.0, 5.0] == [one.beat_ms for one in sums_of(day)]


def test_the_pulse_of_a_core_is_taken_while_something_runs(tmp_path: Path) -> None:
    """A beat that was being written when it ended is none."""
    with beating(tmp_path / "beats", nullcontext):
        until_s = time.monotonic() + 20
        while (tmp_path / "beats").read_bytes().count(b"\n") < 3:
            assert time.monotonic() < until_s
            time.sleep(0.05)
    beats = beats_of(tmp_path / "beats")
    assert len(beats) >= 3
    assert all(took_ms > 0 and abs(at_s - time.time()) < 60 for at_s, took_ms in beats)
    (tmp_path / "beats").write_text("17.250 2.5\n17.5")
    assert [(17.25, 2.5)] == beats_of(tmp_path / "beats")


def test_a_core_says_for_how_long_nobody_used_it() -> None:
    """Each core for itself, and more with each second; of a core that there is not, nothing."""
    cores = sorted(os.sched_getaffinity(0))
    before = unused_s(cores)
    assert {"idle", "waited for a disk", "was taken away"} == set(before)
    assert before["idle"] == pytest.approx(sum(unused_s({core})["idle"] for core in cores), abs=5)
    assert 0 < before["idle"] <= unused_s(cores)["idle"]
    assert {0.0} == set(unused_s({4_096}).values())


def test_the_core_is_the_services_and_its_idleness_counts_while_somebody_waits() -> None:
    """The room, the bank and the crowd have the other core; a person costs what the room does for everybody too."""
    first, second = sums_of(small_day())
    assert (100.0, 0.2, 0.0) == (first.waiting, first.looks_per_s, second.looks_per_s)
    assert (0.5, 1.0) == pytest.approx((first.service_cpu, second.service_cpu))
    assert (9.0, 0.0) == (first.idle_s, second.idle_s)
    assert {"idle": 2.7, "was taken away": 1.8} == pytest.approx(first.unused_s)
    assert {"idle": 0.0, "was taken away": 0.0} == second.unused_s
    assert {} == first.person_cpu_ms
    assert {"web": 10_000.0, "room": 1_000.0, "sandbox": 2_000.0} == pytest.approx(second.person_cpu_ms)
