"""When an order's provider is asked again: rarely while it may simply not be paid yet, often around its deadline.

At most 290 questions about one order that lives a day and is never paid: 140 before its last five minutes, 120 from
then until an hour after its deadline, 30 in the three days after that. On average they are 210.
"""

from __future__ import annotations

import random
from uuid import UUID

from emeterai.infra.database import Connection
from emeterai.purchase import charge_store, store
from emeterai.purchase.model import Charge, Order

FIRST_CHECK_S = 20.0
"""A new order is asked about after so long; then each pause is twice the one before."""
_OPEN_CHECK_S_MAX = 900.0
_CLOSED_CHECK_S_MAX = 6 * 3600.0
_DOUBLINGS_MAX = 12
_CLOSED_WATCH_S = 3 * 86_400.0
_JITTER = 0.25
_NEAR_S = 45.0
_NEAR_BEFORE_S = 300.0
_NEAR_AFTER_S = 3600.0


async def watch_charge(tx: Connection, order_id: UUID, charge: Charge, *, provider: str) -> None:
    """Put a charge on record: from now on there is somebody to be asked, in time for the order's deadline."""
    await charge_store.write_charge(
        tx, order_id, charge, provider=provider, first_check_s=FIRST_CHECK_S, near_before_s=_NEAR_BEFORE_S
    )


async def claim_check(tx: Connection, order: Order, *, silence_s: float) -> store.Watch | None:
    """Put the next check on record before this one: no crash forgets an order, no bug asks about one for ever.

    Answers how long it has been watched; None when somebody else has claimed it. Near its deadline an order that has a
    charge is asked about every 34 to 56 s: people pay in the last second, and providers are late. After that hour each
    pause is as long as what has passed since. A sweep with more to ask than it can is late, and asks less often.
    """
    delay_s = FIRST_CHECK_S * 2 ** min(order.checks, _DOUBLINGS_MAX)
    return await store.write_next_check(
        tx,
        order.id,
        checks_before=order.checks,
        pace=store.Pace(
            open_s=min(delay_s, _OPEN_CHECK_S_MAX),
            closed_s=min(delay_s, _CLOSED_CHECK_S_MAX),
            near_s=_NEAR_S,
            near_before_s=_NEAR_BEFORE_S,
            near_after_s=_NEAR_AFTER_S,
            late_s=_OPEN_CHECK_S_MAX,
            jitter=random.uniform(1 - _JITTER, 1 + _JITTER),  # noqa: S311 - spreads the load, guards nothing
        ),
        closed_watch_s=_CLOSED_WATCH_S,
        silence_s=silence_s,
    )
