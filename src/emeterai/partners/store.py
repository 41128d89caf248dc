"""All SQL of partners themselves. Sales are in sale_store.py, what needs two signatures in decision_store.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from emeterai.infra.database import Connection, Database
from emeterai.partners.model import Change, Level, Pace, Partner, PartnerKind, PartnerState

_PARTNER = "id, account_id, kind, distributor_id, name, contact, state, warn_below, registered_at"


async def insert(tx: Connection, values: Sequence[Any]) -> Partner | None:
    """Add a partner: id, account, kind, distributor, name, contact. None when the account is a partner's already."""
    row = await tx.fetchrow(
        f"""
        INSERT INTO partners.partners (id, account_id, kind, distributor_id, name, contact)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account_id) DO NOTHING RETURNING {_PARTNER}
        """,
        *values,
    )
    return None if row is None else _partner(row)


async def by_id(connection: Connection | Database, partner_id: UUID) -> Partner | None:
    """One partner, or None."""
    row = await connection.fetchrow(f"SELECT {_PARTNER} FROM partners.partners WHERE id = $1", partner_id)
    return None if row is None else _partner(row)


async def by_account(db: Connection | Database, account_id: UUID) -> Partner | None:
    """The partner that an account acts for, or None."""
    row = await db.fetchrow(f"SELECT {_PARTNER} FROM partners.partners WHERE account_id = $1", account_id)
    return None if row is None else _partner(row)


async def active_by_account(db: Connection | Database, accounts: Sequence[UUID]) -> dict[UUID, bool]:
    """Those of these accounts that act for a partner, and whether it may sell."""
    rows = await db.fetch(
        "SELECT account_id, state = 'active' AS active FROM partners.partners WHERE account_id = ANY($1::uuid[])",
        list(accounts),
    )
    return {row["account_id"]: row["active"] for row in rows}


async def many(db: Database, *, after: tuple[str, UUID] | None, limit: int) -> list[Partner]:
    """Partners by name; `after` is the name and id of the last one already seen."""
    name, last_id = after or ("", UUID(int=0))
    rows = await db.fetch(
        f"SELECT {_PARTNER} FROM partners.partners WHERE (name, id) > ($1, $2) ORDER BY name, id LIMIT $3",
        name,
        last_id,
        limit,
    )
    return [_partner(row) for row in rows]


async def names_of(db: Database, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The names of partners."""
    rows = await db.fetch("SELECT id, name FROM partners.partners WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: row["name"] for row in rows}


async def write_state(tx: Connection, partner_id: UUID, state: PartnerState) -> None:
    """Suspend or reinstate."""
    await tx.execute("UPDATE partners.partners SET state = $2 WHERE id = $1", partner_id, state.value)


async def write_warn_below(tx: Connection, partner_id: UUID, warn_below: int) -> None:
    """Set the stock under which a partner is warned."""
    await tx.execute("UPDATE partners.partners SET warn_below = $2 WHERE id = $1", partner_id, warn_below)


async def insert_change(tx: Connection, partner_id: UUID, *, change: str, reason: str, done_by: str) -> None:
    """Write one line of a partner's record."""
    await tx.execute(
        "INSERT INTO partners.changes (partner_id, change, reason, done_by) VALUES ($1, $2, $3, $4)",
        partner_id,
        change,
        reason,
        done_by,
    )


async def changes_of(db: Database, partner_id: UUID, *, limit: int) -> list[Change]:
    """A partner's record, newest first."""
    rows = await db.fetch(
        """
        SELECT change, reason, done_by, done_at FROM partners.changes WHERE partner_id = $1
        ORDER BY number DESC LIMIT $2
        """,
        partner_id,
        limit,
    )
    return [Change(**row) for row in rows]


async def pace(connection: Connection | Database, partner_id: UUID) -> Pace:
    """How a stock is selling, by the database's clock."""
    row = await connection.fetchrow(
        """
        SELECT coalesce(sum(units) FILTER (WHERE minute >= midnight), 0)::bigint AS today,
            coalesce(sum(units) FILTER (WHERE minute > now() - interval '1 hour'), 0)::bigint AS last_hour,
            coalesce(sum(units) FILTER (WHERE minute > now() - interval '5 minutes'), 0)::bigint AS last_5_minutes
        FROM partners.minutes, date_trunc('day', now(), 'Asia/Jakarta') AS midnight
        WHERE partner_id = $1 AND minute >= least(midnight, now() - interval '1 hour')
        """,
        partner_id,
    )
    return Pace(row["today"], row["last_hour"], row["last_5_minutes"])


async def sellers_with_stock(db: Database, *, without: UUID, limit: int) -> list[str]:
    """The names of active partners who have something to sell, those with most of it first."""
    rows = await db.fetch(
        """
        SELECT name FROM partners.partners JOIN ledger.balances ON account = partners.id
        WHERE state = 'active' AND partners.id <> $1 AND bought > held + used + refunded
        ORDER BY bought - held - used - refunded DESC LIMIT $2
        """,
        without,
        limit,
    )
    return [row["name"] for row in rows]


async def all_ids(db: Database) -> list[UUID]:
    """Every partner."""
    return [row["id"] for row in await db.fetch("SELECT id FROM partners.partners ORDER BY name, id")]


async def levels(db: Database) -> list[Level]:
    """How full the stock of every active partner is that ever had one. Reads an hour of each, not its day."""
    rows = await db.fetch(
        """
        SELECT bought - held - used - refunded AS available, warn_below, last_hour, last_5_minutes
        FROM partners.partners JOIN ledger.balances ON account = partners.id CROSS JOIN LATERAL (
            SELECT coalesce(sum(units), 0)::bigint AS last_hour,
                coalesce(sum(units) FILTER (WHERE minute > now() - interval '5 minutes'), 0)::bigint AS last_5_minutes
            FROM partners.minutes WHERE partner_id = partners.id AND minute > now() - interval '1 hour'
        ) AS sold
        WHERE state = 'active'
        """
    )
    return [Level(**row) for row in rows]


def _partner(row: asyncpg.Record) -> Partner:
    return Partner(**{**row, "kind": PartnerKind(row["kind"]), "state": PartnerState(row["state"])})
