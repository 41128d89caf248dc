"""What the steward runs for buying: nothing here is needed for a payment to become quota, only for lost ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from emeterai.infra.shares import while_there_is_more
from emeterai.purchase.service import Purchase

SWEEP_EVERY_S = 5.0
"""How often `sweep_orders` and `sweep_returns` run."""
SHARE_MAX = 100
"""So much of one kind is taken on at once, and again while there is more, at most so often before the next kind."""
ROUNDS_MAX = 10
_GOES_ON_S = 15.0
"""Nor for longer than this: a slow provider keeps the other kinds waiting no longer."""
_Part = Callable[[int], Awaitable[int]]


async def sweep_orders(purchase: Purchase) -> int:
    """Finish notifications that were left, then ask about orders that are due and end those whose time is over.

    Goes on as long as there is more, but not for long; several stewards at once do no harm. Gives how much there was.
    """
    return await _each(purchase.work_unworked, purchase.check_orders, purchase.close_charges)


async def sweep_returns(purchase: Purchase) -> int:
    """The refund clock: money that nobody decided about in time is owed, and what is owed is asked of the providers.

    Bounded in what it takes on; several stewards at once do no harm. Gives how much there was to do.
    """
    return await _each(
        purchase.returns.decide_due, lambda limit: purchase.returns.work_due(purchase.looking.look_at, limit)
    )


async def _each(*parts: _Part) -> int:
    """Do every part, also when one before it failed: what cannot be done must not stop what can. Raises the first."""
    done, failures = 0, list[Exception]()
    for part in parts:
        try:
            done += await while_there_is_more(part, share_max=SHARE_MAX, rounds_max=ROUNDS_MAX, goes_on_s=_GOES_ON_S)
        except Exception as error:  # noqa: BLE001 - it is raised once the others had their turn
            failures.append(error)
    if failures:
        raise failures[0]
    return done
