"""Whose money is in flight, as the front door counts it: seen and not yet quota nor back, or soon to be expected.

An order alone is no money: who could stay past the line with one would order and not pay. So what nothing was paid for
counts for a while only, and of several one after the other the first; what a provider says is settled, or we have seen,
counts until it has become quota or has gone back.
"""

from __future__ import annotations

from uuid import UUID

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


async def has_money_in_flight(db: Database, account_id: UUID, *, paid_within_s: float) -> bool:
    """Whether an account paid within so many seconds, has a charge to pay that still counts, or has money that was seen
    and has neither become quota nor gone back.
    """
    return bool(await db.fetchval(_IN_FLIGHT, account_id, UNPAID_S, UNPAID_APART_S, paid_within_s, _NEWEST))


_IN_FLIGHT = """
    SELECT EXISTS (
        SELECT FROM (
            SELECT id, state, provider_reference, created_at, expires_at, paid_at FROM purchase.orders
            WHERE account_id = $1 ORDER BY id DESC LIMIT $5
        ) AS one
        WHERE (state = 'paid' AND paid_at > now() - make_interval(secs => $4))
            OR (
                state = 'awaiting_payment' AND provider_reference IS NOT NULL AND expires_at > now()
                AND created_at > now() - make_interval(secs => $2)
                AND NOT EXISTS (
                    SELECT FROM purchase.orders AS earlier
                    WHERE earlier.account_id = $1 AND earlier.created_at < one.created_at
                        AND earlier.created_at > one.created_at - make_interval(secs => $3)
                        AND earlier.state NOT IN ('paid', 'quarantined') AND earlier.provider_reference IS NOT NULL
                )
            )
            OR EXISTS (
                SELECT FROM purchase.notifications AS told
                WHERE told.order_id = one.id AND told.state = 'settled' AND (
                    told.outcome IS NULL OR EXISTS (
                        SELECT FROM purchase.cases AS asked
                        WHERE asked.order_id = one.id AND asked.kind = 'no_answer' AND asked.closed_at IS NULL
                    )
                )
            )
    ) OR EXISTS (
        SELECT FROM purchase.returns WHERE account_id = $1 AND cause <> 'quota_returned' AND ended_at IS NULL
    )
"""
