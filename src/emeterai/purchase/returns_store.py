"""All SQL of returns. A step is decided under the owner's open book, which the caller holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from emeterai.core.ordering import Price
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.infra.database import Connection, Database
from emeterai.purchase.model import Source
from emeterai.purchase.returns_model import Return

_RETURN = """
    id, order_id, account_id, cause, state, provider, reference, seen_amount, seen_currency, amount_idr, quantity,
    duty_idr, fee_idr, seen_transfer, duty_transfer, fee_transfer, quota_transfer, back_transfer, request_digest,
    trouble, proof, tries, due_at, created_at, asked_at, ended_at, changed_at
"""


class NewReturn(msgspec.Struct, frozen=True, kw_only=True):
    """What is written when a return begins. `transfers`: the ids for money seen, tax, fee, stamps and money back."""

    id: UUID
    order_id: UUID
    account_id: UUID
    cause: ReturnCause
    state: ReturnState
    payment: Source
    seen_amount: Decimal
    seen_currency: str
    amount_idr: int | None
    transfers: tuple[UUID, UUID, UUID, UUID, UUID]
    quantity: int | None = None
    price: Price | None = None
    trouble: str | None = None
    due_s: float | None = None
    idempotency_key: str | None = None
    request_digest: bytes | None = None


async def insert_return(tx: Connection, new: NewReturn) -> Return:
    """Write a new return: one that is owed is tried at once, one that is credited is over."""
    price = new.price or Price(0, 0)
    row = await tx.fetchrow(
        f"""
        INSERT INTO purchase.returns (id, order_id, account_id, cause, state, provider, reference, seen_amount,
            seen_currency, amount_idr, quantity, duty_idr, fee_idr, seen_transfer, duty_transfer, fee_transfer,
            quota_transfer, back_transfer, idempotency_key, request_digest, trouble, due_at, next_try_at, ended_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
            CASE WHEN $5 = 'undecided' THEN now() + make_interval(secs => $22) END,
            CASE WHEN $5 = 'owed' THEN now() END, CASE WHEN $5 = 'credited' THEN now() END)
        RETURNING {_RETURN}
        """,
        new.id,
        new.order_id,
        new.account_id,
        new.cause.value,
        new.state.value,
        new.payment.provider,
        new.payment.reference,
        new.seen_amount,
        new.seen_currency,
        new.amount_idr,
        new.quantity,
        price.duty_idr,
        price.fee_idr,
        *new.transfers,
        new.idempotency_key,
        new.request_digest,
        new.trouble,
        new.due_s,
    )
    return _return(row)


async def return_by_id(connection: Connection | Database, return_id: UUID) -> Return | None:
    """One return, whoever's it is."""
    row = await connection.fetchrow(f"SELECT {_RETURN} FROM purchase.returns WHERE id = $1", return_id)
    return _return(row) if row is not None else None


async def return_by_key(connection: Connection | Database, account_id: UUID, idempotency_key: str) -> Return | None:
    """The return that this account asked for with this idempotency key."""
    row = await connection.fetchrow(
        f"SELECT {_RETURN} FROM purchase.returns WHERE account_id = $1 AND idempotency_key = $2",
        account_id,
        idempotency_key,
    )
    return _return(row) if row is not None else None


async def returns_of(connection: Connection | Database, order_ids: Sequence[UUID]) -> list[Return]:
    """The returns of some orders, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_RETURN} FROM purchase.returns WHERE order_id = ANY ($1::uuid[]) ORDER BY order_id, id",
        list(order_ids),
    )
    return [_return(row) for row in rows]


async def write_move(
    tx: Connection,
    return_id: UUID,
    state: ReturnState,
    *,
    cause: ReturnCause | None = None,
    trouble: str | None = None,
    proof: str | None = None,
) -> None:
    """Write where a return is now. One that is owed again is begun anew, at once."""
    await tx.execute(
        """
        UPDATE purchase.returns SET state = $2, cause = coalesce($3, cause),
            trouble = CASE WHEN $2 = 'needs_care' THEN $4 END, proof = coalesce($5, proof),
            changed_at = now(), due_at = NULL,
            tries = CASE WHEN $2 = 'owed' THEN 0 ELSE tries END,
            asked_at = CASE $2 WHEN 'asked' THEN coalesce(asked_at, now()) WHEN 'owed' THEN NULL ELSE asked_at END,
            ended_at = CASE WHEN $2 IN ('returned', 'credited') THEN now() END,
            next_try_at = CASE $2 WHEN 'owed' THEN now() WHEN 'asked' THEN coalesce(next_try_at, now()) END
        WHERE id = $1
        """,
        return_id,
        state.value,
        cause.value if cause else None,
        trouble,
        proof,
    )


async def write_credit(tx: Connection, return_id: UUID, *, quantity: int, price: Price) -> None:
    """Money that was undecided is quota: so many stamps at this price."""
    await tx.execute(
        """
        UPDATE purchase.returns SET state = 'credited', quantity = $2, duty_idr = $3, fee_idr = $4, due_at = NULL,
            changed_at = now(), ended_at = now()
        WHERE id = $1
        """,
        return_id,
        quantity,
        price.duty_idr,
        price.fee_idr,
    )


async def write_next_try(tx: Connection, return_id: UUID, *, tries_before: int, delay_s: float) -> bool:
    """Claim a try, and put the one after it on record; False when somebody else has claimed it."""
    return bool(
        await tx.fetchval(
            """
            UPDATE purchase.returns SET tries = tries + 1, next_try_at = now() + make_interval(secs => $3)
            WHERE id = $1 AND tries = $2 AND next_try_at <= now() RETURNING true
            """,
            return_id,
            tries_before,
            delay_s,
        )
    )


async def is_silent(db: Database, return_id: UUID, *, silence_s: float) -> bool:
    """Whether the provider was first asked so long ago by the database's clock."""
    return bool(
        await db.fetchval(
            "SELECT asked_at <= now() - make_interval(secs => $2) FROM purchase.returns WHERE id = $1",
            return_id,
            silence_s,
        )
    )


async def write_due_now(tx: Connection, return_ids: Sequence[UUID]) -> None:
    """Ask about these at once: somebody has said that there is news."""
    await tx.execute(
        "UPDATE purchase.returns SET next_try_at = now() WHERE id = ANY ($1::uuid[]) AND next_try_at IS NOT NULL",
        list(return_ids),
    )


async def returns_to_try(db: Database, limit: int) -> list[Return]:
    """Returns that the provider should be asked for now, those that have waited longest first."""
    rows = await db.fetch(
        f"SELECT {_RETURN} FROM purchase.returns WHERE next_try_at <= now() ORDER BY next_try_at LIMIT $1", limit
    )
    return [_return(row) for row in rows]


async def returns_due(db: Database, limit: int) -> list[Return]:
    """Undecided returns whose time for a decision is over, oldest first."""
    rows = await db.fetch(
        f"SELECT {_RETURN} FROM purchase.returns WHERE due_at <= now() ORDER BY due_at LIMIT $1", limit
    )
    return [_return(row) for row in rows]


async def returns_in_care(db: Database, *, after: tuple[datetime, UUID] | None, limit: int) -> list[Return]:
    """Returns that people should look at, those that have waited longest first; those after `after`."""
    rows = await db.fetch(
        f"""
        SELECT {_RETURN} FROM purchase.returns
        WHERE state IN ('undecided', 'needs_care') AND ($2::timestamptz IS NULL OR (changed_at, id) > ($2, $3::uuid))
        ORDER BY changed_at, id LIMIT $1
        """,
        limit,
        *(after or (None, None)),
    )
    return [_return(row) for row in rows]


def _return(row: asyncpg.Record) -> Return:
    values: dict[str, Any] = dict(row)
    return Return(**{**values, "cause": ReturnCause(values["cause"]), "state": ReturnState(values["state"])})
