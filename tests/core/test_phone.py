"""Phone numbers in one form; accounts' own tests say what is a phone number at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.phone import canonical_phone, indonesian_mobile


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("0811 123 456", "+62811123456"),
        ("812-3456-7890", "+6281234567890"),
        ("+62 (0)812 3456 78901", "+62812345678901"),
        ("(021) 555 1234", None),
        ("+65 9123 4567", None),
        ("0812 345 67", None),
        ("+628123456789012", None),
        ("", None),
    ],
)
def test_a_message_goes_to_indonesian_mobile_numbers(typed: str, expected: str | None) -> None:
    """Of nine to twelve digits after the country; not to landlines, and to nobody abroad."""
    assert expected == indonesian_mobile(typed)


@given(st.text("0123456789+-() ", max_size=40))
def test_what_is_canonical_stays_as_it_is(typed: str) -> None:
    """Typed again it is the same number."""
    phone = canonical_phone(typed)
    assert phone is None or phone == canonical_phone(phone)
    mobile = indonesian_mobile(typed)
    assert mobile is None or mobile == phone
