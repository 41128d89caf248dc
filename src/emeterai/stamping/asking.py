"""A request for a stamp, from whichever door it came: read it, place the mark, hold the unit."""

from __future__ import annotations

import hashlib
from uuid import UUID

import msgspec

from emeterai.core.stamping import DocumentState
from emeterai.infra.blobs import BlobStore
from emeterai.infra.http import REQUEST_MALFORMED
from emeterai.seal.model import Box
from emeterai.stamping.documents import Documents
from emeterai.stamping.model import StampWanted
from emeterai.stamping.placing import Look, place_mark
from emeterai.stamping.service import Asked, Stamping, require_ready

INSPECTION_WAIT_S = 15.0
"""How long a one-request stamp waits for its inspection; after that the document's id is the way on."""


class StampRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What to stamp and where. `page` counts from 1, without it the place decides; `box` goes before `place`."""

    document_id: UUID
    page: int | None = None
    box: Box | tuple[float, float, float, float] | None = None
    place: str = "auto"
    cover: bool = False
    """Confirms that the mark may hide text or pictures."""
    additional: bool = False
    """Ask for a further stamp on a file that this account has stamped already."""


class StampDesk:
    """Takes requests for stamps, whole or for a document that was sent before."""

    def __init__(self, documents: Documents, stamping: Stamping, blobs: BlobStore, look: Look) -> None:
        self._documents = documents
        self._stamping = stamping
        self._blobs = blobs
        self._look = look

    async def ask(self, account_id: UUID, request: StampRequest, *, idempotency_key: str | None) -> Asked:
        """Check everything that can be wrong, then hold one unit. A refusal leaves quota and files as they were."""
        document = await self._documents.get(account_id, request.document_id)
        if document.state is DocumentState.RECEIVED:
            document = await self._documents.inspected(account_id, document.id, wait_s=INSPECTION_WAIT_S)
        digest = require_ready(document)
        box = Box(*request.box) if isinstance(request.box, tuple) else request.box
        page, square = await place_mark(
            document, self._blobs, self._look, page=request.page, box=box, place=request.place, cover=request.cover
        )
        wanted = StampWanted(
            account_id=account_id,
            document_id=document.id,
            digest=digest,
            page=page,
            box=square,
            additional=request.additional,
            idempotency_key=idempotency_key,
            request_digest=_request_digest(digest, request.page, box, request.place, additional=request.additional),
            repaired_digest=document.repaired_digest,
        )
        return await self._stamping.ask(wanted)


def _request_digest(digest: bytes, page: int | None, box: Box | None, place: str, *, additional: bool) -> bytes:
    """What must be the same when an Idempotency-Key comes again: the file's content, the place, the wish for a copy."""
    return hashlib.sha256(digest + msgspec.json.encode((page, box, place, additional))).digest()


def box_from_text(text: str) -> Box:
    """A box written `x0,y0,x1,y1`. Raises `request_malformed`."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise REQUEST_MALFORMED(detail="a box is x0,y0,x1,y1 in points") from error
    return Box(x0, y0, x1, y1)
