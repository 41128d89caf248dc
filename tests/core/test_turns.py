"""The arithmetic of a waiting room, in simulated time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.turns import (
    COME_SHARE_MIN,
    LOOK_S_MAX,
    Mark,
    advanced,
    called_at,
    come_share_of,
    look_again_s,
    marked,
    rate_of,
    served_at,
    wait_of,
)


@given(
    st.integers(0, 10_000),
    st.floats(0, 0.99),
    st.integers(0, 20_000),
    st.floats(-1, 500),
    st.floats(0, 5),
    st.floats(0, 1),
)
def test_the_turn_never_goes_back_and_never_far_beyond_the_last(
    now: int, credit: float, last: int, admit: float, passed: float, share: float
) -> None:
    """Whatever the controller and the clock say; and no admission is saved up while nobody is there."""
    step = advanced(now, credit=credit, last_turn=last, admit_per_s=admit, passed_s=passed, come_share=share)
    lead = int(max(0.0, admit) / max(share, COME_SHARE_MIN) * 2)
    assert now <= step.now_serving <= max(now, last + lead)
    assert 0 <= step.credit < 1


def test_parts_of_a_person_are_carried_over() -> None:
    """At 0.3 a second thirty seconds call nine people."""
    now, credit = 0, 0.0
    for _ in range(30):
        step = advanced(now, credit=credit, last_turn=1000, admit_per_s=0.3, passed_s=1, come_share=1)
        now, credit = step.now_serving, step.credit
    assert now in {8, 9}


def test_the_line_moves_on_over_those_who_do_not_come() -> None:
    """When half of the called come, twice as many are called."""
    step = advanced(0, credit=0, last_turn=10_000, admit_per_s=100, passed_s=1, come_share=0.5)
    assert 200 == step.now_serving


def test_newcomers_are_there_however_few_came_of_those_before() -> None:
    """Where nobody waits the turn runs ahead of the last number by no more than if one in five came."""
    step = advanced(100, credit=0, last_turn=100, admit_per_s=25, passed_s=5, come_share=COME_SHARE_MIN)
    assert 100 + 2 * 25 * 5 == step.now_serving


def test_few_called_say_little_about_how_many_come() -> None:
    """The share leans on what it was, and is never so small that a flood would be called."""
    assert come_share_of(2, 0) > 0.9
    assert 0.5 == pytest.approx(come_share_of(10_000, 5_000), abs=0.01)
    assert COME_SHARE_MIN == come_share_of(1_000_000, 0)


def history(rate: float, until_s: int) -> list[Mark]:
    """The marks of a line that moves at one rate."""
    marks: list[Mark] = []
    for second in range(until_s + 1):
        marks = marked(marks, float(second), int(second * rate), keep_s=1800)
    return marks


def test_an_even_line_has_a_narrow_estimate_that_holds() -> None:
    """At 40 a second, someone with 24,000 ahead waits ten minutes; the range is a fifth of the rate wider each way."""
    rate = rate_of(history(40, 1200), 1200, 48_000, expected=40, since_s=0)
    assert (500.0, 750.0) == pytest.approx(wait_of(24_000, rate))


def test_a_line_that_slows_down_widens_its_estimate() -> None:
    """The last minute and the last quarter of an hour differ, and the range says so."""
    marks = history(40, 1200)
    for second in range(1201, 1261):
        marks = marked(marks, float(second), 48_000 + (second - 1200) * 4, keep_s=1800)
    rate = rate_of(marks, 1260, 48_240, expected=4, since_s=0)
    assert rate.low < 4
    assert rate.high > 25
    assert rate.mid == pytest.approx(4, abs=0.5)


def test_what_was_called_while_nobody_waited_says_nothing_of_a_line() -> None:
    """One came a minute for an hour; then a line has moved at 8 a second for five minutes."""
    marks = history(1 / 60, 3_600)
    for second in range(3_601, 3_901):
        marks = marked(marks, float(second), 60 + (second - 3_600) * 8, keep_s=1800)
    rate = rate_of(marks, 3_900, 60 + 300 * 8, expected=8, since_s=3_600)
    assert (6.4, 8.0, 9.6) == pytest.approx((rate.low, rate.mid, rate.high))


@pytest.mark.parametrize(("age_s", "mid"), [(15, 10), (59, 10), (60, 20)])
def test_a_line_younger_than_a_minute_has_a_wide_range_and_the_middle_that_is_expected(age_s: int, mid: int) -> None:
    """A service that fills lets in twenty a second where ten are expected, and one came a minute for an hour."""
    began_s = 3_600
    marks = history(1 / 60, began_s)
    for second in range(1, age_s + 1):
        marks = marked(marks, float(began_s + second), 60 + second * 20, keep_s=1800)
    rate = rate_of(marks, began_s + age_s, 60 + age_s * 20, expected=10, since_s=began_s)
    assert mid == pytest.approx(rate.mid)
    assert (rate.low < 2) == (age_s < 60)


def test_nobody_can_tell_how_long_a_line_that_stands_takes() -> None:
    """A wait without an upper end is said to be one."""
    assert wait_of(10, rate_of(history(0, 900), 900, 0, expected=0, since_s=0)) == (0.0, None)
    assert wait_of(0, rate_of([], 0, 0, expected=0, since_s=0)) == (0.0, 0.0)


def test_when_a_turn_was_called_is_known_between_marks() -> None:
    """By the straight line; not before the first mark and not after the last."""
    marks = [(100.0, 10), (110.0, 30)]
    assert 105.0 == called_at(marks, 20)
    assert called_at(marks, 5) is None
    assert called_at(marks, 31) is None
    assert (0, 10, 30) == (served_at(marks, 99), served_at(marks, 109), served_at(marks, 500))


def test_old_marks_are_dropped_but_the_one_that_reaches_back() -> None:
    """So a window of fifteen minutes always has its beginning."""
    marks = history(1, 4000)
    assert 1800 <= 4000 - marks[0][0] <= 1820
    assert len(marks) <= 183


@given(st.one_of(st.none(), st.floats(0, 1e7)), st.floats(0, 0.999))
def test_a_page_looks_again_within_ninety_seconds_and_not_at_once(wait_s: float | None, chance: float) -> None:
    """Whatever the wait."""
    assert 1.5 <= look_again_s(wait_s, chance) <= LOOK_S_MAX * 1.25
