"""The states of a return: only the moves of the table exist, and what the provider has returned is returned."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.ordering import ORDER_MOVES, ChargeState, OrderState, Price, Seen
from emeterai.core.returning import (
    RETURN_MOVES,
    RefundState,
    ReturnMove,
    ReturnState,
    after_return_move,
    excess_idr,
    refund_move,
    units_for,
)

DIAGRAM = Path(__file__).parents[2] / "docs" / "money.md"
POSSIBLE = {
    "undecided": {"owe": "owed", "credit": "credited", "confirm": "returned"},
    "owed": {"ask": "asked", "confirm": "returned", "give_up": "needs_care"},
    "asked": {"confirm": "returned", "give_up": "needs_care"},
    "needs_care": {"owe": "owed", "confirm": "returned"},
}
"""The table once more, by hand: a change of the rules has to be meant twice."""


@pytest.mark.parametrize("state", ReturnState)
@pytest.mark.parametrize("move", ReturnMove)
def test_a_move_that_is_not_in_the_table_changes_nothing(state: ReturnState, move: ReturnMove) -> None:
    """All pairs of a state and a move."""
    assert POSSIBLE.get(state, {}).get(move) == after_return_move(state, move)


def test_returned_and_credited_are_final() -> None:
    """Money that is gone, or became quota, does not go back a second time."""
    assert {ReturnState.RETURNED, ReturnState.CREDITED} == set(ReturnState) - {state for state, _ in RETURN_MOVES}


def test_every_open_state_can_still_end_with_the_money_returned() -> None:
    """Nothing is a dead end: what the provider confirms is returned from wherever it was."""
    for state in set(ReturnState) - {ReturnState.RETURNED, ReturnState.CREDITED}:
        assert ReturnState.RETURNED is after_return_move(state, ReturnMove.CONFIRM)


def test_only_an_answer_moves_a_return() -> None:
    """Silence and patience are no answer."""
    expected = {"unknown": None, "pending": None, "done": "confirm", "declined": "give_up", "impossible": "give_up"}
    assert expected == {said.value: refund_move(said) for said in RefundState}


@given(st.integers(1, 1_000), st.integers(1, 100_000), st.integers(0, 100_000), st.integers(0, 10**9))
def test_money_pays_for_whole_stamps_or_for_none(quantity: int, duty: int, fee: int, amount: int) -> None:
    """Exactly so many times the price of one, and never a rounded number."""
    price = Price(quantity * duty, quantity * fee)
    units = units_for(amount, price, quantity=quantity)
    if units is None:
        assert amount == 0 or amount % (duty + fee) != 0
    else:
        assert amount == units * (duty + fee) == price.part(units, of=quantity).total_idr


@given(st.integers(1, 1_000), st.integers(1, 100_000), st.integers(0, 10**6), st.integers(1, 2_000))
def test_a_fee_of_the_whole_order_pays_for_whole_stamps_too(quantity: int, duty: int, fee: int, units: int) -> None:
    """What so many cost is so many, one rupiah more is none, and no more are taken than the money is worth."""
    price = Price(quantity * duty, fee)
    amount = price.part(units, of=quantity).total_idr
    assert units == units_for(amount, price, quantity=quantity)
    assert None is units_for(price.total_idr + 1, price, quantity=quantity) or price.total_idr + 1 == (
        price.part(quantity + 1, of=quantity).total_idr
    )


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_only_what_is_more_than_known_is_excess(amount: int, known: int) -> None:
    """In whole rupiah; other money has none."""
    assert amount - known == excess_idr(Seen(ChargeState.SETTLED, Decimal(amount), "IDR"), known)
    assert None is excess_idr(Seen(ChargeState.SETTLED, Decimal(amount), "USD"), known)
    assert None is excess_idr(Seen(ChargeState.SETTLED, Decimal(amount) + Decimal("0.5"), "IDR"), known)


def drawn(heading: str) -> set[tuple[str, str, str]]:
    """The arrows of the diagram under a heading of docs/money.md: from, to, move."""
    section = DIAGRAM.read_text(encoding="utf-8").partition(f"## {heading}")[2].partition("\n## ")[0]
    return set(re.findall(r"^\s*(\w+) --> (\w+): (\w+)$", section, re.MULTILINE))


def test_the_diagrams_show_the_tables() -> None:
    """Every move, and no other."""
    assert {(a.value, b.value, move.value) for (a, move), b in ORDER_MOVES.items()} == drawn("An order")
    assert {(a.value, b.value, move.value) for (a, move), b in RETURN_MOVES.items()} == drawn("A return")
    assert {state.value for state in OrderState} == {name for a, b, _ in drawn("An order") for name in (a, b)}
