"""Between the front door and those behind it: who is on the way, what is on record in time, and whose pass it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from emeterai.accounts.callers import SESSION_COOKIE, accounts_of, bearer_token
from emeterai.core.ordering import OrderState
from emeterai.core.refusal import Refused
from emeterai.core.stamping import DocumentState
from emeterai.gate.keeper import PASS_COOKIE, PASS_HEADER
from emeterai.gate.passes import PASS_OF_ANOTHER, room_path
from emeterai.gate.receipts import Fact
from emeterai.gate.reception import Reception
from emeterai.ledger.service import Ledger
from emeterai.purchase.service import ORDER_UNKNOWN, Purchase
from emeterai.stamping.documents import DOCUMENT_UNKNOWN, Documents
from emeterai.web import paths

Thing = TypeVar("Thing")
_SPENDING = frozenset({"POST", "PATCH"})
_SPENDING_PATHS = ("/v1/orders", "/v1/stamps", "/v1/uploads", paths.BUY, paths.UPLOAD, paths.DOCUMENTS)
LATELY_S = 1_800.0
"""Whoever has paid within this time is still on the way to the stamp."""


@dataclass(frozen=True, slots=True)
class DoorFacts:
    """Answers about one account each; nothing here lets anybody in or out."""

    ledger: Ledger
    purchase: Purchase
    documents: Documents

    async def in_flight(self, account_id: UUID) -> bool:
        """Whether money or a unit of the account is on its way: such a person comes in, however the line stands.

        Quota alone is not: with stock that was bought days before half of a crowd would pass the line.
        """
        if (await self.ledger.balance(account_id)).held:
            return True
        return await self.purchase.has_money_on_its_way(account_id, paid_within_s=LATELY_S)

    async def paid(self, account_id: UUID, order_id: UUID) -> Fact | None:
        """When an order of the account was paid, under the order's number."""
        order = await _known(lambda: self.purchase.order(account_id, order_id), ORDER_UNKNOWN.code)
        if order is None or order.state is not OrderState.PAID or order.paid_at is None:
            return None
        return Fact(order.paid_at, order.number)

    async def uploaded(self, account_id: UUID, document_id: UUID) -> Fact | None:
        """When a file of the account was here whole, under the SHA-256 of its bytes: never earlier than it was."""
        document = await _known(lambda: self.documents.get(account_id, document_id), DOCUMENT_UNKNOWN.code)
        if document is None or document.digest is None or document.state is DocumentState.RECEIVING:
            return None
        return Fact(document.changed_at, document.digest.hex())


async def own_pass(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard of all routes: nobody buys or stamps with a pass that names another account. One that names nobody, as
    whoever came in before signing in has it, is from the first purchase on of the account that makes it. Raises
    `pass_of_another`.

    The door has seen to it that the pass is signed, in time and not revoked; there nobody is known yet.
    """
    if not isinstance(connection, Request) or connection.method not in _SPENDING:
        return
    text = connection.cookies.get(PASS_COOKIE) or connection.headers.get(PASS_HEADER.decode())
    if not text or not connection.scope["path"].startswith(_SPENDING_PATHS):
        return
    reception: Reception = connection.app.state["room"].reception
    shown = reception.passes.read(text)
    if shown is None:
        return
    token = bearer_token(connection) or connection.cookies.get(SESSION_COOKIE, "")
    try:
        caller = await accounts_of(connection).identify(token)
    except Refused:
        return  # whoever is nobody hears so from the route
    if not shown.is_bound:
        await reception.tie(shown, caller.actor)
    elif shown.holder != reception.passes.holder_of(caller.actor):
        raise PASS_OF_ANOTHER(room=room_path(shown.lane))


async def _known(look: Callable[[], Awaitable[Thing]], unknown: str) -> Thing | None:
    try:
        return await look()
    except Refused as refused:
        if refused.code != unknown:
            raise
        return None
