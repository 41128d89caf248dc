"""The planner's arithmetic: the crowd on record, the line, the speed that is needed, the last useful moment."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emeterai.core.planning import Campaign, arrivals_of, busiest_per_s, last_useful_step, line_of, speed_needed

DAY = 1_440
SMALL = st.builds(Campaign, st.floats(10, 1e6), st.floats(0.5, 5), st.floats(0.2, 4), st.floats(1, 24))


def test_the_shape_is_that_of_the_campaign_on_record() -> None:
    """CPNS 2024: 57 % in the last four days, 27 % before 6.3 days to the end, 18 to 27 a second on the worst days,
    51 to 96 in the busiest hour (domain.md).
    """
    arrivals = arrivals_of(Campaign(3.57e6, 2.5))
    assert 3.57e6 * 2.5 == pytest.approx(sum(arrivals))
    assert 0.57 == pytest.approx(sum(arrivals[-4 * DAY :]) / sum(arrivals), abs=0.05)
    assert 0.73 == pytest.approx(sum(arrivals[-int(6.3 * DAY) :]) / sum(arrivals), abs=0.05)
    assert 18 <= busiest_per_s(arrivals, DAY) <= 28
    assert 51 <= busiest_per_s(arrivals, 60) <= 96


def test_a_line_by_hand() -> None:
    """Two minutes of 120 at one a second: 60 wait after the first, 120 after the second, none is left in the end."""
    seen = line_of([120.0, 120.0, 0.0, 0.0], 1.0)
    assert [60.0, 120.0, 60.0, 0.0] == list(seen.waits_s)
    assert (120.0, 1, 120.0, 0.0) == (seen.wait_s_max, seen.longest_at, seen.waiting_max, seen.left)


def test_the_last_useful_moment_by_hand() -> None:
    """120 in the first of four minutes: one in two seconds is enough; after none, two a second for the last minute."""
    assert 4 == last_useful_step([120.0, 0.0, 0.0, 0.0], 0.5, 2.0)
    assert 3 == last_useful_step([120.0, 0.0, 0.0, 0.0], 0.0, 2.0)
    assert None is last_useful_step([0.0, 0.0, 0.0, 120.0], 0.0, 1.0)


@settings(deadline=None, max_examples=30)
@given(SMALL, st.floats(0, 7_200))
def test_the_speed_that_is_needed_is_enough_and_no_more(campaign: Campaign, wait_s_max: float) -> None:
    """Nobody waits longer and nobody is left; at one percent less somebody does or is."""
    arrivals = arrivals_of(campaign)
    per_s = speed_needed(arrivals, wait_s_max=wait_s_max)
    seen, slower = line_of(arrivals, per_s), line_of(arrivals, 0.99 * per_s)
    assert seen.wait_s_max <= wait_s_max + 1e-6
    assert seen.left < 1
    assert slower.wait_s_max > wait_s_max or slower.left >= 1 or seen.left > 0.5


@settings(deadline=None, max_examples=30)
@given(SMALL, st.floats(0.2, 0.95))
def test_the_last_useful_moment_is_the_last(campaign: Campaign, share: float) -> None:
    """At that moment everybody is served; a minute later somebody is not."""
    arrivals = arrivals_of(campaign)
    per_s = speed_needed(arrivals, wait_s_max=600)
    last = last_useful_step(arrivals, share * per_s, per_s)
    assert last is not None
    assert line_of(arrivals, per_s, until=last, before_per_s=share * per_s).left < 1
    if last < len(arrivals):
        assert line_of(arrivals, per_s, until=last + 1, before_per_s=share * per_s).left >= 1
