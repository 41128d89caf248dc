"""The official-seller check: a form, a page for each seller, to which a sign's QR code leads, and `GET /v1/sellers`."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Request, Response, get
from litestar.params import FromPath, QueryParameter

from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.http import NOT_FOUND, problems
from emeterai.infra.settings import Settings
from emeterai.purchase.qr_picture import qr_of
from emeterai.verify.sellers import SELLER_LENGTH_MAX, SELLER_MISTYPED, SellerAnswer, Sellers
from emeterai.web import paths
from emeterai.web.forms import FieldError, Form
from emeterai.web.pages import Pages

AnyRequest = Request[Any, Any, Any]
_KEPT_BRIEFLY = {"cache-control": "public, max-age=15"}


class PageServices(Protocol):
    """What these handlers find in the application's `state["services"]`."""

    sellers: Sellers
    pages: Pages
    settings: Settings


class SellerRoutes(Controller):
    """Is this an official seller?"""

    path = "/v1/sellers"
    tags = ("Verify",)
    security = [{}]  # noqa: RUF012 - Litestar's own way; the empty requirement is "anyone"

    @get(operation_id="find_seller", summary="Is this an official seller?", responses=problems(SELLER_MISTYPED))
    async def read(
        self,
        request: AnyRequest,
        asked: Annotated[str, QueryParameter(description="A name, a phone number or a web address.")],
    ) -> Response[SellerAnswer]:
        """`sellers` are exactly those that are meant; `similar` only look like it, and that may be on purpose."""
        return Response(await _services(request).sellers.find(asked), headers=_KEPT_BRIEFLY)


class SellerPages(Controller):
    """The same for people. No session is looked up: it is public, and works while sign-in is down."""

    path = paths.SELLERS
    include_in_schema = False

    @get()
    async def form(self, request: AnyRequest) -> Response[bytes]:
        """The form; with `?penjual=` its answer."""
        typed = request.query_params.get("penjual")
        if typed is None:
            return _shown(request, Form())
        form = Form({"penjual": typed[:SELLER_LENGTH_MAX]})
        try:
            answer = await _services(request).sellers.find(typed)
        except Refused as refused:
            if refused.kind is not SELLER_MISTYPED:
                raise
            wrong = Form(form.values, (FieldError("penjual", refused.id, refused.en),))
            return _shown(request, wrong, status_code=refused.kind.status)
        return _shown(request, form, answer)

    @get("/{seller_id:uuid}")
    async def seller(self, request: AnyRequest, seller_id: FromPath[UUID]) -> Response[bytes]:
        """One seller. The number is the QR code's, so a sign cannot show somebody else's page as its own."""
        seller = await _services(request).sellers.numbered(seller_id)
        if seller is None:
            raise NOT_FOUND()
        address = f"{_services(request).settings.base_url}{paths.seller(seller.id)}"
        return _services(request).pages.render(
            request, "verify/seller.html", seller=seller, qr=qr_of(address), address=address, checked_at=utc_now()
        )


def _shown(
    request: AnyRequest, form: Form, answer: SellerAnswer | None = None, *, status_code: int = 200
) -> Response[bytes]:
    return _services(request).pages.render(
        request,
        "verify/sellers.html",
        status_code=status_code,
        form=form,
        answer=answer,
        length_max=SELLER_LENGTH_MAX,
        checked_at=utc_now(),
    )


def _services(request: AnyRequest) -> PageServices:
    return cast("PageServices", request.app.state["services"])


controllers: tuple[type[Any], ...] = (SellerRoutes, SellerPages)
"""What the application mounts."""
