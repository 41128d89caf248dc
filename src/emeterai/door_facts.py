"""Between the front door and those behind it: who is on the way, what is on record in time, and whose pass it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from emeterai.accounts.callers import accounts_of
from emeterai.accounts.groups_seats import seats_of
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Accounts
from emeterai.core.refusal import Refused
from emeterai.gate.carrying import pass_set_cookie, pass_text
from emeterai.gate.lanes import RETAIL
from emeterai.gate.passes import PASS_OF_ANOTHER, PASS_REVOKED, Pass, is_withdrawn, room_path
from emeterai.gate.receipts import Fact, Moment
from emeterai.gate.reception import Entered, Reception
from emeterai.gate.room_routes import Gate
from emeterai.gate.welcoming import Welcomed
from emeterai.infra.database import Database
from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.ledger.service import Ledger
from emeterai.purchase.paid_moments import PaidMoments
from emeterai.purchase.service import ORDER_UNKNOWN, Purchase
from emeterai.stamping.documents import DOCUMENT_UNKNOWN, Documents
from emeterai.stamping.held import has_held
from emeterai.web import paths
from emeterai.web.credentials import headers_of, session_in, token_in

Thing = TypeVar("Thing")
_SPENDING = frozenset({"POST", "PATCH"})
_BUYING = frozenset({"/v1/orders", paths.BUY})
_SPENDING_PATHS = ("/v1/orders", "/v1/stamps", "/v1/uploads", paths.BUY, paths.UPLOAD, paths.DOCUMENTS)
LATELY_S = 1_800.0
"""Whoever has paid within this time is still on the way to the stamp."""
_TOLD_WITHIN_S = 0.5
_ON_THE_WAY_S = 120
"""Longer than any request is on its way from the door to here: what ended before that opened no door for it."""


@dataclass(frozen=True, slots=True)
class DoorFacts:
    """Answers about one person or one account each; nothing here lets anybody in or out."""

    db: Database
    ledger: Ledger
    purchase: Purchase
    documents: Documents
    paid_moments: PaidMoments

    async def in_flight(self, person: UUID) -> bool:
        """Whether money or a unit of the person's is on its way: such a person comes in, however the line stands.

        Of a group it is what this member ordered or asked to have stamped; of one that he oversees, all of it. Quota
        alone is not: with stock that was bought days before half of a crowd would pass the line. Nor is an order that
        is not paid for long.
        """
        seats = await seats_of(self.db, person)
        balances = await self.ledger.balances([person, *(seat.group_id for seat in seats)])
        holding = {account for account, balance in balances.items() if balance.held}
        if not holding.isdisjoint({person, *(seat.group_id for seat in seats if seat.oversees)}):
            return True
        if holding and await has_held(self.db, holding, made_by=person):
            return True
        return await self.purchase.has_money_in_flight(person, paid_within_s=LATELY_S, seats=seats)

    async def paid(self, account_id: UUID, order_id: UUID, only_by: UUID | None) -> Fact | None:
        """When an order of the account was paid, under the order's number. A plain member of a group sees no orders."""
        if only_by is not None:
            return None
        order = await _known(lambda: self.purchase.order(account_id, order_id), ORDER_UNKNOWN.code)
        moment = await self.paid_moments.of(order) if order is not None else None
        if order is None or moment is None:
            return None
        return Fact(moment.at, order.number, Moment.PROVIDER_TOLD if moment.is_told else Moment.CREDITED)

    async def uploaded(self, account_id: UUID, document_id: UUID, only_by: UUID | None) -> Fact | None:
        """When a file of the account, or of one member, was here whole, under the SHA-256 of its bytes."""
        document = await _known(
            lambda: self.documents.get(account_id, document_id, only_by=only_by), DOCUMENT_UNKNOWN.code
        )
        if document is None or document.digest is None or document.whole_since is None:
            return None
        return Fact(document.whole_since, document.digest.hex(), Moment.FILE_SAFE)


@dataclass(frozen=True, slots=True)
class PassesInUse:
    """The passes that browsers get by themselves: renewed while their people are at work (gate/renewing.py), and to
    finish what is under way (gate/side_entrance.py). Each is the text of a `Set-Cookie`, or nothing.
    """

    room: Gate
    accounts: Accounts

    async def renewed(self, used: Pass, headers: Mapping[bytes, bytes]) -> str:
        """The pass for longer, if it is theirs who show it and may be renewed.

        While the database cannot say who is signed in nobody is sent off for that.
        """
        account_id, is_told = None, True
        try:
            async with asyncio.timeout(_TOLD_WITHIN_S):
                account_id = (await self.accounts.identify(token_in(headers))).actor
        except Refused as refused:
            is_told = refused.kind in {SIGN_IN_NEEDED, SESSION_EXPIRED}
        except INTERRUPTIONS:
            is_told = False
        entered = await self.room.reception.renewed(used, account_id, is_told=is_told)
        return "" if entered is None else self._cookie(entered)

    async def to_finish(self, token: str) -> str:
        """A pass for whoever is signed in with this token and has something under way.

        Raises `sign_in_needed`, `session_expired`, or why there is none.
        """
        caller = await self.accounts.identify(token)
        return self._cookie(await self.room.reception.enter(RETAIL, account_id=caller.actor))

    def of_walk_in(self, lane: str, headers: Mapping[bytes, bytes], stayed_s: float) -> Welcomed | None:
        """The pass of a browser whose person walked into a lane so long ago. The answer that is to carry it was made
        for who is signed in, so who that is is remembered; of who is withdrawn, or not signed in, there is none.
        """
        caller, reception = self.accounts.remembered(session_in(headers)), self.room.reception
        if caller is None or reception.is_withdrawn(lane, caller.actor):
            return None
        passes, now_s = reception.passes, int(reception.clock_s())
        granted = passes.of_walk_in(lane, caller.actor, now_s, stayed_s=int(stayed_s))
        return Welcomed(self._cookie(Entered(granted, passes.sign(granted))), granted.subject)

    def _cookie(self, entered: Entered) -> str:
        now_s = self.room.reception.clock_s()
        return pass_set_cookie(entered.granted, entered.text, now_s=now_s, https=self.room.https).to_header(header="")


async def own_pass(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard of all routes: nobody buys or stamps with a pass that names another account. One that names nobody, as
    whoever came in before signing in has it, is from the first purchase on of the account that makes it; whoever is
    withdrawn does nothing with it. With one to finish they finish, and buy nothing more. Raises `pass_of_another`,
    `pass_revoked`.

    The door has seen to it that the pass is signed, in time and not revoked; there nobody is known yet.
    """
    if not isinstance(connection, Request) or connection.method not in _SPENDING:
        return
    headers = headers_of(connection.scope)
    text = pass_text(headers)
    if not text or not connection.scope["path"].startswith(_SPENDING_PATHS):
        return
    reception: Reception = connection.app.state["room"].reception
    shown = reception.passes.read(text)
    if shown is None or reception.clock_s() >= shown.until_s + _ON_THE_WAY_S:
        return  # a browser shows it for a day longer: whoever is in by now came in without it
    is_buying = connection.scope["path"] in _BUYING
    if shown.finish and is_buying and is_withdrawn(shown, reception.revoked):
        raise PASS_REVOKED()
    try:
        caller = await accounts_of(connection).identify(token_in(headers))
    except Refused:
        return  # whoever is nobody hears so from the route
    if (is_buying or not shown.finish) and reception.is_withdrawn(shown.lane, caller.actor):
        raise PASS_REVOKED()
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
