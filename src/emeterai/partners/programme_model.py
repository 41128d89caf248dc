"""The values of programmes: a programme, a claim of a grant, codes, lists, and the report to the unit."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from emeterai.core.granting import ProgrammeState


class Programme(msgspec.Struct, frozen=True, kw_only=True):
    """A programme of grants. `id` is the account that holds its units; `salt` is what identities are hashed with."""

    id: UUID
    agency_id: UUID
    agency_name: str
    name: str
    message: str
    units_each: int
    salt: bytes
    state: ProgrammeState
    invited: int
    claimed: int
    ends_at: datetime
    created_at: datetime
    ended_at: datetime | None
    overdue: bool
    """Whether its end has come by the database's clock."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A programme to the unit, in stamps. At every moment

    funded = in_programme + in_grants + used + claimed_returned + unclaimed_returned + kept.
    """

    funded: int
    in_programme: int
    """Not claimed, or on its way back."""
    in_grants: int
    """Claimed by people whose grants have not ended."""
    used: int
    claimed_returned: int
    unclaimed_returned: int
    kept: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that somebody claimed. `used`, `returned` and `kept` are known when it has ended."""

    id: UUID
    programme_id: UUID
    programme_name: str
    agency_name: str
    account_id: UUID
    units: int
    used_before: int
    claimed_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    used: int | None
    returned: int | None
    kept: int | None


class KnownClaim(msgspec.Struct, frozen=True):
    """Who has claimed by which key already."""

    programme_id: UUID
    key: bytes
    account_id: UUID


class ClaimWanted(msgspec.Struct, frozen=True):
    """Somebody claims by a key: what is stored of his identity or code."""

    programme_id: UUID
    account_id: UUID
    key: bytes


class CodeBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Invitation codes that were made together; the first `ready` of them open something."""

    id: UUID
    quantity: int
    ready: int
    created_at: datetime


class BadLine(msgspec.Struct, frozen=True):
    """A line of a list that was not taken: its number, counted from 1, and why."""

    line: int
    id: str
    en: str


class ListReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a list. Every line is added, known, bad or blank; of the bad ones the first are named."""

    lines: int
    added: int
    known: int
    """They were on the list already, or twice in this one."""
    bad: int
    blank: int
    bad_lines: list[BadLine]
