"""All SQL of programmes. What changes units, claims or states is written under the lock of the programme's account."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from emeterai.core.granting import ProgrammeState
from emeterai.infra.database import Connection, Database
from emeterai.partners.programme_model import CodeBatch, Figures, Programme

_COLUMNS = """
    id, agency_id, agency_name, name, message, units_each, salt, state, invited, claimed, ends_at, created_at, ended_at,
    ends_at <= clock_timestamp() AS overdue
"""


class NewProgramme(msgspec.Struct, frozen=True, kw_only=True):
    """A programme about to be made."""

    id: UUID
    agency_id: UUID
    agency_name: str
    made_by: UUID
    name: str
    message: str
    units_each: int
    salt: bytes
    ends_at: datetime
    idempotency_key: str | None


async def insert_programme(tx: Connection, new: NewProgramme) -> bool:
    """A programme; False when the agency has made one with this key already."""
    made = await tx.fetchval(
        """
        INSERT INTO partners.programmes (id, agency_id, agency_name, made_by, name, message, units_each, salt, ends_at,
                                         idempotency_key)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (agency_id, idempotency_key) DO NOTHING
        RETURNING true
        """,
        *msgspec.structs.astuple(new),
    )
    return bool(made)


async def by_key(db: Connection | Database, agency_id: UUID, key: str) -> Programme | None:
    """The programme that this agency made with this key."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM partners.programmes WHERE agency_id = $1 AND idempotency_key = $2", agency_id, key
    )
    return None if row is None else _programme(row)


async def programmes(db: Connection | Database, ids: Iterable[UUID]) -> dict[UUID, Programme]:
    """Programmes by id; those that do not exist are absent."""
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM partners.programmes WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: _programme(row) for row in rows}


async def of_agency(db: Database, agency_id: UUID, *, before: UUID | None, limit: int) -> list[Programme]:
    """An agency's programmes, newest first."""
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM partners.programmes
        WHERE agency_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """,
        agency_id,
        before,
        limit,
    )
    return [_programme(row) for row in rows]


async def to_end(db: Database, *, after: UUID | None = None, limit: int) -> list[Programme]:
    """Programmes that are over by the database's clock, or whose return is under way, by id from `after` on."""
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM partners.programmes
        WHERE state <> 'ended' AND (ends_at <= now() OR state = 'ending') AND ($1::uuid IS NULL OR id > $1)
        ORDER BY id LIMIT $2
        """,
        after,
        limit,
    )
    return [_programme(row) for row in rows]


async def write_state(tx: Connection, programme_id: UUID, state: ProgrammeState) -> None:
    """The next state; one that ends before its time ends now."""
    await tx.execute(
        """
        UPDATE partners.programmes SET state = $2, ends_at = least(ends_at, now()),
            ended_at = CASE WHEN $2 = 'ended' THEN now() END
        WHERE id = $1
        """,
        programme_id,
        state.value,
    )


async def funding(tx: Connection, programme_id: UUID, key: str) -> int | None:
    """The units that were put in with this key."""
    units: int | None = await tx.fetchval(
        "SELECT units FROM partners.fundings WHERE programme_id = $1 AND idempotency_key = $2", programme_id, key
    )
    return units


async def insert_funding(
    tx: Connection, funding_id: UUID, programme_id: UUID, *, units: int, made_by: UUID, key: str
) -> None:
    """Units were put in."""
    await tx.execute(
        """
        INSERT INTO partners.fundings (id, programme_id, units, made_by, idempotency_key) VALUES ($1, $2, $3, $4, $5)
        """,
        funding_id,
        programme_id,
        units,
        made_by,
        key,
    )


async def invite(tx: Connection, programme_id: UUID, keys: Sequence[bytes], *, invited_max: int) -> int | None:
    """Add keys that are not there yet; answers how many. None: the programme is not open or holds no more."""
    added: int = await tx.fetchval(
        """
        WITH new AS (
            INSERT INTO partners.invited (programme_id, key)
            SELECT $1, key FROM unnest($2::bytea[]) AS key ORDER BY key ON CONFLICT DO NOTHING RETURNING 1
        )
        SELECT count(*)::int FROM new
        """,
        programme_id,
        list(keys),
    )
    fits = await tx.fetchval(
        """
        UPDATE partners.programmes SET invited = invited + $2
        WHERE id = $1 AND state = 'open' AND invited + $2 <= $3 RETURNING true
        """,
        programme_id,
        added,
        invited_max,
    )
    return added if fits else None


async def insert_batch(tx: Connection, batch_id: UUID, programme_id: UUID, *, quantity: int, made_by: UUID) -> None:
    """A batch of codes, none of which opens anything yet."""
    await tx.execute(
        "INSERT INTO partners.code_batches (id, programme_id, quantity, made_by) VALUES ($1, $2, $3, $4)",
        batch_id,
        programme_id,
        quantity,
        made_by,
    )


async def write_ready(tx: Connection, batch_id: UUID, ready: int) -> None:
    """So many codes of the batch open something."""
    await tx.execute("UPDATE partners.code_batches SET ready = greatest(ready, $2) WHERE id = $1", batch_id, ready)


async def batches(db: Database, programme_id: UUID, *, limit: int) -> list[CodeBatch]:
    """The batches of a programme, newest first."""
    rows = await db.fetch(
        """
        SELECT id, quantity, ready, created_at FROM partners.code_batches
        WHERE programme_id = $1 ORDER BY id DESC LIMIT $2
        """,
        programme_id,
        limit,
    )
    return [CodeBatch(**row) for row in rows]


async def unready_batches(db: Database, *, limit: int) -> list[tuple[UUID, CodeBatch]]:
    """Batches of open programmes that a request left half made, with their programmes."""
    rows = await db.fetch(
        """
        SELECT programme_id, code_batches.id, quantity, ready, code_batches.created_at FROM partners.code_batches
        JOIN partners.programmes ON programmes.id = programme_id AND programmes.state = 'open'
        WHERE ready < quantity AND code_batches.created_at < now() - interval '1 minute' LIMIT $1
        """,
        limit,
    )
    return [
        (
            row["programme_id"],
            CodeBatch(id=row["id"], quantity=row["quantity"], ready=row["ready"], created_at=row["created_at"]),
        )
        for row in rows
    ]


async def insert_return(tx: Connection, return_id: UUID, programme_id: UUID, *, what: str, units: int) -> None:
    """Units went back to the agency."""
    await tx.execute(
        "INSERT INTO partners.grant_returns (id, programme_id, what, units) VALUES ($1, $2, $3, $4)",
        return_id,
        programme_id,
        what,
        units,
    )


async def figures(db: Database, programme_id: UUID) -> Figures:
    """A programme to the unit, as of one moment."""
    row = await db.fetchrow(
        """
        WITH funded AS (SELECT coalesce(sum(units), 0)::bigint AS units FROM partners.fundings WHERE programme_id = $1),
        granted AS (
            SELECT coalesce(sum(units) FILTER (WHERE ended_at IS NULL), 0)::bigint AS open,
                   coalesce(sum(units), 0)::bigint AS units, coalesce(sum(used), 0)::bigint AS used,
                   coalesce(sum(returned), 0)::bigint AS returned, coalesce(sum(kept), 0)::bigint AS kept
            FROM partners.claims WHERE programme_id = $1
        ), back AS (
            SELECT coalesce(sum(units), 0)::bigint AS units,
                   coalesce(sum(units) FILTER (WHERE what = 'unclaimed'), 0)::bigint AS unclaimed
            FROM partners.grant_returns WHERE programme_id = $1
        )
        SELECT funded.units AS funded, granted.open AS in_grants, granted.used, granted.kept,
               back.unclaimed AS unclaimed_returned, back.units - back.unclaimed AS claimed_returned,
               funded.units - granted.units + granted.returned - back.units AS in_programme
        FROM funded, granted, back
        """,
        programme_id,
    )
    return Figures(**row)


def _programme(row: Any) -> Programme:
    return Programme(**{**row, "state": ProgrammeState(row["state"])})
