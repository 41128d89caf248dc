"""The states of an order and the only moves between them: one table, from which code, API, pages and documents come."""

from __future__ import annotations

from enum import StrEnum


class OrderState(StrEnum):
    """Where the money of an order is."""

    AWAITING_PAYMENT = "awaiting_payment"
    PAID = "paid"
    """The money was seen and, in the same transaction, became quota."""
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    """Money came that differs from what was asked: shown to staff, never guessed."""


class OrderMove(StrEnum):
    """What can happen to an order."""

    SETTLE = "settle"
    EXPIRE = "expire"
    CANCEL = "cancel"
    QUARANTINE = "quarantine"


_S, _M = OrderState, OrderMove

# Settled money beats every local state: an order that expired or was cancelled here becomes quota when it is paid.
ORDER_MOVES: dict[tuple[OrderState, OrderMove], OrderState] = {
    (_S.AWAITING_PAYMENT, _M.SETTLE): _S.PAID,
    (_S.AWAITING_PAYMENT, _M.EXPIRE): _S.EXPIRED,
    (_S.AWAITING_PAYMENT, _M.CANCEL): _S.CANCELLED,
    (_S.AWAITING_PAYMENT, _M.QUARANTINE): _S.QUARANTINED,
    (_S.EXPIRED, _M.SETTLE): _S.PAID,
    (_S.EXPIRED, _M.QUARANTINE): _S.QUARANTINED,
    (_S.CANCELLED, _M.SETTLE): _S.PAID,
    (_S.CANCELLED, _M.QUARANTINE): _S.QUARANTINED,
}


def after_order_move(state: OrderState, move: OrderMove) -> OrderState | None:
    """The state after `move`, or None when the table does not know the move: then nothing changes."""
    return ORDER_MOVES.get((state, move))
