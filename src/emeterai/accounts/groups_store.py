"""All SQL of groups. Whoever changes members or what they spent holds the lock of the group's account (ledger)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from emeterai.accounts.groups_model import (
    Deed,
    DeedKind,
    Group,
    Invitation,
    Invited,
    Limits,
    Member,
    Spent,
)
from emeterai.accounts.groups_spending_store import DAYS, limits_of
from emeterai.accounts.model import Acting, GroupRole, Timezone
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id

_MEMBERS = f"""
    SELECT members.*, accounts.name, days.today, days.month
    FROM accounts.members JOIN accounts.groups ON groups.id = members.group_id
    JOIN accounts.accounts ON accounts.id = members.account_id {DAYS}
    WHERE members.group_id = $1 AND members.ended_at IS NULL
"""
_GROUPS = """
    SELECT groups.id, groups.name, groups.timezone, groups.created_at, groups.approved, members.role
    FROM accounts.members JOIN accounts.groups ON groups.id = members.group_id
    WHERE members.account_id = $1 AND members.ended_at IS NULL
"""
_OPEN = "invitations.ended_at IS NULL AND invitations.expires_at > now()"


async def insert_group(tx: Connection, group_id: UUID, *, name: str, timezone: str, founder: UUID) -> None:
    """A group, with its founder as owner."""
    await tx.execute(
        "INSERT INTO accounts.groups (id, name, timezone, created_by) VALUES ($1, $2, $3, $4)",
        group_id,
        name,
        timezone,
        founder,
    )
    await write_member(tx, group_id, founder, role=GroupRole.OWNER, limits=Limits())


async def write_member(tx: Connection, group_id: UUID, account_id: UUID, *, role: GroupRole, limits: Limits) -> None:
    """Make somebody a member, again or for the first time, or change role and limits. What was spent stays."""
    await tx.execute(
        """
        INSERT INTO accounts.members AS known (group_id, account_id, role, units_a_day, units_a_month, units_in_all)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (group_id, account_id) DO UPDATE SET
            role = excluded.role, units_a_day = excluded.units_a_day, units_a_month = excluded.units_a_month,
            units_in_all = excluded.units_in_all, ended_at = NULL,
            joined_at = CASE WHEN known.ended_at IS NULL THEN known.joined_at ELSE now() END
        """,
        group_id,
        account_id,
        role.value,
        limits.units_a_day,
        limits.units_a_month,
        limits.units_in_all,
    )


async def end_member(tx: Connection, group_id: UUID, account_id: UUID) -> None:
    """Somebody is a member no more, and his keys for the group are revoked: they do not come back with him."""
    await tx.execute(
        """
        WITH ended AS (
            UPDATE accounts.members SET ended_at = now()
            WHERE group_id = $1 AND account_id = $2 AND ended_at IS NULL
        )
        UPDATE accounts.api_keys SET revoked_at = now()
        WHERE group_id = $1 AND account_id = $2 AND revoked_at IS NULL
        """,
        group_id,
        account_id,
    )


async def groups_of(db: Database, account_id: UUID, *, limit: int) -> list[Group]:
    """The groups that somebody is a member of, by name."""
    rows = await db.fetch(f"{_GROUPS} ORDER BY groups.name, groups.id LIMIT $2", account_id, limit)
    return [_group(row) for row in rows]


async def group_of(db: Connection | Database, account_id: UUID, group_id: UUID) -> Group | None:
    """A group as this member has it; None for whoever is no member."""
    row = await db.fetchrow(f"{_GROUPS} AND groups.id = $2", account_id, group_id)
    return None if row is None else _group(row)


async def acting(db: Database, account_id: UUID, group_id: UUID) -> Acting | None:
    """Somebody as a member of a group, or None."""
    group = await group_of(db, account_id, group_id)
    return None if group is None else Acting(account_id, group.name, group.role)


async def members(db: Connection | Database, group_id: UUID, *, after: UUID | None, limit: int) -> list[Member]:
    """The members of a group by account id, from `after` on."""
    rows = await db.fetch(
        f"{_MEMBERS} AND ($2::uuid IS NULL OR members.account_id > $2) ORDER BY members.account_id LIMIT $3",
        group_id,
        after,
        limit,
    )
    return [_member(row) for row in rows]


async def member(db: Connection | Database, group_id: UUID, account_id: UUID) -> Member | None:
    """One member, or None."""
    row = await db.fetchrow(f"{_MEMBERS} AND members.account_id = $2", group_id, account_id)
    return None if row is None else _member(row)


async def count_members(tx: Connection, group_id: UUID) -> tuple[int, int]:
    """How many members a group has, and how many of them are owners."""
    row = await tx.fetchrow(
        """
        SELECT count(*) AS members, count(*) FILTER (WHERE role = 'owner') AS owners
        FROM accounts.members WHERE group_id = $1 AND ended_at IS NULL
        """,
        group_id,
    )
    return row["members"], row["owners"]


async def count_groups(tx: Connection, account_id: UUID) -> int:
    """How many groups somebody is a member of."""
    count: int = await tx.fetchval(
        "SELECT count(*) FROM accounts.members WHERE account_id = $1 AND ended_at IS NULL", account_id
    )
    return count


async def insert_invitation(
    tx: Connection,
    invitation_id: UUID,
    group_id: UUID,
    *,
    digest: bytes,
    contact: str | None,
    role: GroupRole,
    limits: Limits,
    invited_by: UUID,
    life_s: int,
) -> datetime:
    """An open invitation; gives its end."""
    expires_at: datetime = await tx.fetchval(
        """
        INSERT INTO accounts.invitations (id, group_id, digest, contact, role, units_a_day, units_a_month, units_in_all,
                                          invited_by, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10)) RETURNING expires_at
        """,
        invitation_id,
        group_id,
        digest,
        contact,
        role.value,
        limits.units_a_day,
        limits.units_a_month,
        limits.units_in_all,
        invited_by,
        float(life_s),
    )
    return expires_at


async def open_invitations(db: Connection | Database, group_id: UUID, *, limit: int) -> list[Invitation]:
    """The open invitations of a group, newest first."""
    rows = await db.fetch(
        f"""
        SELECT invitations.*, accounts.name AS inviter FROM accounts.invitations
        JOIN accounts.accounts ON accounts.id = invitations.invited_by
        WHERE group_id = $1 AND {_OPEN} ORDER BY invitations.id DESC LIMIT $2
        """,
        group_id,
        limit,
    )
    return [
        Invitation(
            id=row["id"],
            contact=row["contact"],
            role=GroupRole(row["role"]),
            limits=limits_of(row),
            invited_by=row["inviter"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
        )
        for row in rows
    ]


async def invited(db: Connection | Database, digest: bytes) -> tuple[UUID, Invited] | None:
    """The open invitation of a code, with its id; None when there is none."""
    row = await db.fetchrow(
        f"""
        SELECT invitations.*, groups.name AS group_name, accounts.name AS inviter FROM accounts.invitations
        JOIN accounts.groups ON groups.id = invitations.group_id
        JOIN accounts.accounts ON accounts.id = invitations.invited_by
        WHERE digest = $1 AND {_OPEN}
        """,
        digest,
    )
    if row is None:
        return None
    return row["id"], Invited(
        group_id=row["group_id"],
        group_name=row["group_name"],
        contact=row["contact"],
        role=GroupRole(row["role"]),
        limits=limits_of(row),
        invited_by=row["inviter"],
        expires_at=row["expires_at"],
    )


async def end_invitation(tx: Connection, group_id: UUID, invitation_id: UUID, *, accepted_by: UUID | None) -> bool:
    """Accepted or, by nobody, withdrawn, and its contact forgotten; False when it was not open any more."""
    ended = await tx.fetchval(
        f"""
        UPDATE accounts.invitations SET ended_at = now(), accepted_by = $3, contact = NULL
        WHERE group_id = $1 AND id = $2 AND {_OPEN} RETURNING true
        """,
        group_id,
        invitation_id,
        accepted_by,
    )
    return bool(ended)


async def end_old_invitations(tx: Connection, *, rows_max: int) -> int:
    """End invitations that are over and forget their contacts; gives how many."""
    done = await tx.execute(
        """
        UPDATE accounts.invitations SET ended_at = now(), contact = NULL WHERE id IN (
            SELECT id FROM accounts.invitations WHERE contact IS NOT NULL AND expires_at <= now()
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        """,
        rows_max,
    )
    return int(done.split()[-1])


async def accepted(db: Connection | Database, digest: bytes, account_id: UUID) -> UUID | None:
    """The group that somebody joined by the invitation of this code and is still a member of."""
    group_id: UUID | None = await db.fetchval(
        """
        SELECT group_id FROM accounts.invitations JOIN accounts.members USING (group_id)
        WHERE digest = $1 AND accepted_by = $2 AND account_id = $2 AND members.ended_at IS NULL
        """,
        digest,
        account_id,
    )
    return group_id


async def contacts_of(db: Connection | Database, account_id: UUID) -> tuple[str | None, str | None]:
    """The e-mail address and the phone number of an account."""
    row = await db.fetchrow("SELECT email, phone FROM accounts.accounts WHERE id = $1", account_id)
    return (row["email"], row["phone"]) if row else (None, None)


async def note(
    tx: Connection,
    group_id: UUID,
    actor: UUID,
    kind: DeedKind,
    *,
    subject: UUID | None = None,
    facts: Mapping[str, str | int | None] | None = None,
) -> None:
    """Write a line of the history; an order is written once."""
    await tx.execute(
        """
        INSERT INTO accounts.deeds (id, group_id, actor, kind, subject, facts) VALUES ($1, $2, $3, $4, $5, $6::jsonb)
        ON CONFLICT DO NOTHING
        """,
        new_id(),
        group_id,
        actor,
        kind.value,
        subject,
        msgspec.json.encode(dict(facts or {})).decode(),
    )


async def deeds(
    db: Database, group_id: UUID, *, actor: UUID | None, before: tuple[datetime, UUID] | None, limit: int
) -> list[Deed]:
    """The history of a group, or of one of its members, newest first, after the cursor `before`."""
    rows = await db.fetch(
        """
        SELECT deeds.*, accounts.name FROM accounts.deeds JOIN accounts.accounts ON accounts.id = deeds.actor
        WHERE group_id = $1 AND ($2::uuid IS NULL OR actor = $2)
            AND ($3::timestamptz IS NULL OR (done_at, deeds.id) < ($3, $4))
        ORDER BY done_at DESC, deeds.id DESC LIMIT $5
        """,
        group_id,
        actor,
        before[0] if before else None,
        before[1] if before else None,
        limit,
    )
    return [
        Deed(
            id=row["id"],
            actor=row["actor"],
            actor_name=row["name"],
            kind=DeedKind(row["kind"]),
            subject=row["subject"],
            facts=msgspec.json.decode(row["facts"], type=dict[str, str | int | None]),
            done_at=row["done_at"],
        )
        for row in rows
    ]


def _group(row: asyncpg.Record) -> Group:
    return Group(
        id=row["id"],
        name=row["name"],
        timezone=Timezone(row["timezone"]),
        created_at=row["created_at"],
        role=GroupRole(row["role"]),
        approved=row["approved"],
    )


def _member(row: asyncpg.Record) -> Member:
    return Member(
        account_id=row["account_id"],
        name=row["name"],
        role=GroupRole(row["role"]),
        limits=limits_of(row),
        spent=Spent(today=row["today"], this_month=row["month"], in_all=row["spent"]),
        joined_at=row["joined_at"],
    )
