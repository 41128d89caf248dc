"""All SQL of what needs two signatures: deposits, and moves of stock. The tables see to the two persons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from emeterai.infra.database import Connection, Database
from emeterai.partners.model import Decision, Deposit, Move

_DEPOSIT = """
    id, partner_id, ntpn, amount_idr, duty_idr, quantity, paid_on, proof_sha256, state, proposed_by, proposed_at,
    decided_by, decided_at, reason, money_transfer, stock_transfer
"""
_MOVE = """
    id, giver_id, receiver_id, quantity, why, state, proposed_by, proposed_at, decided_by, decided_at, reason,
    give_transfer, receive_transfer
"""


async def insert_deposit(tx: Connection, values: Mapping[str, Any]) -> Deposit | None:
    """Put a deposit on record; None when its NTPN is there already and was not rejected."""
    row = await tx.fetchrow(
        f"""
        INSERT INTO partners.deposits (id, partner_id, ntpn, amount_idr, duty_idr, quantity, paid_on, proof_sha256,
                                       proposed_by, money_transfer, stock_transfer)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (ntpn) WHERE state <> 'rejected' DO NOTHING RETURNING {_DEPOSIT}
        """,
        *values.values(),
    )
    return None if row is None else _deposit(row)


async def deposit_by_ntpn(connection: Connection | Database, ntpn: str) -> Deposit | None:
    """The deposit with this NTPN that was not rejected, or None."""
    row = await connection.fetchrow(
        f"SELECT {_DEPOSIT} FROM partners.deposits WHERE ntpn = $1 AND state <> 'rejected'", ntpn
    )
    return None if row is None else _deposit(row)


async def deposit_by_id(connection: Connection | Database, deposit_id: UUID) -> Deposit | None:
    """One deposit, or None."""
    row = await connection.fetchrow(f"SELECT {_DEPOSIT} FROM partners.deposits WHERE id = $1", deposit_id)
    return None if row is None else _deposit(row)


async def deposits_of(db: Database, partner_id: UUID, *, before: UUID | None, limit: int) -> list[Deposit]:
    """A partner's deposits, newest first."""
    rows = await db.fetch(
        f"""
        SELECT {_DEPOSIT} FROM partners.deposits WHERE partner_id = $1 AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
        """,
        partner_id,
        before,
        limit,
    )
    return [_deposit(row) for row in rows]


async def open_deposits(db: Database, limit: int) -> list[Deposit]:
    """Deposits that await a second person, oldest first."""
    rows = await db.fetch(
        f"SELECT {_DEPOSIT} FROM partners.deposits WHERE state = 'proposed' ORDER BY id LIMIT $1", limit
    )
    return [_deposit(row) for row in rows]


async def decide_deposit(
    tx: Connection, deposit_id: UUID, decision: Decision, *, by: UUID, reason: str | None = None
) -> None:
    """Write the second person's decision. Raises CheckViolationError when it is the first person's."""
    await tx.execute(_DECIDE.format(table="deposits"), deposit_id, decision.value, by, reason)


async def insert_move(tx: Connection, values: Mapping[str, Any]) -> Move | None:
    """Propose a move; None when its id is there already."""
    row = await tx.fetchrow(
        f"""
        INSERT INTO partners.moves (id, giver_id, receiver_id, quantity, why, proposed_by, give_transfer,
                                    receive_transfer)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING {_MOVE}
        """,
        *values.values(),
    )
    return None if row is None else _move(row)


async def move_by_id(connection: Connection | Database, move_id: UUID) -> Move | None:
    """One move, or None."""
    row = await connection.fetchrow(f"SELECT {_MOVE} FROM partners.moves WHERE id = $1", move_id)
    return None if row is None else _move(row)


async def moves_of(db: Database, partner_id: UUID, *, limit: int) -> list[Move]:
    """The moves of a partner's stock in either direction, newest first."""
    rows = await db.fetch(
        f"""
        (SELECT {_MOVE} FROM partners.moves WHERE giver_id = $1 ORDER BY id DESC LIMIT $2)
        UNION ALL (SELECT {_MOVE} FROM partners.moves WHERE receiver_id = $1 ORDER BY id DESC LIMIT $2)
        ORDER BY id DESC LIMIT $2
        """,
        partner_id,
        limit,
    )
    return [_move(row) for row in rows]


async def open_moves(db: Database, limit: int) -> list[Move]:
    """Moves that await a second person, oldest first."""
    rows = await db.fetch(f"SELECT {_MOVE} FROM partners.moves WHERE state = 'proposed' ORDER BY id LIMIT $1", limit)
    return [_move(row) for row in rows]


async def decide_move(
    tx: Connection, move_id: UUID, decision: Decision, *, by: UUID, reason: str | None = None
) -> None:
    """Write the second person's decision. Raises CheckViolationError when it is the first person's."""
    await tx.execute(_DECIDE.format(table="moves"), move_id, decision.value, by, reason)


_DECIDE = """
    UPDATE partners.{table} SET state = $2, decided_by = $3, decided_at = now(), reason = $4 WHERE id = $1
"""


def _deposit(row: asyncpg.Record) -> Deposit:
    return Deposit(**{**row, "state": Decision(row["state"])})


def _move(row: asyncpg.Record) -> Move:
    return Move(**{**row, "state": Decision(row["state"])})
