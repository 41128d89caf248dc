"""The tracker for people: `/lacak`. It looks up no session, so that it works while sign-in is down."""

from __future__ import annotations

from typing import Any, Protocol, cast

from litestar import Controller, Request, Response, get, post

from emeterai.accounts.callers import client_address
from emeterai.care.routes import HasTracker, tracker_of
from emeterai.care.service import TRACK_DIGITS_MISTYPED, TRACK_NUMBER_MISTYPED, TRACK_UNMATCHED, TRACKING_PAUSED
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.http import refusal_headers
from emeterai.web import paths
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.forms import FieldError, Form
from emeterai.web.pages import Pages

AnyRequest = Request[Any, Any, Any]
_TYPED_LENGTH_MAX = 20
_FIELDS: dict[RefusalKind, str] = {
    TRACK_NUMBER_MISTYPED: "number",
    TRACK_DIGITS_MISTYPED: "digits",
    TRACK_UNMATCHED: "number",
    TRACKING_PAUSED: "number",
}


class PageServices(HasTracker, Protocol):
    """What this page finds in the application's `state["services"]`."""

    pages: Pages
    csrf: Csrf


class TrackPages(Controller):
    """Anyone may ask."""

    path = paths.TRACK
    include_in_schema = False

    @get()
    async def form(self, request: AnyRequest) -> Response[bytes]:
        """The form; a QR code on a receipt fills in the number."""
        return _form(request, Form({"number": request.query_params.get("nomor", "")[:_TYPED_LENGTH_MAX]}))

    @post()
    async def look(self, request: AnyRequest) -> Response[bytes]:
        """The order's life, or the form again with what is wrong. Four digits are never in an address."""
        services = cast("PageServices", request.app.state["services"])
        fields = texts_of(await checked_form(request, services.csrf))
        number, digits = fields.get("number", ""), fields.get("digits", "")
        try:
            tracked = await tracker_of(request).look(number, digits, address=client_address(request))
        except Refused as refused:
            if refused.kind not in _FIELDS:
                raise
            error = FieldError(_FIELDS[refused.kind], refused.id, refused.en)
            return _form(request, Form({"number": number[:_TYPED_LENGTH_MAX]}, (error,)), refused)
        headers = {"cache-control": "no-store"}
        return services.pages.render(request, "care/tracked.html", headers=headers, tracked=tracked)


def _form(request: AnyRequest, form: Form, refused: Refused | None = None) -> Response[bytes]:
    pages = cast("PageServices", request.app.state["services"]).pages
    return pages.render(
        request,
        "care/track.html",
        status_code=refused.kind.status if refused else 200,
        headers=refusal_headers(refused) if refused else None,
        form=form,
    )


controllers: tuple[type[Any], ...] = (TrackPages,)
"""What the application mounts."""
