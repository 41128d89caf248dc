"""Documents and stamps for programs: `/v1/documents`, `/v1/stamps`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage, Stream

from emeterai.accounts.callers import caller
from emeterai.accounts.groups_spending import GROUP_NOT_YOURS, LIMIT_REACHED
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.core.ledger import QUOTA_NOT_ENOUGH
from emeterai.core.refusal import RefusalKind
from emeterai.infra.http import (
    CURSOR_BAD,
    IDEMPOTENCY_KEY_BAD,
    IDEMPOTENCY_KEY_REUSED,
    IDEMPOTENCY_KEY_SCHEMA,
    MEDIA_TYPE_UNKNOWN,
    RANGE_NOT_SATISFIABLE,
    REQUEST_MALFORMED,
    attachment_header,
    checked_idempotency_key,
    cursor_of,
    preferred_wait_s,
    problems,
    read_cursor,
    sent_form,
)
from emeterai.infra.waiting import wait_for
from emeterai.seal.refusals import (
    BOX_OFF_PAGE,
    BOX_TOO_SMALL,
    PAGE_NOT_IN_DOCUMENT,
    PDF_ENCRYPTED,
    PDF_PASSWORD_WRONG,
    PLACE_UNKNOWN,
)
from emeterai.stamping.answers import (
    DocumentAnswer,
    DocumentList,
    StampAnswer,
    StampList,
    document_answer,
    stamp_answer,
)
from emeterai.stamping.asking import StampRequest, StampWishes, box_from_text
from emeterai.stamping.documents import DOCUMENT_EMPTY, DOCUMENT_TOO_LARGE, DOCUMENT_UNKNOWN
from emeterai.stamping.download import sealed_file
from emeterai.stamping.model import Stamp
from emeterai.stamping.operation import StampOperation
from emeterai.stamping.passwords import PASSWORD_TRIES_OVER, checked_password
from emeterai.stamping.placing import BOX_COVERS_TEXT
from emeterai.stamping.service import (
    DOCUMENT_NOT_READY,
    STAMP_NOT_SEALED,
    STAMP_UNKNOWN,
)
from emeterai.stamping.services import AnyRequest, StampingServices, services_of

PAGE_LINES_MAX = 100
_EVENTS_LIFE_S = 300.0
_EVENTS_BEAT_S = 15.0
_SIGNED_IN = (SIGN_IN_NEEDED, SESSION_EXPIRED)
STAMPED_BY_OTHER_MEMBER = RefusalKind(
    "stamped_by_other_member",
    409,
    "Anggota lain sudah membubuhkan meterai pada berkas ini; mintalah hasilnya kepada pengelola kelompok Anda.",
    "Another member has stamped this file already; ask the people who run your group for the result.",
)
_ASKING = (
    STAMPED_BY_OTHER_MEMBER,
    QUOTA_NOT_ENOUGH,
    LIMIT_REACHED,
    GROUP_NOT_YOURS,
    DOCUMENT_UNKNOWN,
    DOCUMENT_NOT_READY,
    DOCUMENT_TOO_LARGE,
    DOCUMENT_EMPTY,
    MEDIA_TYPE_UNKNOWN,
    IDEMPOTENCY_KEY_BAD,
    IDEMPOTENCY_KEY_REUSED,
    PAGE_NOT_IN_DOCUMENT,
    BOX_OFF_PAGE,
    BOX_TOO_SMALL,
    PLACE_UNKNOWN,
    BOX_COVERS_TEXT,
    PDF_ENCRYPTED,
    PDF_PASSWORD_WRONG,
    PASSWORD_TRIES_OVER,
)
_STAMP_AT_ONCE = {
    200: ResponseSpec(StampAnswer, generate_examples=False, description="The stamp that you had before"),
    201: ResponseSpec(StampAnswer, generate_examples=False, description="Sealed, or given back, while you waited"),
}
_FORM_FIELDS = {"page", "box", "place", "cover", "additional", "password"}

Prefer = Annotated[
    str | None,
    HeaderParameter(name="Prefer", description="`wait=N`: answer when it is done, at most N seconds from now"),
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Makes it safe to send this again: one stamp, one answer",
        schema_extra=IDEMPOTENCY_KEY_SCHEMA,
    ),
]
Cursor = Annotated[str | None, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=PAGE_LINES_MAX, description="Lines on a page")]


class DocumentRoutes(Controller):
    """What was sent, and what the inspection says of it."""

    path = "/v1/documents"
    tags = ("Documents",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get(
        "/",
        operation_id="list_documents",
        summary="Your documents, newest first",
        responses=problems(*_SIGNED_IN, CURSOR_BAD),
    )
    async def list(
        self, request: AnyRequest, caller: NamedDependency[Caller], limit: Limit = 50, cursor: Cursor = None
    ) -> DocumentList:
        """One page of documents."""
        documents = services_of(request).documents
        found = await documents.of_account(
            caller.account_id, before=read_cursor(cursor), limit=limit + 1, only_by=caller.only_by
        )
        shown = found[:limit]
        after = cursor_of(shown[-1].created_at, shown[-1].id) if len(found) > limit else None
        return DocumentList([document_answer(document) for document in shown], after)

    @get(
        "/{document_id:uuid}",
        operation_id="get_document",
        summary="A document and its inspection",
        responses=problems(*_SIGNED_IN, DOCUMENT_UNKNOWN),
    )
    async def get_one(
        self,
        request: AnyRequest,
        document_id: FromPath[UUID],
        caller: NamedDependency[Caller],
        prefer: Prefer = None,
    ) -> DocumentAnswer:
        """With `Prefer: wait=N` the answer comes when the inspection is done."""
        documents, wait_s = services_of(request).documents, preferred_wait_s(prefer)
        return document_answer(
            await documents.inspected(caller.account_id, document_id, wait_s=wait_s, only_by=caller.only_by)
        )


class StampRoutes(Controller):
    """Stamps: ask, look, wait, fetch."""

    path = "/v1/stamps"
    tags = ("Stamps",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @post(
        "/",
        operation_id="ask_for_stamp",
        operation_class=StampOperation,
        summary="Stamp a document (JSON) or a file (form, one request)",
        status_code=202,
        responses={**_STAMP_AT_ONCE, **problems(*_SIGNED_IN, *_ASKING)},
    )
    async def ask(
        self,
        request: AnyRequest,
        caller: NamedDependency[Caller],
        prefer: Prefer = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[StampAnswer]:
        """201 when it is sealed or given back already, 202 while sealing is under way, 200 for one you had before."""
        services, key = services_of(request), checked_idempotency_key(idempotency_key)
        wanted = await _stamp_request(request)
        if isinstance(wanted, StampRequest):
            stamp, is_new = await services.desk.ask(
                caller.account_id, wanted, idempotency_key=key, made_by=caller.made_by, only_by=caller.only_by
            )
        else:
            wishes, file = wanted
            stamp, is_new = await services.desk.ask_with_file(
                caller.account_id, wishes, file.name, file.data, idempotency_key=key, made_by=caller.made_by
            )
        if caller.only_by is not None and stamp.made_by != caller.only_by:
            raise STAMPED_BY_OTHER_MEMBER()
        if not stamp.is_final:
            wait_s = preferred_wait_s(prefer)
            stamp = await services.stamping.ended(caller.account_id, stamp.id, wait_s=wait_s)
        status = (201 if stamp.is_final else 202) if is_new else 200
        headers = {"location": f"/v1/stamps/{stamp.id}"}
        return Response(stamp_answer(stamp, services.settings.base_url), status_code=status, headers=headers)

    @get(
        "/",
        operation_id="list_stamps",
        summary="Your stamps, newest first",
        responses=problems(*_SIGNED_IN, CURSOR_BAD),
    )
    async def list(
        self, request: AnyRequest, caller: NamedDependency[Caller], limit: Limit = 50, cursor: Cursor = None
    ) -> StampList:
        """One page of stamps."""
        services = services_of(request)
        found = await services.stamping.of_account(
            caller.account_id, before=read_cursor(cursor), limit=limit + 1, only_by=caller.only_by
        )
        shown = found[:limit]
        after = cursor_of(shown[-1].held_at, shown[-1].id) if len(found) > limit else None
        return StampList([stamp_answer(stamp, services.settings.base_url) for stamp in shown], after)

    @get(
        "/{stamp_id:uuid}",
        operation_id="get_stamp",
        summary="A stamp and what became of it",
        responses=problems(*_SIGNED_IN, STAMP_UNKNOWN),
    )
    async def get_one(
        self, request: AnyRequest, stamp_id: FromPath[UUID], caller: NamedDependency[Caller], prefer: Prefer = None
    ) -> StampAnswer:
        """With `Prefer: wait=N` the answer comes when it is sealed or given back."""
        services, wait_s = services_of(request), preferred_wait_s(prefer)
        stamp = await services.stamping.ended(caller.account_id, stamp_id, wait_s=wait_s, only_by=caller.only_by)
        return stamp_answer(stamp, services.settings.base_url)

    @get(
        "/{stamp_id:uuid}/events",
        operation_id="follow_stamp",
        summary="Follow a stamp (server-sent events)",
        media_type="text/event-stream",
        responses=problems(*_SIGNED_IN, STAMP_UNKNOWN),
    )
    async def events(
        self, request: AnyRequest, stamp_id: FromPath[UUID], caller: NamedDependency[Caller]
    ) -> ServerSentEvent:
        """An event named by the state whenever it changes, the first at once; the stream ends when it is final."""
        services = services_of(request)
        first = await services.stamping.get(caller.account_id, stamp_id, only_by=caller.only_by)
        return ServerSentEvent(_follow(first, services), headers={"cache-control": "no-store"})

    @get(
        "/{stamp_id:uuid}/file",
        operation_id="get_sealed_file",
        summary="The sealed file",
        media_type="application/pdf",
        responses={
            206: ResponseSpec(bytes, media_type="application/pdf", description="The part that `Range` asked for"),
            **problems(*_SIGNED_IN, STAMP_UNKNOWN, STAMP_NOT_SEALED, RANGE_NOT_SATISFIABLE),
        },
    )
    async def file(self, request: AnyRequest, stamp_id: FromPath[UUID], caller: NamedDependency[Caller]) -> Stream:
        """Original and seal in one stream; `Range` asks for a part, so a broken download can go on."""
        return stream_sealed_file(
            request, await services_of(request).stamping.get(caller.account_id, stamp_id, only_by=caller.only_by)
        )


def stream_sealed_file(request: AnyRequest, stamp: Stamp) -> Stream:
    """The sealed file of a stamp as an answer, whole (200) or the range asked for (206)."""
    headers = request.headers
    part = sealed_file(stamp, range_header=headers.get("range"), if_range=headers.get("if-range"))
    answer = {
        "accept-ranges": "bytes",
        "content-length": str(part.end - part.start),
        "content-disposition": attachment_header(part.name),
        "etag": part.etag,
        "cache-control": "private, no-cache",
    }
    if part.is_part:
        answer["content-range"] = f"bytes {part.start}-{part.end - 1}/{part.size_bytes}"
    stream = part.stream(services_of(request).blobs)
    return Stream(stream, status_code=206 if part.is_part else 200, media_type="application/pdf", headers=answer)


async def _follow(first: Stamp, services: StampingServices) -> AsyncIterator[ServerSentEventMessage]:
    """The stamp now, and again when its state changes; a comment now and then keeps the line open."""
    loop = asyncio.get_running_loop()
    until, stamp = loop.time() + _EVENTS_LIFE_S, first
    yield _event(stamp, services)

    async def look() -> Stamp:
        return await services.stamping.get(first.account_id, first.id)

    while not stamp.is_final and loop.time() < until:
        stamp = await wait_for(services.bus, first.id, look=look, done=lambda it: it.is_final, wait_s=_EVENTS_BEAT_S)
        yield _event(stamp, services) if stamp.is_final else ServerSentEventMessage(comment="still at it")


def _event(stamp: Stamp, services: StampingServices) -> ServerSentEventMessage:
    data = msgspec.json.encode(stamp_answer(stamp, services.settings.base_url)).decode()
    return ServerSentEventMessage(data=data, event=stamp.state.value, id=str(stamp.id))


class _SentFile(msgspec.Struct, frozen=True):
    """The file of a form."""

    name: str
    data: bytes


async def _stamp_request(request: AnyRequest) -> StampRequest | tuple[StampWishes, _SentFile]:
    """The request as JSON, or as a form with its file."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        try:
            return msgspec.json.decode(await request.body(), type=StampRequest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise REQUEST_MALFORMED(detail=str(error)[:200]) from error
    if content_type != "multipart/form-data":
        raise MEDIA_TYPE_UNKNOWN(expected="application/json / multipart/form-data")
    form = await sent_form(request)
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    placed = _placed(fields)
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise REQUEST_MALFORMED(detail="the form has no file in its field named file")
    data = await file.read()
    if not data:
        raise DOCUMENT_EMPTY()
    return placed, _SentFile(file.filename, data)


def _placed(fields: dict[str, str]) -> StampWishes:
    """The place that a form names, checked before its file is kept."""
    unknown = set(fields) - _FORM_FIELDS
    if unknown:
        raise REQUEST_MALFORMED(detail=f"there is no field {min(unknown)[:50]}")
    page, box = fields.get("page") or None, fields.get("box") or None
    if page is not None and not (page.isascii() and page.isdigit() and len(page) < 10):
        raise REQUEST_MALFORMED(detail="page is a whole number")
    return StampWishes(
        page=None if page is None else int(page),
        box=None if box is None else box_from_text(box),
        place=fields.get("place") or "auto",
        cover=_flag(fields, "cover"),
        additional=_flag(fields, "additional"),
        password=checked_password(fields.get("password")),
    )


def _flag(fields: dict[str, str], name: str) -> bool:
    text = fields.get(name, "false").lower()
    if text not in {"true", "false", "1", "0"}:
        raise REQUEST_MALFORMED(detail=f"{name} is true or false")
    return text in {"true", "1"}


controllers: tuple[type[Any], ...] = (DocumentRoutes, StampRoutes)
"""What the application mounts."""
