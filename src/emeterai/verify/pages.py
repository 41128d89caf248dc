"""Checks for people: the form, the result of a file, and the page to which the QR code on every document leads."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any, Protocol, cast

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from emeterai.accounts.callers import optional_caller
from emeterai.accounts.service import Caller
from emeterai.core.refusal import Refused
from emeterai.core.serial import is_serial, tidy_serial
from emeterai.infra.clock import utc_now
from emeterai.infra.http import refusal_headers
from emeterai.infra.settings import Settings
from emeterai.seal.model import Pictures
from emeterai.seal.reader import TAIL_SIZE_BYTES_MAX
from emeterai.verify.intake import FileRequest, file_of
from emeterai.verify.service import (
    SERIAL_MISTYPED,
    SERIAL_UNKNOWN,
    FileVerdict,
    SerialFacts,
    StampProof,
    Verification,
)
from emeterai.verify.words import KINDS, sentences
from emeterai.web import paths
from emeterai.web.csrf import CSRF_FAILED, Csrf, checked_form
from emeterai.web.forms import FieldError, Form
from emeterai.web.pages import Pages

AnyRequest = Request[Any, Any, Any]
_STAMPS_SHOWN = 10
_PARTS_SHOWN = 10
_TYPED_LENGTH_MAX = 60


class PageServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    verification: Verification
    pages: Pages
    csrf: Csrf
    settings: Settings


class VerifyPages(Controller):
    """The pages of verification; anyone may see them."""

    include_in_schema = False
    dependencies = {"viewer": Provide(optional_caller)}  # noqa: RUF012 - Litestar's own way
    request_class = FileRequest
    request_max_body_size = None  # FileRequest bounds what is read

    @get(paths.VERIFY)
    async def form(self, request: FileRequest, viewer: NamedDependency[Caller | None]) -> Response[Any]:  # noqa: ARG002
        """The form; with `?serial=` the way to that serial's page."""
        typed = request.query_params.get("serial")
        if typed is None:
            return _form(request, Form())
        serial = tidy_serial(typed)
        if not is_serial(serial):
            return _mistyped(request, typed)
        return Redirect(paths.verify(serial), status_code=303, headers={"cache-control": "no-store"})

    @get("/v/{serial:str}")
    async def serial(
        self,
        request: FileRequest,
        serial: FromPath[str],
        viewer: NamedDependency[Caller | None],  # noqa: ARG002
    ) -> Response[bytes]:
        """What is on record for a serial; the status is 404 when there is no such serial."""
        try:
            facts = await _services(request).verification.check_serial(serial)
        except Refused as refused:
            if refused.kind is SERIAL_MISTYPED:
                return _mistyped(request, serial)
            if refused.kind is SERIAL_UNKNOWN:
                return _result(request, _unknown(tidy_serial(serial)), status_code=404)
            raise
        return _result(request, _of_serial(facts))

    @post(paths.VERIFY_FILE)
    async def file(self, request: FileRequest, viewer: NamedDependency[Caller | None]) -> Response[bytes]:  # noqa: ARG002
        """The verdict on a file, or the form again with what is wrong."""
        try:
            verdict, pictures = await _services(request).verification.show_file(_sent_by_form(request))
        except Refused as refused:
            if refused.kind is CSRF_FAILED:
                raise
            return _form(request, Form({}, (FieldError("file", refused.id, refused.en),)), refused)
        return _result(request, _of_file(verdict, pictures), headers={"cache-control": "no-store"})


async def _sent_by_form(request: FileRequest) -> AsyncIterator[bytes]:
    """The file of a form that one of our pages showed. Raises `csrf_failed` before it looks at the file."""
    form = await checked_form(request, _services(request).csrf)
    async for piece in file_of(form):
        yield piece


def _services(request: AnyRequest) -> PageServices:
    return cast("PageServices", request.app.state["services"])


def _form(request: AnyRequest, form: Form, refused: Refused | None = None) -> Response[bytes]:
    services = _services(request)
    return services.pages.render(
        request,
        "verify/verify.html",
        status_code=refused.kind.status if refused else 200,
        headers=refusal_headers(refused) if refused else None,
        form=form,
        size_bytes_max=services.settings.document_size_bytes_max + TAIL_SIZE_BYTES_MAX,
    )


def _mistyped(request: AnyRequest, typed: str) -> Response[bytes]:
    refused = SERIAL_MISTYPED()
    form = Form({"serial": typed[:_TYPED_LENGTH_MAX]}, (FieldError("serial", refused.id, refused.en),))
    return _form(request, form, refused)


def _result(
    request: AnyRequest, result: dict[str, Any], *, status_code: int = 200, headers: dict[str, str] | None = None
) -> Response[bytes]:
    return _services(request).pages.render(
        request,
        "verify/verify_result.html",
        status_code=status_code,
        headers=headers,
        result=result,
        checked_at=utc_now(),
    )


def _of_serial(facts: SerialFacts) -> dict[str, Any]:
    stamp = {"serial": facts.serial, "sealed_at": facts.sealed_at, "original_sha256": facts.original_sha256}
    return {"by": "serial", "verdict": facts.state, "file_sha256": None, "stamps": [_shown(**stamp)], "more": 0}


def _unknown(serial: str) -> dict[str, Any]:
    return {"by": "serial", "verdict": "unknown", "file_sha256": None, "stamps": [_shown(serial=serial)], "more": 0}


def _of_file(verdict: FileVerdict, pictures: Pictures | None) -> dict[str, Any]:
    codes = [change for stamp in verdict.stamps for change in stamp.changes]
    return {
        "by": "file",
        "verdict": verdict.outcome,
        "file_sha256": verdict.sha256,
        "stamps": [_of_stamp(stamp) for stamp in verdict.stamps[:_STAMPS_SHOWN]],
        "more": max(0, len(verdict.stamps) - _STAMPS_SHOWN),
        "changes": sentences(codes),
        "later": [(KINDS[part.kind], part.name) for part in verdict.later[:_PARTS_SHOWN] if part.kind != "unknown"],
        "sealed_is_known": any(stamp.intact for stamp in verdict.stamps),
        "pictures": pictures and _shown_pictures(pictures),
    }


def _shown_pictures(pictures: Pictures) -> dict[str, Any]:
    """The pictures within the page itself, since nothing of the file is kept."""
    both = (("sealed", pictures.sealed_png), ("now", pictures.now_png))
    return {"page": pictures.page} | {
        name: f"data:image/png;base64,{b64encode(content).decode()}" for name, content in both
    }


def _of_stamp(stamp: StampProof) -> dict[str, Any]:
    return _shown(
        serial=stamp.serial,
        sealed_at=stamp.sealed_at,
        original_sha256=stamp.original_sha256,
        level=stamp.level,
        signer=stamp.signer,
        certificate_sha256=stamp.certificate_sha256,
        proven=stamp.intact,
    )


def _shown(**facts: Any) -> dict[str, Any]:
    """A stamp as the page shows it: what is not known is left empty."""
    empty = {"sealed_at": None, "original_sha256": None, "level": "", "signer": "", "certificate_sha256": ""}
    return {**empty, "proven": True, **facts}


controllers: tuple[type[Any], ...] = (VerifyPages,)
"""What the application mounts."""
