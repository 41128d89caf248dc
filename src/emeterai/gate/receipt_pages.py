"""Receipts of having been in time for people: a page to show, copy and print, and the same as a text file.

Nothing here needs a script: the ticket of whoever is in line is in a cookie that only the server reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from emeterai.core.refusal import Refused
from emeterai.gate.passes import room_path
from emeterai.gate.receipt_routes import ReceiptView, receipt_view
from emeterai.gate.receipts import InTime, Moment, Receipt
from emeterai.gate.room_pages import refusal_page
from emeterai.gate.room_routes import AnyRequest, gate_of, ticket_shown
from emeterai.infra.http import attachment_header
from emeterai.web import formats, paths
from emeterai.web.pages import Pages

WhoCalls = NamedDependency[Any]
"""Whoever is signed in, found out by the application: `account_id`, and `only_by` of a plain member of a group."""
Words = tuple[str, str]
_NO_STORE = {"cache-control": "no-store"}
_PLAIN = "text/plain; charset=utf-8"
MOMENTS: Mapping[Moment, Words] = {
    Moment.UNSAID: ("paling lambat saat itu", "by then at the latest"),
    Moment.NUMBER_TAKEN: ("saat nomornya diberikan", "when the number was given"),
    Moment.PROVIDER_TOLD: (
        "saat kabar pelunasan dari penyedia pembayaran sampai pada kami",
        "when the payment provider's news of the money reached us",
    ),
    Moment.CREDITED: (
        "saat pembayaran menjadi kuota; uangnya sudah dibayar sebelum itu",
        "when the payment became quota; the money had been paid before",
    ),
    Moment.FILE_SAFE: (
        "saat bita terakhir berkas aman tersimpan, kapan pun berkas itu diperiksa",
        "when the last byte of the file was safe, whenever it was inspected",
    ),
}
"""Which moment a receipt tells, in words."""


class PageServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    pages: Pages


class InLinePages(Controller):
    """For whoever is in line, signed in or not, with the database away too."""

    path = "/gate/{lane:str}"
    include_in_schema = False

    @get("/bukti")
    async def page(self, request: AnyRequest, lane: FromPath[str]) -> Response[bytes]:
        """That the ticket of this browser was taken, and when."""
        try:
            view = _of_ticket(request, lane)
        except Refused as refused:
            return refusal_page(request, refused)
        return _page(request, view, back=room_path(lane), file=f"{room_path(lane)}/bukti.txt")

    @get("/bukti.txt")
    async def file(self, request: AnyRequest, lane: FromPath[str]) -> Response[Any]:
        """The same to keep."""
        try:
            return _file(_of_ticket(request, lane))
        except Refused as refused:
            return refusal_page(request, refused)


class PaidPages(Controller):
    """For the buyer of an order that is paid."""

    path = paths.ORDERS
    include_in_schema = False

    @get("/{order_id:uuid}/tepat-waktu")
    async def page(self, request: AnyRequest, caller: WhoCalls, order_id: FromPath[UUID]) -> Response[bytes]:
        """That the order was paid, and when its money was first known of."""
        view = await _of_fact(request, InTime.PAID, caller, order_id)
        return _page(request, view, back=paths.order(order_id), file=paths.order_in_time_file(order_id))

    @get("/{order_id:uuid}/tepat-waktu.txt")
    async def file(self, request: AnyRequest, caller: WhoCalls, order_id: FromPath[UUID]) -> Response[Any]:
        """The same to keep."""
        return _file(await _of_fact(request, InTime.PAID, caller, order_id))


class UploadedPages(Controller):
    """For the sender of a file that has arrived whole, be it inspected or not."""

    path = paths.DOCUMENTS
    include_in_schema = False

    @get("/{document_id:uuid}/tepat-waktu")
    async def page(self, request: AnyRequest, caller: WhoCalls, document_id: FromPath[UUID]) -> Response[bytes]:
        """That the file was here whole, and since when."""
        view = await _of_fact(request, InTime.UPLOADED, caller, document_id)
        return _page(request, view, back=paths.document(document_id), file=paths.document_in_time_file(document_id))

    @get("/{document_id:uuid}/tepat-waktu.txt")
    async def file(self, request: AnyRequest, caller: WhoCalls, document_id: FromPath[UUID]) -> Response[Any]:
        """The same to keep."""
        return _file(await _of_fact(request, InTime.UPLOADED, caller, document_id))


def said(says: Receipt) -> Words:
    """What a receipt proves, as a sentence in each language."""
    match says.what:
        case InTime.IN_LINE:
            return (
                f"Pemegang nomor {says.reference} sudah mengantre di jalur {says.lane}.",
                f"Whoever holds number {says.reference} was in line in the lane {says.lane}.",
            )
        case InTime.PAID:
            return f"Pesanan {says.reference} sudah dibayar.", f"Order {says.reference} had been paid."
        case InTime.UPLOADED:
            return (
                "Berkas dengan sidik SHA-256 ini sudah kami terima utuh.",
                "The file with this SHA-256 digest had been received whole.",
            )


def as_text(view: ReceiptView) -> str:
    """A receipt as a text file: what it says in both languages, itself, and how anyone checks it."""
    says = view.says
    (proved_id, proved_en), (moment_id, moment_en) = said(says), MOMENTS[says.moment]
    return "\n".join(
        (
            "BUKTI TEPAT WAKTU / PROOF OF BEING IN TIME",
            "",
            proved_id,
            proved_en,
            "",
            f"Waktu / Time: {formats.moment(says.at)} ({says.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})",
            f"  {moment_id} / {moment_en}",
            f"Rujukan / Reference: {says.reference}",
            f"Penerbit / Issued by: {says.issuer}",
            "",
            "Bukti / Receipt:",
            view.receipt,
            "",
            f"Periksa / Check: {view.check_url}",
            f"Kunci untuk memeriksa tanpa kami / Key to check without us: {view.key_url}",
            "",
        )
    )


def _of_ticket(request: AnyRequest, lane: str) -> ReceiptView:
    """Raises `ticket_unknown`, `lane_of_members`, `pass_revoked`."""
    gate = gate_of(request)
    return receipt_view(gate, gate.receipts.of_ticket(gate.reception.read(lane, ticket_shown(request, lane))))


async def _of_fact(request: AnyRequest, what: InTime, caller: Any, subject_id: UUID) -> ReceiptView:
    """Raises `receipt_not_possible`."""
    gate = gate_of(request)
    text = await gate.receipts.of_fact(what, caller.account_id, subject_id, only_by=caller.only_by)
    return receipt_view(gate, text)


def _page(request: AnyRequest, view: ReceiptView, *, back: str, file: str) -> Response[bytes]:
    services = cast("PageServices", request.app.state["services"])
    return services.pages.render(
        request,
        "gate/in_time.html",
        headers=_NO_STORE,
        view=view,
        proved=said(view.says),
        moment=MOMENTS[view.says.moment],
        back=back,
        file=file,
    )


def _file(view: ReceiptView) -> Response[Any]:
    headers = {**_NO_STORE, "content-disposition": attachment_header(f"bukti-tepat-waktu-{view.says.what}.txt")}
    return Response(as_text(view), media_type=_PLAIN, headers=headers)


controllers: tuple[type[Any], ...] = (InLinePages,)
"""What the application mounts for everybody."""
own_controllers: tuple[type[Any], ...] = (PaidPages, UploadedPages)
"""What it mounts for those who are signed in: their handlers take a `caller`."""
