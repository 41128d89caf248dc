"""Orders for programs: `/v1/orders`, and the address where payment providers report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import structlog
from litestar import Controller, Request, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from emeterai.accounts.callers import caller
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.core.returning import SecondPayment
from emeterai.infra.clock import utc_now
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
from emeterai.purchase.limits import LIMITS_REACHED
from emeterai.purchase.model import Channel, PaymentCode, Wishes
from emeterai.purchase.pricing import ORDER_CHANNEL_INVALID, Quote
from emeterai.purchase.provider import (
    NOTIFICATION_FORGED,
    NOTIFICATION_STALE,
    NOTIFICATION_UNREADABLE,
    PROVIDER_UNAVAILABLE,
)
from emeterai.purchase.returns_model import Return
from emeterai.purchase.returns_routes import ReturnView, return_view
from emeterai.purchase.service import (
    ORDER_NOT_OPEN,
    ORDER_QUANTITY_INVALID,
    ORDER_UNKNOWN,
    ORDERS_A_PAGE_MAX,
    PROVIDER_UNKNOWN,
    Order,
    OrderState,
    Purchase,
)

_NO_STORE = {"cache-control": "no-store"}
_NOTIFICATION_SIZE_BYTES_MAX = 65_536
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]
_ANYONE: list[dict[str, list[str]]] = [{}]
_SIGNED_IN = (SIGN_IN_NEEDED, SESSION_EXPIRED)
_ORDERING = (
    ORDER_QUANTITY_INVALID,
    ORDER_CHANNEL_INVALID,
    IDEMPOTENCY_KEY_BAD,
    IDEMPOTENCY_KEY_REUSED,
    PROVIDER_UNAVAILABLE,
    *LIMITS_REACHED,
)
_NOTIFYING = (NOTIFICATION_FORGED, NOTIFICATION_STALE, NOTIFICATION_UNREADABLE, PROVIDER_UNKNOWN)
_log = structlog.get_logger(__name__)

AnyRequest = Request[Any, Any, Any]
WhoCalls = NamedDependency[Caller]
OrderId = FromPath[UUID]


class NewOrder(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to buy."""

    quantity: Annotated[int, msgspec.Meta(description="How many stamps, at least 1.", examples=[2])]
    channel: Annotated[
        Channel | None, msgspec.Meta(description="How the buyer wants to pay; without it what suits the amount.")
    ] = None
    second_payment: Annotated[
        SecondPayment, msgspec.Meta(description="What becomes of a second payment for this order.")
    ] = SecondPayment.RETURN


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order. Amounts are whole rupiah, for the whole order; `total_idr` is `duty_idr` and `fee_idr` together."""

    id: UUID
    number: Annotated[str, msgspec.Meta(description="The order's number for people.", examples=["4F7K-2M9Q"])]
    state: OrderState
    quantity: int
    duty_idr: int
    fee_idr: int
    total_idr: int
    channel: Annotated[
        Channel | None, msgspec.Meta(description="How it is to be paid, and what its fee is for; null in older orders.")
    ]
    provider: str
    pay_url: Annotated[str | None, msgspec.Meta(description="Where to pay; null when there is nothing to pay.")]
    payment_code: Annotated[
        PaymentCode | None,
        msgspec.Meta(description="What to pay with, where `pay_url` is our page: a QR code's text or an account."),
    ]
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    changed_at: datetime
    second_payment: SecondPayment
    returns: Annotated[
        list[ReturnView], msgspec.Meta(description="Money of this order on its way back, oldest first.")
    ] = []


class QuoteView(msgspec.Struct, frozen=True, kw_only=True):
    """What an order would cost by one channel, in whole rupiah; `total_idr` is `duty_idr` and `fee_idr` together."""

    channel: Channel
    duty_idr: int
    fee_idr: int
    channel_fee_idr: Annotated[int, msgspec.Meta(description="How much of `fee_idr` this channel adds.")]
    total_idr: int
    amount_idr_max: Annotated[
        int | None, msgspec.Meta(description="The most that one payment may carry; null where there is no limit.")
    ]
    fits: Annotated[bool, msgspec.Meta(description="Whether one payment may carry the total.")]


class QuotesView(msgspec.Struct, frozen=True):
    """The price of so many stamps, by each channel."""

    quantity: int
    quotes: list[QuoteView]


class OrdersPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some orders, newest first; `next` asks for the older ones, and is null at the end."""

    items: list[OrderView]
    next: str | None


class Received(msgspec.Struct, frozen=True):
    """The answer to a notification that is on record, whether it was known before or not."""

    received: bool = True


def purchase_of(request: AnyRequest) -> Purchase:
    """The service that the application put into its state."""
    purchase: Purchase = request.app.state["services"].purchase
    return purchase


class OrdersController(Controller):
    """Buy quota."""

    path = "/v1/orders"
    tags = ("Orders",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = _SECURITY

    @post(
        operation_id="create_order",
        summary="Order quota",
        responses=problems(*_SIGNED_IN, *_ORDERING),
    )
    async def create(
        self,
        request: AnyRequest,
        caller: WhoCalls,
        data: JSONBody[NewOrder],
        idempotency_key: Annotated[
            str | None,
            HeaderParameter(
                name="Idempotency-Key",
                required=False,
                description="Send a fresh one with each order: a repeated request then gives the same order.",
                schema_extra=IDEMPOTENCY_KEY_SCHEMA,
            ),
        ] = None,
    ) -> Response[OrderView]:
        """Order quota. Send the buyer to `pay_url`; the quota is there as soon as the money is seen."""
        order = await purchase_of(request).create_order(
            caller.account_id,
            data.quantity,
            wishes=Wishes(data.channel, data.second_payment),
            idempotency_key=checked_idempotency_key(idempotency_key),
            made_by=caller.made_by,
        )
        return Response(_view(order), status_code=201, headers={"location": f"/v1/orders/{order.id}", **_NO_STORE})

    @get(operation_id="list_orders", summary="Your orders", responses=problems(*_SIGNED_IN, CURSOR_BAD))
    async def list(
        self,
        request: AnyRequest,
        caller: WhoCalls,
        cursor: Annotated[str | None, QueryParameter(description="`next` of the page before.")] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=ORDERS_A_PAGE_MAX)] = 20,
    ) -> Response[OrdersPage]:
        """Your orders, newest first."""
        after = read_cursor(cursor)
        before = after[1] if after else None
        found = await purchase_of(request).orders(caller.account_id, before=before, limit=limit + 1)
        shown = found[:limit]
        following = cursor_of(shown[-1].created_at, shown[-1].id) if len(found) > limit else None
        page = OrdersPage(items=await _views(request, shown), next=following)
        return Response(page, headers=_NO_STORE)

    @get(
        "/quote",
        operation_id="quote_order",
        summary="What an order would cost",
        responses=problems(*_SIGNED_IN, ORDER_QUANTITY_INVALID),
    )
    async def quote(
        self,
        request: AnyRequest,
        caller: WhoCalls,  # noqa: ARG002
        quantity: Annotated[int, QueryParameter(description="How many stamps, at least 1.")],
    ) -> Response[QuotesView]:
        """The price by each channel as it is now. An order keeps the price that it was placed with."""
        quotes = purchase_of(request).quotes(quantity)
        return Response(QuotesView(quantity, [_quote_view(quote) for quote in quotes]), headers=_NO_STORE)

    @get(
        "/{order_id:uuid}",
        operation_id="get_order",
        summary="One order",
        responses=problems(*_SIGNED_IN, ORDER_UNKNOWN),
    )
    async def read(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[OrderView]:
        """One of your orders, as it is now."""
        order = await purchase_of(request).order(caller.account_id, order_id)
        (view,) = await _views(request, [order])
        return Response(view, headers=_NO_STORE)

    @post(
        "/{order_id:uuid}/cancel",
        operation_id="cancel_order",
        summary="Give up an order",
        status_code=200,
        responses=problems(*_SIGNED_IN, ORDER_UNKNOWN, ORDER_NOT_OPEN),
    )
    async def cancel(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[OrderView]:
        """Give up an order that awaits payment. Money that comes all the same still becomes quota."""
        order = await purchase_of(request).cancel(caller.account_id, order_id)
        return Response(_view(order), headers=_NO_STORE)


class NotificationsController(Controller):
    """Where payment providers report."""

    path = "/v1/payments/{provider_name:str}/notifications"
    tags = ("Payments",)

    @post(
        operation_id="receive_notification",
        summary="A payment provider reports",
        status_code=200,
        request_max_body_size=_NOTIFICATION_SIZE_BYTES_MAX,
        security=_ANYONE,
        responses=problems(*_NOTIFYING),
    )
    async def receive(self, request: AnyRequest, provider_name: FromPath[str]) -> Response[Received]:
        """Take a signed notification: it is on record when the answer comes, and is worked after it."""
        purchase = purchase_of(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        notification_id = await purchase.receive_notification(
            provider_name, headers, await request.body(), now=utc_now()
        )
        work = BackgroundTask(_work, purchase, notification_id) if notification_id is not None else None
        return Response(Received(), headers=_NO_STORE, background=work)


async def _work(purchase: Purchase, notification_id: UUID) -> None:
    """Work a notification after its answer was sent."""
    try:
        await purchase.work_notification(notification_id)
    except Exception:  # noqa: BLE001 - the provider has its answer; the steward does this work again
        _log.exception("notification_failed", notification=str(notification_id))


async def _views(request: AnyRequest, orders: list[Order]) -> list[OrderView]:
    """Orders with the returns of their money."""
    returns = await purchase_of(request).returns.of_orders([order.id for order in orders])
    return [_view(order, [back for back in returns if back.order_id == order.id]) for order in orders]


def _view(order: Order, returns: Sequence[Return] = ()) -> OrderView:
    return OrderView(
        id=order.id,
        number=order.number,
        state=order.state,
        quantity=order.quantity,
        duty_idr=order.duty_idr,
        fee_idr=order.fee_idr,
        total_idr=order.total_idr,
        channel=order.wanted_channel,
        provider=order.provider,
        pay_url=order.pay_url if order.is_payable else None,
        payment_code=order.code if order.is_payable else None,
        created_at=order.created_at,
        expires_at=order.expires_at,
        paid_at=order.paid_at,
        changed_at=order.changed_at,
        second_payment=order.second_payment,
        returns=[return_view(back) for back in returns],
    )


def _quote_view(quote: Quote) -> QuoteView:
    return QuoteView(
        channel=quote.channel,
        duty_idr=quote.price.duty_idr,
        fee_idr=quote.price.fee_idr,
        channel_fee_idr=quote.channel_fee_idr,
        total_idr=quote.price.total_idr,
        amount_idr_max=quote.amount_idr_max or None,
        fits=quote.fits,
    )


controllers: tuple[type[Any], ...] = (OrdersController, NotificationsController)
"""What the application mounts."""
