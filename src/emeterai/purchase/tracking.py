"""An order's life as its tracker tells it: found by the number that people read aloud, proven by four digits.

It reads orders, notifications and returns, and nothing of accounts or sessions.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from uuid import UUID

import msgspec

from emeterai.core.ordering import OrderState
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.infra.database import Database

NUMBERS_ALIKE_MAX = 8
"""A number is forty random bits: that several orders have one is possible, that so many have is not."""
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_FORGIVEN = str.maketrans("OIL", "011", "- \t\u00a0\u2010\u2011\u2012\u2013\u2014")
_NUMBER_LENGTH = 8
_TYPED_LENGTH_MAX = 40
_CODES = 10_000


class NumberedOrder(msgspec.Struct, frozen=True):
    """An order that has a number: whose it is, and the four digits that its page shows."""

    id: UUID
    account_id: UUID
    code: str


class TrackedReturn(msgspec.Struct, frozen=True):
    """Money of an order on its way back."""

    cause: ReturnCause
    state: ReturnState
    due_at: datetime | None
    created_at: datetime
    asked_at: datetime | None
    ended_at: datetime | None


class OrderLife(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of an order, and when. `state` is expired as soon as its time is over by the database's clock."""

    state: OrderState
    created_at: datetime
    expires_at: datetime
    changed_at: datetime
    told_at: datetime | None
    """When the first notification of settled money came."""
    is_told: bool
    """Whether there is news that has not been worked yet."""
    paid_at: datetime | None
    next_check_at: datetime | None
    """When we ask the provider again; None when there is nothing to ask."""
    returns: list[TrackedReturn] = []

    @property
    def money_seen_at(self) -> datetime | None:
        """When its money was first seen; None while none was."""
        if self.state not in {OrderState.PAID, OrderState.QUARANTINED}:
            return None
        known_at = self.paid_at or self.changed_at
        return min(self.told_at, known_at) if self.told_at else known_at


def tracking_code(order_id: UUID, payment_transfer: UUID) -> str:
    """Four digits that the order's own page shows, for whoever has no phone number with us.

    They come from a transfer's id, which has 74 random bits and is told to nobody.
    """
    digest = hashlib.sha256(b"tracking code" + order_id.bytes + payment_transfer.bytes).digest()
    return f"{int.from_bytes(digest[:8]) % _CODES:04d}"


def tidy_number(typed: str) -> str | None:
    """A number as it is printed (XXXX-XXXX) from what was typed; None when it cannot be one.

    Small letters, blanks, hyphens, and O, I and L for 0 and 1 are forgiven.
    """
    letters = typed[:_TYPED_LENGTH_MAX].upper().translate(_FORGIVEN)
    if len(letters) != _NUMBER_LENGTH or any(letter not in _DIGITS for letter in letters):
        return None
    return f"{letters[:4]}-{letters[4:]}"


class OrderLives:
    """Reads orders for their tracker."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def numbered(self, number: str) -> list[NumberedOrder]:
        """The orders with a number that `tidy_number` gave, the newest first: none, one, hardly ever more."""
        bits = 0
        for letter in number.replace("-", ""):
            bits = bits << 5 | _DIGITS.index(letter)
        rows = await self._db.fetch(_NUMBERED, f"{bits:010x}", NUMBERS_ALIKE_MAX)
        return [
            NumberedOrder(row["id"], row["account_id"], tracking_code(row["id"], row["payment_transfer"]))
            for row in rows
        ]

    async def life(self, order_id: UUID) -> OrderLife:
        """What has become of an order that `numbered` found."""
        row = await self._db.fetchrow(_LIFE, order_id)
        returns = await self._db.fetch(_RETURNS, order_id)
        return OrderLife(
            **{**dict(row), "state": OrderState(row["state"])},
            returns=[
                TrackedReturn(**{**dict(one), "cause": ReturnCause(one["cause"]), "state": ReturnState(one["state"])})
                for one in returns
            ],
        )


_NUMBERED = """
    SELECT id, account_id, payment_transfer FROM purchase.orders WHERE right(id::text, 10) = $1
    ORDER BY id DESC LIMIT $2
"""
_LIFE = """
    SELECT CASE WHEN state = 'awaiting_payment' AND expires_at <= now() THEN 'expired' ELSE state END AS state,
        created_at, expires_at, changed_at, paid_at, next_check_at, told.told_at, told.is_told
    FROM purchase.orders, LATERAL (
        SELECT min(received_at) AS told_at, coalesce(bool_or(outcome IS NULL), false) AS is_told
        FROM purchase.notifications WHERE order_id = $1 AND state = 'settled'
    ) AS told
    WHERE id = $1
"""
_RETURNS = """
    SELECT cause, state, due_at, created_at, asked_at, ended_at FROM purchase.returns WHERE order_id = $1
    ORDER BY id LIMIT 20
"""
