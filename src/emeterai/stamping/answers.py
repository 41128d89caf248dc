"""What the API says of documents and stamps."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from emeterai.core.stamping import StampState
from emeterai.seal.model import Box
from emeterai.stamping.model import Document, Stamp


class Why(msgspec.Struct, frozen=True):
    """A reason: its stable code and one sentence in each language."""

    code: str
    id: Annotated[str, msgspec.Meta(description="The sentence in Indonesian")]
    en: Annotated[str, msgspec.Meta(description="The sentence in English")]


class DocumentAnswer(msgspec.Struct, frozen=True):
    """A document. `state`: receiving, received (inspection under way), ready, or refused (then `refusal` says why)."""

    id: UUID
    name: str
    state: str
    size_bytes: int
    received_bytes: int
    sha256: str | None
    pages: int | None
    page_sizes_pt: list[tuple[float, float]]
    pdf_version: str | None
    signatures: int | None
    notes: list[str]
    locked: Annotated[bool, msgspec.Meta(description="It opens with its password only")]
    refusal: Why | None
    created_at: datetime


class StampAnswer(msgspec.Struct, frozen=True):
    """A stamp. `state`: held (sealing is under way), sealed, or given_back (then `refusal` or `reason` says why)."""

    id: UUID
    document_id: UUID
    state: str
    serial: str
    page: int
    box: Box
    level: str | None
    sealed_sha256: str | None
    size_bytes: int | None
    file_url: str | None
    verify_url: str
    reason: str | None
    refusal: Why | None
    held_at: datetime
    sealed_at: datetime | None
    ended_at: datetime | None


class DocumentList(msgspec.Struct, frozen=True):
    """One page of documents, newest first; `next` is the cursor of the page after it."""

    items: list[DocumentAnswer]
    next: str | None


class StampList(msgspec.Struct, frozen=True):
    """One page of stamps, newest first; `next` is the cursor of the page after it."""

    items: list[StampAnswer]
    next: str | None


_GIVEN_BACK = {
    "expired": Why(
        "expired",
        "Pembubuhan tidak selesai pada waktunya. Kuota Anda sudah kembali; silakan coba lagi.",
        "Sealing did not finish in time. Your quota is back; please try again.",
    ),
    "cancelled": Why(
        "cancelled",
        "Meterai ini dibatalkan. Kuota Anda sudah kembali.",
        "This stamp was cancelled. Your quota is back.",
    ),
}


def document_answer(document: Document) -> DocumentAnswer:
    """A document as the API says it."""
    report, refusal = document.report, document.refusal
    return DocumentAnswer(
        id=document.id,
        name=document.name,
        state=document.state.value,
        size_bytes=document.size_bytes,
        received_bytes=document.received_bytes,
        sha256=document.digest.hex() if document.digest else None,
        pages=report.pages if report else None,
        page_sizes_pt=report.page_sizes_pt if report else [],
        pdf_version=report.pdf_version if report else None,
        signatures=report.signatures if report else None,
        notes=report.notes if report else [],
        locked=document.locked or document.wants_password,
        refusal=Why(refusal.code, refusal.id, refusal.en) if refusal else None,
        created_at=document.created_at,
    )


def why_given_back(stamp: Stamp) -> Why | None:
    """Why the unit of a stamp went back, in words; None while it did not."""
    if stamp.state is not StampState.GIVEN_BACK or stamp.reason is None:
        return None
    refusal = stamp.refusal
    return Why(refusal.code, refusal.id, refusal.en) if refusal else _GIVEN_BACK[stamp.reason]


def stamp_answer(stamp: Stamp, base_url: str) -> StampAnswer:
    """A stamp as the API says it."""
    is_sealed = stamp.state is StampState.SEALED
    return StampAnswer(
        id=stamp.id,
        document_id=stamp.document_id,
        state=stamp.state.value,
        serial=stamp.serial,
        page=stamp.page,
        box=stamp.box,
        level=stamp.level,
        sealed_sha256=stamp.sealed_digest.hex() if stamp.sealed_digest else None,
        size_bytes=stamp.sealed_size_bytes,
        file_url=f"{base_url}/v1/stamps/{stamp.id}/file" if is_sealed else None,
        verify_url=f"{base_url}/v/{stamp.serial}",
        reason=stamp.reason,
        refusal=why_given_back(stamp),
        held_at=stamp.held_at,
        sealed_at=stamp.sealed_at,
        ended_at=stamp.ended_at,
    )
