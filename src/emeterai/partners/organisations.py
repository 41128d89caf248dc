"""Organisations are whom the issuer knows: approved groups, and partners. Nobody else passes quota on to strangers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from emeterai.accounts.groups_buying import is_approved
from emeterai.core.refusal import RefusalKind
from emeterai.gate.lanes import ENTERPRISES, RETAIL, put_account_into_lane
from emeterai.infra.database import Connection, Database
from emeterai.partners import store
from emeterai.partners.model import PartnerState

ORGANISATION_NEEDED = RefusalKind(
    "organisation_needed",
    403,
    "Program hibah hanya untuk kelompok yang sudah disetujui petugas dan mitra penjual yang aktif. Buat kelompok untuk "
    "lembaga Anda, minta pengelola layanan menyetujuinya, lalu bertindaklah untuknya.",
    "Programmes of grants are only for groups that staff have approved and for active selling partners. Found a group "
    "for your agency, ask whoever runs the service to approve it, then act for it.",
)


async def enrol_group(tx: Connection, group_id: UUID, approved: bool) -> None:
    """What else happens when staff approve a group, or take that back: its keys change lanes."""
    await put_account_into_lane(tx, group_id, ENTERPRISES if approved else RETAIL)


async def is_active_partner(connection: Connection | Database, account_id: UUID) -> bool:
    """Whether an account may sell for the issuer: it then buys within the limits of organisations."""
    partner = await store.by_account(connection, account_id)
    return partner is not None and partner.state is PartnerState.ACTIVE


async def partners_among(connection: Connection, accounts: Sequence[UUID]) -> Mapping[UUID, bool]:
    """Those of these accounts that are partners' own, and whether each may sell for the issuer at this moment."""
    return await store.active_by_account(connection, accounts)


async def is_organisation(connection: Connection | Database, account_id: UUID) -> bool:
    """Whether an account is an approved group's, or an active partner's.

    Under the locks of `locks_of_organisation` that stays so until the commit.
    """
    return await is_approved(connection, account_id) or await is_active_partner(connection, account_id)


async def require_organisation(connection: Connection | Database, account_id: UUID) -> None:
    """Pass organisations. Raises `organisation_needed` for everybody else."""
    if not await is_organisation(connection, account_id):
        raise ORGANISATION_NEEDED()


async def locks_of_organisation(tx: Connection, account_id: UUID) -> list[UUID]:
    """The accounts to lock so that nobody stops it meanwhile: a group's own; a partner's stock, beside its own."""
    partner = await store.by_account(tx, account_id)
    return [account_id] if partner is None else [account_id, partner.id]
