"""Whose stamps are under way in a group: for the front door."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from emeterai.infra.database import Database

_NEWEST = 1_000
"""So many of a member's newest stamps are looked at, in each group: a hold lives for minutes."""


async def has_held(db: Database, groups: Collection[UUID], *, made_by: UUID) -> bool:
    """Whether this member has asked for a stamp, for one of these groups, whose unit is still held."""
    return bool(await db.fetchval(_HELD, list(groups), made_by, _NEWEST))


_HELD = """
    SELECT EXISTS (
        SELECT FROM unnest($1::uuid[]) AS asked(account_id) CROSS JOIN LATERAL (
            SELECT stamps.state FROM stamping.stamps
            WHERE stamps.account_id = asked.account_id AND stamps.made_by = $2
            ORDER BY stamps.held_at DESC, stamps.id DESC LIMIT $3
        ) AS newest WHERE newest.state = 'held'
    )
"""
