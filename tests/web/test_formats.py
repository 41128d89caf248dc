"""How values are written for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.web import formats

MINUS = "\N{MINUS SIGN}"


def test_numbers_follow_the_language() -> None:
    """Indonesian groups by dots, English by commas, and a minus is a real minus."""
    assert formats.number(1_234_567) == "1.234.567"
    assert formats.number(1_234_567, "en") == "1,234,567"
    assert (formats.signed(20), formats.signed(0), formats.signed(-1)) == ("+20", "0", f"{MINUS}1")
    assert formats.rupiah(10_000) == "Rp10.000"
    assert formats.rupiah(-10_000, "en") == f"{MINUS}Rp10,000"


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 byte"),
        (999, "999 byte"),
        (1_000, "1 kB"),
        (1_482_113, "1,5 MB"),
        (25_000_000, "25 MB"),
        (7 * 10**12, "7.000 GB"),
    ],
)
def test_sizes_have_at_most_one_decimal(size_bytes: int, shown: str) -> None:
    """Sizes are decimal, short, and in the person's notation."""
    assert formats.size(size_bytes) == shown


@given(st.integers(min_value=0, max_value=10**15))
def test_every_size_is_short(size_bytes: int) -> None:
    """No size is written with more than eight digits and signs before its unit."""
    assert len(formats.size(size_bytes).split()[0]) <= 9


def test_months_have_their_names() -> None:
    """May is Mei in Indonesian and May in English; the clock has a dot in one and a colon in the other."""
    at = datetime(2026, 5, 31, 23, 5, tzinfo=UTC)
    assert formats.moment(at) == "1 Jun 2026 06.05 WIB"
    assert formats.moment(datetime(2026, 5, 1, tzinfo=UTC), "Asia/Jayapura") == "1 Mei 2026 09.00 WIT"
    assert formats.moment(datetime(2026, 5, 1, tzinfo=UTC), "Asia/Makassar", "en") == "1 May 2026, 08:00 WITA"


def test_a_time_without_a_zone_is_a_bug() -> None:
    """A naive time is never guessed at."""
    with pytest.raises(ValueError, match="zone"):
        formats.moment(datetime(2026, 5, 1))  # noqa: DTZ001
