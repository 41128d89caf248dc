"""The states of an order: only the moves of the table exist, and settled money beats everything."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.ordering import (
    ORDER_MOVES,
    ChargeState,
    OrderMove,
    OrderState,
    Seen,
    after_order_move,
    channel_fee,
    order_move,
    order_number,
    order_price,
)

TOTAL_IDR = 20_000
POSSIBLE = {
    "awaiting_payment": {
        "settle": "paid",
        "expire": "expired",
        "cancel": "cancelled",
        "quarantine": "quarantined",
    },
    "expired": {"settle": "paid", "quarantine": "quarantined"},
    "cancelled": {"settle": "paid", "quarantine": "quarantined"},
}
"""The table once more, by hand: a change of the rules has to be meant twice."""


def seen(state: ChargeState, amount: str = "20000", currency: str = "IDR") -> Seen:
    """What a provider says."""
    return Seen(state, Decimal(amount), currency)


@pytest.mark.parametrize("state", OrderState)
@pytest.mark.parametrize("move", OrderMove)
def test_a_move_that_is_not_in_the_table_changes_nothing(state: OrderState, move: OrderMove) -> None:
    """All 20 pairs of a state and a move."""
    assert POSSIBLE.get(state, {}).get(move) == after_order_move(state, move)


def test_paid_and_quarantined_are_final() -> None:
    """Nothing leaves them by itself."""
    assert {OrderState.PAID, OrderState.QUARANTINED} == set(OrderState) - {state for state, _ in ORDER_MOVES}


@pytest.mark.parametrize("state", [OrderState.AWAITING_PAYMENT, OrderState.EXPIRED, OrderState.CANCELLED])
@pytest.mark.parametrize("overdue", [False, True])
def test_settled_money_beats_expired_and_cancelled(state: OrderState, *, overdue: bool) -> None:
    """Money that came becomes quota, whatever we believed of the order and however late it is."""
    move = order_move(seen(ChargeState.SETTLED), TOTAL_IDR, overdue=overdue)
    assert OrderMove.SETTLE is move
    assert OrderState.PAID is after_order_move(state, move)


@pytest.mark.parametrize(
    ("amount", "currency"), [("19999", "IDR"), ("20001", "IDR"), ("20000.01", "IDR"), ("20000", "USD"), ("1", "IDR")]
)
@pytest.mark.parametrize("overdue", [False, True])
def test_other_money_is_quarantined(amount: str, currency: str, *, overdue: bool) -> None:
    """Too little, too much, broken or foreign money is shown to staff, never guessed."""
    assert OrderMove.QUARANTINE is order_move(seen(ChargeState.SETTLED, amount, currency), TOTAL_IDR, overdue=overdue)


@pytest.mark.parametrize(
    ("said", "overdue", "expected"),
    [
        (None, False, None),
        (None, True, OrderMove.EXPIRE),
        (ChargeState.PENDING, False, None),
        (ChargeState.PENDING, True, OrderMove.EXPIRE),
        (ChargeState.EXPIRED, False, OrderMove.EXPIRE),
        (ChargeState.EXPIRED, True, OrderMove.EXPIRE),
        (ChargeState.CANCELLED, False, OrderMove.CANCEL),
        (ChargeState.CANCELLED, True, OrderMove.CANCEL),
    ],
)
def test_only_without_money_the_deadline_counts(
    said: ChargeState | None, *, overdue: bool, expected: OrderMove | None
) -> None:
    """A silent provider and a pending charge wait for the deadline; an ended charge does not."""
    assert expected is order_move(said and seen(said), TOTAL_IDR, overdue=overdue)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(["IDR", "idr", "USD"]), st.booleans())
def test_nothing_but_the_asked_amount_is_ever_paid(amount: Decimal, currency: str, overdue: bool) -> None:
    """An order is settled by exactly its total in rupiah."""
    move = order_move(Seen(ChargeState.SETTLED, amount, currency), TOTAL_IDR, overdue=overdue)
    assert (amount == TOTAL_IDR and currency == "IDR") == (move is OrderMove.SETTLE)


@given(st.integers(1, 1_000), st.integers(1, 100_000), st.integers(0, 100_000))
def test_tax_and_fee_are_separate_lines_of_the_price(quantity: int, duty_idr: int, fee_idr: int) -> None:
    """Each is the quantity times its own rate, and the buyer pays their sum."""
    price = order_price(quantity, duty_idr=duty_idr, fee_idr=fee_idr)
    assert (quantity * duty_idr, quantity * fee_idr) == (price.duty_idr, price.fee_idr)
    assert quantity * (duty_idr + fee_idr) == price.total_idr


@given(
    st.integers(1, 1_000),
    st.integers(1, 100_000),
    st.integers(0, 100_000),
    st.integers(0, 10**6),
    st.integers(0, 10**4),
)
def test_a_channel_s_fee_is_a_whole_part_of_the_fee_line(
    quantity: int, duty_idr: int, fee_idr: int, flat_idr: int, bps: int
) -> None:
    """The tax stays as it is, duty and fee are the total, and the share of a rupiah is rounded up, never by more."""
    plain = order_price(quantity, duty_idr=duty_idr, fee_idr=fee_idr)
    added_idr = channel_fee(plain, flat_idr=flat_idr, bps=bps)
    price = plain.with_fee(added_idr)
    assert (plain.duty_idr, price.duty_idr + price.fee_idr) == (price.duty_idr, price.total_idr)
    assert plain.total_idr + added_idr == price.total_idr
    assert 0 <= (added_idr - flat_idr) * 10_000 - plain.total_idr * bps < 10_000


@given(st.uuids())
def test_an_order_number_is_the_end_of_the_id(order_id: UUID) -> None:
    """Two groups of four in Crockford's base 32, which has no I, L, O or U."""
    number = order_number(order_id)
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    value = sum(digits.index(digit) * 32**power for power, digit in enumerate(reversed(number.replace("-", ""))))
    assert order_id.int % 2**40 == value
    assert "-" == number[4]
