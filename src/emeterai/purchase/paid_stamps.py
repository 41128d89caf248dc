"""The stamps that the money of one transaction became, and which of them have left the quota for money again.

They leave in parts: handed back by whoever bought them, taken back for money that the provider took back. A part is
worth what all that have left are worth by then, less what was given for those before it. So the parts make up the
whole, to the rupiah, also of a fee that cannot be divided, and whatever was given for an earlier one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from emeterai.core.ordering import OrderState, Price
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.purchase.model import Order, Source
from emeterai.purchase.returns_model import Return

_NOTHING = Price(0, 0)


class PaidStamps(NamedTuple):
    """The stamps of one transaction: `quantity` for which `price` was posted, of which `gone` left for `gone_price`.

    `seen_amount` and `seen_currency` are what was seen of its money.
    """

    payment: Source
    seen_amount: Decimal
    seen_currency: str
    quantity: int = 0
    price: Price = _NOTHING
    gone: int = 0
    gone_price: Price = _NOTHING

    @property
    def left(self) -> int:
        """How many of them did not leave for money; they may have been used."""
        return self.quantity - self.gone

    def price_of(self, units: int) -> Price:
        """What the next `units` of those that are left are worth."""
        worth, given = self.price.part(self.gone + units, of=self.quantity), self.gone_price
        # What was credited later may have been a rupiah cheaper for each stamp than what was given before.
        return Price(max(0, worth.duty_idr - given.duty_idr), max(0, worth.fee_idr - given.fee_idr))

    def units_within(self, amount_idr: int) -> int:
        """The most of those that are left that are worth no more than this."""
        return bisect_right(range(1, self.left + 1), amount_idr, key=lambda units: self.price_of(units).total_idr)

    def too_little_of(self, amount_idr: int) -> int:
        """What of this is left once all stamps that it is enough for are taken from it: less than one more is worth."""
        if not self.left:
            return 0
        rest_idr = amount_idr - self.price_of(self.units_within(amount_idr)).total_idr
        return max(0, min(rest_idr, self.price_of(1).total_idr - 1))

    def with_more(self, units: int, price: Price) -> PaidStamps:
        """The same with so many stamps more, which were credited at `price`."""
        return self._replace(quantity=self.quantity + units, price=_sum(self.price, price))

    def without(self, units: int, price: Price) -> PaidStamps:
        """The same once so many left for `price`."""
        return self._replace(gone=self.gone + units, gone_price=_sum(self.gone_price, price))


def paid_stamps_of(order: Order, returns: Sequence[Return]) -> list[PaidStamps]:
    """Each transaction of an order that became stamps, its own and those that were credited, in their order."""
    paid: dict[Source, PaidStamps] = {}
    if order.state is OrderState.PAID:
        assert order.seen_amount is not None
        assert order.seen_currency is not None
        own = Source(order.paid_provider or order.provider, order.paid_reference)
        paid[own] = PaidStamps(own, order.seen_amount, order.seen_currency).with_more(order.quantity, order.price)
    for back in returns:
        known = paid.get(back.payment, PaidStamps(back.payment, back.seen_amount, back.seen_currency))
        if back.state is ReturnState.CREDITED:
            paid[back.payment] = known.with_more(back.quantity or 0, back.price)
        elif back.cause is ReturnCause.QUOTA_RETURNED:
            paid[back.payment] = known.without(back.quantity or 0, back.price)
    return list(paid.values())


def _sum(one: Price, other: Price) -> Price:
    return Price(one.duty_idr + other.duty_idr, one.fee_idr + other.fee_idr)
