"""Whose money is in flight, as the front door counts it: seen and not yet quota nor back, or soon to be expected.

An order alone is no money: who could stay past the line with one would order and not pay. So what nothing was paid for
counts for a while only, and of several one after the other the first, whichever of somebody's groups they are for; what
a provider says is settled, or we have seen, counts until it has become quota or has gone back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from emeterai.accounts.groups_seats import Seat, ordered_by
from emeterai.infra.database import Database

UNPAID_S = 1_800.0
"""An order that nothing was paid for counts for so long after it was placed: a virtual account or a QR code is usually
paid by then. Paying and tracking it take no pass; as soon as money is seen it counts again.
"""
UNPAID_APART_S = 7_200.0
"""One that was placed so soon after another that was not paid does not count: whoever orders again and again has no
more of it than whoever does so once.
"""
_NEWEST = 200
"""So many of an account's newest orders are looked at: an organisation may have as many open at once."""
_APART = timedelta(seconds=UNPAID_APART_S)


class _Moving(NamedTuple):
    """An order that may count: with `is_seen` its money does, with `is_to_pay` it was placed lately and can be paid."""

    account_id: UUID
    order_id: UUID
    placed_at: datetime
    is_seen: bool
    is_to_pay: bool


async def has_money_in_flight(db: Database, person: UUID, *, paid_within_s: float, seats: Sequence[Seat] = ()) -> bool:
    """Whether somebody paid within so many seconds, has a charge to pay that still counts, or has money that was seen
    and has neither become quota nor gone back.

    Of the groups of `seats` what this person ordered counts, and where he oversees them whatever was.
    """
    accounts = [person, *(seat.group_id for seat in seats)]
    rows = await db.fetch(_MOVING, accounts, UNPAID_S, UNPAID_APART_S, paid_within_s, _NEWEST)
    moving = [_Moving(*row) for row in rows]
    whole = {person, *(seat.group_id for seat in seats if seat.oversees)}
    of_groups = [one.order_id for one in moving if one.account_id != person]
    own = await ordered_by(db, person, of_groups) if of_groups else set()
    counting = [one for one in moving if one.account_id in whole or one.order_id in own]
    return _is_in_flight(counting, [one for one in counting if one.account_id == person or one.order_id in own])


def _is_in_flight(moving: Sequence[_Moving], own: Sequence[_Moving]) -> bool:
    """`own` are those of `moving` that this person placed: what others order for a group takes nothing from them."""
    if any(one.is_seen for one in moving):
        return True
    return any(one.is_to_pay and not _is_repeated(one, moving, own) for one in moving)


def _is_repeated(order: _Moving, moving: Sequence[_Moving], own: Sequence[_Moving]) -> bool:
    """Whether one of the same person was placed shortly before it; where others placed it, any that he may know of."""
    beside = own if order in own else moving
    return any(order.placed_at - _APART < other.placed_at < order.placed_at for other in beside)


_MOVING = """
    SELECT asked.account_id, moving.order_id, moving.placed_at, moving.is_seen, moving.is_to_pay
    FROM unnest($1::uuid[]) AS asked(account_id) CROSS JOIN LATERAL (
        (
            SELECT id AS order_id, created_at AS placed_at, false AS is_seen, (
                state = 'awaiting_payment' AND expires_at > now() AND created_at > now() - make_interval(secs => $2)
            ) AS is_to_pay
            FROM purchase.orders
            WHERE account_id = asked.account_id AND created_at > now() - make_interval(secs => $2 + $3)
                AND state NOT IN ('paid', 'quarantined') AND provider_reference IS NOT NULL
            ORDER BY created_at LIMIT $5
        ) UNION ALL (
            SELECT id, created_at, true, false FROM (
                SELECT id, state, created_at, paid_at FROM purchase.orders
                WHERE account_id = asked.account_id ORDER BY id DESC LIMIT $5
            ) AS one
            WHERE (state = 'paid' AND paid_at > now() - make_interval(secs => $4)) OR EXISTS (
                SELECT FROM purchase.notifications AS told
                WHERE told.order_id = one.id AND told.state = 'settled' AND (
                    told.outcome IS NULL OR EXISTS (
                        SELECT FROM purchase.cases AS open
                        WHERE open.order_id = one.id AND open.kind = 'no_answer' AND open.closed_at IS NULL
                    )
                )
            )
        ) UNION ALL (
            SELECT order_id, created_at, true, false FROM purchase.returns
            WHERE account_id = asked.account_id AND cause <> 'quota_returned' AND ended_at IS NULL LIMIT $5
        )
    ) AS moving
"""
