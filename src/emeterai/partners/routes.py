"""Partners for programs: `/v1/partners/me`, by an API key of the partner's account."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, patch, post
from litestar.di import NamedDependency, Provide
from litestar.params import HeaderParameter, JSONBody, QueryParameter

from emeterai.accounts.callers import AnyRequest, caller
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.infra.http import (
    CURSOR_BAD,
    IDEMPOTENCY_KEY_BAD,
    IDEMPOTENCY_KEY_REUSED,
    IDEMPOTENCY_KEY_SCHEMA,
    checked_idempotency_key,
    cursor_of,
    problems,
    read_cursor,
)
from emeterai.partners.deposits import Decision, Deposit, Deposits
from emeterai.partners.model import SerialBlockUse
from emeterai.partners.sales import (
    BUYER_LIMIT_REACHED,
    PARTNER_SUSPENDED,
    RECIPIENT_UNKNOWN,
    SALE_UNUSABLE,
    SALES_A_PAGE_MAX,
    SOLD_OUT,
    Sale,
    Sales,
    SaleWanted,
)
from emeterai.partners.service import PARTNER_ONLY, WARNING_INVALID, PartnerKind, Partners, PartnerState

_NO_STORE = {"cache-control": "no-store"}
_EVERYONE = (SIGN_IN_NEEDED, SESSION_EXPIRED, PARTNER_ONLY)

Key = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        description="The same key with the same sale gives the same answer",
        schema_extra=IDEMPOTENCY_KEY_SCHEMA,
    ),
]
Cursor = Annotated[str | None, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=SALES_A_PAGE_MAX, description="Lines on a page")]


class SaleRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to sell, and to whom."""

    quantity: Annotated[int, msgspec.Meta(description="Stamps, from 1")]
    to: Annotated[
        str,
        msgspec.Meta(
            description="The buyer's e-mail address or phone number, or the partner id of your retailer",
            max_length=254,
            examples=["siti@contoh.id"],
        ),
    ]
    reference: Annotated[str, msgspec.Meta(description="Your own note, such as a receipt's number")] = ""


class WarningRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When to warn."""

    warn_below: Annotated[int, msgspec.Meta(description="Warn while the stock is under so many stamps")]


class StockAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A partner and its stock, in stamps."""

    id: UUID
    name: str
    contact: str
    kind: PartnerKind
    state: PartnerState
    available: int
    sold_today: Annotated[int, msgspec.Meta(description="Since midnight in Jakarta")]
    sold_last_hour: int
    empty_in_s: Annotated[
        int | None, msgspec.Meta(description="When the stock is empty at the present rate; null while nothing sells")
    ]
    warn_below: int
    is_low: Annotated[bool, msgspec.Meta(description="Under `warn_below`, or empty within a day")]
    is_sold_out: bool
    serial_blocks: Annotated[
        list[SerialBlockUse], msgspec.Meta(description="Serials reserved for this stock: its buyers stamp with them")
    ]


class SaleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One sale. `to_retailer`: the units went to a retailer's stock, not to a person."""

    id: UUID
    quantity: int
    reference: str
    to_retailer: bool
    sold_at: datetime


class SalesPage(msgspec.Struct, frozen=True):
    """Some sales, newest first; `next` asks for the older ones and is null at the end."""

    items: list[SaleAnswer]
    next: str | None


class DepositAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A deposit of duty with the treasury, and what became of it."""

    id: UUID
    ntpn: str
    amount_idr: int
    quantity: int
    paid_on: date
    state: Decision
    reason: Annotated[str | None, msgspec.Meta(description="Why it was rejected")]
    proposed_at: datetime
    decided_at: datetime | None


class DepositsPage(msgspec.Struct, frozen=True):
    """The newest deposits, newest first."""

    items: list[DepositAnswer]


class HasPartners(Protocol):
    """What these routes find in the application's `state["services"]`."""

    partners: Partners
    deposits: Deposits
    sales: Sales


class PartnerRoutes(Controller):
    """A partner's own stock, sales and deposits."""

    path = "/v1/partners/me"
    tags = ("Partners",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = [{"bearer": []}]  # noqa: RUF012 - Litestar's own way

    @get(operation_id="get_partner", summary="Your stock", responses=problems(*_EVERYONE))
    async def read(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[StockAnswer]:
        """What is in your stock, how fast it sells, and when it will be empty."""
        return Response(await _stock_now(request, caller), headers=_NO_STORE)

    @patch(
        operation_id="set_stock_warning",
        summary="Set when to be warned",
        responses=problems(*_EVERYONE, WARNING_INVALID),
    )
    async def warn(
        self, request: AnyRequest, caller: NamedDependency[Caller], data: JSONBody[WarningRequest]
    ) -> Response[StockAnswer]:
        """Set the stock under which `is_low` is true; the answer is your stock as it is then."""
        services = services_of(request)
        await services.partners.warn_below(await services.partners.of_account(caller.account_id), data.warn_below)
        return Response(await _stock_now(request, caller), headers=_NO_STORE)

    @post(
        "/sales",
        operation_id="sell",
        summary="Sell from your stock",
        responses=problems(
            *_EVERYONE,
            SOLD_OUT,
            PARTNER_SUSPENDED,
            RECIPIENT_UNKNOWN,
            BUYER_LIMIT_REACHED,
            SALE_UNUSABLE,
            IDEMPOTENCY_KEY_BAD,
            IDEMPOTENCY_KEY_REUSED,
        ),
    )
    async def sell(
        self, request: AnyRequest, caller: NamedDependency[Caller], data: JSONBody[SaleRequest], key: Key
    ) -> Response[SaleAnswer]:
        """Sell: the units are the buyer's at once. `sold_out` is about your stock only; a 503 is about the service."""
        services = services_of(request)
        partner = await services.partners.of_account(caller.account_id)
        wanted = SaleWanted(data.quantity, data.to.strip(), data.reference, checked_idempotency_key(key) or "")
        return Response(sale_answer(await services.sales.sell(partner.id, wanted)), status_code=201, headers=_NO_STORE)

    @get(
        "/sales",
        operation_id="list_sales",
        summary="Your sales, newest first",
        responses=problems(*_EVERYONE, CURSOR_BAD),
    )
    async def sales(
        self, request: AnyRequest, caller: NamedDependency[Caller], limit: Limit = 50, cursor: Cursor = None
    ) -> Response[SalesPage]:
        """One page of sales."""
        services = services_of(request)
        partner = await services.partners.of_account(caller.account_id)
        found = await services.sales.of_partner(partner.id, before=read_cursor(cursor), limit=limit + 1)
        shown = found[:limit]
        following = cursor_of(shown[-1].sold_at, shown[-1].id) if len(found) > limit else None
        return Response(SalesPage([sale_answer(sale) for sale in shown], following), headers=_NO_STORE)

    @get(
        "/deposits",
        operation_id="list_deposits",
        summary="Your deposits with the treasury, newest first",
        responses=problems(*_EVERYONE),
    )
    async def deposits(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[DepositsPage]:
        """The newest hundred deposits, each with what became of it."""
        services = services_of(request)
        partner = await services.partners.of_account(caller.account_id)
        found = await services.deposits.of_partner(partner.id, limit=100)
        return Response(DepositsPage([_deposit(deposit) for deposit in found]), headers=_NO_STORE)


def services_of(request: AnyRequest) -> HasPartners:
    """The services that the application put into its state."""
    return cast("HasPartners", request.app.state["services"])


def sale_answer(sale: Sale) -> SaleAnswer:
    """A sale as its partner sees it; whose account the buyer's contact is, the partner is not told."""
    return SaleAnswer(
        id=sale.id,
        quantity=sale.quantity,
        reference=sale.reference,
        to_retailer=sale.to_partner,
        sold_at=sale.sold_at,
    )


async def _stock_now(request: AnyRequest, caller: Caller) -> StockAnswer:
    partners = services_of(request).partners
    partner = await partners.of_account(caller.account_id)
    stock = await partners.stock(partner)
    return StockAnswer(
        id=partner.id,
        name=partner.name,
        contact=partner.contact,
        kind=partner.kind,
        state=partner.state,
        available=stock.available,
        sold_today=stock.sold_today,
        sold_last_hour=stock.sold_last_hour,
        empty_in_s=stock.empty_in_s,
        warn_below=stock.warn_below,
        is_low=stock.is_low,
        is_sold_out=stock.is_empty,
        serial_blocks=await partners.serial_blocks(partner.id),
    )


def _deposit(deposit: Deposit) -> DepositAnswer:
    return DepositAnswer(
        id=deposit.id,
        ntpn=deposit.ntpn,
        amount_idr=deposit.amount_idr,
        quantity=deposit.quantity,
        paid_on=deposit.paid_on,
        state=deposit.state,
        reason=deposit.reason,
        proposed_at=deposit.proposed_at,
        decided_at=deposit.decided_at,
    )


controllers: tuple[type[Any], ...] = (PartnerRoutes,)
"""What the application mounts."""
