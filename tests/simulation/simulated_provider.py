"""The payment provider: another firm. It says things late, twice, out of order, or never."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from simulated_rows import OrderRow
from simulated_time import Steps

from emeterai.core.ordering import CURRENCY, ChargeState, Seen

if TYPE_CHECKING:
    from simulated_house import House

TRIES_MAX = 5


@dataclass(slots=True)
class Charge:
    """What the provider knows of one order. A mute one is never notified about."""

    order: UUID
    total_idr: int
    expires_at_s: float
    mute: bool
    seen: Seen
    settled_at_s: float | None = None


class Provider:
    """Opens charges, takes money, tells us, and answers questions."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.charges: dict[UUID, Charge] = {}
        self.away_until_s = 0.0
        """Until then it answers no questions."""

    def create(self, order: OrderRow) -> Steps[str]:
        """Open a charge; the same order again is the same charge."""
        yield 0.05 + self.house.random()
        if order.id not in self.charges:
            total = order.price.total_idr
            pending = Seen(ChargeState.PENDING, Decimal(total), CURRENCY)
            mute = self.house.random() < 0.15
            self.charges[order.id] = Charge(order.id, total, order.expires_at_s, mute, pending)
            self.house.spawn(self._expire(self.charges[order.id]), after_s=order.expires_at_s - self.house.now_s)
        return f"charge of {order.id}"

    def status(self, order_id: UUID) -> Steps[Seen | None]:
        """What became of a charge; None when the provider is away."""
        yield 0.02 + self.house.random() * 0.3
        is_away = self.house.now_s < self.away_until_s or self.house.random() < 0.03
        return None if is_away else self.charges[order_id].seen

    def pay(self, order_id: UUID) -> Steps[None]:
        """A buyer pays; the money settles at once, in minutes, or days after the charge has expired."""
        house, charge = self.house, self.charges[order_id]
        drawn = house.random()
        yield drawn * 30 if drawn < 0.8 else (drawn - 0.8) * 20_000 if drawn < 0.97 else house.random() * 172_800
        if charge.settled_at_s is not None:
            return
        off = house.random()
        total = Decimal(charge.total_idr)
        amount = total if off > 0.06 else total - 1 if off > 0.03 else total + Decimal("0.5")
        charge.seen = Seen(ChargeState.SETTLED, amount, CURRENCY if house.random() > 0.01 else "USD")
        charge.settled_at_s = house.now_s
        house.say("provider", "settles order", order_id, "with", amount, charge.seen.currency)
        self._tell(charge, charge.seen, "settled")
        if house.random() < 0.03:
            self._tell(charge, Seen(ChargeState.SETTLED, amount + 500, CURRENCY), "settled otherwise")

    def _expire(self, charge: Charge) -> Steps[None]:
        if charge.settled_at_s is None:
            state = ChargeState.EXPIRED if self.house.random() < 0.8 else ChargeState.CANCELLED
            charge.seen = Seen(state, Decimal(charge.total_idr), CURRENCY)
            self._tell(charge, charge.seen, state.value)
        yield 0.0

    def _tell(self, charge: Charge, seen: Seen, what: str) -> None:
        if charge.mute:
            return
        for _ in range(2 if self.house.random() < 0.2 else 1):
            self.house.spawn(self._send(f"{charge.order} {what}", charge.order, seen))

    def _send(self, event: str, order_id: UUID, seen: Seen) -> Steps[None]:
        """One notification: sent again until it is acknowledged, but not for ever."""
        for attempt in range(TRIES_MAX):
            yield self.house.random() ** 4 * 600
            if (yield from self.house.call(lambda web: web.shop.notified(event, order_id, seen), wait_s=5.0)):
                return
            yield 10.0 * 4**attempt
