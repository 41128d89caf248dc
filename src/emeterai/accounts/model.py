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


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made. The token is shown this once; only its digest is stored."""

    id: UUID
    label: str
    prefix: str
    created_at: datetime
    token: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and by what."""

    account_id: UUID
    name: str
    timezone: Timezone
    via: Literal["session", "api_key"]
