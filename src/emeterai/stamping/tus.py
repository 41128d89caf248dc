"""Uploads in pieces: tus 1.0 at /v1/uploads, with creation, creation-with-upload, checksum, expiration, termination.

The protocol is https://tus.io/protocols/resumable-upload (version 1.0.0). An upload's id is its document's id: when
the last byte is safe, `/v1/documents/{id}` goes on.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Callable
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, head, patch, post, route
from litestar.di import NamedDependency, Provide
from litestar.exceptions import InternalServerException
from litestar.params import FromPath

from emeterai.accounts.callers import caller
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.stamping import DocumentState
from emeterai.infra.http import MEDIA_TYPE_UNKNOWN, REQUEST_MALFORMED, problem_response, problems
from emeterai.stamping.documents import (
    DOCUMENT_EMPTY,
    DOCUMENT_TOO_LARGE,
    DOCUMENT_UNKNOWN,
    PIECE_BYTES,
    UPLOAD_CHECKSUM_WRONG,
    UPLOAD_ENDED,
    UPLOAD_OFFSET_WRONG,
    UPLOAD_TOO_LONG,
    Documents,
    SenderGoneError,
)
from emeterai.stamping.model import Document
from emeterai.stamping.operation import AppendToUploadOperation, BeginUploadOperation, UploadOperation
from emeterai.stamping.services import services_of

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
BODY_TYPE = "application/offset+octet-stream"
_CHECKSUMS: dict[str, Callable[[], Any]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}

TUS_VERSION_UNKNOWN = RefusalKind(
    "tus_version_unknown",
    412,
    "Versi protokol unggah ini tidak dikenal. Pakai Tus-Resumable: 1.0.0.",
    "This version of the upload protocol is not known. Send Tus-Resumable: 1.0.0.",
)
_ANY = (SIGN_IN_NEEDED, SESSION_EXPIRED, TUS_VERSION_UNKNOWN)
_APPENDING = (
    DOCUMENT_UNKNOWN,
    UPLOAD_OFFSET_WRONG,
    UPLOAD_ENDED,
    UPLOAD_TOO_LONG,
    UPLOAD_CHECKSUM_WRONG,
    MEDIA_TYPE_UNKNOWN,
)

AnyRequest = Request[Any, Any, Any]


def _refused(_: AnyRequest, refused: Refused) -> Response[bytes]:
    """A refusal with the headers that the protocol wants of every answer, and of 412."""
    answer = problem_response(refused)
    answer.headers["tus-resumable"] = VERSION
    if refused.kind is TUS_VERSION_UNKNOWN:
        answer.headers["tus-version"] = VERSION
    return answer


class Uploads(Controller):
    """Resumable uploads (tus 1.0.0)."""

    path = "/v1/uploads"
    tags = ("Uploads",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    exception_handlers = {Refused: _refused}  # noqa: RUF012 - Litestar's own way
    request_max_body_size = None  # the declared length bounds what is read, piece by piece

    # The framework takes handlers in the order of their names, and answers OPTIONS itself where it meets another first.
    @route("/", http_method="OPTIONS", status_code=204, include_in_schema=False)
    async def abilities(self, request: AnyRequest) -> Response[None]:
        """Which protocol, which extensions, how large (tus 1.0.0, "OPTIONS"). Needs no sign-in."""
        headers = {
            "tus-version": VERSION,
            "tus-extension": EXTENSIONS,
            "tus-max-size": str(services_of(request).documents.size_bytes_max),
            "tus-checksum-algorithm": ",".join(_CHECKSUMS),
        }
        return _answer(204, headers)

    @post(
        "/",
        operation_id="begin_upload",
        operation_class=BeginUploadOperation,
        summary="Begin an upload; its id is the document's id",
        status_code=201,
        responses=problems(*_ANY, DOCUMENT_EMPTY, DOCUMENT_TOO_LARGE, UPLOAD_CHECKSUM_WRONG),
    )
    async def begin(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[None]:
        """Begin an upload of `Upload-Length` bytes; bytes may already come with this request."""
        _require_version(request)
        documents = services_of(request).documents
        size_bytes = _number_header(request, "upload-length")
        metadata = _metadata(request.headers.get("upload-metadata", ""))
        name = metadata.get("filename", "dokumen.pdf")
        has_body = request.headers.get("content-type", "").startswith(BODY_TYPE)
        if has_body and size_bytes <= PIECE_BYTES and request.headers.get("content-length") == str(size_bytes):
            # The whole file in one piece: there is nothing to resume, so it need not be kept in pieces first.
            data = await _whole_body(request, documents, size_bytes)
            arrived = await services_of(request).desk.take_in(caller.account_id, name, data, made_by=caller.made_by)
            return _answer(201, {"location": f"/v1/uploads/{arrived.id}", "upload-offset": str(size_bytes)})
        document_id = await documents.begin(caller.account_id, name, size_bytes, made_by=caller.made_by)
        document = await documents.get(caller.account_id, document_id)
        offset = await _append(request, documents, document, 0) if has_body else 0
        headers = {"location": f"/v1/uploads/{document_id}", "upload-offset": str(offset), **_expiry(document)}
        return _answer(201, headers)

    @head(
        "/{upload_id:uuid}",
        operation_id="look_at_upload",
        operation_class=UploadOperation,
        summary="How many bytes have arrived",
        responses=problems(*_ANY, DOCUMENT_UNKNOWN),
    )
    async def look(
        self, request: AnyRequest, upload_id: FromPath[UUID], caller: NamedDependency[Caller]
    ) -> Response[None]:
        """`Upload-Offset` says where to go on. A finished upload has reached its length."""
        _require_version(request)
        documents = services_of(request).documents
        document = await documents.get(caller.account_id, upload_id, only_by=caller.only_by)
        headers = {
            "upload-offset": str(document.received_bytes),
            "upload-length": str(document.size_bytes),
            "cache-control": "no-store",
            **_expiry(document),
        }
        return _answer(200, headers)

    @patch(
        "/{upload_id:uuid}",
        operation_id="append_to_upload",
        operation_class=AppendToUploadOperation,
        summary="Send the next bytes",
        status_code=204,
        responses=problems(*_ANY, *_APPENDING),
    )
    async def append(
        self, request: AnyRequest, upload_id: FromPath[UUID], caller: NamedDependency[Caller]
    ) -> Response[None]:
        """Add bytes at `Upload-Offset`. What arrived before a line broke is kept."""
        _require_version(request)
        documents = services_of(request).documents
        if request.headers.get("content-type") != BODY_TYPE:
            raise MEDIA_TYPE_UNKNOWN(expected=BODY_TYPE)
        offset = _number_header(request, "upload-offset")
        document = await documents.get(caller.account_id, upload_id, only_by=caller.only_by)
        reached = await _append(request, documents, document, offset)
        return _answer(204, {"upload-offset": str(reached), **_expiry(document)})

    @delete(
        "/{upload_id:uuid}",
        operation_id="end_upload",
        operation_class=UploadOperation,
        summary="End an upload and forget its bytes",
        status_code=204,
        responses=problems(*_ANY, DOCUMENT_UNKNOWN, UPLOAD_ENDED),
    )
    async def end(
        self, request: AnyRequest, upload_id: FromPath[UUID], caller: NamedDependency[Caller]
    ) -> Response[None]:
        """Only an upload that is under way can be ended; a finished one is a document."""
        _require_version(request)
        documents = services_of(request).documents
        document = await documents.get(caller.account_id, upload_id, only_by=caller.only_by)
        if not await documents.abandon(document.id):
            raise UPLOAD_ENDED()
        return _answer(204, {})


def _answer(status: int, headers: dict[str, str]) -> Response[None]:
    return Response(None, status_code=status, media_type="text/plain", headers={"tus-resumable": VERSION, **headers})


def _require_version(request: AnyRequest) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        raise TUS_VERSION_UNKNOWN(tus_version=VERSION)


def _number_header(request: AnyRequest, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise REQUEST_MALFORMED(detail=f"the header {name} holds a number of bytes")
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """The pairs of `Upload-Metadata`: names in plain text, values in base64."""
    pairs = {}
    for item in filter(None, (part.strip() for part in header.split(","))):
        name, _, value = item.partition(" ")
        try:
            pairs[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise REQUEST_MALFORMED(detail="the header upload-metadata holds names and base64 values") from error
    return pairs


def _expiry(document: Document) -> dict[str, str]:
    if document.state is not DocumentState.RECEIVING or document.expires_at is None:
        return {}
    return {"upload-expires": format_datetime(document.expires_at, usegmt=True)}


async def _whole_body(request: AnyRequest, documents: Documents, size_bytes: int) -> bytes:
    """A body that holds a file of `size_bytes`, checked against its checksum. Raises `upload_checksum_wrong`."""
    documents.check_size(size_bytes)
    checksum = _checksum(request)
    try:
        data = b"".join([chunk async for chunk in _body(request)])
    except SenderGoneError as error:
        raise REQUEST_MALFORMED(detail="the line broke before the end of the body") from error
    if checksum is not None:
        summed, expected = checksum
        summed.update(data)
        if summed.digest() != expected:
            raise UPLOAD_CHECKSUM_WRONG()
    return data


def _checksum(request: AnyRequest) -> tuple[Any, bytes] | None:
    """What `Upload-Checksum` promises: a digest to feed, and what it shall be. Raises `request_malformed`."""
    header = request.headers.get("upload-checksum")
    if header is None:
        return None
    name, _, value = header.partition(" ")
    if name not in _CHECKSUMS:
        raise REQUEST_MALFORMED(detail=f"upload-checksum is one of {', '.join(_CHECKSUMS)}")
    try:
        return _CHECKSUMS[name](), base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise REQUEST_MALFORMED(detail="upload-checksum holds a base64 digest") from error


async def _append(request: AnyRequest, documents: Documents, document: Document, offset: int) -> int:
    checksum = _checksum(request)
    if checksum is None:
        return await documents.append(document, offset, _body(request))
    summed, expected = checksum

    async def body() -> AsyncIterator[bytes]:
        async for chunk in _body(request):
            summed.update(chunk)
            yield chunk

    return await documents.append(document, offset, body(), is_intact=lambda: summed.digest() == expected)


async def _body(request: AnyRequest) -> AsyncIterator[bytes]:
    """The body as it comes in; a broken line ends it with SenderGoneError."""
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except InternalServerException as error:
        raise SenderGoneError from error


controllers: tuple[type[Any], ...] = (Uploads,)
"""What the application mounts."""
