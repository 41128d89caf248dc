"""What the events of a last day add up to: fairness, estimates, recovery, and each phase in numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from lastday_ears import Event, Heard
from lastday_stage import Day, Phase, Sample
from lastday_sums import line_of, rates, recovery_s, sums_of
from made_days import BEGAN_S, day_with, moment_ms, stamp_at, stamps_of

# ---- the line


def came_in(number: int, asked_s: float, answered_s: float, waited_s: float = 0.0, promised: bool = False) -> Event:
    """Somebody asked for a number, got it, and was called; what was promised is 10 to 20 s."""
    low_s, high_s = (10, 20) if promised else (None, None)
    called_ms = moment_ms(answered_s + waited_s)
    return [called_ms, number, moment_ms(asked_s), moment_ms(answered_s), low_s, high_s, called_ms, None]


def test_whoever_asks_after_another_was_answered_and_gets_a_lower_number_has_overtaken() -> None:
    """The one with the higher number had it a second before the other asked."""
    line = line_of(Heard({"in": [came_in(2, 5.0, 9.0), came_in(1, 10.0, 10.2), came_in(3, 11.0, 11.1)]}))
    assert (3, 1, 1_000.0) == (line.people, line.inversions, line.overtaken_ms)


def test_nobody_overtakes_somebody_who_was_not_answered_yet() -> None:
    """Who asks at the same time gets a number in any order."""
    line = line_of(Heard({"in": [came_in(2, 5.0, 9.0), came_in(1, 8.9, 9.5)]}))
    assert (2, 0, 0.0) == (line.people, line.inversions, line.overtaken_ms)


def test_a_wait_outside_its_promised_range_is_not_kept() -> None:
    """Of waits of 5, 12, 25 and 31 s, promised to be 10 to 20, the last is too long by more than a look's five seconds.

    The middle, 15 s, is off by a quarter, two fifths and more than half of those of ten seconds and longer.
    """
    waits_s = (5.0, 12.0, 25.0, 31.0)
    line = line_of(
        Heard({"in": [came_in(one, one - 0.5, one, wait_s, promised=True) for one, wait_s in enumerate(waits_s, 1)]})
    )
    assert (0.75, 0.4) == pytest.approx((line.kept, line.error))


def test_who_was_promised_nothing_says_nothing_of_promises() -> None:
    """No range, no error; it is still a place in line."""
    line = line_of(Heard({"in": [came_in(1, 1.0, 1.1, waited_s=500.0)]}))
    assert (1, 1.0, 0.0) == (line.people, line.kept, line.error)


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


def test_nine_of_ten_is_never_back() -> None:
    """95 % are wanted; units that were given back are no goodput."""
    given_back = [stamp_at(second + 0.5, "given_back") for second in range(60)]
    day = day_with([Phase("1 x", 1.0, 60.0, 1.0)], stamp=[*stamps_of([9] * 60), *given_back])
    assert recovery_s(day, BEGAN_S + 10, good_per_s=10.0, until_s=BEGAN_S + 60) is None


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
                "generator": 0.9 * at_s,
            },
            {"retail": {"waiting": 100 if at_s < 10 else 0}},
        )
        for at_s in range(20)
    ]
    day = day_with(
        [Phase("1 x", 1.0, 10.0, 5.0), Phase("2 x", 2.0, 10.0, 10.0)],
        samples,
        came=[[moment_ms(one / 5)] for one in range(50)] + [[moment_ms(11)]] * 20,
        stamp=[stamp_at(one / 10, took_ms=one + 1) for one in range(100)] + [stamp_at(5, "given_back", 9_999)],
        partner=[[moment_ms(3), 200, 201]] * 20 + [[moment_ms(3), 9_000, 503]] * 5,
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


def test_the_core_is_the_services_and_its_idleness_counts_while_somebody_waits() -> None:
    """The room and the crowd have the other core; a person costs what the room does for everybody too."""
    first, second = sums_of(small_day())
    assert (100.0, 0.2, 0.0) == (first.waiting, first.looks_per_s, second.looks_per_s)
    assert (0.5, 1.0) == pytest.approx((first.service_cpu, second.service_cpu))
    assert (9.0, 0.0) == (first.idle_s, second.idle_s)
    assert {} == first.person_cpu_ms
    assert {"web": 10_000.0, "room": 1_000.0} == pytest.approx(second.person_cpu_ms)
