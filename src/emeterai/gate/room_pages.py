"""The pages of the waiting room. They answer with the database away, and no page here needs a script."""

from __future__ import annotations

import random
from typing import Annotated, Any, Protocol, cast

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath, QueryParameter

from emeterai.core.refusal import Refused
from emeterai.gate.lanes import LANE_UNKNOWN
from emeterai.gate.now import CACHE_S, MEDIA_TYPE, NowServing
from emeterai.gate.passes import room_path
from emeterai.gate.reception import Given
from emeterai.gate.room_blank import RoomPage
from emeterai.gate.room_page import draw_page, living_page, still_page
from emeterai.gate.room_routes import (
    Visitor,
    ask_for_call,
    gate_of,
    id_of,
    pass_cookie,
    take_pass,
    take_ticket,
    ticket_cookie,
    ticket_shown,
)
from emeterai.gate.wishes import Contact
from emeterai.infra.clock import utc_now
from emeterai.infra.http import refusal_headers, sent_form
from emeterai.web.csrf import CSRF_FAILED
from emeterai.web.pages import Pages

PAGE_CACHE_S = 60
_JSON = ".json"
_chance = random.Random()  # noqa: S311 - spreads those who look again

AnyRequest = Request[Any, Any, Any]
Refresh = Annotated[int, QueryParameter(ge=0, le=1, description="0: do not refresh by itself")]
Number = Annotated[int | None, QueryParameter(name="nomor", ge=1, le=2**30)]


class PageServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    pages: Pages


class RoomPages(Controller):
    """A waiting room as a person sees it."""

    path = "/gate/{lane:str}"
    include_in_schema = False

    @get()
    async def room(self, request: AnyRequest, lane: FromPath[str]) -> Response[bytes]:
        """The page that moves by itself, the same for everybody; and the now-serving file of a young lane."""
        gate = gate_of(request)
        if lane.endswith(_JSON):
            content = gate.reception.now.content(lane.removesuffix(_JSON))
            headers = {"cache-control": f"public, max-age={CACHE_S}, stale-while-revalidate={CACHE_S}"}
            return Response(content, media_type=MEDIA_TYPE, headers=headers)
        try:
            now = gate.reception.now.read(lane)
        except Refused as refused:
            return refusal_page(request, refused)
        page = living_page(now, inside=gate.inside)
        return _answer(request, page, cache=f"public, max-age={PAGE_CACHE_S}, stale-while-revalidate=600")

    @get("/giliran")
    async def turn(self, request: AnyRequest, lane: FromPath[str], refresh: Refresh = 1) -> Response[bytes]:
        """The page of one person, for browsers without a script."""
        gate = gate_of(request)
        try:
            now = gate.reception.now.read(lane)
        except Refused as refused:
            return refusal_page(request, refused)
        given = _held(gate.reception.press.read(ticket_shown(request, lane)), now, request)
        called = request.query_params.get("dipanggil") == "1"
        return _still(request, now, given, refresh=refresh == 1, called=called)

    @post("/giliran")
    async def act(self, request: AnyRequest, lane: FromPath[str], visitor: Visitor) -> Response[bytes]:
        """Take a number, come in, leave, be called: what the page's buttons send."""
        gate = gate_of(request)
        try:
            now = gate.reception.now.read(lane)
        except Refused as refused:
            return refusal_page(request, refused)
        try:
            _check_origin(request)
            form = await sent_form(request)
            return await _done(request, lane, visitor, str(form.get("do", "")), form)
        except Refused as refused:
            given = _held(gate.reception.press.read(ticket_shown(request, lane)), now, request)
            return _still(request, now, given, refresh=False, error=refused)

    @get("/undian")
    async def draw(self, request: AnyRequest, lane: FromPath[str], number: Number = None) -> Response[bytes]:
        """What the draw is, and the turn of any number."""
        try:
            now = gate_of(request).reception.now.read(lane)
            if now.draw is None:
                raise LANE_UNKNOWN()
        except Refused as refused:
            return refusal_page(request, refused)
        return _answer(request, draw_page(now, number), cache="public, max-age=5")


async def _done(request: AnyRequest, lane: str, visitor: Any, what: str, form: Any) -> Response[bytes]:
    room = f"{room_path(lane)}/giliran"
    match what:
        case "masuk":
            granted, text = await take_pass(request, lane, visitor)
            return _to(gate_of(request).inside, pass_cookie(request, granted, text))
        case "keluar":
            shown = ticket_shown(request, lane)
            await gate_of(request).reception.leave(lane, account_id=id_of(visitor), shown=shown)
            return _to("/", ticket_cookie(request, lane, ""))
        case "panggil":
            await ask_for_call(request, lane, Contact.typed(str(form.get("to", ""))))
            return _to(f"{room}?refresh=0&dipanggil=1")
        case _:
            given = await take_ticket(request, lane, visitor, code=str(form.get("code", "")))
            return _to(room, ticket_cookie(request, lane, given.text))


def _check_origin(request: AnyRequest) -> None:
    """Pass a form of our own pages only: another site's must not make somebody lose their number.

    The page is the same for everybody and kept by caches, so it can hold no secret; every browser of the last ten years
    says where a form comes from. Raises `csrf_failed`.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise CSRF_FAILED()
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise CSRF_FAILED()


def _held(ticket: Any, now: NowServing, request: AnyRequest) -> Given | None:
    """The ticket that a browser keeps, as its holder sees it."""
    if ticket is None or ticket.lane != now.lane:
        return None
    return gate_of(request).reception.given(ticket, now)


def _still(
    request: AnyRequest,
    now: NowServing,
    given: Given | None,
    *,
    refresh: bool,
    called: bool = False,
    error: Refused | None = None,
) -> Response[bytes]:
    age_s = (utc_now() - now.updated_at).total_seconds()
    page = still_page(now, given, age_s=age_s, chance=_chance.random(), refresh=refresh, called=called, error=error)
    answer = _answer(request, page, cache="no-store")
    if error is not None:
        answer.status_code = error.kind.status
        answer.headers.update(refusal_headers(error))
    return answer


def _answer(request: AnyRequest, page: RoomPage, *, cache: str) -> Response[bytes]:
    packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"cache-control": cache, "content-security-policy": page.policy, "vary": "accept-encoding"}
    if packed:
        headers["content-encoding"] = "gzip"
    return Response(page.packed() if packed else page.content, media_type="text/html", headers=headers)


def refusal_page(request: AnyRequest, refused: Refused) -> Response[bytes]:
    """People look here, although the address is one that programs use."""
    services = cast("PageServices", request.app.state["services"])
    return services.pages.refusal(request, refused, headers=refusal_headers(refused))


def _to(path: str, *cookies: Cookie) -> Response[bytes]:
    return Response(
        b"", status_code=303, headers={"location": path, "cache-control": "no-store"}, cookies=list(cookies)
    )


controllers: tuple[type[Any], ...] = (RoomPages,)
"""What the application mounts."""
