"""What it costs the origin that people wait does not depend on how many there are, but for those without a script."""

from __future__ import annotations

import pytest
from million import NO_SCRIPT, POINTS, minute

from emeterai.gate.free_road import PAGE_HELD_S, PAGES_MAX
from emeterai.gate.room_page import REFRESH_S_MIN

PAGES_PER_S = PAGES_MAX / PAGE_HELD_S


@pytest.mark.parametrize("waiting", [20_000, 200_000, 1_000_000])
def test_requests_at_the_origin_are_flat(waiting: int) -> None:
    """As many as there are caches, once a second each, for twenty thousand as for a million."""
    seen = minute(waiting, seconds=20)
    assert POINTS * 0.8 <= seen.origin_per_s <= POINTS * 1.01
    assert seen.looks_per_s > 10 * seen.origin_per_s


@pytest.mark.parametrize("waiting", [20_000, 200_000, 1_000_000])
def test_those_without_a_script_ask_the_origin_once_a_refresh_and_add_no_more(waiting: int) -> None:
    """One in five to seventy-five seconds each, and nearly all are made."""
    seen = minute(waiting, seconds=20)
    assert waiting * NO_SCRIPT / 75 < seen.pages_per_s < waiting * NO_SCRIPT / REFRESH_S_MIN
    assert 0.95 * seen.pages_per_s <= seen.made_per_s <= seen.pages_per_s


def test_however_many_have_no_script_so_many_pages_are_made() -> None:
    """The others are told when to come again, and do."""
    seen = minute(200_000, seconds=20, no_script=0.5)
    assert seen.pages_per_s > 2 * PAGES_PER_S
    assert 0.8 * PAGES_PER_S < seen.made_per_s <= PAGES_PER_S * 1.01


def test_a_page_in_a_long_line_looks_about_once_a_minute() -> None:
    """So the crowd itself is bounded too: not a look a second for each."""
    assert 1_000_000 / 60 < minute(1_000_000, seconds=20).looks_per_s < 2 * 1_000_000 / 60
