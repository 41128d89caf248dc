"""The values of accounts: a person, a session, a key, and who is calling."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec


class Timezone(StrEnum):
    """An Indonesian time zone: its name is what people call it, its value the name in the IANA database."""

    WIB = "Asia/Jakarta"
    WITA = "Asia/Makassar"
    WIT = "Asia/Jayapura"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A person: a name, an e-mail address or a phone number or both, and the zone in which times are shown."""

    id: UUID
    name: str
    email: str | None
    phone: str | None
    timezone: Timezone
    created_at: datetime


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A session just opened. The token is shown this once; only its digest is stored."""

    token: str
    expires_at: datetime
    account: Account


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A program's key: `prefix` are the first characters of its token. `last_used_on` is a day in UTC."""

    id: UUID
    label: str
    prefix: str
    created_at: datetime
    last_used_on: date | None
    revoked_at: datetime | None
    group_id: UUID | None = None
    """The group that it acts for, and for nobody else; None: its holder."""


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made. The token is shown this once; only its digest is stored."""

    id: UUID
    label: str
    prefix: str
    created_at: datetime
    token: str


class GroupRole(StrEnum):
    """What a member of a group may do: a member stamps, a manager sees and orders too, an owner decides who is what."""

    OWNER = "owner"
    MANAGER = "manager"
    MEMBER = "member"

    @property
    def oversees(self) -> bool:
        """Whether everything that is done for the group may be seen, and quota bought for it."""
        return self is not GroupRole.MEMBER


@dataclass(frozen=True, slots=True)
class Acting:
    """The member behind a request that is made for a group."""

    member_id: UUID
    group_name: str
    role: GroupRole


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and by what. `account_id` is whose quota it is about: the person's, or a group's.

    `name` and `timezone` are always the person's.
    """

    account_id: UUID
    name: str
    timezone: Timezone
    via: Literal["session", "api_key"]
    acting: Acting | None = None

    @property
    def actor(self) -> UUID:
        """The account of the person, whomever the request is for."""
        return self.acting.member_id if self.acting else self.account_id

    @property
    def made_by(self) -> UUID | None:
        """What goes on record beside the account: the member, or None for a person's own business."""
        return self.acting.member_id if self.acting else None

    @property
    def only_by(self) -> UUID | None:
        """The member whose work is all that may be seen; None where everything of the account may."""
        return self.acting.member_id if self.acting and not self.acting.role.oversees else None
