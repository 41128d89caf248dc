"""The nouns of the ledger that rows become."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec


class Movement(msgspec.Struct, frozen=True):
    """One line of an account's history."""

    id: UUID
    kind: str
    reason: str
    amount: int
    subject: UUID | None
    posted_at: datetime


class SerialRecord(msgspec.Struct, frozen=True):
    """What the register knows of one serial. `state`: taken (not yet affixed), affixed, or void."""

    serial: str
    state: str
    digest: bytes
    hold_id: UUID
    subject: UUID
    taken_at: datetime
    ended_at: datetime | None
