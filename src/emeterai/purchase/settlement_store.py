"""All SQL of settlement files: files, their lines, and what our books have that they have not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from emeterai.core.ordering import CURRENCY
from emeterai.infra.database import Database

NOT_PAYMENTS = ("other", "not_settled", "reversed", "unreadable")
"""Outcomes of lines that prove no money."""


class OrderOnLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a line is compared with: the order, and the money it has."""

    id: UUID
    total_idr: int
    has_money: bool
    seen_amount: Decimal | None
    seen_currency: str | None
    paid_provider: str | None
    paid_reference: str | None


class RecordedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line with what became of it."""

    line: int
    order_id: UUID | None
    reference: str
    amount: Decimal | None
    currency: str | None
    paid_at: datetime | None
    outcome: str
    detail: str


class Total(msgspec.Struct, frozen=True):
    """All lines of a file with one outcome, and the rupiah on them."""

    outcome: str
    lines: int
    amount_idr: Decimal


class MissingOrder(msgspec.Struct, frozen=True):
    """An order that is paid in our books and in no settlement file of its provider."""

    id: UUID
    total_idr: int
    paid_at: datetime
    reference: str | None


async def begin_file(db: Database, digest: bytes, *, provider: str, name: str, size_bytes: int) -> bool:
    """Put a file on record, or find it there; gives whether all its lines were recorded before."""
    async with db.transaction() as tx:
        await tx.execute(
            """
            INSERT INTO purchase.settlement_files (digest, provider, name, size_bytes) VALUES ($1, $2, $3, $4)
            ON CONFLICT (digest) DO NOTHING
            """,
            digest,
            provider,
            name,
            size_bytes,
        )
        finished_at = await tx.fetchval("SELECT finished_at FROM purchase.settlement_files WHERE digest = $1", digest)
    return finished_at is not None


async def finish_file(db: Database, digest: bytes) -> None:
    """Every line of the file is on record."""
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE purchase.settlement_files SET finished_at = now() WHERE digest = $1 AND finished_at IS NULL", digest
        )


async def last_line(db: Database, digest: bytes) -> int:
    """The highest line on record, 0 for none: lines are recorded in their order."""
    last: int = await db.fetchval(
        "SELECT coalesce(max(line), 0) FROM purchase.settlement_lines WHERE file_digest = $1", digest
    )
    return last


async def write_lines(db: Database, digest: bytes, lines: Sequence[RecordedLine]) -> None:
    """Record lines; what is there already stays as it is."""
    columns = [list(column) for column in zip(*(msgspec.structs.astuple(line) for line in lines), strict=True)]
    async with db.transaction() as tx:
        await tx.execute(
            """
            INSERT INTO purchase.settlement_lines
                (file_digest, line, order_id, reference, amount, currency, paid_at, outcome, detail)
            SELECT $1, * FROM unnest($2::int[], $3::uuid[], $4::text[], $5::numeric[], $6::text[], $7::timestamptz[],
                $8::text[], $9::text[])
            ON CONFLICT (file_digest, line) DO NOTHING
            """,
            digest,
            *columns,
        )


async def orders_on_lines(db: Database, order_ids: Sequence[UUID]) -> dict[UUID, OrderOnLine]:
    """The orders that lines name, as far as they are ours."""
    rows = await db.fetch(
        """
        SELECT id, total_idr, seen_amount IS NOT NULL AS has_money, seen_amount, seen_currency, paid_provider,
            paid_reference
        FROM purchase.orders WHERE id = ANY ($1::uuid[])
        """,
        order_ids,
    )
    return {row["id"]: OrderOnLine(**row) for row in rows}


async def earlier_references(db: Database, provider: str, order_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The first reference under which a file of the provider told of settled money of each of these orders."""
    rows = await db.fetch(
        """
        SELECT DISTINCT ON (line.order_id) line.order_id, line.reference
        FROM purchase.settlement_lines AS line JOIN purchase.settlement_files AS file ON file.digest = line.file_digest
        WHERE line.order_id = ANY ($2::uuid[]) AND file.provider = $1 AND line.outcome <> ALL ($3::text[])
        ORDER BY line.order_id, file.begun_at, line.line
        """,
        provider,
        order_ids,
        NOT_PAYMENTS,
    )
    return {row["order_id"]: row["reference"] for row in rows}


async def totals(db: Database, digest: bytes) -> list[Total]:
    """What became of the lines of a file."""
    rows = await db.fetch(
        """
        SELECT outcome, count(*) AS lines, coalesce(sum(amount) FILTER (WHERE currency = $2), 0) AS amount_idr
        FROM purchase.settlement_lines WHERE file_digest = $1 GROUP BY outcome ORDER BY outcome
        """,
        digest,
        CURRENCY,
    )
    return [Total(**row) for row in rows]


async def noted_lines(db: Database, digest: bytes, outcomes: Sequence[str], *, limit: int) -> list[RecordedLine]:
    """The first lines of a file with one of these outcomes."""
    rows = await db.fetch(
        """
        SELECT line, order_id, reference, amount, currency, paid_at, outcome, detail FROM purchase.settlement_lines
        WHERE file_digest = $1 AND outcome = ANY ($2::text[]) ORDER BY line LIMIT $3
        """,
        digest,
        outcomes,
        limit,
    )
    return [RecordedLine(**row) for row in rows]


async def days_of(db: Database, digest: bytes) -> tuple[date, date] | None:
    """The first and the last day (GMT+7) of the settled payments in a file; None when it has none."""
    row = await db.fetchrow(
        """
        SELECT (min(paid_at) AT TIME ZONE 'Asia/Jakarta')::date AS first_day,
            (max(paid_at) AT TIME ZONE 'Asia/Jakarta')::date AS last_day
        FROM purchase.settlement_lines WHERE file_digest = $1 AND outcome <> ALL ($2::text[])
        """,
        digest,
        NOT_PAYMENTS,
    )
    return (row["first_day"], row["last_day"]) if row["first_day"] is not None else None


async def missing_orders(
    db: Database, provider: str, first_day: date, last_day: date, *, limit: int
) -> tuple[int, list[MissingOrder]]:
    """Orders that the provider's money paid on these days (GMT+7), as far as they are over, and that no file has.

    Gives how many there are, and the oldest of them.
    """
    rows = await db.fetch(
        """
        SELECT count(*) OVER () AS missing, id, total_idr, paid_at, paid_reference AS reference
        FROM purchase.orders
        WHERE paid_provider = $1 AND paid_at >= $2::date::timestamp AT TIME ZONE 'Asia/Jakarta'
            AND paid_at < least($3::date + 1, (now() AT TIME ZONE 'Asia/Jakarta')::date)::timestamp
                AT TIME ZONE 'Asia/Jakarta'
            AND NOT EXISTS (
                SELECT FROM purchase.settlement_lines AS line
                JOIN purchase.settlement_files AS file ON file.digest = line.file_digest
                WHERE line.order_id = orders.id AND file.provider = $1
                    AND line.outcome <> ALL ($5::text[])
            )
        ORDER BY paid_at LIMIT $4
        """,
        provider,
        first_day,
        last_day,
        limit,
        NOT_PAYMENTS,
    )
    found = [MissingOrder(row["id"], row["total_idr"], row["paid_at"], row["reference"]) for row in rows]
    return (rows[0]["missing"] if rows else 0), found
