"""Vouchers for programs: `/v1/vouchers`. Sellers make, print, activate and void them; anybody redeems."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from emeterai.accounts.callers import AnyRequest, caller, client_address
from emeterai.accounts.groups_spending import PASSING_ON
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.core.ledger import QUOTA_NOT_ENOUGH
from emeterai.core.voucher_code import CODE_LENGTH
from emeterai.infra.http import (
    CURSOR_BAD,
    IDEMPOTENCY_KEY_BAD,
    IDEMPOTENCY_KEY_REUSED,
    IDEMPOTENCY_KEY_SCHEMA,
    REQUEST_MALFORMED,
    attachment_header,
    checked_idempotency_key,
    cursor_of,
    problems,
    read_cursor,
)
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase.voucher_finding import VOUCHER_MISTYPED, VOUCHER_TRIES_OVER, VOUCHER_UNKNOWN
from emeterai.purchase.voucher_model import (
    LABEL_LENGTH_MAX,
    UNITS_MAX,
    VOUCHERS_MAX,
    Activation,
    Batch,
    Counts,
    Redemption,
    Voiding,
)
from emeterai.purchase.voucher_redeeming import NOT_REDEEMED
from emeterai.purchase.voucher_selling import SELLING
from emeterai.purchase.voucher_sheets import Sheet, codes_csv, sheets_pdf
from emeterai.purchase.vouchers import (
    BATCHES_A_PAGE_MAX,
    VOUCHER_BATCH_INVALID,
    VOUCHER_BATCH_UNKNOWN,
    VOUCHER_CODES_GONE,
    VOUCHER_ENDED,
    VOUCHER_RANGE_INVALID,
    VOUCHER_VOIDING_UNCONFIRMED,
    Vouchers,
)
from emeterai.web import paths

_NO_STORE = {"cache-control": "no-store"}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]
_SIGNED_IN = (SIGN_IN_NEEDED, SESSION_EXPIRED)
_KEYED = (IDEMPOTENCY_KEY_BAD, IDEMPOTENCY_KEY_REUSED)
_FINDING = (VOUCHER_MISTYPED, VOUCHER_UNKNOWN, VOUCHER_TRIES_OVER)
_MAKING = (VOUCHER_BATCH_INVALID, *SELLING, QUOTA_NOT_ENOUGH, *PASSING_ON)
_ACTIVATING = (VOUCHER_BATCH_UNKNOWN, VOUCHER_RANGE_INVALID, VOUCHER_ENDED, *SELLING)
_TYPED_LENGTH_MAX = 300
WhoCalls = NamedDependency[Caller]
BatchId = FromPath[UUID]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        required=False,
        description="Send a fresh one with each wish: a repeated request is then answered as the first one was.",
        schema_extra=IDEMPOTENCY_KEY_SCHEMA,
    ),
]
Code = Annotated[
    str,
    msgspec.Meta(
        max_length=_TYPED_LENGTH_MAX,
        description=f"The {CODE_LENGTH} letters and digits, in any grouping, or the link that its QR code holds.",
        examples=["7K2M-Q9XR-T4VB-8WNC"],
    ),
]
Number = Annotated[int, msgspec.Meta(description="The number of a voucher in its batch, from 1.")]


class VoucherServices(Protocol):
    """What these handlers find in the application's `state["services"]`."""

    vouchers: Vouchers
    ledger: Ledger
    settings: Settings


class StockView(msgspec.Struct, frozen=True):
    """A stock that you keep, and how many units it has."""

    id: UUID
    name: str
    available: int


class Stocks(msgspec.Struct, frozen=True):
    """The stocks of which you may make vouchers."""

    items: list[StockView]


class NewVouchers(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to make."""

    vouchers: Annotated[int, msgspec.Meta(description=f"How many, 1 to {VOUCHERS_MAX}.", examples=[24])]
    units: Annotated[int, msgspec.Meta(description=f"What each is worth, 1 to {UNITS_MAX}.", examples=[5])]
    stock_id: Annotated[UUID | None, msgspec.Meta(description="Of which stock; null when you keep only one.")] = None
    label: Annotated[str, msgspec.Meta(max_length=LABEL_LENGTH_MAX, description="Printed on each sheet.")] = ""


class BatchView(msgspec.Struct, frozen=True, kw_only=True):
    """A batch: `units` is what each of its vouchers is worth. Its codes are not here: fetch `sheet` or `codes` once."""

    id: UUID
    number: Annotated[str, msgspec.Meta(description="The batch's number for people.", examples=["4F7K-2M9Q"])]
    label: str
    stock_id: UUID
    vouchers: int
    units: int
    counts: Counts
    codes_until: Annotated[datetime | None, msgspec.Meta(description="Null when the codes are no longer kept.")]
    downloads: int
    first_downloaded_at: datetime | None
    created_at: datetime


class BatchesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some batches, newest first; `next` asks for the older ones, and is null at the end."""

    items: list[BatchView]
    next: str | None


class WhatToActivate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One voucher by its code, or `first` to `last` of a batch, or the whole batch."""

    code: Code | None = None
    batch_id: UUID | None = None
    first: Number | None = None
    last: Number | None = None


class WhatToVoid(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`first` to `last` of a batch, or the whole of it."""

    batch_id: UUID
    confirm: Annotated[bool, msgspec.Meta(description="Must be true: nobody can use a voucher that is void.")]
    first: Number | None = None
    last: Number | None = None


class WhatToRedeem(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A voucher."""

    code: Code


def services_of(request: AnyRequest) -> VoucherServices:
    """What the application put into its state."""
    return cast("VoucherServices", request.app.state["services"])


def sheet_of(settings: Settings) -> Sheet:
    """What is the same on every sheet of this installation."""
    return Sheet(f"{settings.base_url}{paths.VOUCHER}", settings.is_specimen)


async def handed_out(request: AnyRequest, caller: Caller, batch_id: UUID, *, as_csv: bool) -> Response[bytes]:
    """The sheets of a batch as PDF, or its codes as CSV, to be saved. Raises the refusals of `Vouchers.codes`."""
    services = services_of(request)
    batch, codes = await services.vouchers.codes(caller, batch_id)
    make, media_type, ending = (codes_csv, "text/csv", "csv") if as_csv else (sheets_pdf, "application/pdf", "pdf")
    content = await asyncio.to_thread(make, sheet_of(services.settings), batch, codes)
    headers = {**_NO_STORE, "content-disposition": attachment_header(f"voucer-{batch.number}.{ending}")}
    return Response(content, status_code=200, media_type=media_type, headers=headers)


class VoucherBatchesController(Controller):
    """Make vouchers of your stock, hand out their codes, see what became of them."""

    path = "/v1/vouchers"
    tags = ("Vouchers",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = _SECURITY

    @get("/stocks", operation_id="list_voucher_stocks", summary="Your stocks", responses=problems(*_SIGNED_IN))
    async def stocks(self, request: AnyRequest, caller: WhoCalls) -> Response[Stocks]:
        """The stocks of which you may make vouchers; none for a person without a shop."""
        services = services_of(request)
        found = await services.vouchers.stocks_of(caller)
        items = [
            StockView(stock.id, stock.name, (await services.ledger.balance(stock.id)).available) for stock in found
        ]
        return Response(Stocks(items), headers=_NO_STORE)

    @post(
        "/batches",
        operation_id="make_vouchers",
        summary="Make a batch of vouchers",
        responses=problems(*_SIGNED_IN, *_KEYED, *_MAKING),
    )
    async def make(
        self, request: AnyRequest, caller: WhoCalls, data: JSONBody[NewVouchers], idempotency_key: IdempotencyKey = None
    ) -> Response[BatchView]:
        """Make vouchers: their units leave the stock at once. They are worth nothing until they are activated."""
        batch = await services_of(request).vouchers.make(
            caller,
            vouchers=data.vouchers,
            units=data.units,
            stock_id=data.stock_id,
            label=data.label,
            idempotency_key=checked_idempotency_key(idempotency_key),
        )
        headers = {"location": f"/v1/vouchers/batches/{batch.id}", **_NO_STORE}
        return Response(_view(batch), status_code=201, headers=headers)

    @get(
        "/batches",
        operation_id="list_voucher_batches",
        summary="Your batches",
        responses=problems(*_SIGNED_IN, CURSOR_BAD),
    )
    async def list(
        self,
        request: AnyRequest,
        caller: WhoCalls,
        cursor: Annotated[str | None, QueryParameter(description="`next` of the page before.")] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=BATCHES_A_PAGE_MAX)] = 20,
    ) -> Response[BatchesPage]:
        """Your batches, newest first."""
        after = read_cursor(cursor)
        before = after[1] if after else None
        found = await services_of(request).vouchers.batches(caller, before=before, limit=limit + 1)
        shown = found[:limit]
        following = cursor_of(shown[-1].created_at, shown[-1].id) if len(found) > limit else None
        return Response(BatchesPage(items=[_view(batch) for batch in shown], next=following), headers=_NO_STORE)

    @get(
        "/batches/{batch_id:uuid}",
        operation_id="get_voucher_batch",
        summary="One batch",
        responses=problems(*_SIGNED_IN, VOUCHER_BATCH_UNKNOWN),
    )
    async def read(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[BatchView]:
        """One of your batches: how many of its vouchers are made, active, redeemed and void."""
        batch = await services_of(request).vouchers.batch(caller, batch_id)
        return Response(_view(batch), headers=_NO_STORE)

    @post(
        "/batches/{batch_id:uuid}/sheet",
        operation_id="hand_out_voucher_sheet",
        summary="The codes as sheets to print",
        status_code=200,
        media_type="application/pdf",
        responses={
            200: ResponseSpec(bytes, media_type="application/pdf", description="A4, 24 labels a sheet"),
            **problems(*_SIGNED_IN, VOUCHER_BATCH_UNKNOWN, VOUCHER_CODES_GONE),
        },
    )
    async def sheet(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[bytes]:
        """The only copy of the codes, as PDF. A day after the first download we forget them."""
        return await handed_out(request, caller, batch_id, as_csv=False)

    @post(
        "/batches/{batch_id:uuid}/codes",
        operation_id="hand_out_voucher_codes",
        summary="The codes as CSV",
        status_code=200,
        media_type="text/csv",
        responses={
            200: ResponseSpec(str, media_type="text/csv", description="number, code, units, url"),
            **problems(*_SIGNED_IN, VOUCHER_BATCH_UNKNOWN, VOUCHER_CODES_GONE),
        },
    )
    async def codes(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[bytes]:
        """The only copy of the codes, as CSV. A day after the first download we forget them."""
        return await handed_out(request, caller, batch_id, as_csv=True)

    @delete(
        "/batches/{batch_id:uuid}/codes",
        operation_id="forget_voucher_codes",
        summary="Forget the codes now",
        status_code=200,
        responses=problems(*_SIGNED_IN, VOUCHER_BATCH_UNKNOWN),
    )
    async def forget(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[BatchView]:
        """The sheets are printed: from now on nobody can fetch the codes again. The vouchers stay good."""
        batch = await services_of(request).vouchers.forget_codes(caller, batch_id)
        return Response(_view(batch), headers=_NO_STORE)


class VouchersController(Controller):
    """Activate at the till, redeem once, void what is lost or unsold."""

    path = "/v1/vouchers"
    tags = ("Vouchers",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = _SECURITY

    @post(
        "/activations",
        operation_id="activate_vouchers",
        summary="Activate vouchers",
        status_code=200,
        responses=problems(*_SIGNED_IN, *_FINDING, *_ACTIVATING),
    )
    async def activate(
        self, request: AnyRequest, caller: WhoCalls, data: JSONBody[WhatToActivate]
    ) -> Response[Activation]:
        """Activate one voucher by its code, or a range of a batch, or all of it. Safe to repeat."""
        vouchers = services_of(request).vouchers
        if (data.code is None) == (data.batch_id is None):
            raise REQUEST_MALFORMED(detail="give either a code or a batch_id")
        if data.batch_id is not None:
            done = await vouchers.activate(caller, data.batch_id, first=data.first, last=data.last)
        else:
            done = await vouchers.activate_code(caller, data.code or "", address=client_address(request))
        return Response(done, headers=_NO_STORE)

    @post(
        "/voidings",
        operation_id="void_vouchers",
        summary="Void vouchers that are lost or unsold",
        responses=problems(
            *_SIGNED_IN, *_KEYED, VOUCHER_BATCH_UNKNOWN, VOUCHER_RANGE_INVALID, VOUCHER_VOIDING_UNCONFIRMED
        ),
    )
    async def void(
        self, request: AnyRequest, caller: WhoCalls, data: JSONBody[WhatToVoid], idempotency_key: IdempotencyKey = None
    ) -> Response[Voiding]:
        """Void what nobody has redeemed: its units are in the stock again, at once and exactly."""
        voiding = await services_of(request).vouchers.void(
            caller,
            data.batch_id,
            first=data.first,
            last=data.last,
            confirmed=data.confirm,
            idempotency_key=checked_idempotency_key(idempotency_key),
        )
        return Response(voiding, status_code=201, headers=_NO_STORE)

    @post(
        "/redemptions",
        operation_id="redeem_voucher",
        summary="Redeem a voucher",
        responses=problems(*_SIGNED_IN, *_KEYED, *_FINDING, *NOT_REDEEMED),
    )
    async def redeem(
        self,
        request: AnyRequest,
        caller: WhoCalls,
        data: JSONBody[WhatToRedeem],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Redemption]:
        """Redeem a voucher: its units are yours. Without a key a second request is told that it is yours already."""
        redemption = await services_of(request).vouchers.redeem(
            caller.account_id,
            data.code,
            address=client_address(request),
            idempotency_key=checked_idempotency_key(idempotency_key),
        )
        return Response(redemption, status_code=201, headers=_NO_STORE)


def _view(batch: Batch) -> BatchView:
    return BatchView(
        id=batch.id,
        number=batch.number,
        label=batch.label,
        stock_id=batch.stock_id,
        vouchers=batch.vouchers,
        units=batch.units,
        counts=batch.counts,
        codes_until=batch.codes_until,
        downloads=batch.downloads,
        first_downloaded_at=batch.first_downloaded_at,
        created_at=batch.created_at,
    )


controllers: tuple[type[Any], ...] = (VoucherBatchesController, VouchersController)
"""What the application mounts."""
