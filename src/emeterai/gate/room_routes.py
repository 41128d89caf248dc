"""The waiting room for programs and for its own page: `/gate/{lane}/...`.

`/gate/{lane}.json` is handed out by the server from the folder of the now-serving files; the page's handler answers for
lanes that are younger than the server (docs/decisions/0021).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from emeterai.core.phone import TYPED_LENGTH_MAX
from emeterai.gate import room_store
from emeterai.gate.addresses import CallBounds, address_of
from emeterai.gate.bearers import NUMBER_IN_USE
from emeterai.gate.carrying import pass_set_cookie, pass_text
from emeterai.gate.giver import NUMBERS_PAUSED
from emeterai.gate.lanes import LANE_UNKNOWN
from emeterai.gate.new_numbers import LOTS_TOO_MANY, NUMBERS_TOO_MANY
from emeterai.gate.now import NowServing
from emeterai.gate.passes import PASS_OF_ANOTHER, PASS_REVOKED, Pass
from emeterai.gate.places import NUMBERS_TAKEN, TICKET_OF_ANOTHER
from emeterai.gate.receipts import FactOf, Receipts, nothing_on_record
from emeterai.gate.reception import (
    CODE_UNKNOWN,
    LANE_CLOSED,
    LANE_OF_MEMBERS,
    LANE_PAUSED,
    OF_MEMBERS,
    TICKET_UNKNOWN,
    TURN_NOT_DRAWN,
    TURN_NOT_REACHED,
    TURN_OVER,
    Given,
    InFlight,
    Reception,
    nothing_in_flight,
)
from emeterai.gate.wishes import (
    CALL_MADE_ALREADY,
    CALLS_NOT_OFFERED,
    CALLS_TOO_MANY,
    CHANNEL_NOT_OFFERED,
    EMAIL_LENGTH_MAX,
    EMAIL_UNUSABLE,
    PHONE_UNUSABLE,
    Contact,
    wish,
)
from emeterai.infra.database import Database
from emeterai.infra.http import problems
from emeterai.infra.secrets import local_secret
from emeterai.infra.settings import Settings
from emeterai.web import paths
from emeterai.web.credentials import headers_of

TICKET_LIFE_S = 400 * 86_400
"""A lane can be joined long before it opens, and a place must not be lost before its turn: as long as browsers keep any
cookie (RFC 6265bis).
"""
_NO_STORE = {"cache-control": "no-store"}
_ANYONE: list[dict[str, list[str]]] = [{}]
_COMING_IN = (
    TICKET_UNKNOWN,
    LANE_OF_MEMBERS,
    TICKET_OF_ANOTHER,
    PASS_REVOKED,
    PASS_OF_ANOTHER,
    NUMBER_IN_USE,
    TURN_NOT_REACHED,
    TURN_NOT_DRAWN,
    TURN_OVER,
    LANE_PAUSED,
    LANE_CLOSED,
)

AnyRequest = Request[Any, Any, Any]
LaneName = FromPath[str]
Visitor = NamedDependency[Any]
"""Who is signed in, found out by the application: None, or something with `actor`, the person's account,
`account_id`, whose business it is about, and `only_by`, the member of a group who sees nothing but their own."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the waiting room works with: `state["room"]` of the application. `https`: its cookies go over https only."""

    db: Database
    reception: Reception
    receipts: Receipts
    https: bool
    inside: str
    """Where a browser goes when its person comes in."""
    bounds: CallBounds = field(default_factory=CallBounds)


@asynccontextmanager
async def open_gate(
    db: Database,
    settings: Settings,
    *,
    in_flight: InFlight = nothing_in_flight,
    paid: FactOf = nothing_on_record,
    uploaded: FactOf = nothing_on_record,
) -> AsyncIterator[Gate]:
    """The waiting room of a web process, for as long as the block lasts.

    `in_flight` says who has money or a unit under way and so may come in whatever the line; `paid` and `uploaded` are
    what receipts can prove.
    """
    secrets = settings.data_path / "secrets"
    reception = Reception(db, gate_folder(settings), local_secret(secrets, "gate"), in_flight=in_flight)
    receipts = Receipts(local_secret(secrets, "receipts"), settings.base_url, paid=paid, uploaded=uploaded)
    await reception.start()
    try:
        yield Gate(db, reception, receipts, https=settings.base_url.startswith("https://"), inside=paths.BUY)
    finally:
        await reception.close()


def gate_folder(settings: Settings) -> Path:
    """Where the numbers and the now-serving files of this machine are."""
    return settings.data_path / "gate"


def _text(description: str, length_max: int) -> msgspec.Meta:
    return msgspec.Meta(description=description, max_length=length_max)


class Showing(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a person shows. What is left out is taken from the browser's cookies."""

    ticket: Annotated[str, _text("A ticket", 200)] = ""
    code: Annotated[str, _text("A recovery code, in place of a ticket", 60)] = ""


class Holding(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a person holds. What is left out is taken from the header `emeterai-pass` and the browser's cookies."""

    ticket: Annotated[str, _text("A ticket", 200)] = ""
    held: Annotated[str, _text("A pass that is to be renewed", 200)] = ""


class CallWish(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Whom to call: at one of the two."""

    email: Annotated[str, _text("An e-mail address; deleted once you were called", EMAIL_LENGTH_MAX)] = ""
    phone: Annotated[str, _text("An Indonesian mobile number; deleted once you were called", TYPED_LENGTH_MAX)] = ""
    ticket: Annotated[str, _text("A ticket; else the browser's cookie", 200)] = ""


class Wait(msgspec.Struct, frozen=True):
    """An estimate in seconds: at least, and at most; null when nobody can tell."""

    low_s: int
    high_s: int | None


class TicketView(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a line."""

    lane: str
    number: int
    turn: Annotated[int | None, msgspec.Meta(description="When it is called; null until the draw.")]
    now_serving: int
    wait: Wait | None
    ticket: str
    recovery_code: Annotated[str, msgspec.Meta(description="Brings the place back; empty for an account's ticket.")]
    room: str


class PassView(msgspec.Struct, frozen=True, kw_only=True):
    """A right to be inside. Send it as the header `emeterai-pass`, or as the cookie of that name."""

    lane: str
    granted: Annotated[str, msgspec.Meta(description="The pass")]
    until: datetime
    finish: bool
    bound: Annotated[bool, msgspec.Meta(description="Whether it names an account; one that does not lets you sign in")]


class RoomRoutes(Controller):
    """Numbers and passes."""

    path = "/gate/{lane:str}"
    tags = ("Gate",)
    security = _ANYONE

    @post(
        "/tickets",
        operation_id="take_ticket",
        summary="Take a number, or get the one you have",
        responses=problems(
            LANE_UNKNOWN,
            LANE_CLOSED,
            LANE_OF_MEMBERS,
            CODE_UNKNOWN,
            PASS_REVOKED,
            NUMBERS_TOO_MANY,
            NUMBERS_TAKEN,
            LOTS_TOO_MANY,
            NUMBERS_PAUSED,
            TICKET_OF_ANOTHER,
        ),
    )
    async def take(
        self, request: AnyRequest, lane: LaneName, visitor: Visitor, data: JSONBody[Showing]
    ) -> Response[TicketView]:
        """One person, one place in a lane: an account gets its number again from anywhere, others by their code."""
        given = await take_ticket(request, lane, visitor, shown=data.ticket, code=data.code)
        view = ticket_view(given, gate_of(request).reception.now.read(lane))
        return Response(view, headers=_NO_STORE, cookies=[ticket_cookie(request, lane, given.text)])

    @post(
        "/passes",
        operation_id="take_pass",
        summary="Come in",
        responses=problems(LANE_UNKNOWN, *_COMING_IN),
    )
    async def enter(
        self, request: AnyRequest, lane: LaneName, visitor: Visitor, data: JSONBody[Holding]
    ) -> Response[PassView]:
        """A pass for a ticket whose turn has come, a pass for longer for one that is good, or one to finish."""
        granted, text = await take_pass(request, lane, visitor, shown=data.ticket, held=data.held)
        view = PassView(
            lane=lane,
            granted=text,
            until=datetime.fromtimestamp(granted.until_s, UTC),
            finish=granted.finish,
            bound=granted.is_bound,
        )
        return Response(view, headers=_NO_STORE, cookies=[pass_cookie(request, granted, text)])

    @post(
        "/leave",
        operation_id="leave_line",
        summary="Leave the line",
        status_code=204,
        responses=problems(LANE_UNKNOWN, TICKET_UNKNOWN, TICKET_OF_ANOTHER, PASS_REVOKED),
    )
    async def leave(
        self, request: AnyRequest, lane: LaneName, visitor: Visitor, data: JSONBody[Showing]
    ) -> Response[None]:
        """Whoever leaves may take a new number; a recovery code stays good until its turn is over."""
        shown = data.ticket or ticket_shown(request, lane)
        await gate_of(request).reception.leave(lane, account_id=id_of(visitor), shown=shown)
        return Response(None, status_code=204, cookies=[ticket_cookie(request, lane, "")])

    @post(
        "/calls",
        operation_id="be_called",
        summary="Leave and be called",
        status_code=202,
        responses=problems(
            LANE_UNKNOWN,
            TICKET_UNKNOWN,
            PASS_REVOKED,
            EMAIL_UNUSABLE,
            PHONE_UNUSABLE,
            CHANNEL_NOT_OFFERED,
            CALLS_NOT_OFFERED,
            CALLS_TOO_MANY,
            CALL_MADE_ALREADY,
        ),
    )
    async def call(self, request: AnyRequest, lane: LaneName, data: JSONBody[CallWish]) -> Response[None]:
        """A message about five minutes before the turn; before the draw, too. The address is deleted once it was sent.

        What people may be called by says `call_by` in the lane's now-serving file.
        """
        await ask_for_call(request, lane, Contact(data.email, data.phone), shown=data.ticket)
        return Response(None, status_code=202, headers=_NO_STORE)


def ticket_view(given: Given, now: NowServing) -> TicketView:
    """A ticket as its holder gets to see it, with what can be said of the wait now."""
    low_s, high_s = (0.0, None) if given.turn is None else now.wait_of(given.turn)
    return TicketView(
        lane=now.lane,
        number=given.ticket.number,
        turn=given.turn,
        now_serving=now.now_serving,
        wait=None if given.turn is None else Wait(int(low_s), None if high_s is None else int(high_s) + 1),
        ticket=given.text,
        recovery_code=given.code,
        room=f"/gate/{now.lane}",
    )


async def take_ticket(request: AnyRequest, lane: str, visitor: Any, *, shown: str = "", code: str = "") -> Given:
    """The ticket of whoever sends a request."""
    gate, is_member = gate_of(request), False
    if lane in OF_MEMBERS and visitor is not None:
        is_member = await room_store.is_of_lane(gate.db, lane, [visitor.actor, visitor.account_id])
    return await gate.reception.ticket(
        lane,
        account_id=id_of(visitor),
        is_member=is_member,
        shown=shown or ticket_shown(request, lane),
        code=code,
        address=address_of(request.scope),
    )


async def take_pass(
    request: AnyRequest, lane: str, visitor: Any, *, shown: str = "", held: str = ""
) -> tuple[Pass, str]:
    """The pass of whoever sends a request."""
    entered = await gate_of(request).reception.enter(
        lane,
        account_id=id_of(visitor),
        shown=shown or ticket_shown(request, lane),
        held=held or pass_text(headers_of(request.scope)),
    )
    return entered.granted, entered.text


async def ask_for_call(request: AnyRequest, lane: str, contact: Contact, *, shown: str = "") -> None:
    """Remember to call whoever sends a request. Raises `ticket_unknown`, and what `wish` raises."""
    gate = gate_of(request)
    now = gate.reception.now.read(lane)
    ticket = gate.reception.read(lane, shown or ticket_shown(request, lane))
    await wish(gate.db, gate.bounds, now, ticket=ticket, contact=contact, address=address_of(request.scope))


def gate_of(request: AnyRequest) -> Gate:
    """What the application put into its state."""
    return cast(Gate, request.app.state["room"])


def id_of(visitor: Any) -> UUID | None:
    """The account of the person who is signed in, whomever they act for: one person, one place."""
    return None if visitor is None else cast(UUID, visitor.actor)


def ticket_shown(request: AnyRequest, lane: str) -> str:
    """The ticket of a lane that this browser keeps, or nothing."""
    return request.cookies.get(ticket_name(lane), "")


def ticket_cookie(request: AnyRequest, lane: str, text: str) -> Cookie:
    """Lets the browser keep a ticket where no script can read it; an empty one makes it forget."""
    return ticket_set_cookie(lane, text, https=gate_of(request).https)


def ticket_set_cookie(lane: str, text: str, *, https: bool) -> Cookie:
    """The same for whoever has no request."""
    return Cookie(
        key=ticket_name(lane),
        value=text,
        path=f"/gate/{lane}",
        max_age=TICKET_LIFE_S if text else 0,
        httponly=True,
        samesite="lax",
        secure=https,
    )


def pass_cookie(request: AnyRequest, granted: Pass, text: str) -> Cookie:
    """Lets the browser keep a pass and show it everywhere."""
    return pass_set_cookie(granted, text, now_s=gate_of(request).reception.clock_s(), https=gate_of(request).https)


def ticket_name(lane: str) -> str:
    """The cookie that keeps a lane's ticket."""
    return f"emeterai_ticket_{lane}"


controllers: tuple[type[Any], ...] = (RoomRoutes,)
"""What the application mounts."""
