"""What stamps are worth that leave a quota in parts: together exactly what was paid for them, in whatever parts."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.ordering import Price
from emeterai.purchase.model import Source
from emeterai.purchase.paid_stamps import PaidStamps

NONE = PaidStamps(Source("midtrans", "a"), Decimal(0), "IDR")
SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=8)


def bought(quantity: int, duty_idr: int, fee_idr: int) -> PaidStamps:
    """The stamps of an order with this fee in all."""
    return NONE.with_more(quantity, Price(quantity * duty_idr, fee_idr))


@given(SIZES, st.integers(1, 20_000), st.integers(0, 10**6))
def test_parts_that_follow_one_another_are_the_whole(units: list[int], duty_idr: int, fee_idr: int) -> None:
    """However an order's stamps leave, all of its money is given for them in the end, to the rupiah, and never more."""
    stamps, whole = bought(sum(units), duty_idr, fee_idr), bought(sum(units), duty_idr, fee_idr).price
    for some in units:
        part = stamps.price_of(some)
        assert (some * duty_idr, 0) <= (part.duty_idr, part.fee_idr)
        stamps = stamps.without(some, part)
    assert (0, whole) == (stamps.left, stamps.gone_price)


@given(SIZES, SIZES, st.integers(0, 2_000), st.integers(0, 10_000))
def test_what_is_credited_in_between_changes_no_sum(
    units: list[int], credited: list[int], fee_idr: int, later_idr: int
) -> None:
    """Stamps of the same transaction at another price: what is given for all of them is what all of them cost."""
    stamps = bought(sum(units), 10_000, fee_idr)
    for place, some in enumerate(units):
        stamps = stamps.without(some, stamps.price_of(some))
        if place < len(credited):
            stamps = stamps.with_more(credited[place], Price(credited[place] * 10_000, later_idr))
    while stamps.left:
        some = min(stamps.left, 7)
        stamps = stamps.without(some, stamps.price_of(some))
    assert stamps.price == stamps.gone_price


@given(st.integers(1, 200), st.integers(0, 10**6), st.integers(0, 199), st.integers(0, 3 * 10**6))
def test_no_more_stamps_than_the_money_is_worth(quantity: int, fee_idr: int, gone: int, amount_idr: int) -> None:
    """The most of those that are left that cost no more, and with one more it would be too little."""
    whole = bought(quantity, 10_000, fee_idr)
    stamps = whole.without(min(gone, quantity), whole.price_of(min(gone, quantity)))
    units = stamps.units_within(amount_idr)
    assert 0 <= units <= stamps.left
    assert stamps.price_of(units).total_idr <= amount_idr
    assert units == stamps.left or stamps.price_of(units + 1).total_idr > amount_idr
