"""Organisations: approved groups, whose programs share the service as enterprises do."""

from __future__ import annotations

from uuid import UUID

from emeterai.gate.lanes import ENTERPRISES, RETAIL, put_account_into_lane
from emeterai.infra.database import Connection


async def enrol_group(tx: Connection, group_id: UUID, approved: bool) -> None:
    """What else happens when staff approve a group, or take that back: its keys change lanes."""
    await put_account_into_lane(tx, group_id, ENTERPRISES if approved else RETAIL)
