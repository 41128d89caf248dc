"""When the money of an order is known to have been paid, which is not when it became quota.

A notification is on record from the moment it came; working it may take until the provider answers, or a crowd is over.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from emeterai.core.ordering import ChargeState, OrderState
from emeterai.infra.database import Database
from emeterai.purchase.model import Order


class PaidMoment(msgspec.Struct, frozen=True):
    """When an order's money had certainly been paid. `is_told`: the provider's own news had come then; otherwise it is
    the moment in which we credited it, by which it had been paid.
    """

    at: datetime
    is_told: bool


class PaidMoments:
    """Reads when orders were paid."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, order: Order) -> PaidMoment | None:
        """The earliest moment that is proved; None for an order that is not paid.

        News counts when it says that the very money which was credited is settled, and was not found untrue before.
        What a provider sends without a signature is worked by asking: nothing but the money itself made it true.
        """
        if order.state is not OrderState.PAID or order.paid_at is None:
            return None
        told_at = await self._db.fetchval(
            _TOLD,
            order.id,
            ChargeState.SETTLED.value,
            order.paid_provider,
            order.paid_reference,
            order.seen_amount,
            order.seen_currency,
            order.paid_at,
        )
        return PaidMoment(order.paid_at, is_told=False) if told_at is None else PaidMoment(told_at, is_told=True)


_TOLD = """
    SELECT min(received_at) FROM purchase.notifications
    WHERE order_id = $1 AND state = $2 AND provider = $3 AND amount = $5 AND currency = $6
        AND coalesce(reference = $4::text, true)
        AND received_at <= $7 AND coalesce(worked_at >= $7, true)
"""
