"""What the steward runs for buying: nothing here is needed for a payment to become quota, only for lost ones."""

from __future__ import annotations

from emeterai.purchase.service import Purchase

SWEEP_EVERY_S = 5.0
"""How often `sweep_orders` runs."""


async def sweep_orders(purchase: Purchase) -> int:
    """Finish notifications that were left, then ask about orders that are due and end those whose time is over.

    Bounded in what it takes on; several stewards at once do no harm. Gives how much there was to do.
    """
    return await purchase.work_unworked() + await purchase.check_orders()
