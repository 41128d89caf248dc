"""All SQL of approving groups, and of what an order of a group counts with."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from emeterai.accounts.groups_model import Approval, GroupInOffice
from emeterai.infra.database import Connection, Database

_GROUPS = """
    SELECT groups.id, groups.name, groups.approved, groups.created_at, accounts.name AS founder,
        (SELECT count(*) FROM accounts.members WHERE group_id = groups.id AND ended_at IS NULL) AS members
    FROM accounts.groups JOIN accounts.accounts ON accounts.id = groups.created_by
"""


async def founder_of(tx: Connection, group_id: UUID) -> UUID | None:
    """Who founded a group; None for an account that is no group."""
    founder: UUID | None = await tx.fetchval("SELECT created_by FROM accounts.groups WHERE id = $1", group_id)
    return founder


async def is_approved(connection: Connection | Database, group_id: UUID) -> bool:
    """Whether staff have approved a group."""
    return bool(await connection.fetchval("SELECT approved FROM accounts.groups WHERE id = $1", group_id))


async def counted_together(tx: Connection, account_id: UUID) -> tuple[bool, list[UUID]]:
    """Whether the account is an approved group, and the accounts whose orders share one limit with its own."""
    row = await tx.fetchrow(
        """
        WITH own AS (SELECT created_by, approved FROM accounts.groups WHERE id = $1),
            person AS (SELECT coalesce((SELECT created_by FROM own), $1) AS id)
        SELECT coalesce((SELECT approved FROM own), false) AS approved, person.id AS person,
            ARRAY(SELECT groups.id FROM accounts.groups WHERE created_by = person.id AND NOT approved) AS founded
        FROM person
        """,
        account_id,
    )
    return row["approved"], [account_id] if row["approved"] else [row["person"], *row["founded"]]


async def unapproved_of(connection: Connection, people: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
    """Founder and group, of those that these people founded and staff have not approved."""
    rows = await connection.fetch(
        "SELECT created_by, id FROM accounts.groups WHERE created_by = ANY($1::uuid[]) AND NOT approved", list(people)
    )
    return [(row["created_by"], row["id"]) for row in rows]


async def write_approved(tx: Connection, group_id: UUID, *, approved: bool) -> None:
    """Approved from now on, or not any more."""
    await tx.execute("UPDATE accounts.groups SET approved = $2 WHERE id = $1", group_id, approved)


async def insert_change(tx: Connection, group_id: UUID, *, change: str, note: str, done_by: str) -> None:
    """Write one line of the record."""
    await tx.execute(
        "INSERT INTO accounts.group_approvals (group_id, change, note, done_by) VALUES ($1, $2, $3, $4)",
        group_id,
        change,
        note,
        done_by,
    )


async def changes_of(db: Database, group_id: UUID, *, limit: int) -> list[Approval]:
    """The record of a group, newest first."""
    rows = await db.fetch(
        """
        SELECT change, note, done_by, done_at FROM accounts.group_approvals WHERE group_id = $1
        ORDER BY number DESC LIMIT $2
        """,
        group_id,
        limit,
    )
    return [Approval(**row) for row in rows]


async def one(connection: Connection | Database, group_id: UUID) -> GroupInOffice | None:
    """One group, as staff see it."""
    row = await connection.fetchrow(f"{_GROUPS} WHERE groups.id = $1", group_id)
    return None if row is None else _group(row)


async def many(db: Database, *, approved: bool, before: UUID | None, limit: int) -> list[GroupInOffice]:
    """Groups that are approved, or are not, newest first, after the group `before`."""
    rows = await db.fetch(
        f"""
        {_GROUPS} WHERE groups.approved = $1 AND ($2::uuid IS NULL OR groups.id < $2)
        ORDER BY groups.id DESC LIMIT $3
        """,
        approved,
        before,
        limit,
    )
    return [_group(row) for row in rows]


def _group(row: asyncpg.Record) -> GroupInOffice:
    return GroupInOffice(**row)
