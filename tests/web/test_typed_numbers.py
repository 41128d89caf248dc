"""A whole number is read as people type it, and never as another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.web.formats import number
from emeterai.web.forms import whole_number

DIGITS_MAX = 9


@given(st.integers(0, 10**DIGITS_MAX - 1))
def test_a_number_is_read_as_the_pages_write_it(value: int) -> None:
    """With dots or blanks between the thousands, in either language, and without them."""
    for typed in (str(value), number(value), number(value).replace(".", " "), f" {value} "):
        assert value == whole_number(typed, digits_max=DIGITS_MAX)


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", ".", "1.5", "2.0", "10.00", "50000.00", "1.0000", "10.00.000", "1000.000", "1.000 000", "1,000"),
        *("-1", "+1", "1e3", "0x10", "٣", "1.000.", ".000", "1 5", "seribu", "1" * (DIGITS_MAX + 1), "1.000\n000"),
    ],
)
def test_what_could_mean_another_number_is_none(typed: str) -> None:
    """One and a half is not fifteen, and fifty thousand with its cents not five million."""
    assert whole_number(typed, digits_max=DIGITS_MAX) is None
