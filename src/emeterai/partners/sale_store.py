"""All SQL of sales: a batch of them is read and written together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from emeterai.infra.arrays import array_text
from emeterai.infra.database import Connection, Database
from emeterai.partners.model import PartnerState, Sale

_SALE = "id, buyer, to_partner, quantity, reference, sold_at"


async def retailers_of(db: Database, distributor_id: UUID, ids: Sequence[UUID]) -> set[UUID]:
    """Those of the partners that are retailers of this distributor."""
    rows = await db.fetch(
        "SELECT id FROM partners.partners WHERE id = ANY($2::uuid[]) AND distributor_id = $1", distributor_id, list(ids)
    )
    return {row["id"] for row in rows}


async def state_and_time(connection: Connection, partner_id: UUID) -> tuple[PartnerState, datetime]:
    """Whether the partner may sell, and the time of the transaction."""
    row = await connection.fetchrow("SELECT state, now() AS at FROM partners.partners WHERE id = $1", partner_id)
    return PartnerState(row["state"]), row["at"]


async def by_keys(connection: Connection, partner_id: UUID, keys: Sequence[str]) -> dict[str, Sale]:
    """The partner's sales that were made with these keys."""
    rows = await connection.fetch(
        f"""
        SELECT idempotency_key, {_SALE} FROM partners.sales WHERE partner_id = $1 AND idempotency_key = ANY($2::text[])
        """,
        partner_id,
        list(keys),
    )
    return {row[0]: _sale(row[1:]) for row in rows}


async def insert(tx: Connection, partner_id: UUID, bundle: UUID, sales: Sequence[Sale], *, keys: Sequence[str]) -> None:
    """Put sales that left the stock as one bundle on record, and count them into their minute."""
    await tx.execute(
        """
        INSERT INTO partners.sales (partner_id, bundle, id, buyer, to_partner, quantity, reference, idempotency_key)
        SELECT $1, $2, new.* FROM unnest($3::text::uuid[], $4::text::uuid[], $5::text::boolean[], $6::text::bigint[],
                                         $7::text[], $8::text[]) AS new
        """,
        partner_id,
        bundle,
        array_text([sale.id for sale in sales]),
        array_text([sale.buyer for sale in sales]),
        array_text([int(sale.to_partner) for sale in sales]),
        array_text([sale.quantity for sale in sales]),
        [sale.reference for sale in sales],
        list(keys),
    )
    await tx.execute(
        """
        INSERT INTO partners.minutes AS known (partner_id, minute, sales, units)
        VALUES ($1, date_trunc('minute', now()), $2, $3)
        ON CONFLICT (partner_id, minute) DO UPDATE
        SET sales = known.sales + excluded.sales, units = known.units + excluded.units
        """,
        partner_id,
        len(sales),
        sum(sale.quantity for sale in sales),
    )


async def of_partner(db: Database, partner_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int) -> list[Sale]:
    """A partner's sales, newest first."""
    rows = await db.fetch(
        f"""
        SELECT {_SALE} FROM partners.sales WHERE partner_id = $1 AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
        """,
        partner_id,
        None if before is None else before[1],
        limit,
    )
    return [_sale(row) for row in rows]


def _sale(row: Sequence[Any]) -> Sale:
    sale_id, buyer, to_partner, quantity, reference, sold_at = row
    return Sale(id=sale_id, buyer=buyer, to_partner=to_partner, quantity=quantity, reference=reference, sold_at=sold_at)
