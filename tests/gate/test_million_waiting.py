"""What it costs the origin that people wait does not depend on how many there are."""

from __future__ import annotations

import pytest
from million import POINTS, minute


@pytest.mark.parametrize("waiting", [20_000, 200_000, 1_000_000])
def test_requests_at_the_origin_are_flat(waiting: int) -> None:
    """As many as there are caches, once a second each, for twenty thousand as for a million."""
    seen = minute(waiting, seconds=20)
    assert POINTS * 0.8 <= seen.origin_per_s <= POINTS * 1.01
    assert seen.looks_per_s > 10 * seen.origin_per_s


def test_a_page_in_a_long_line_looks_about_once_a_minute() -> None:
    """So the crowd itself is bounded too: not a look a second for each."""
    assert 1_000_000 / 60 < minute(1_000_000, seconds=20).looks_per_s < 2 * 1_000_000 / 60
