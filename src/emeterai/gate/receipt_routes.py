"""Receipts of having been in time, for those who were and for agencies that check: `/v1/receipts-in-time`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from emeterai.gate.passes import PASS_REVOKED
from emeterai.gate.receipts import RECEIPT_NOT_POSSIBLE, RECEIPT_UNKNOWN, InTime, Receipt
from emeterai.gate.reception import LANE_OF_MEMBERS, TICKET_UNKNOWN
from emeterai.gate.room_routes import AnyRequest, Gate, Visitor, gate_of
from emeterai.infra.http import problems

PATH = "/v1/receipts-in-time"
_NO_STORE = {"cache-control": "no-store"}
_KEPT = {"cache-control": "public, max-age=3600"}
_ANYONE: list[dict[str, list[str]]] = [{}]


class ReceiptWish(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to prove: `in_line` with a ticket; `paid` with an order's id and `uploaded` with a document's, signed in."""

    what: InTime
    ticket: Annotated[str, msgspec.Meta(description="A ticket, for `in_line`", max_length=200)] = ""
    id: UUID | None = None


class ReceiptView(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt, what it says, and where anyone can check it."""

    receipt: str
    says: Receipt
    check_url: str
    key_url: str


class ReceiptRoutes(Controller):
    """Proof of having been in time."""

    path = PATH
    tags = ("Gate",)

    @post(
        operation_id="make_receipt_in_time",
        summary="A signed receipt that you were in line, had paid or had uploaded",
        security=_ANYONE,
        responses=problems(RECEIPT_NOT_POSSIBLE, TICKET_UNKNOWN, LANE_OF_MEMBERS, PASS_REVOKED),
    )
    async def make(self, request: AnyRequest, visitor: Visitor, data: JSONBody[ReceiptWish]) -> Response[ReceiptView]:
        """It names no person; its holder shows who they are by its reference."""
        gate = gate_of(request)
        if data.what is InTime.IN_LINE:
            ticket = gate.reception.press.read(data.ticket)
            if ticket is None:
                raise TICKET_UNKNOWN(room="/")
            text = gate.receipts.of_ticket(gate.reception.checked(ticket))
        elif visitor is None or data.id is None:
            raise RECEIPT_NOT_POSSIBLE()
        else:
            text = await gate.receipts.of_fact(data.what, visitor.account_id, data.id, only_by=visitor.only_by)
        return Response(receipt_view(gate, text), status_code=201, headers=_NO_STORE)

    @get(
        "/{receipt:str}",
        operation_id="check_receipt_in_time",
        summary="Is this receipt ours, and what does it say?",
        security=_ANYONE,
        responses=problems(RECEIPT_UNKNOWN),
    )
    async def check(self, request: AnyRequest, receipt: FromPath[str]) -> Response[Receipt]:
        """For whoever must decide whether somebody was in time. The same can be checked offline with the public key."""
        return Response(gate_of(request).receipts.checked(receipt), headers=_KEPT)

    @get("/key.pem", include_in_schema=False)
    async def key(self, request: AnyRequest) -> Response[bytes]:
        """The public key as `openssl` reads it."""
        return Response(gate_of(request).receipts.public_pem(), media_type="application/x-pem-file", headers=_KEPT)


def receipt_view(gate: Gate, text: str) -> ReceiptView:
    """A receipt of ours as its holder gets it."""
    says = gate.receipts.read(text)
    return ReceiptView(
        receipt=text,
        says=says,
        check_url=f"{says.issuer}{PATH}/{text}",
        key_url=f"{says.issuer}{PATH}/key.pem",
    )


controllers: tuple[type[Any], ...] = (ReceiptRoutes,)
"""What the application mounts."""
