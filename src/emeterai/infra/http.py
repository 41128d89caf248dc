"""HTTP plumbing: refusals as problem documents (RFC 9457), waiting preferences (RFC 7240), cursors, ranges."""

from __future__ import annotations

import base64
import binascii
import random
import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import msgspec
from litestar import Request, Response
from litestar.datastructures import FormMultiDict
from litestar.exceptions import (
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)
from litestar.openapi.datastructures import ResponseSpec

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.blobs import STORAGE_AWAY, BlobMissingError
from emeterai.infra.database import BUSY

PROBLEM_MEDIA_TYPE = "application/problem+json"
WAIT_S_MAX = 30.0
_IDEMPOTENCY_KEY = r"[!-~]{1,200}"
IDEMPOTENCY_KEY_SCHEMA = {"pattern": f"^{_IDEMPOTENCY_KEY}$"}
"""How OpenAPI describes an `Idempotency-Key`."""

REQUEST_MALFORMED = RefusalKind(
    "request_malformed",
    400,
    "Permintaan ini tidak dapat dibaca: {detail}.",
    "This request cannot be read: {detail}.",
)
NOT_FOUND = RefusalKind(
    "not_found", 404, "Alamat ini tidak ada. Periksa penulisannya.", "There is nothing at this address. Check it."
)
METHOD_NOT_ALLOWED = RefusalKind(
    "method_not_allowed",
    405,
    "Alamat ini tidak menerima cara permintaan itu.",
    "This address does not take that method.",
)
BODY_TOO_LARGE = RefusalKind(
    "body_too_large",
    413,
    "Kiriman ini terlalu besar. Kirim berkas yang lebih kecil.",
    "This request is too large. Send a smaller file.",
)
MEDIA_TYPE_UNKNOWN = RefusalKind(
    "media_type_unknown",
    415,
    "Jenis isi ini tidak diterima di sini. Kirim {expected}.",
    "This content type is not taken here. Send {expected}.",
)
INTERNAL_ERROR = RefusalKind(
    "internal_error",
    500,
    "Ada kesalahan di pihak kami; tidak ada kuota atau uang yang hilang. Sebutkan nomor kasus {case} bila menghubungi.",
    "Something went wrong on our side; no quota or money is lost. Name case {case} when you contact us.",
)
IDEMPOTENCY_KEY_BAD = RefusalKind(
    "idempotency_key_bad",
    400,
    "Idempotency-Key harus 1 sampai 200 karakter yang terlihat.",
    "An Idempotency-Key has 1 to 200 visible characters.",
)
IDEMPOTENCY_KEY_REUSED = RefusalKind(
    "idempotency_key_reused",
    422,
    "Idempotency-Key ini sudah dipakai untuk permintaan lain. Pakai kunci baru untuk permintaan baru.",
    "This Idempotency-Key was already used for another request. Use a new key for a new request.",
)
CURSOR_BAD = RefusalKind(
    "cursor_bad", 400, "Penanda halaman ini tidak dikenal.", "This cursor is not one that we gave out."
)
RANGE_NOT_SATISFIABLE = RefusalKind(
    "range_not_satisfiable",
    416,
    "Bagian berkas yang diminta tidak ada; panjang berkas {size_bytes} bita.",
    "The asked range does not exist; the file has {size_bytes} bytes.",
)


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON is read as the type that its operation takes, and as nothing that merely resembles it.

    The framework alone would take `"2"` for 2 and `1` for true.
    """

    async def json(self) -> Any:
        """The body as the operation's type. Raises `request_malformed`, which says where and why."""
        field = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=Any if field is None else field.annotation)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise REQUEST_MALFORMED(detail=str(error)[:200]) from error
        except RecursionError as error:
            raise REQUEST_MALFORMED(detail="the body is nested too deeply") from error

    async def form(self) -> FormMultiDict:
        """The body as a form. Raises `request_malformed` when a field is not text."""
        try:
            return await super().form()
        except (UnicodeDecodeError, LookupError) as error:
            raise REQUEST_MALFORMED(detail="a field of the form is not text") from error


class Problem(msgspec.Struct):
    """A refusal as the API says it (RFC 9457): one stable code, one sentence in each language."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    id: Annotated[str, msgspec.Meta(description="The sentence in Indonesian")]
    en: Annotated[str, msgspec.Meta(description="The sentence in English")]


def spread(refused: Refused) -> Refused:
    """The same refusal; where something is away or full, with a moment to come back at that not everybody is told.

    Those who are refused together, such as a batch, would come again together. Never sooner than was meant, and half as
    late again, or a second, at most; a wait that is known to the second (429) stays as it is.
    """
    wait_s = refused.facts.get("retry_after_s")
    if refused.kind.status != 503 or not isinstance(wait_s, int):
        return refused
    later_s = wait_s + random.randint(0, max(1, wait_s // 2))  # noqa: S311 - to spread those who come again
    return refused.kind(**{**refused.facts, "retry_after_s": later_s})


def problem_response(refused: Refused) -> Response[bytes]:
    """The refusal as `application/problem+json`; `Retry-After` when its facts say when to come back."""
    refused = spread(refused)
    document: dict[str, Any] = {
        **refused.facts,
        "type": f"/docs/refusals/{refused.code}",
        "title": refused.code.replace("_", " ").capitalize(),
        "status": refused.kind.status,
        "detail": refused.en,
        "code": refused.code,
        "id": refused.id,
        "en": refused.en,
    }
    return Response(
        msgspec.json.encode(document),
        status_code=refused.kind.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers={"cache-control": "no-store", **refusal_headers(refused)},
    )


def refusal_headers(refused: Refused) -> dict[str, str]:
    """The headers that go with a refusal, on pages too."""
    headers = {}
    status = refused.kind.status
    if status in {429, 503} or "retry_after_s" in refused.facts:
        headers["retry-after"] = str(refused.facts.get("retry_after_s", 2))
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="emeterai"'
    if refused.kind is METHOD_NOT_ALLOWED and refused.facts["allow"]:
        headers["allow"] = str(refused.facts["allow"])
    if refused.kind is RANGE_NOT_SATISFIABLE:
        headers["content-range"] = f"bytes */{refused.facts['size_bytes']}"
    return headers


def refusal_of(error: Exception) -> Refused | None:  # noqa: C901 - one flat table of cases
    """The refusal that an exception of the web framework means, or None when it is a bug of ours."""
    match error:
        case Refused():
            return error
        case NotFoundException():
            return NOT_FOUND()
        case MethodNotAllowedException():
            return METHOD_NOT_ALLOWED(allow=(error.headers or {}).get("allow", ""))
        case InternalServerException(detail="client disconnected prematurely"):
            return REQUEST_MALFORMED(detail="the line broke before the end of the body")
        case ValidationException():
            return REQUEST_MALFORMED(detail=_detail_of(error))
        case SerializationException():
            return REQUEST_MALFORMED(detail="the body is not what this address takes")
        case (
            asyncpg.PostgresConnectionError()
            | asyncpg.InterfaceError()
            | asyncpg.InternalClientError()
            | asyncpg.OperatorInterventionError()
            | asyncpg.InsufficientResourcesError()
            | asyncpg.TransactionRollbackError()
            | TimeoutError()
        ):
            # The database is away, full or too slow, or undid it: nothing was committed, or it will be found again.
            return BUSY(retry_after_s=2)
        case BlobMissingError():
            # The store said yes to a file and has lost it: sent again, it is a new one.
            return STORAGE_AWAY(retry_after_s=5)
        case RecursionError():
            return REQUEST_MALFORMED(detail="the body is nested too deeply")
        case HTTPException(status_code=413):
            return BODY_TOO_LARGE()
        case HTTPException(status_code=415):
            return MEDIA_TYPE_UNKNOWN(expected="application/json")
        case HTTPException(status_code=status) if 400 <= status < 500:
            return REQUEST_MALFORMED(detail=error.detail[:200])
    return None


def _detail_of(error: ValidationException) -> str:
    extra = error.extra if isinstance(error.extra, list) else []
    parts = [f"{item.get('key', '')} {item.get('message', '')}".strip() for item in extra if isinstance(item, dict)]
    return ("; ".join(parts) or error.detail)[:300]


def problems(*kinds: RefusalKind | int) -> dict[int, ResponseSpec]:
    """The refusals of an operation by status, as OpenAPI describes them; some can happen to every operation.

    A status alone stands for refusals that are described elsewhere.
    """
    everywhere = (REQUEST_MALFORMED, BODY_TOO_LARGE, INTERNAL_ERROR, BUSY)
    statuses: dict[int, list[RefusalKind]] = {kind: [] for kind in kinds if isinstance(kind, int)}
    for kind in (*kinds, *everywhere):
        if isinstance(kind, RefusalKind):
            statuses.setdefault(kind.status, []).append(kind)
    return {
        status: ResponseSpec(
            Problem,
            media_type=PROBLEM_MEDIA_TYPE,
            generate_examples=False,
            description=" ".join(f"`{kind.code}`: {kind.en}" for kind in found) or "A refusal",
        )
        for status, found in sorted(statuses.items())
    }


async def sent_form(request: Request[Any, Any, Any]) -> FormMultiDict:
    """The form of a request. Raises `request_malformed` for one that is not text or breaks off."""
    try:
        return await request.form()
    except (UnicodeDecodeError, LookupError) as error:
        raise REQUEST_MALFORMED(detail="the form is not text in UTF-8") from error
    except InternalServerException as error:
        # The framework's word for a browser that went away in the middle: nobody's bug, and nobody to answer.
        raise REQUEST_MALFORMED(detail="the form broke off before its end") from error


def preferred_wait_s(prefer: str | None) -> float:
    """The `wait` preference of a `Prefer` header (RFC 7240 section 4.3) in seconds, up to WAIT_S_MAX; 0 without one."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", prefer or "", re.IGNORECASE)
    return min(float(found.group(1)), WAIT_S_MAX) if found else 0.0


def checked_idempotency_key(value: str | None) -> str | None:
    """The `Idempotency-Key` header, or None when there is none. Raises `idempotency_key_bad`."""
    if value is not None and not re.fullmatch(_IDEMPOTENCY_KEY, value):
        raise IDEMPOTENCY_KEY_BAD()
    return value


def cursor_of(at: datetime, last_id: UUID) -> str:
    """An opaque cursor for "after this line"."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{last_id.hex}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    """The line that a cursor names; None without a cursor. Raises `cursor_bad`."""
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, last_id = text.split("|")
        return datetime.fromisoformat(at).astimezone(UTC), UUID(last_id)
    except (ValueError, binascii.Error, UnicodeDecodeError, OverflowError) as error:
        raise CURSOR_BAD() from error


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """The one range (start, end) that a `Range` header asks for (RFC 9110 section 14); None means the whole.

    A header that we do not serve (several ranges, other units, nonsense) is ignored, as the RFC allows. Raises
    `range_not_satisfiable`.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size_bytes - int(last)), size_bytes
    else:
        start, end = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
    if last and first and int(last) < int(first):
        return None
    if start >= size_bytes or start >= end:
        raise RANGE_NOT_SATISFIABLE(size_bytes=size_bytes)
    return start, end


def attachment_header(name: str) -> str:
    """`Content-Disposition` for a file name in any script (RFC 6266 with RFC 8187)."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    encoded = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else _percent(c) for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())
