"""The states of an order and the only moves between them: one table, from which code, API, pages and documents come."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

CURRENCY = "IDR"
"""The only currency in which an order can be paid (ISO 4217)."""


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


class ChargeState(StrEnum):
    """Where the money is at the payment provider, in our words; every provider's own words are translated to these."""

    PENDING = "pending"
    SETTLED = "settled"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REVERSED = "reversed"
    """Refused, or taken back after it was settled, in part or whole: an order that is left without money ends, one with
    a part of it is quarantined, and a paid one is a case for staff."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a payment provider says about one charge: `amount` in whole or broken units of `currency` (ISO 4217).

    `back` is how much of it has left again, to the payer or against us; None where the provider does not say.
    """

    state: ChargeState
    amount: Decimal
    currency: str
    back: Decimal | None = None

    def pays(self, total_idr: int) -> bool:
        """Whether this is exactly the money that was asked for."""
        return self.state is ChargeState.SETTLED and self.currency == CURRENCY and self.amount == total_idr

    @property
    def taken(self) -> Decimal:
        """How much of it has left again: a reversal that tells no sum is one of everything."""
        if self.back is not None:
            return self.back
        return self.amount if self.state is ChargeState.REVERSED else Decimal(0)

    @property
    def kept(self) -> Decimal:
        """How much of it is still there."""
        return self.amount - self.taken

    @property
    def whole_idr(self) -> int | None:
        """What is still there in whole rupiah; None for other money, which the ledger cannot hold."""
        is_whole = self.currency == CURRENCY and self.kept == self.kept.to_integral_value()
        return int(self.kept) if is_whole else None


@dataclass(frozen=True, slots=True)
class Price:
    """What an order costs, in whole rupiah: the tax and the service fee are separate lines."""

    duty_idr: int
    fee_idr: int

    def part(self, units: int, *, of: int) -> Price:
        """The price of `units` of the `of` stamps that this is the price of; a broken rupiah is left out."""
        return Price(self.duty_idr * units // of, self.fee_idr * units // of)

    def with_fee(self, fee_idr: int) -> Price:
        """The same with so much more service fee."""
        return Price(self.duty_idr, self.fee_idr + fee_idr)

    @property
    def total_idr(self) -> int:
        """What is asked of the buyer."""
        return self.duty_idr + self.fee_idr


_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
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


def order_move(seen: Seen | None, total_idr: int, *, overdue: bool) -> OrderMove | None:
    """The move that follows from what a provider says (None: it said nothing) and from the deadline; None for no move.

    Money decides first. Only when no money is seen does the deadline count; a settlement of nothing is no money.
    """
    is_nothing = seen is None or (seen.state is ChargeState.SETTLED and seen.amount == 0)
    match seen.state if seen is not None and not is_nothing else ChargeState.PENDING:
        case ChargeState.SETTLED:
            assert seen is not None
            return OrderMove.SETTLE if seen.pays(total_idr) else OrderMove.QUARANTINE
        case ChargeState.EXPIRED:
            return OrderMove.EXPIRE
        case ChargeState.CANCELLED:
            return OrderMove.CANCEL
        case ChargeState.REVERSED:
            assert seen is not None
            return OrderMove.CANCEL if seen.taken >= seen.amount else OrderMove.QUARANTINE
        case ChargeState.PENDING:
            return OrderMove.EXPIRE if overdue else None


def order_price(quantity: int, *, duty_idr: int, fee_idr: int) -> Price:
    """The price of `quantity` stamps at a tax of `duty_idr` and a service fee of `fee_idr` each."""
    return Price(duty_idr=quantity * duty_idr, fee_idr=quantity * fee_idr)


def channel_fee(plain: Price, *, flat_idr: int, bps: int) -> int:
    """What a way of paying adds to a plain price, in whole rupiah: a flat sum for the order, and `bps` hundredths of a
    percent of it, rounded up.
    """
    return flat_idr - (-plain.total_idr * bps // 10_000)


def order_number(order_id: UUID) -> str:
    """An order's number for people, such as 4F7K-2M9Q: the last 40 bits of its id in Crockford's base 32."""
    digits = "".join(_DIGITS[order_id.int >> shift & 31] for shift in range(35, -1, -5))
    return f"{digits[:4]}-{digits[4:]}"
