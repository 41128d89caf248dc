"""What follows from what a provider says: the table of moves, without any I/O."""

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
    order_move,
    order_number,
    order_price,
)


def seen(state: ChargeState, amount: str = "20000", currency: str = "IDR") -> Seen:
    """What a provider says."""
    return Seen(state, Decimal(amount), currency)


@given(state=st.sampled_from(OrderState), move=st.sampled_from(OrderMove))
def test_every_move_that_is_not_in_the_table_is_impossible(state: OrderState, move: OrderMove) -> None:
    """Only the table's moves lead anywhere, and none leads out of paid or quarantined."""
    assert ORDER_MOVES.get((state, move)) == after_order_move(state, move)
    if state in {OrderState.PAID, OrderState.QUARANTINED}:
        assert after_order_move(state, move) is None


@given(state=st.sampled_from([OrderState.AWAITING_PAYMENT, OrderState.EXPIRED, OrderState.CANCELLED]))
def test_settled_money_beats_every_local_state(state: OrderState) -> None:
    """An order that is not paid becomes paid when its money is there, even after its time."""
    move = order_move(seen(ChargeState.SETTLED), 20_000, overdue=True)
    assert move is not None
    assert OrderState.PAID is after_order_move(state, move)


@pytest.mark.parametrize(
    ("amount", "currency"), [("19999", "IDR"), ("20001", "IDR"), ("20000.01", "IDR"), ("20000", "USD"), ("0", "IDR")]
)
def test_money_that_differs_is_quarantined(amount: str, currency: str) -> None:
    """Another amount or another currency is never guessed at."""
    assert OrderMove.QUARANTINE is order_move(seen(ChargeState.SETTLED, amount, currency), 20_000, overdue=False)


def test_the_raw_text_of_an_amount_does_not_matter_only_its_value() -> None:
    """20000 and 20000.00 are the same money."""
    assert OrderMove.SETTLE is order_move(seen(ChargeState.SETTLED, "20000.00"), 20_000, overdue=False)


def test_without_money_only_the_deadline_or_the_provider_ends_an_order() -> None:
    """Pending moves nothing before the deadline; a silent provider changes nothing about that."""
    assert None is order_move(seen(ChargeState.PENDING), 20_000, overdue=False)
    assert None is order_move(None, 20_000, overdue=False)
    assert OrderMove.EXPIRE is order_move(None, 20_000, overdue=True)
    assert OrderMove.EXPIRE is order_move(seen(ChargeState.PENDING), 20_000, overdue=True)
    assert OrderMove.EXPIRE is order_move(seen(ChargeState.EXPIRED), 20_000, overdue=False)
    assert OrderMove.CANCEL is order_move(seen(ChargeState.CANCELLED), 20_000, overdue=True)


@given(quantity=st.integers(1, 10**6), fee_idr=st.integers(0, 10**5))
def test_tax_and_fee_are_separate_lines(quantity: int, fee_idr: int) -> None:
    """The tax is the tariff times the stamps, whatever the fee; the total is both."""
    price = order_price(quantity, duty_idr=10_000, fee_idr=fee_idr)
    assert 10_000 * quantity == price.duty_idr
    assert price.total_idr == price.duty_idr + quantity * fee_idr


def test_an_order_number_is_short_and_has_no_letters_that_look_like_digits() -> None:
    """Eight characters of the id's random part; never I, L, O or U."""
    assert "0000-0001" == order_number(UUID(int=1))
    assert "ZZZZ-ZZZZ" == order_number(UUID(int=2**128 - 1))
