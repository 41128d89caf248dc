"""The money's way back: the states of a return and the only moves between them, in one table.

A return is money that goes back to whoever paid it. It begins when money is seen that does not become quota, or when
its owner hands unused quota back; it ends when the payer has the money, or when it became quota after all.
"""

from __future__ import annotations

from enum import StrEnum

from emeterai.core.ordering import Price, Seen


class ReturnCause(StrEnum):
    """Why money goes back."""

    PAID_AGAIN = "paid_again"
    """One order was paid more than once."""
    AMOUNT_DIFFERS = "amount_differs"
    """What came is not what was asked; staff may still decide what it is for."""
    NO_QUOTA_IN_TIME = "no_quota_in_time"
    """Money was seen and the time in which it should have become quota is over."""
    QUOTA_RETURNED = "quota_returned"
    """The owner handed unused quota back."""


class ReturnState(StrEnum):
    """Where the money is on its way back."""

    UNDECIDED = "undecided"
    """Waits for a decision of two people, until the clock decides."""
    OWED = "owed"
    ASKED = "asked"
    """The provider has been told to return it, or may have been: it is asked again with the same key."""
    RETURNED = "returned"
    NEEDS_CARE = "needs_care"
    """The provider cannot or will not return it: people have to."""
    CREDITED = "credited"
    """It became quota after all."""


class ReturnMove(StrEnum):
    """What can happen to a return."""

    OWE = "owe"
    CREDIT = "credit"
    ASK = "ask"
    CONFIRM = "confirm"
    GIVE_UP = "give_up"


class RefundState(StrEnum):
    """What a provider says of a refund that it was asked for."""

    UNKNOWN = "unknown"
    """It has never heard of it."""
    PENDING = "pending"
    DONE = "done"
    DECLINED = "declined"
    IMPOSSIBLE = "impossible"
    """This way of paying has no way back; the payer's bank account is needed."""


class SecondPayment(StrEnum):
    """What the buyer wants when an order is paid twice."""

    RETURN = "return"
    CREDIT = "credit"


_S, _M = ReturnState, ReturnMove

# A confirmation beats every state in which the money had not left: what the provider has returned is returned.
RETURN_MOVES: dict[tuple[ReturnState, ReturnMove], ReturnState] = {
    (_S.UNDECIDED, _M.OWE): _S.OWED,
    (_S.UNDECIDED, _M.CREDIT): _S.CREDITED,
    (_S.UNDECIDED, _M.CONFIRM): _S.RETURNED,
    (_S.OWED, _M.ASK): _S.ASKED,
    (_S.OWED, _M.CONFIRM): _S.RETURNED,
    (_S.OWED, _M.GIVE_UP): _S.NEEDS_CARE,
    (_S.ASKED, _M.CONFIRM): _S.RETURNED,
    (_S.ASKED, _M.GIVE_UP): _S.NEEDS_CARE,
    (_S.NEEDS_CARE, _M.OWE): _S.OWED,
    (_S.NEEDS_CARE, _M.CONFIRM): _S.RETURNED,
}
_REFUND_MOVES = {
    RefundState.DONE: ReturnMove.CONFIRM,
    RefundState.DECLINED: ReturnMove.GIVE_UP,
    RefundState.IMPOSSIBLE: ReturnMove.GIVE_UP,
}


def after_return_move(state: ReturnState, move: ReturnMove) -> ReturnState | None:
    """The state after `move`, or None when the table does not know the move: then nothing changes."""
    return RETURN_MOVES.get((state, move))


def refund_move(said: RefundState) -> ReturnMove | None:
    """The move that follows from what a provider says of a refund; None when there is nothing to do but wait."""
    return _REFUND_MOVES.get(said)


def excess_idr(seen: Seen, recognised_idr: int) -> int | None:
    """What a settled charge holds beyond the whole rupiah that were recognised of it; None for other money.

    Below zero when it holds less: somebody says something else than before.
    """
    whole = seen.whole_idr
    return None if whole is None else whole - recognised_idr


def units_for(amount_idr: int, price: Price, *, quantity: int) -> int | None:
    """How many stamps of an order of `quantity` at `price` are paid for by exactly this; None for no whole number."""
    units = -(-amount_idr * quantity // price.total_idr)
    return units if units > 0 and price.part(units, of=quantity).total_idr == amount_idr else None
