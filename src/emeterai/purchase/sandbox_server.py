"""The sandbox payment provider: an outside party of our own, with a pay page, an API and signed notifications.

It knows nothing of orders, accounts or quota, keeps its own file, and is reached over HTTP only. No money is real here.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from litestar import Controller, Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, NotAuthorizedException, NotFoundException
from litestar.handlers.base import BaseRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath, JSONBody
from litestar.response import Redirect
from litestar.types import Guard

from emeterai.infra.clock import utc_now
from emeterai.purchase.sandbox_charges import SandboxCharge, SandboxCharges
from emeterai.purchase.sandbox_delivery import Postman
from emeterai.purchase.sandbox_words import (
    ChargeAnswer,
    ChargeOrder,
    Payment,
    RefundAnswer,
    RefundOrder,
    SandboxState,
    sandbox_api_key,
    sandbox_secret,
)
from emeterai.web.csrf import Csrf
from emeterai.web.headers import SecurityHeaders, content_security_policy
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles, static_route

_MERCHANT = "emeterai"
_BODY_SIZE_BYTES_MAX = 16_384
_AMOUNT_MAX = 10**12
_PAGE_STATES = {
    SandboxState.PENDING: "pending",
    SandboxState.SETTLEMENT: "paid",
    SandboxState.EXPIRE: "expired",
    SandboxState.CANCEL: "cancelled",
}
_ACTIONS = {
    "pay": SandboxState.SETTLEMENT,
    "cancel": SandboxState.CANCEL,
    "expire": SandboxState.EXPIRE,
}

AnyRequest = Request[Any, Any, Any]


class Sandbox:
    """What the handlers share. `public_url` is how browsers reach this server."""

    def __init__(self, charges: SandboxCharges, postman: Postman, pages: Pages, *, public_url: str) -> None:
        self.charges = charges
        self.postman = postman
        self.pages = pages
        self._public_url = public_url.rstrip("/")

    def charge(self, charge_id: str) -> SandboxCharge:
        """One charge, expired if its time is over. Raises NotFoundException."""
        self.charges.expire_due(now=utc_now())
        charge = self.charges.find(charge_id)
        if charge is None:
            raise NotFoundException("no such charge")
        return charge

    def end(self, charge_id: str, state: SandboxState, *, paid: tuple[Decimal, str] | None = None) -> SandboxCharge:
        """Move a pending charge to its last state and tell the shop. Raises NotFoundException."""
        self.charge(charge_id)
        charge = self.charges.end(charge_id, state, now=utc_now(), paid=paid)
        assert charge is not None
        self.postman.wake()
        return charge

    def answer(self, charge: SandboxCharge) -> ChargeAnswer:
        """A charge as the API shows it."""
        return ChargeAnswer(
            id=charge.id,
            order_id=charge.asked.order_id,
            state=charge.state,
            amount=charge.amount,
            currency=charge.currency,
            pay_url=f"{self._public_url}/pay/{charge.id}",
            expires_at=charge.expires_at,
        )


def create_sandbox_app(data_path: Path, *, public_url: str) -> Litestar:
    """The sandbox provider as an ASGI application; its charges and its secret live in `data_path`."""
    secret = sandbox_secret(data_path)
    static = StaticFiles()
    pages = Pages(Csrf(secret, https=False), specimen=True, static=static)

    @asynccontextmanager
    async def run(app: Litestar) -> AsyncIterator[None]:
        charges = SandboxCharges(data_path / "sandbox.sqlite3")
        postman = Postman(charges, secret)
        app.state["sandbox"] = Sandbox(charges, postman, pages, public_url=public_url)
        delivering = asyncio.create_task(postman.run())
        try:
            yield
        finally:
            delivering.cancel()
            with suppress(asyncio.CancelledError):
                await delivering
            charges.close()

    api = type("ChargesApi", (ChargesController,), {"guards": [_key_guard(sandbox_api_key(secret))]})
    return Litestar(
        [api, PayController, healthy, static_route(static)],
        lifespan=[run],
        middleware=[DefineMiddleware(SecurityHeaders)],
        request_max_body_size=_BODY_SIZE_BYTES_MAX,
        openapi_config=None,
    )


def _key_guard(api_key: str) -> Guard:
    expected = f"Bearer {api_key}".encode()

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if not hmac.compare_digest(connection.headers.get("authorization", "").encode(), expected):
            raise NotAuthorizedException("the API key is wrong")

    return guard


def _sandbox(request: AnyRequest) -> Sandbox:
    sandbox: Sandbox = request.app.state["sandbox"]
    return sandbox


@get("/healthz", sync_to_thread=False)
def healthy() -> dict[str, str]:
    """Says that the server answers."""
    return {"status": "ok"}


class ChargesController(Controller):
    """The API, for shops."""

    path = "/charges"

    @post()
    async def open(self, request: AnyRequest, data: JSONBody[ChargeOrder]) -> Response[ChargeAnswer]:
        """Open a charge; asked again in the same words it is the same charge, in other words 409."""
        if not 0 < data.amount_idr < _AMOUNT_MAX or data.expires_at.tzinfo is None:
            raise ClientException("amount_idr must be positive, and expires_at must have a zone")
        sandbox = _sandbox(request)
        charge = sandbox.charges.open(data, now=utc_now())
        if charge is None:
            raise ClientException("this order has another charge", status_code=409)
        sandbox.postman.wake()
        return Response(sandbox.answer(charge), status_code=201)

    @get("/{charge_id:str}")
    async def status(self, request: AnyRequest, charge_id: FromPath[str]) -> ChargeAnswer:
        """One charge, as it is now."""
        sandbox = _sandbox(request)
        return sandbox.answer(sandbox.charge(charge_id))

    @post("/{charge_id:str}/pay", status_code=200)
    async def pay(self, request: AnyRequest, charge_id: FromPath[str], data: JSONBody[Payment]) -> ChargeAnswer:
        """Pay a charge, as the payer's bank would: exactly, or something else. One that has ended stays as it is."""
        sandbox = _sandbox(request)
        charge = sandbox.charge(charge_id)
        paid = (data.amount or charge.amount, data.currency or charge.currency)
        return sandbox.answer(sandbox.end(charge_id, SandboxState.SETTLEMENT, paid=paid))

    @post("/{charge_id:str}/cancel", status_code=200)
    async def cancel(self, request: AnyRequest, charge_id: FromPath[str]) -> ChargeAnswer:
        """Give a charge up. One that has ended stays as it is."""
        sandbox = _sandbox(request)
        return sandbox.answer(sandbox.end(charge_id, SandboxState.CANCEL))

    @post("/{charge_id:str}/refunds", status_code=200)
    async def refund(self, request: AnyRequest, charge_id: FromPath[str], data: JSONBody[RefundOrder]) -> RefundAnswer:
        """Return money to the payer; asked again with the same key it is returned once. 409: there is not so much."""
        sandbox = _sandbox(request)
        sandbox.charge(charge_id)
        if not 0 < data.amount_idr < _AMOUNT_MAX:
            raise ClientException("amount_idr must be positive")
        done = sandbox.charges.refund(charge_id, data.refund_key, data.amount_idr)
        if done is None:
            raise ClientException("this charge does not hold so much", status_code=409)
        return RefundAnswer(refund_key=data.refund_key, amount_idr=done)

    @get("/{charge_id:str}/refunds/{refund_key:str}")
    async def refund_status(
        self, request: AnyRequest, charge_id: FromPath[str], refund_key: FromPath[str]
    ) -> RefundAnswer:
        """One refund."""
        done = _sandbox(request).charges.refunded(charge_id, refund_key)
        if done is None:
            raise NotFoundException("no such refund")
        return RefundAnswer(refund_key=refund_key, amount_idr=done)


class PayController(Controller):
    """The pay page, for people. Whoever has the address may pay, as with any payment link."""

    path = "/pay/{charge_id:str}"

    @get()
    async def page(self, request: AnyRequest, charge_id: FromPath[str]) -> Response[bytes]:
        """The charge, and the buttons that end it."""
        sandbox = _sandbox(request)
        charge = sandbox.charge(charge_id)
        shop = urlsplit(charge.asked.return_url)
        policy = content_security_policy((f"{shop.scheme}://{shop.netloc}",))
        return sandbox.pages.render(
            request,
            "purchase/sandbox_pay.html",
            headers={"content-security-policy": policy, "cache-control": "no-store"},
            payment={
                "reference": charge.id[:12].upper(),
                "merchant": _MERCHANT,
                "amount_idr": charge.asked.amount_idr,
                "state": _PAGE_STATES[charge.state],
                "expires_at": charge.expires_at,
            },
            action_url=f"/pay/{charge.id}",
            return_url=charge.asked.return_url,
        )

    @post()
    async def act(self, request: AnyRequest, charge_id: FromPath[str]) -> Redirect:
        """Do what the button says, then send the person back to the shop."""
        action = (await request.form()).get("action")
        if action not in _ACTIONS:
            raise ClientException("action must be pay, cancel or expire")
        charge = _sandbox(request).end(charge_id, _ACTIONS[action])
        return Redirect(charge.asked.return_url, status_code=303)
