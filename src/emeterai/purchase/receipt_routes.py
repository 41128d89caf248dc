"""Receipts for programs and people: JSON, a page, and a PDF, each for the owner of the order only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from emeterai.accounts.callers import AnyRequest, caller
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.infra.http import attachment_header, problems
from emeterai.infra.settings import Settings
from emeterai.purchase.receipt_pdf import receipt_pdf
from emeterai.purchase.receipts import RECEIPT_NOT_YET, Receipt, Receipts
from emeterai.purchase.service import ORDER_UNKNOWN, Purchase
from emeterai.web import paths
from emeterai.web.pages import Pages

WhoCalls = NamedDependency[Caller]
OrderId = FromPath[UUID]
_PDF = "application/pdf"
_NO_STORE = {"cache-control": "no-store"}


class HasReceipts(Protocol):
    """What these handlers find in the application's `state["services"]`."""

    purchase: Purchase
    pages: Pages
    settings: Settings


@dataclass
class ReceiptOperation(Operation):
    """GET a receipt gives JSON or a PDF."""

    def __post_init__(self) -> None:
        """Describe the PDF beside the JSON."""
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            binary = Schema(type=OpenAPIType.STRING, format="binary")  # type: ignore[arg-type]
            answer.content[_PDF] = OpenAPIMediaType(schema=binary)


class ReceiptRoutes(Controller):
    """A receipt for programs."""

    path = "/v1/orders/{order_id:uuid}/receipt"
    tags = ("Orders",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get(
        operation_id="get_receipt",
        operation_class=ReceiptOperation,
        summary="The receipt of a paid order",
        responses={
            **problems(SIGN_IN_NEEDED, SESSION_EXPIRED, ORDER_UNKNOWN, RECEIPT_NOT_YET),
            200: ResponseSpec(Receipt, description="The receipt; with `Accept: application/pdf` as a PDF"),
        },
    )
    async def read(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[Any]:
        """Tax and fee are separate lines. `Accept: application/pdf` gives the PDF."""
        receipt = await _receipt(request, caller, order_id)
        wants_pdf = request.accept.best_match(["application/json", _PDF], default="application/json") == _PDF
        return _file(request, receipt) if wants_pdf else Response(receipt, headers=_NO_STORE)


class ReceiptPages(Controller):
    """A receipt for people."""

    path = paths.ORDERS
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get("/{order_id:uuid}/bukti")
    async def page(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[bytes]:
        """The receipt on a page that prints well."""
        receipt = await _receipt(request, caller, order_id)
        return _services(request).pages.render(request, "purchase/receipt.html", receipt=receipt)

    @get("/{order_id:uuid}/bukti.pdf")
    async def file(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[bytes]:
        """The receipt as a file."""
        return _file(request, await _receipt(request, caller, order_id))


async def _receipt(request: AnyRequest, caller: Caller, order_id: UUID) -> Receipt:
    services = _services(request)
    return await Receipts(services.purchase, services.settings).receipt(caller.account_id, order_id)


def _file(request: AnyRequest, receipt: Receipt) -> Response[bytes]:
    content = receipt_pdf(receipt, specimen=_services(request).settings.is_specimen)
    headers = {**_NO_STORE, "content-disposition": attachment_header(f"bukti-{receipt.order_number}.pdf")}
    return Response(content, media_type=_PDF, headers=headers)


def _services(request: AnyRequest) -> HasReceipts:
    return cast("HasReceipts", request.app.state["services"])


controllers: tuple[type[Any], ...] = (ReceiptRoutes, ReceiptPages)
"""What the application mounts."""
