"""The nouns of stamping: documents that people send, and the stamps on them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from emeterai.core.refusal import Refused, refusal_from
from emeterai.core.stamping import DocumentState, StampState
from emeterai.infra.lane import lane_now
from emeterai.seal.model import Box, Report
from emeterai.seal.refusals import PDF_ENCRYPTED, PDF_PASSWORD_WRONG

PASSWORD_CODES = (PDF_ENCRYPTED.code, PDF_PASSWORD_WRONG.code)
"""The refusals that a password can put right."""


class Document(msgspec.Struct, frozen=True):
    """A file that a person sent, or is sending. `digest` is SHA-256 of its bytes, known when all have arrived."""

    id: UUID
    account_id: UUID
    name: str
    size_bytes: int
    received_bytes: int
    state: DocumentState
    digest: bytes | None
    report: Report | None
    refusal_code: str | None
    refusal_facts: dict[str, str | int]
    created_at: datetime
    changed_at: datetime
    expires_at: datetime | None
    repaired_key: str | None
    repaired_bytes: int | None
    repaired_digest: bytes | None
    locked: bool
    """A password belongs to it: before inspection its sender says so, afterwards it is true."""
    made_by: UUID | None = None
    """The member of a group who sent it; None: the account itself."""
    received_at: datetime | None = None
    """When its last byte was safe; None while it is not, and of files from before that was noted (`whole_since`)."""

    @property
    def whole_since(self) -> datetime | None:
        """Since when it is certainly here whole; None while it is not. Never earlier than it was."""
        if self.digest is None or self.state is DocumentState.RECEIVING:
            return None
        return self.received_at or self.changed_at

    @property
    def wants_password(self) -> bool:
        """True when it was refused for want of the right password and nothing else."""
        return self.state is DocumentState.REFUSED and self.refusal_code in PASSWORD_CODES

    @property
    def original_key(self) -> str:
        """Where the bytes that the person sent are in the blob store."""
        return original_key(self.id)

    @property
    def base_key(self) -> str:
        """Where the bytes that can be sealed are: the repaired file, or else the original."""
        return self.repaired_key or self.original_key

    @property
    def refusal(self) -> Refused | None:
        """Why it cannot be stamped, when it cannot."""
        return refusal_from(self.refusal_code, self.refusal_facts) if self.refusal_code else None


class Arrived(msgspec.Struct, frozen=True):
    """A whole file whose bytes are safe and that is not on record yet.

    With neither report nor refusal it has not been inspected. `digest` is SHA-256 of its bytes.
    """

    id: UUID
    account_id: UUID
    name: str
    size_bytes: int
    digest: bytes
    safe_at_s: float
    """When its bytes were safe, by the monotonic clock of this process."""
    enciphered_password: bytes | None = None
    report: Report | None = None
    refusal_code: str | None = None
    refusal_facts: dict[str, str | int] = {}
    made_by: UUID | None = None
    lane: str = msgspec.field(default_factory=lane_now)
    """Whose share of the sealers inspects it, should that be left to them."""

    @property
    def base_key(self) -> str:
        """Where its bytes are in the blob store."""
        return original_key(self.id)

    @property
    def state(self) -> DocumentState:
        """The state in which it goes on record."""
        if self.refusal_code is not None:
            return DocumentState.REFUSED
        return DocumentState.RECEIVED if self.report is None else DocumentState.READY


class Stamp(msgspec.Struct, frozen=True):
    """One stamp on one document. `box` is in points on the page as seen, origin bottom left."""

    id: UUID
    account_id: UUID
    document_id: UUID
    digest: bytes
    copy: int
    state: StampState
    serial: str
    hold_id: UUID
    ending_id: UUID
    page: int
    box: Box
    idempotency_key: str | None
    request_digest: bytes
    reason: str | None
    refusal_code: str | None
    refusal_facts: dict[str, str | int]
    tail_key: str | None
    tail_bytes: int | None
    sealed_size_bytes: int | None
    sealed_digest: bytes | None
    level: str | None
    held_at: datetime
    sealed_at: datetime | None
    ended_at: datetime | None
    addendum_keys: list[str]
    addendum_bytes: list[int]
    document_name: str
    repaired_key: str | None
    locked: bool
    """Its file opens with its password only."""
    base_bytes: int
    """The length of what is below the seal: the original, or the repaired file."""
    base_digest: bytes
    made_by: UUID | None = None
    """The member of a group who asked for it; None: the account itself."""

    @property
    def base_key(self) -> str:
        """Where the bytes below the seal are in the blob store."""
        return self.repaired_key or original_key(self.document_id)

    @property
    def tails(self) -> list[tuple[str, int]]:
        """What follows the base in the sealed file, in order: where it is in the blob store, and its size in bytes."""
        if self.tail_key is None or self.tail_bytes is None:
            return []
        return [(self.tail_key, self.tail_bytes), *zip(self.addendum_keys, self.addendum_bytes, strict=True)]

    @property
    def refusal(self) -> Refused | None:
        """Why the file could not be sealed after all, when that is why the unit was given back."""
        return refusal_from(self.refusal_code, self.refusal_facts) if self.refusal_code else None

    @property
    def is_final(self) -> bool:
        """True when nothing more happens to it."""
        return self.state is not StampState.HELD


class StampWanted(msgspec.Struct, frozen=True):
    """A request for a stamp, resolved: the document is ready and the box lies on its page."""

    account_id: UUID
    document_id: UUID
    digest: bytes
    page: int
    box: Box
    additional: bool
    idempotency_key: str | None
    request_digest: bytes
    repaired_digest: bytes | None = None
    """SHA-256 of the repaired file, when the seal goes on that: then the register knows the serial by it."""
    enciphered_password: bytes | None = None
    """What opens a locked file, as it may be kept (passwords.py)."""
    arrived: Arrived | None = None
    """The document, when it is to go on record together with the hold."""
    made_by: UUID | None = None
    """The member of a group who asks, whose limits then count; None: the account itself."""
    lane: str = msgspec.field(default_factory=lane_now)
    """Whose share of the sealers makes it."""


class RepairedFile(msgspec.Struct, frozen=True):
    """What repair made of a document, and where it is kept."""

    key: str
    size_bytes: int
    digest: bytes


def original_key(document_id: UUID) -> str:
    """The blob key of a document's original bytes."""
    return f"originals/{document_id}"


def parts_prefix(document_id: UUID) -> str:
    """Below which blob key the pieces of an upload under way are."""
    return f"parts/{document_id}"


def document_from(row: Any) -> Document:
    """A document from its row."""
    values = dict(row)
    values["state"] = DocumentState(values["state"])
    report = values["report"]
    values["report"] = None if report is None else msgspec.json.decode(report, type=Report)
    values["refusal_facts"] = _facts(values["refusal_facts"])
    return Document(**values)


def stamp_from(row: Any) -> Stamp:
    """A stamp from its row joined with its document's name and size."""
    values = dict(row)
    values["state"] = StampState(values["state"])
    values["box"] = Box(*values["box"])
    values["refusal_facts"] = _facts(values["refusal_facts"])
    return Stamp(**values)


def _facts(column: str | None) -> dict[str, str | int]:
    return {} if column is None else msgspec.json.decode(column, type=dict[str, str | int])
