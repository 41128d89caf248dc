"""All SQL of what members spend, for transactions that hold the lock of the group's account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from emeterai.accounts.groups_model import Allowance, Limits, Spending
from emeterai.accounts.model import GroupRole
from emeterai.infra.database import Connection
from emeterai.infra.ids import new_id

_TODAY = "(now() AT TIME ZONE groups.timezone)::date"
DAYS = f"""
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(units) FILTER (WHERE day = {_TODAY}), 0)::int AS today,
               coalesce(sum(units), 0)::int AS month
        FROM accounts.member_days AS days
        WHERE (days.group_id, days.account_id) = (members.group_id, members.account_id)
            AND day BETWEEN date_trunc('month', {_TODAY})::date AND {_TODAY}
    ) AS days ON true
"""
"""What members spent today and in this month, to be joined to members and their groups."""


async def allowances(tx: Connection, asked: Sequence[Spending]) -> dict[tuple[UUID, UUID], Allowance]:
    """What these members may spend and have spent, by group and member; whoever is no member now is absent."""
    rows = await tx.fetch(
        f"""
        SELECT members.*, days.today, days.month
        FROM unnest($1::uuid[], $2::uuid[]) AS asked(group_id, account_id)
        JOIN accounts.members USING (group_id, account_id)
        JOIN accounts.groups ON groups.id = members.group_id {DAYS}
        WHERE members.ended_at IS NULL
        """,
        [one.group_id for one in asked],
        [one.member_id for one in asked],
    )
    return {
        (row["group_id"], row["account_id"]): Allowance(limits_of(row), row["today"], row["month"], row["spent"])
        for row in rows
    }


async def seat(tx: Connection, group_id: UUID, member_id: UUID) -> tuple[GroupRole, Limits] | None:
    """The role and the limits that somebody has in a group now; None for whoever is no member."""
    row = await tx.fetchrow(
        """
        SELECT role, units_a_day, units_a_month, units_in_all FROM accounts.members
        WHERE group_id = $1 AND account_id = $2 AND ended_at IS NULL
        """,
        group_id,
        member_id,
    )
    return None if row is None else (GroupRole(row["role"]), limits_of(row))


async def add_spent(tx: Connection, spent: Sequence[Spending]) -> None:
    """Count units that are held now, each with its line in the history."""
    await tx.execute(
        """
        WITH asked AS MATERIALIZED (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[])
                AS asked(id, stamp_id, group_id, account_id)
        ), sums AS (
            SELECT group_id, account_id, count(*)::int AS units FROM asked GROUP BY group_id, account_id
        ), total AS (
            UPDATE accounts.members SET spent = spent + units FROM sums
            WHERE (members.group_id, members.account_id) = (sums.group_id, sums.account_id)
        ), days AS (
            INSERT INTO accounts.member_days AS known (group_id, account_id, day, units)
            SELECT group_id, account_id, (now() AT TIME ZONE groups.timezone)::date, units
            FROM sums JOIN accounts.groups ON groups.id = group_id
            ON CONFLICT (group_id, account_id, day) DO UPDATE SET units = known.units + excluded.units
        )
        INSERT INTO accounts.deeds (id, group_id, actor, kind, subject)
        SELECT id, group_id, account_id, 'stamped', stamp_id FROM asked
        """,
        [new_id() for _ in spent],
        [one.stamp_id for one in spent],
        [one.group_id for one in spent],
        [one.member_id for one in spent],
    )


async def subtract_spent(tx: Connection, given_back: Sequence[tuple[Spending, datetime]]) -> None:
    """Units that were held at these moments went back: they do not count any more."""
    await tx.execute(
        """
        WITH asked AS MATERIALIZED (
            SELECT asked.*, (held_at AT TIME ZONE groups.timezone)::date AS day
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[])
                AS asked(id, stamp_id, group_id, account_id, held_at) JOIN accounts.groups ON groups.id = group_id
        ), total AS (
            UPDATE accounts.members SET spent = spent - units
            FROM (SELECT group_id, account_id, count(*) AS units FROM asked GROUP BY group_id, account_id) AS sums
            WHERE (members.group_id, members.account_id) = (sums.group_id, sums.account_id)
        ), days AS (
            UPDATE accounts.member_days SET units = member_days.units - sums.units
            FROM (SELECT group_id, account_id, day, count(*)::int AS units FROM asked
                  GROUP BY group_id, account_id, day) AS sums
            WHERE (member_days.group_id, member_days.account_id, member_days.day)
                = (sums.group_id, sums.account_id, sums.day)
        )
        INSERT INTO accounts.deeds (id, group_id, actor, kind, subject)
        SELECT id, group_id, account_id, 'given_back', stamp_id FROM asked
        """,
        [new_id() for _ in given_back],
        [one.stamp_id for one, _ in given_back],
        [one.group_id for one, _ in given_back],
        [one.member_id for one, _ in given_back],
        [held_at for _, held_at in given_back],
    )


def limits_of(row: Any) -> Limits:
    """The limits of a row."""
    return Limits(units_a_day=row["units_a_day"], units_a_month=row["units_a_month"], units_in_all=row["units_in_all"])
