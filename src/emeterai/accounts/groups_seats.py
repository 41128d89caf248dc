"""What somebody is in the groups that he is a member of, and which of their orders he placed: for the front door.

Anybody may found a group and fill it, so not everybody who oversees one comes past the line with what others did for
it: those few do who have been in it longest. Whoever placed an order has that one in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from emeterai.accounts.groups import GROUPS_MAX
from emeterai.infra.database import Database

OVERSEERS_MAX = 10
"""So many of a group's owners and managers answer for all that is under way in it."""


class Seat(NamedTuple):
    """A group of somebody's; `oversees`: all that is under way in it is his business, whoever began it."""

    group_id: UUID
    oversees: bool


async def seats_of(db: Database, person: UUID) -> list[Seat]:
    """What somebody is in his groups, of a few more after a race those that he joined first."""
    return [Seat(*row) for row in await db.fetch(_SEATS, person, GROUPS_MAX, OVERSEERS_MAX)]


async def ordered_by(db: Database, person: UUID, order_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these orders of groups this member placed."""
    rows = await db.fetch(
        "SELECT subject FROM accounts.deeds WHERE kind = 'ordered' AND subject = ANY($1::uuid[]) AND actor = $2",
        list(order_ids),
        person,
    )
    return {row["subject"] for row in rows}


_SEATS = """
    SELECT own.group_id, CASE WHEN own.role = 'member' THEN false ELSE (
        SELECT count(*) < $3 FROM (
            SELECT FROM accounts.members AS other
            WHERE other.group_id = own.group_id AND other.role <> 'member' AND other.ended_at IS NULL
                AND (other.joined_at, other.account_id) < (own.joined_at, own.account_id)
            LIMIT $3
        ) AS longer
    ) END AS oversees
    FROM accounts.members AS own
    WHERE own.account_id = $1 AND own.ended_at IS NULL
    ORDER BY own.joined_at, own.group_id LIMIT $2
"""
