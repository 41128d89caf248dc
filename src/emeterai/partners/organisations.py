"""Organisations are whom the issuer knows: approved groups, and partners."""

from __future__ import annotations

from uuid import UUID

from emeterai.gate.lanes import ENTERPRISES, RETAIL, put_account_into_lane
from emeterai.infra.database import Connection
from emeterai.partners import store
from emeterai.partners.model import PartnerState


async def enrol_group(tx: Connection, group_id: UUID, approved: bool) -> None:
    """What else happens when staff approve a group, or take that back: its keys change lanes."""
    await put_account_into_lane(tx, group_id, ENTERPRISES if approved else RETAIL)


async def is_active_partner(tx: Connection, account_id: UUID) -> bool:
    """Whether an account may sell for the issuer: it then buys within the limits of organisations."""
    partner = await store.by_account(tx, account_id)
    return partner is not None and partner.state is PartnerState.ACTIVE
