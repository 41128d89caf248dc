"""Whose limit the orders of a group count against, and their line in its history: for whoever places an order.

Anybody may found a group, so one that staff have not approved is no second person: its orders share its founder's own
limit with the founder's orders and those of the other groups that he founded. An approved group has a limit of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from emeterai.accounts import groups_approval_store as approval_store
from emeterai.accounts import groups_store as store
from emeterai.accounts.groups_model import DeedKind
from emeterai.infra.database import Connection, Database


class Sharing(NamedTuple):
    """With whose orders an account's orders are counted together; `is_organisation`: it is an approved group."""

    is_organisation: bool
    accounts: list[UUID]


async def locks_of_buyer(tx: Connection, account_id: UUID) -> list[UUID]:
    """The accounts to lock for an order: its own, and of a group also its founder's, where its orders are counted."""
    founder = await approval_store.founder_of(tx, account_id)
    return [account_id] if founder is None else [account_id, founder]


async def sharing_of(tx: Connection, account_id: UUID) -> Sharing:
    """What the orders of an account count with, while `tx` holds the locks of `locks_of_buyer`."""
    return Sharing(*await approval_store.counted_together(tx, account_id))


async def groups_counted_with(connection: Connection, people: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
    """Each of these people with each group that counts with him: those that he founded and staff have not approved."""
    return await approval_store.unapproved_of(connection, people)


async def is_approved(connection: Connection | Database, group_id: UUID) -> bool:
    """Whether staff have approved a group; under the lock of its account that stays so until the commit."""
    return await approval_store.is_approved(connection, group_id)


async def note_order(tx: Connection, account_id: UUID, order_id: UUID, *, member_id: UUID | None) -> None:
    """Write into a group's history which member made this order for it; nothing for a person's own order."""
    if member_id is not None:
        await store.note(tx, account_id, member_id, DeedKind.ORDERED, subject=order_id)
