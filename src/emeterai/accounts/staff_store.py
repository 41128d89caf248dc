"""All SQL of staff: a record that only grows, whose last line for an account and a role is what holds."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from emeterai.infra.database import Connection, Database

# The number decides which line is the last one; a clock may go back.
_LAST = """
    SELECT DISTINCT ON (account_id, role) account_id, role, change, done_by, done_at FROM accounts.staff_changes
    {where} ORDER BY account_id, role, number DESC
"""


async def lock_person(tx: Connection, account_id: UUID) -> bool:
    """Let changes of one person's roles take turns until `tx` ends; False when there is no such account."""
    found = await tx.fetchval("SELECT true FROM accounts.accounts WHERE id = $1 FOR NO KEY UPDATE", account_id)
    return bool(found)


async def insert_change(tx: Connection, account_id: UUID, role: str, *, change: str, done_by: str) -> None:
    """Write one line of the record."""
    await tx.execute(
        "INSERT INTO accounts.staff_changes (account_id, role, change, done_by) VALUES ($1, $2, $3, $4)",
        account_id,
        role,
        change,
        done_by,
    )


async def roles_of(connection: Connection | Database, account_id: UUID) -> list[str]:
    """The roles that an account has now."""
    last = _LAST.format(where="WHERE account_id = $1")
    rows = await connection.fetch(f"SELECT role FROM ({last}) AS last WHERE change = 'granted'", account_id)
    return [row["role"] for row in rows]


async def all_staff(db: Database) -> Sequence[asyncpg.Record]:
    """Every role that somebody has now: name, email, phone, role, done_by, done_at; the longest held first."""
    rows: Sequence[asyncpg.Record] = await db.fetch(
        f"""
        SELECT account.name, account.email, account.phone, last.role, last.done_by, last.done_at
        FROM ({_LAST.format(where="")}) AS last JOIN accounts.accounts AS account ON account.id = last.account_id
        WHERE last.change = 'granted' ORDER BY last.done_at, account.name, last.role
        """
    )
    return rows
