"""Orders for people: choose, see the price, order, pay at the provider's page, and see what is awaited."""

from __future__ import annotations

from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from emeterai.accounts.callers import AnyRequest, caller
from emeterai.accounts.service import Caller
from emeterai.core.refusal import Refused
from emeterai.core.returning import SecondPayment
from emeterai.infra.http import checked_idempotency_key, refusal_headers
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.purchase.limits import LIMITS_REACHED
from emeterai.purchase.qr_picture import qr_picture
from emeterai.purchase.returns import NOTHING_HANDED_BACK
from emeterai.purchase.returns_words import cause_in_words, state_in_words
from emeterai.purchase.service import (
    ORDER_NOT_OPEN,
    ORDER_QUANTITY_INVALID,
    ORDER_UNKNOWN,
    PROVIDER_UNAVAILABLE,
    Channel,
    Order,
    OrderState,
    Purchase,
    Wishes,
)
from emeterai.purchase.tracking import tracking_code
from emeterai.web import paths
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.forms import FieldError, Form, whole_number
from emeterai.web.pages import Pages

WhoCalls = NamedDependency[Caller]
OrderId = FromPath[UUID]
_NO_STORE = {"cache-control": "no-store"}
_ORDERS_A_PAGE = 20
_REFRESH_S = 10
_REFRESH_AFTER_PAYING_S = 3
_DIGITS_MAX = 9


class PageServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    purchase: Purchase
    pages: Pages
    csrf: Csrf
    settings: Settings


class BuyPages(Controller):
    """Choose a quantity, see its price, order."""

    path = paths.BUY
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """The form, with the price of `quantity`."""
        text = request.query_params.get("quantity")
        if text is None:
            return await _buy(request, caller, Form(), 1)
        quantity = _quantity(text, _services(request).settings.order_quantity_max)
        form = _form_of(text, _refused_quantity(request)) if quantity is None else Form({"quantity": text})
        return await _buy(request, caller, form, quantity or 1)

    @post()
    async def order(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Make the order and show it; sent twice it is one order. What a limit refuses is said above the form."""
        services = _services(request)
        fields = await _checked_form(request)
        text = fields.get("quantity", "")
        quantity = _quantity(text, services.settings.order_quantity_max)
        if quantity is None:
            wrong = _refused_quantity(request)
            return await _buy(request, caller, _form_of(text, wrong), 1, refused=wrong)
        try:
            order = await services.purchase.place_order(
                caller.account_id,
                quantity,
                idempotency_key=checked_idempotency_key(fields.get("idempotency_key")),
                wishes=_wishes(fields),
                made_by=caller.made_by,
            )
        except Refused as refused:
            if refused.kind not in LIMITS_REACHED:
                raise
            return await _buy(request, caller, _form_of(text, refused), quantity, refused=refused)
        return _go(paths.order(order.id))


class OrderPages(Controller):
    """The person's orders."""

    path = paths.ORDERS
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """The orders, newest first, a page at a time."""
        services = _services(request)
        before = _order_id(request.query_params.get("before"))
        orders = await services.purchase.orders(caller.account_id, before=before, limit=_ORDERS_A_PAGE + 1)
        shown = orders[:_ORDERS_A_PAGE]
        older = f"{paths.ORDERS}?before={shown[-1].id}" if len(orders) > len(shown) else None
        return services.pages.render(
            request,
            "purchase/orders.html",
            orders=[_shown(order) for order in shown],
            newer_url=paths.ORDERS if before is not None else None,
            older_url=older,
        )

    @get("/{order_id:uuid}")
    async def page(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[Any]:
        """One order; while it awaits payment the page looks again by itself. A return's id leads to its order."""
        services = _services(request)
        of_return = await services.purchase.returns.order_of(caller.account_id, order_id)
        if of_return is not None:
            return _go(paths.order(of_return))
        order = await services.purchase.order(caller.account_id, order_id)
        returned = request.query_params.get("kembali") == "1"
        refreshes = order.is_payable and request.query_params.get("refresh") != "0"
        every_s = _REFRESH_AFTER_PAYING_S if returned else _REFRESH_S
        return await _order(request, order, returned=returned, refresh_s=every_s if refreshes else 0)

    @post("/{order_id:uuid}/bayar")
    async def pay(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[Any]:
        """Send the person to the provider's page; an order that awaits nothing any more is shown instead.

        While no provider answers the order is shown with that refusal, and the button is there to try again.
        """
        await _checked_form(request)
        purchase = _services(request).purchase
        order = await purchase.order(caller.account_id, order_id)
        if not order.is_payable:
            return _go(paths.order(order.id))
        try:
            order = await purchase.open_charge(caller.account_id, order_id)
        except Refused as refused:
            if refused.kind is not PROVIDER_UNAVAILABLE:
                raise
            return await _order(request, order, refused=refused)
        return _go(order.pay_url or paths.order(order.id))

    @post("/{order_id:uuid}/batal")
    async def cancel(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[Any]:
        """Give up an order that awaits payment, and show it; also when it turns out to be paid or over."""
        await _checked_form(request)
        purchase = _services(request).purchase
        try:
            await purchase.cancel(caller.account_id, order_id)
        except Refused as refused:
            if refused.kind is not ORDER_NOT_OPEN:
                raise
            return await _order(request, await purchase.order(caller.account_id, order_id), refused=refused)
        return _go(paths.order(order_id))

    @post("/{order_id:uuid}/kembalikan")
    async def hand_back(self, request: AnyRequest, caller: WhoCalls, order_id: OrderId) -> Response[Any]:
        """Hand unused quota back, and show the order with the steps of the money; sent twice it is one return.

        What cannot be handed back is said on the order's page, where the form is.
        """
        services = _services(request)
        fields = await _checked_form(request)
        quantity = _quantity(fields.get("quantity", ""), services.settings.order_quantity_max)
        try:
            back = await services.purchase.returns.hand_back(
                caller.account_id,
                order_id,
                quantity or 0,
                idempotency_key=checked_idempotency_key(fields.get("idempotency_key")),
            )
        except Refused as refused:
            if refused.kind not in NOTHING_HANDED_BACK:
                raise
            order = await services.purchase.order(caller.account_id, order_id)
            return await _order(request, order, refused=refused)
        if back is None:
            raise ORDER_UNKNOWN()
        return _go(paths.order(order_id))


def _services(request: AnyRequest) -> PageServices:
    return cast("PageServices", request.app.state["services"])


async def _checked_form(request: AnyRequest) -> dict[str, str]:
    """The texts of a form that one of our pages showed. Raises `csrf_failed`, `request_malformed`."""
    return texts_of(await checked_form(request, _services(request).csrf))


def _quantity(text: str, quantity_max: int) -> int | None:
    """The number that was typed when it can be ordered."""
    quantity = whole_number(text, digits_max=_DIGITS_MAX)
    return quantity if quantity is not None and 1 <= quantity <= quantity_max else None


def _wishes(fields: dict[str, str]) -> Wishes:
    """What the form chose; anything that it does not offer is no wish."""
    channel, second = fields.get("channel"), fields.get("second_payment")
    return Wishes(
        Channel(channel) if channel in {one.value for one in Channel} else None,
        SecondPayment.CREDIT if second == SecondPayment.CREDIT else SecondPayment.RETURN,
    )


async def _order(
    request: AnyRequest, order: Order, *, returned: bool = False, refresh_s: int = 0, refused: Refused | None = None
) -> Response[bytes]:
    """The page of one order; with a refusal it is that refusal's answer."""
    services = _services(request)
    return services.pages.render(
        request,
        "purchase/order.html",
        status_code=refused.kind.status if refused is not None else 200,
        headers=refusal_headers(refused) if refused is not None else None,
        order=_shown(order) | await returns_shown(services.purchase, order),
        returned=returned,
        refresh_s=refresh_s,
        refused=refused,
        available=await services.purchase.available(order.account_id),
    )


async def returns_shown(purchase: Purchase, order: Order) -> dict[str, Any]:
    """The returns of an order in words, how many of its stamps can still be handed back, and a key for doing so."""
    returns = await purchase.returns.of_orders([order.id])
    return {
        "returns": [{"back": back, "why": cause_in_words(back), "where": state_in_words(back)} for back in returns],
        "returnable": await purchase.returns.returnable_now(order),
        "idempotency_key": str(new_id()),
    }


def _refused_quantity(request: AnyRequest) -> Refused:
    return ORDER_QUANTITY_INVALID(quantity_max=_services(request).settings.order_quantity_max)


def _form_of(text: str, refused: Refused) -> Form:
    """The form with what was typed, and why that is not ordered."""
    return Form({"quantity": text}, (FieldError("quantity", refused.id, refused.en),))


async def _buy(
    request: AnyRequest, caller: Caller, form: Form, quantity: int, *, refused: Refused | None = None
) -> Response[bytes]:
    """The buying page with the price of so many; with a refusal it is that refusal's answer."""
    services = _services(request)
    newest = await services.purchase.orders(caller.account_id, before=None, limit=_ORDERS_A_PAGE)
    ways = services.purchase.quotes(quantity)
    plain_fee_idr = ways[0].price.fee_idr - ways[0].channel_fee_idr
    return services.pages.render(
        request,
        "purchase/buy.html",
        status_code=refused.kind.status if refused is not None else 200,
        headers=refusal_headers(refused) if refused is not None else None,
        form=form,
        quote={
            "quantity": quantity,
            "duty_idr": ways[0].price.duty_idr,
            "fee_idr": plain_fee_idr,
            "total_idr": ways[0].price.duty_idr + plain_fee_idr,
        },
        ways=ways,
        has_channel_fees=any(way.channel_fee_idr for way in ways),
        duty_each_idr=services.settings.duty_idr,
        fee_each_idr=services.settings.fee_idr,
        quantity_max=services.settings.order_quantity_max,
        open_orders=[_shown(order) for order in newest if order.is_payable],
        order_life_h=max(1, services.settings.order_life_s // 3600),
        idempotency_key=str(new_id()),
    )


def _order_id(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _shown(order: Order) -> dict[str, Any]:
    """An order as the pages show it. Its time is over when the database says so, not when the steward has come by."""
    state = "pending" if order.state is OrderState.AWAITING_PAYMENT else order.state.value
    return {
        "id": order.id,
        "number": order.number,
        "state": "expired" if state == "pending" and order.overdue else state,
        "quantity": order.quantity,
        "duty_idr": order.duty_idr,
        "fee_idr": order.fee_idr,
        "total_idr": order.total_idr,
        "channel": order.wanted_channel,
        "created_at": order.created_at,
        "expires_at": order.expires_at,
        "settled_at": order.paid_at,
        "code": order.code if order.is_payable else None,
        "qr": qr_picture(order.code) if order.is_payable else None,
        "tracking_code": tracking_code(order.id, order.payment_transfer),
    }


def _go(address: str) -> Response[Any]:
    return Redirect(address, status_code=303, headers=_NO_STORE)


controllers: tuple[type[Any], ...] = (BuyPages, OrderPages)
"""What the application mounts."""
