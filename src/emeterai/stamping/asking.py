"""A request for a stamp, from whichever door it came: read it, place the mark, hold the unit."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from uuid import UUID

import msgspec

from emeterai.core.refusal import Refused
from emeterai.core.stamping import DocumentState
from emeterai.infra.blobs import BlobStore
from emeterai.infra.http import REQUEST_MALFORMED
from emeterai.infra.metrics import stage
from emeterai.seal.model import Box
from emeterai.seal.reader import FileReader
from emeterai.seal.refusals import PDF_ENCRYPTED
from emeterai.stamping.documents import Documents
from emeterai.stamping.model import Arrived, Document, StampWanted
from emeterai.stamping.passwords import Passwords, checked_password
from emeterai.stamping.placing import place_mark
from emeterai.stamping.service import Asked, Stamping, require_ready

_OPENER_WAIT_S = 0.25
_OUR_FAULT = 500
_FRESH_MAX = 512
INSPECTION_WAIT_S = 15.0
"""How long a one-request stamp waits for its inspection; after that the document's id is the way on."""


class StampWishes(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where to stamp, and how. `page` counts from 1, without it the place decides; `box` goes before `place`."""

    page: int | None = None
    box: Box | tuple[float, float, float, float] | None = None
    place: str = "auto"
    cover: bool = False
    """Confirms that the mark may hide text or pictures."""
    additional: bool = False
    """Ask for a further stamp on a file that this account has stamped already."""
    password: str | None = None
    """Opens a locked file; not needed while one that came before is kept."""


class StampRequest(StampWishes, forbid_unknown_fields=True, kw_only=True):
    """A wish for a stamp on a document that is on record."""

    document_id: UUID


class StampDesk:
    """Takes requests for stamps, whole or for a document that was sent before."""

    def __init__(
        self, documents: Documents, stamping: Stamping, blobs: BlobStore, reader: FileReader, passwords: Passwords
    ) -> None:
        self._documents = documents
        self._stamping = stamping
        self._passwords = passwords
        self._blobs = blobs
        self._reader = reader
        self._fresh: OrderedDict[UUID, Arrived] = OrderedDict()
        """The latest files that came whole and can be stamped: what is known of them need not be read back at once."""

    async def ask(
        self,
        account_id: UUID,
        request: StampRequest,
        *,
        idempotency_key: str | None,
        made_by: UUID | None = None,
        only_by: UUID | None = None,
    ) -> Asked:
        """Check everything that can be wrong, then hold one unit. A refusal leaves quota and files as they were.

        `made_by` is the member who asks for a group, `only_by` the one whose documents are all that he may see.
        """
        fresh = self._fresh.pop(request.document_id, None)
        is_own = fresh is not None and fresh.account_id == account_id and only_by in {None, fresh.made_by}
        if fresh is not None and is_own and request.password is None:
            wanted = await self._placed(fresh, fresh.digest, request, idempotency_key=idempotency_key, made_by=made_by)
            return await self._stamping.ask(wanted)
        document = await self._documents.get(account_id, request.document_id, only_by=only_by)
        if document.state is DocumentState.RECEIVED:
            document = await self._documents.inspected(account_id, document.id, wait_s=INSPECTION_WAIT_S)
        given = checked_password(request.password)
        if given is not None and document.wants_password:
            given = None if await self._documents.unlock(document, given) else given
            document = await self._documents.inspected(account_id, document.id, wait_s=INSPECTION_WAIT_S)
        digest = require_ready(document)
        password = await self._password_of(document, given) if document.locked else None
        wanted = await self._placed(
            document, digest, request, idempotency_key=idempotency_key, password=password, made_by=made_by
        )
        stamp, is_new = await self._stamping.ask(wanted)
        if document.locked and not is_new:
            await self._passwords.forget_unless_held(document.id)
        return stamp, is_new

    async def ask_with_file(
        self,
        account_id: UUID,
        wishes: StampWishes,
        name: str,
        data: bytes,
        *,
        idempotency_key: str | None,
        made_by: UUID | None = None,
    ) -> Asked:
        """Ask for a stamp on a file that comes with the request: inspected at once, on record together with its hold.

        What cannot be done at once (no opener is free soon, the file wants repair, it came with a password) goes the
        way of files that are sent beforehand. A refused file is on record too.
        """
        password = checked_password(wishes.password)
        arrived = await self._documents.keep(account_id, name, data, password=password, made_by=made_by)
        if password is None:
            arrived = await self._inspected(arrived)
        if arrived.state is not DocumentState.READY:
            await self._documents.record(arrived)
            asked = {name: value for name, value in msgspec.structs.asdict(wishes).items() if name != "password"}
            request = StampRequest(document_id=arrived.id, **asked)
            return await self.ask(account_id, request, idempotency_key=idempotency_key, made_by=made_by)
        try:
            wanted = await self._placed(
                arrived, arrived.digest, wishes, idempotency_key=idempotency_key, made_by=made_by
            )
        except Refused:
            await self._documents.record(arrived)
            raise
        return await self._stamping.ask(msgspec.structs.replace(wanted, arrived=arrived))

    async def take_in(self, account_id: UUID, name: str, data: bytes, *, made_by: UUID | None = None) -> Arrived:
        """Keep a whole file, inspected at once when an opener is free soon, and put it on record."""
        arrived = await self._inspected(await self._documents.keep(account_id, name, data, made_by=made_by))
        await self._documents.record(arrived)
        if arrived.state is DocumentState.READY:
            self._fresh[arrived.id] = arrived
            if len(self._fresh) > _FRESH_MAX:
                self._fresh.popitem(last=False)
        return arrived

    async def _inspected(self, arrived: Arrived) -> Arrived:
        """The file with what inspection found; as it is when that must be left to the sealer."""
        try:
            async with self._blobs.as_file(arrived.base_key) as path:
                with stage("inspect"):
                    report = await self._reader.inspect(path, wait_s=_OPENER_WAIT_S)
        except Refused as refused:
            # A file is refused only as it was sent; one that the store has cut is left to the sealer, which says so.
            if refused.kind.status >= _OUR_FAULT or not await self._is_as_sent(arrived):
                return arrived
            return msgspec.structs.replace(arrived, refusal_code=refused.code, refusal_facts=dict(refused.facts))
        return arrived if report.repaired else msgspec.structs.replace(arrived, report=report)

    async def _is_as_sent(self, arrived: Arrived) -> bool:
        return hashlib.sha256(await self._blobs.read(arrived.base_key)).digest() == arrived.digest

    async def _placed(
        self,
        document: Document | Arrived,
        digest: bytes,
        wishes: StampWishes,
        *,
        idempotency_key: str | None,
        password: str | None = None,
        made_by: UUID | None = None,
    ) -> StampWanted:
        """The wishes with their place found. Raises what `place_mark` raises."""
        box = Box(*wishes.box) if isinstance(wishes.box, tuple) else wishes.box
        page, square = await place_mark(
            document,
            self._blobs,
            self._reader.placement,
            page=wishes.page,
            box=box,
            place=wishes.place,
            cover=wishes.cover,
            password=password,
        )
        return StampWanted(
            account_id=document.account_id,
            document_id=document.id,
            digest=digest,
            page=page,
            box=square,
            additional=wishes.additional,
            idempotency_key=idempotency_key,
            request_digest=_request_digest(digest, wishes.page, box, wishes.place, additional=wishes.additional),
            repaired_digest=document.repaired_digest if isinstance(document, Document) else None,
            enciphered_password=self._passwords.enciphered(document.id, password) if password else None,
            made_by=made_by,
        )

    async def _password_of(self, document: Document, given: str | None) -> str:
        """What opens a locked document: what was given now, or what is kept. Raises `pdf_encrypted` for neither."""
        assert document.digest is not None
        if given is not None:
            await self._passwords.take_try(document.account_id, document.digest)
            return given
        kept = await self._passwords.kept([document.id])
        if document.id not in kept:
            raise PDF_ENCRYPTED()
        return kept[document.id]


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
