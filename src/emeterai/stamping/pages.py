"""Documents and stamps for people: upload, see what the inspection found, choose a place, wait, download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from emeterai.accounts.callers import caller
from emeterai.accounts.service import Caller
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.stamping import DocumentState, StampState
from emeterai.infra.http import (
    IDEMPOTENCY_KEY_REUSED,
    checked_idempotency_key,
    cursor_of,
    read_cursor,
    refusal_headers,
)
from emeterai.infra.ids import new_id
from emeterai.seal.model import Report
from emeterai.seal.refusals import PAGE_NOT_IN_DOCUMENT, PDF_ENCRYPTED, PDF_PASSWORD_WRONG, PLACE_UNKNOWN
from emeterai.stamping.answers import why_given_back
from emeterai.stamping.asking import StampRequest
from emeterai.stamping.documents import DOCUMENT_EMPTY, DOCUMENT_TOO_LARGE
from emeterai.stamping.model import Document, Stamp
from emeterai.stamping.page_values import (
    document_value,
    is_landscape,
    note_values,
    progress_value,
    result_value,
    stamp_values,
)
from emeterai.stamping.passwords import checked_password
from emeterai.stamping.placing import BOX_COVERS_TEXT
from emeterai.stamping.routes import STAMPED_BY_OTHER_MEMBER, stream_sealed_file
from emeterai.stamping.services import AnyRequest, StampingServices, services_of
from emeterai.web import paths
from emeterai.web.csrf import checked_form, texts_of
from emeterai.web.forms import FieldError, Form

FILE_NOT_CHOSEN = RefusalKind(
    "file_not_chosen",
    422,
    "Belum ada berkas yang dipilih. Pilih satu berkas PDF, lalu unggah.",
    "No file was chosen. Choose one PDF, then upload it.",
)
DOCUMENT_STAMPED_BEFORE = RefusalKind(
    "document_stamped_before",
    409,
    "Berkas ini sudah pernah Anda bubuhi; kuota tidak dipakai. Centang kotak itu bila ingin satu meterai lagi.",
    "You have stamped this file before, so no quota was spent. Tick the box if you want one more stamp.",
)
FORM_SENT_BEFORE = RefusalKind(
    "form_sent_before",
    409,
    "Formulir ini sudah pernah dikirim dengan pilihan lain. Periksa pilihan Anda, lalu kirim lagi.",
    "This form was sent before with other choices. Check your choices, then send it again.",
)

WhoCalls = NamedDependency[Caller]
DocumentId = FromPath[UUID]
StampId = FromPath[UUID]
_NO_STORE = {"cache-control": "no-store"}
_DOCUMENTS_A_PAGE = 20
_REFRESH_S = 2
_PATIENCE_S = 2.0
"""How long an answer to a form waits for the work that the form began, so that most people see its end at once."""
_PAGE_DIGITS_MAX = 9
_CHOICES = {"page", "place", "again", "cover"}
_UPLOAD_REFUSALS = {FILE_NOT_CHOSEN, DOCUMENT_EMPTY, DOCUMENT_TOO_LARGE}
_FIELD_OF = {
    PAGE_NOT_IN_DOCUMENT: "page",
    PLACE_UNKNOWN: "place",
    DOCUMENT_STAMPED_BEFORE: "again",
    STAMPED_BY_OTHER_MEMBER: "again",
    BOX_COVERS_TEXT: "cover",
    PDF_ENCRYPTED: "password",
    PDF_PASSWORD_WRONG: "password",
}


class UploadPages(Controller):
    """Send one PDF."""

    path = paths.UPLOAD
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """The empty form."""
        return await _upload_form(request, caller)

    @post()
    async def upload(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Keep the file and show its document, or show the form again with what is wrong."""
        documents = services_of(request).documents
        try:
            name, data = await _uploaded(request)
            document_id = await documents.receive(caller.account_id, name, data, made_by=caller.made_by)
        except Refused as refused:
            if refused.kind not in _UPLOAD_REFUSALS:
                raise
            return await _upload_form(request, caller, refused)
        await documents.inspected(caller.account_id, document_id, wait_s=_PATIENCE_S)
        return _go(paths.document(document_id))


class DocumentPages(Controller):
    """The person's documents, and the way from one to its stamp."""

    path = paths.DOCUMENTS
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """The documents, newest first, a page at a time."""
        services = services_of(request)
        before = read_cursor(request.query_params.get("cursor"))
        found = await services.documents.of_account(
            caller.account_id, before=before, limit=_DOCUMENTS_A_PAGE + 1, only_by=caller.only_by
        )
        shown = found[:_DOCUMENTS_A_PAGE]
        after = cursor_of(shown[-1].created_at, shown[-1].id) if len(found) > len(shown) else None
        stamps = await services.stamping.of_documents(shown)
        return services.pages.render(
            request,
            "stamping/documents.html",
            documents=[document_value(document) | {"stamps": stamp_values(stamps[document.id])} for document in shown],
            newer_url=paths.DOCUMENTS if before else None,
            older_url=f"{paths.DOCUMENTS}?cursor={after}" if after else None,
        )

    @get("/{document_id:uuid}")
    async def page(self, request: AnyRequest, caller: WhoCalls, document_id: DocumentId) -> Response[bytes]:
        """What the inspection found; until it has, the page looks again by itself."""
        services = services_of(request)
        document = await services.documents.get(caller.account_id, document_id, only_by=caller.only_by)
        return services.pages.render(
            request,
            "stamping/document.html",
            document=document_value(document),
            form=_unlock_form(document),
            refusal=document.refusal,
            notes=note_values(document),
            stamps=stamp_values(_seen_by(caller, await services.stamping.of_same_file(document))),
            available=await _available(services, caller),
            refresh_s=_refresh_s(request, pending=document.state is DocumentState.RECEIVED),
        )

    @post("/{document_id:uuid}/kata-sandi")
    async def unlock(self, request: AnyRequest, caller: WhoCalls, document_id: DocumentId) -> Response[Any]:
        """Inspect a locked document again with its password; its page says what came of it."""
        documents, fields = services_of(request).documents, await _checked_form(request)
        document = await documents.get(caller.account_id, document_id, only_by=caller.only_by)
        password = checked_password(fields.get("password"))
        if password is not None and document.wants_password:
            await documents.unlock(document, password)
            await documents.inspected(caller.account_id, document_id, wait_s=_PATIENCE_S)
        return _go(paths.document(document.id))

    @get("/{document_id:uuid}/bubuhkan")
    async def choose(self, request: AnyRequest, caller: WhoCalls, document_id: DocumentId) -> Response[Any]:
        """Choose a place, on `page` when it is given; a document that cannot be stamped says why instead."""
        document = await services_of(request).documents.get(caller.account_id, document_id, only_by=caller.only_by)
        if document.report is None:
            return _go(paths.document(document.id))
        return await _place_form(request, caller, document, {"page": request.query_params.get("page", "")})

    @post("/{document_id:uuid}/bubuhkan")
    async def stamp(self, request: AnyRequest, caller: WhoCalls, document_id: DocumentId) -> Response[Any]:
        """Ask for the stamp and show it; sent twice it is one stamp. Or show the form again with what is wrong."""
        services, fields = services_of(request), await _checked_form(request)
        document = await services.documents.get(caller.account_id, document_id, only_by=caller.only_by)
        if document.report is None:
            return _go(paths.document(document.id))
        try:
            stamp = await _ask(services, caller, document, fields)
        except Refused as refused:
            return await _place_form(request, caller, document, fields, refused)
        await services.stamping.ended(caller.account_id, stamp.id, wait_s=_PATIENCE_S)
        return _go(paths.stamp(stamp.id))


class StampPages(Controller):
    """One stamp: its progress, then its result."""

    path = "/meterai/{stamp_id:uuid}"
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: WhoCalls, stamp_id: StampId) -> Response[bytes]:
        """The result, or why the unit went back, or how far it is; then the page looks again by itself."""
        services = services_of(request)
        stamp = await services.stamping.get(caller.account_id, stamp_id, only_by=caller.only_by)
        if stamp.state is StampState.SEALED:
            verify_url = services.settings.base_url + paths.verify(stamp.serial)
            return services.pages.render(
                request, "stamping/result.html", stamp=result_value(stamp), verify_url=verify_url
            )
        return services.pages.render(
            request,
            "stamping/stamp.html",
            stamp=progress_value(stamp, services.settings.hold_life_s),
            refusal=why_given_back(stamp),
            available=await _available(services, caller),
            refresh_s=_refresh_s(request, pending=not stamp.is_final),
        )

    @get("/berkas")
    async def file(self, request: AnyRequest, caller: WhoCalls, stamp_id: StampId) -> Stream:
        """The sealed file, whole or the range that a broken download asks for."""
        return stream_sealed_file(
            request, await services_of(request).stamping.get(caller.account_id, stamp_id, only_by=caller.only_by)
        )


async def _uploaded(request: AnyRequest) -> tuple[str, bytes]:
    """The name and the bytes of the file in a form that one of our pages showed."""
    services = services_of(request)
    try:
        form = await checked_form(request, services_of(request).csrf)
    except HTTPException as error:
        if error.status_code != DOCUMENT_TOO_LARGE.status:
            raise
        raise DOCUMENT_TOO_LARGE(size_bytes_max=services.documents.size_bytes_max) from error
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise FILE_NOT_CHOSEN()
    return file.filename, await file.read()


async def _checked_form(request: AnyRequest) -> dict[str, str]:
    """The texts of a form that one of our pages showed."""
    return texts_of(await checked_form(request, services_of(request).csrf))


async def _upload_form(request: AnyRequest, caller: Caller, refused: Refused | None = None) -> Response[bytes]:
    services = services_of(request)
    return services.pages.render(
        request,
        "stamping/upload.html",
        status_code=refused.kind.status if refused else 200,
        form=Form({}, (FieldError("file", refused.id, refused.en),)) if refused else Form(),
        size_bytes_max=services.documents.size_bytes_max,
        available=await _available(services, caller),
    )


async def _ask(services: StampingServices, caller: Caller, document: Document, fields: Mapping[str, str]) -> Stamp:
    """The stamp that a form asks for. A refusal leaves quota as it was."""
    assert document.report is not None
    page = _page_of(fields["page"], document.report) if fields.get("page") else None
    key = checked_idempotency_key(fields.get("idempotency_key"))
    wanted = StampRequest(
        document_id=document.id,
        page=page,
        place=fields.get("place", "auto"),
        cover=fields.get("cover") == "1",
        additional=fields.get("again") == "1",
        password=fields.get("password"),
    )
    try:
        stamp, is_new = await services.desk.ask(
            caller.account_id, wanted, idempotency_key=key, made_by=caller.made_by, only_by=caller.only_by
        )
    except Refused as refused:
        if refused.kind is IDEMPOTENCY_KEY_REUSED:
            raise FORM_SENT_BEFORE() from refused
        raise
    if not is_new and not _seen_by(caller, [stamp]):
        raise STAMPED_BY_OTHER_MEMBER()
    if not is_new and (key is None or stamp.idempotency_key != key):
        raise DOCUMENT_STAMPED_BEFORE(stamp_id=str(stamp.id))
    return stamp


async def _place_form(
    request: AnyRequest, caller: Caller, document: Document, fields: Mapping[str, str], refused: Refused | None = None
) -> Response[bytes]:
    """The form to choose a place, with what was chosen and, at its field or above all, why it was refused."""
    services, report = services_of(request), document.report
    assert report is not None
    try:
        page = _page_of(fields.get("page"), report)
    except Refused as wrong:
        page, refused = report.pages, refused or wrong
    field = _FIELD_OF.get(refused.kind) if refused else None
    errors = (FieldError(field, refused.id, refused.en),) if refused and field else ()
    stamps = [it for it in await services.stamping.of_same_file(document) if it.state is not StampState.GIVEN_BACK]
    earlier = next((str(stamp.id) for stamp in _seen_by(caller, stamps)), "" if stamps else None)
    return services.pages.render(
        request,
        "stamping/place.html",
        status_code=refused.kind.status if refused else 200,
        headers=refusal_headers(refused) if refused else None,
        document=document_value(document) | {"landscape": is_landscape(report, page)},
        form=Form({name: value for name, value in fields.items() if name in _CHOICES and value}, errors),
        refusal=None if field else refused,
        earlier=refused.facts.get("stamp_id", earlier) if refused else earlier,
        asks_password=field == "password" or await _needs_password(services, document),
        available=await _available(services, caller),
        idempotency_key=str(new_id()),
    )


def _seen_by(caller: Caller, stamps: Sequence[Stamp]) -> Sequence[Stamp]:
    """Those of an account's stamps that the caller may see: a plain member of a group sees his own."""
    return [stamp for stamp in stamps if caller.only_by in {None, stamp.made_by}]


def _unlock_form(document: Document) -> Form:
    """The form for the password of a locked document; the one that came before and was wrong is its error."""
    wrong = document.refusal if document.refusal_code == PDF_PASSWORD_WRONG.code else None
    return Form({}, (FieldError("password", wrong.id, wrong.en),)) if wrong else Form()


async def _needs_password(services: StampingServices, document: Document) -> bool:
    """Whether a further stamp must bring the password along, because none is kept any more."""
    return document.locked and not await services.passwords.kept([document.id])


def _page_of(text: str | None, report: Report) -> int:
    """The page that was typed, the last without one. Raises `page_not_in_document`."""
    if not text:
        return report.pages
    is_number = text.isascii() and text.isdecimal() and len(text) <= _PAGE_DIGITS_MAX
    if is_number and 1 <= int(text) <= report.pages:
        return int(text)
    raise PAGE_NOT_IN_DOCUMENT(page=text[:_PAGE_DIGITS_MAX], pages=report.pages)


async def _available(services: StampingServices, caller: Caller) -> int:
    return (await services.ledger.balance(caller.account_id)).available


def _refresh_s(request: AnyRequest, *, pending: bool) -> int:
    """After how many seconds a page looks again by itself; 0: never."""
    return _REFRESH_S if pending and request.query_params.get("refresh") != "0" else 0


def _go(path: str) -> Response[Any]:
    return Redirect(path, status_code=303, headers=_NO_STORE)


controllers: tuple[type[Any], ...] = (UploadPages, DocumentPages, StampPages)
"""What the application mounts."""
