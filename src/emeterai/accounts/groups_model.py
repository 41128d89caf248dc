"""The values of groups: a group, its members with their limits, invitations, and the deeds of its history."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from emeterai.accounts.model import GroupRole, Timezone

Units = Annotated[int, msgspec.Meta(ge=0, le=2_000_000_000)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many units a member may spend; None is without limit. Days and months are those of the group's zone."""

    units_a_day: Units | None = None
    units_a_month: Units | None = None
    units_in_all: Units | None = None


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Units of a member that are held or used: today, in this month, in all."""

    today: int
    this_month: int
    in_all: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group as one of its members has it. `id` is the account whose quota is spent."""

    id: UUID
    name: str
    timezone: Timezone
    created_at: datetime
    role: GroupRole
    approved: bool = False
    """Until staff approve it, it buys under its founder's own limit and makes neither vouchers nor programmes."""


class GroupInOffice(msgspec.Struct, frozen=True, kw_only=True):
    """A group as staff see it: how many members, and who founded it."""

    id: UUID
    name: str
    approved: bool
    founder: str
    members: int
    created_at: datetime


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the record of approvals: `approved` or `withdrawn`."""

    change: str
    note: str
    done_by: str
    done_at: datetime


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who acts for a group."""

    account_id: UUID
    name: str
    role: GroupRole
    limits: Limits
    spent: Spent
    joined_at: datetime


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An open invitation; with a contact it is for whoever has that e-mail address or phone number."""

    id: UUID
    contact: str | None
    role: GroupRole
    limits: Limits
    invited_by: str
    created_at: datetime
    expires_at: datetime


class NewInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation just made. The code is shown this once; only its digest is stored."""

    id: UUID
    contact: str | None
    role: GroupRole
    limits: Limits
    expires_at: datetime
    code: str


class Invited(msgspec.Struct, frozen=True, kw_only=True):
    """What an invitation offers, as whoever holds its code sees it."""

    group_id: UUID
    group_name: str
    contact: str | None
    role: GroupRole
    limits: Limits
    invited_by: str
    expires_at: datetime


class DeedKind(StrEnum):
    """What a member did."""

    FOUNDED = "founded"
    INVITED = "invited"
    INVITATION_WITHDRAWN = "invitation_withdrawn"
    JOINED = "joined"
    CHANGED = "changed"
    REMOVED = "removed"
    LEFT = "left"
    STAMPED = "stamped"
    GIVEN_BACK = "given_back"
    ORDERED = "ordered"


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a group's history. `subject` is the stamp, order, member or invitation that it is about."""

    id: UUID
    actor: UUID
    actor_name: str
    kind: DeedKind
    subject: UUID | None
    facts: dict[str, str | int | None]
    done_at: datetime


class Spending(msgspec.Struct, frozen=True):
    """One unit that a member wants to hold for a group."""

    stamp_id: UUID
    group_id: UUID
    member_id: UUID


class Allowance(msgspec.Struct):
    """What a member may spend, and has spent, as it stands under the lock of the group's account."""

    limits: Limits
    today: int
    this_month: int
    in_all: int
