"""The rows of the simulated database: what the tables of the service hold, as far as a simulated day needs it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from emeterai.core.ordering import OrderState, Price, Seen
from emeterai.core.stamping import DocumentState, StampState


class FileKind(StrEnum):
    """What becomes of a file when it is worked on."""

    GOOD = "good"
    REFUSED = "refused at inspection"
    NOT_SEALABLE = "refused at sealing"
    KILLS_INSPECTION = "kills who inspects it"
    KILLS_SEALING = "kills who seals it"


class File(NamedTuple):
    """The bytes that a person sends, by their digest."""

    digest: bytes
    kind: FileKind


class StampRow(NamedTuple):
    """stamping.stamps."""

    id: UUID
    account: UUID
    document: UUID
    digest: bytes
    copy: int
    state: StampState
    serial: str
    hold: UUID
    ending: UUID
    key: UUID | None
    request: bytes
    tail_key: str = ""
    sealed_digest: bytes = b""
    reason: str = ""


class AskedKeyRow(NamedTuple):
    """stamping.asked_keys."""

    account: UUID
    key: UUID
    stamp: UUID
    request: bytes


class DocumentRow(NamedTuple):
    """stamping.documents. `file` stands for the bytes."""

    id: UUID
    account: UUID
    file: File
    state: DocumentState


class JobRow(NamedTuple):
    """infra.jobs."""

    id: UUID
    kind: str
    run_at_s: float
    attempts: int = 0
    worker: UUID | None = None
    lease_until_s: float = 0.0


class HoldRow(NamedTuple):
    """ledger.holds: only those that are open."""

    id: UUID
    account: UUID
    amount: int
    subject: UUID | None
    expires_at_s: float


class SerialRow(NamedTuple):
    """ledger.serials."""

    serial: str
    state: str
    digest: bytes
    hold: UUID
    subject: UUID


class OrderRow(NamedTuple):
    """purchase.orders."""

    id: UUID
    account: UUID
    key: UUID
    quantity: int
    price: Price
    state: OrderState
    transfers: tuple[UUID, UUID, UUID, UUID]
    expires_at_s: float
    next_check_s: float | None
    checks: int = 0
    reference: str | None = None
    seen: Seen | None = None


class NoticeRow(NamedTuple):
    """purchase.notifications."""

    id: UUID
    event: str
    order: UUID
    seen: Seen
    received_at_s: float


class Claim(NamedTuple):
    """A job that a worker holds until its lease ends (infra/jobs.py)."""

    id: UUID
    kind: str
    attempt: int
    worker: UUID
