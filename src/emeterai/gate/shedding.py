"""Load shedding: an ASGI wrapper around everything, which lets a request in, makes it wait briefly, or turns it away.

A slot is held by work, not by lines: it is taken when the last byte of the body is here and given back when the answer
begins, so a slow phone, an open stream of events and a long download hold none. What is turned away has cost a look at
the path and a ready-made answer; a file that has arrived whole is worth more than one that has not and is let in first.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import Any, Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from emeterai.core.admission import Work
from emeterai.core.refusal import RefusalKind
from emeterai.gate.door import INSIDE_S, Door
from emeterai.gate.kept_page import KeptPage
from emeterai.gate.lanes import RETAIL, STAFF
from emeterai.gate.listening import TEMPO, Gone, Incoming, Tempo, whole_body
from emeterai.gate.passes import PASS_NEEDED, room_path
from emeterai.gate.renewing import Lengthen, as_it_is, is_served
from emeterai.gate.room_crowd import Numbers, RoomCrowd
from emeterai.gate.side_entrance import SideEntrance
from emeterai.gate.sorting import SESSION, Needs, Sort, seconds_of, session_of, sort_of
from emeterai.gate.turning_away import CROWDED, ENTRANCE_CROWDED, RESTING, UPLOADS_CROWDED, Answers, come_again_s
from emeterai.infra import metrics
from emeterai.infra.draining import WITHOUT_BODY, DrainedRequests
from emeterai.infra.lane import work_for
from emeterai.web import paths

SMALL_BODY_BYTES = 64 * 1024
"""A body up to this size is read before its request takes a slot."""
_DRAINED_BYTES = 1_000_000
_UNKNOWN_BYTES = 25_000_000
_API_KEY = b"bearer emk_"
_outcomes = metrics.counter("emeterai_door_requests", "Requests at the door", ["lane", "work", "outcome"])
_LANES_MEASURED_MAX = 64


class HeldPass(Protocol):
    """What the door wants to know of a pass."""

    @property
    def lane(self) -> str:
        """The lane that it opens."""

    @property
    def finish(self) -> bool:
        """Whether its holder has money or a unit in flight."""

    @property
    def subject(self) -> bytes:
        """Who holds it."""


PassOf = Callable[[Mapping[bytes, bytes]], HeldPass | None]
"""The valid pass that a request's headers carry, or None. It takes microseconds and asks nobody."""


class Request:
    """One request at the door."""

    __slots__ = (
        *("body_bytes", "door", "held", "is_inside", "lane", "receive", "send", "sort", "until_s"),
        *("walked_in", "who", "work"),
    )

    def __init__(self, door: Door, sort: Sort, receive: Receive, send: Send) -> None:
        self.door, self.sort, self.receive, self.send = door, sort, receive, send
        self.lane, self.work = RETAIL, sort.work
        self.is_inside = False
        self.who = b""
        self.walked_in = 0
        """In which second it was let in without a pass, until it is known whether that made somebody come in; or 0."""
        self.body_bytes = 0.0
        self.until_s = inf
        self.held: float | None = None
        """Since when it has had its slot."""


class Shedding:
    """Wraps an ASGI application. `lane_of_key` knows the lane of an API key by the SHA-256 of its token."""

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        *,
        pass_of: PassOf,
        lane_of_key: Callable[[bytes], str | None] = lambda _: None,
        answers: Answers | None = None,
        numbers: Numbers | None = None,
        tempo: Tempo = TEMPO,
        lengthen: Lengthen = as_it_is,
        side: SideEntrance | None = None,
    ) -> None:
        self._app = app
        self._door = door
        self._pass_of = pass_of
        self._lane_of_key = lane_of_key
        self._answers = answers or Answers()
        self._tempo, self._lengthen = tempo, lengthen
        self._side = side or SideEntrance()
        self._front = KeptPage(app)
        self._room = RoomCrowd(app, door, numbers)
        self._counted: dict[tuple[str, Work, str], Any] = {}
        for outcome in ("admitted", "refused"):
            _outcomes.labels(RETAIL, Work.FINISH.name.lower(), outcome)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is free passes through untouched."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        sort = sort_of(scope["method"], scope["path"], waits=b"wait" in headers.get(b"prefer", b""))
        if sort is None:
            work_for(RETAIL, Work.FINISH)
            if not await self._room.answered(scope, headers, receive, send):
                await self._app(scope, receive, send)
            return
        request = Request(self._door, sort, receive, send)
        request.body_bytes = _body_bytes(scope, headers)
        may_come = self._recognise(request, headers) or self._may_sign_in(request, scope)
        work_for(request.lane, request.work)
        if self._is_for_everybody(request, scope, headers):
            await self._front.answer(scope, receive, send)
            return
        if not request.is_inside:
            request.send = _watched(request)
        try:
            await self._let_in(request, scope, headers, may_come=may_come)
        finally:
            _stayed_out(request)

    async def _let_in(
        self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes], *, may_come: bool
    ) -> None:
        """Each request its way."""
        sort = request.sort
        if not may_come:
            await self._send_to_room(request, scope, headers)
        elif self._door.step_in(request.lane) >= sort.rests_from:
            await self._refuse(request, scope, headers, RESTING)
        elif sort.needs is Needs.WAIT:
            await self._wait(request, scope, headers)
        elif request.body_bytes > SMALL_BODY_BYTES:
            await self._take_in(request, scope, headers)
        else:
            await self._serve(request, scope, headers)

    def _recognise(self, request: Request, headers: Mapping[bytes, bytes]) -> bool:
        """Find the lane, the class and the deadline of a request; False: it needs a pass and has none."""
        sort, door = request.sort, self._door
        authorization, cookie = headers.get(b"authorization", b""), headers.get(b"cookie", b"")
        held = self._pass_of(headers) if b"emeterai_pass" in cookie or b"emeterai-pass" in headers else None
        if (timeout_s := seconds_of(headers.get(b"x-request-timeout"))) is not None:
            request.until_s = time.monotonic() + timeout_s
        if sort.is_machine:
            request.lane = STAFF
            return True
        who = b""
        if held is not None:
            request.lane, who = held.lane, held.subject
            request.send = self._lengthen(held, request.sort, headers, request.send)
            if held.finish and request.work is not Work.FINISH:
                request.work = Work(request.work - 1)
        elif authorization[: len(_API_KEY)].lower() == _API_KEY:
            digest = hashlib.sha256(authorization[7:].strip()).digest()
            request.lane, who = self._lane_of_key(digest) or RETAIL, digest
        elif authorization or SESSION in cookie:
            who = session_of(headers)
        request.who = who
        # Who came in while no pass was asked for stays inside.
        request.is_inside = held is not None or (bool(who) and door.knows(request.lane, who))
        if request.is_inside:
            door.seen(request.lane, who)
        elif sort.stays and not (sort.needs is Needs.ENTRY and request.lane in door.before_opening):
            request.walked_in = door.walks_in(request.lane)
            return request.walked_in > 0
        return True

    def _may_sign_in(self, request: Request, scope: HTTPScope) -> bool:
        """Whether one without a pass may say who they are. It makes nobody come in, whatever session they show."""
        sort = request.sort
        if not sort.signs_in or self._door.step_in(request.lane) >= sort.rests_from or not self._side.lets_in(scope):
            return False
        request.who, request.send = b"", self._side.watched(request.send)
        return True

    def _is_for_everybody(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> bool:
        """Whether this is a look at the front page that shows nobody's name: who is a stranger here, or, while a pass
        is asked for, anybody who is not inside.
        """
        if scope["path"] != paths.HOME or scope["method"] != "GET" or request.is_inside:
            return False
        return request.lane in self._door.passes_needed or not (b"cookie" in headers or b"authorization" in headers)

    async def _serve(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """The ordinary way: the body, if any, is here before the slot is asked for."""
        request.receive = first = (
            await whole_body(request.receive, self._tempo) if request.body_bytes else request.receive
        )
        budget = self._door.entries if request.sort.needs is Needs.ENTRY else self._door.work
        asked_s, gone = time.monotonic(), None
        if budget.slots.used >= budget.slots.limit:
            gone = Gone(first)
            request.receive = gone.receive
        admitted = await budget.enter(
            request.lane, request.work, until_s=request.until_s, gone=gone.left if gone else None
        )
        if not admitted:
            if gone is None or not gone.has_left:
                kind = ENTRANCE_CROWDED if request.sort.needs is Needs.ENTRY else CROWDED
                await self._refuse(request, scope, headers, kind)
            return
        now_s = time.monotonic()
        self._admitted(request, now_s - asked_s)
        if budget is self._door.entries:
            await self._run_entry(request, scope)
        else:
            request.held = now_s
            # Whoever holds a slot does so for a turn of the event loop at least: work that never waits would otherwise
            # be over before the next one asks, and everybody would wait where the door does not see them.
            await asyncio.sleep(0)
            await self._run(request, scope)

    async def _run(self, request: Request, scope: HTTPScope) -> None:
        """Run the application and give the slot back when the answer begins, or when there is none."""
        status = 503

        async def send_and_leave(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._leave(request, status)
                if status == 503 and come_again_s(message["headers"]) >= INSIDE_S:
                    request.door.sent_away(request.lane, request.who)
            await request.send(message)

        try:
            await self._app(scope, request.receive, send_and_leave)
        finally:
            self._leave(request, status)

    async def _run_entry(self, request: Request, scope: HTTPScope) -> None:
        try:
            await self._app(scope, request.receive, request.send)
        finally:
            self._door.entries.leave(request.lane)

    async def _take_in(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """A large body: refused before it is sent, or not at all for want of time; its slot is taken at its end."""
        size_bytes = min(request.body_bytes, _UNKNOWN_BYTES)
        if not self._door.take_body(request.lane, request.work, size_bytes):
            await self._refuse(request, scope, headers, UPLOADS_CROWDED)
            return
        incoming = Incoming(request.receive, self._tempo)

        async def receive_then_enter() -> HTTPReceiveMessage:
            was_over, message = incoming.is_over, await incoming.next_piece()
            if incoming.is_over and not was_over:
                self._door.body_ended(request.lane, size_bytes)
                if not incoming.has_gone:
                    await self._enter_with_file(request)
            return message

        request.receive = receive_then_enter
        try:
            await self._run(request, scope)
        finally:
            if not incoming.is_over:
                self._door.body_ended(request.lane, size_bytes)

    async def _enter_with_file(self, request: Request) -> None:
        """The file is here: the most urgent class, whatever it was. Raises `service_crowded`."""
        asked_s = time.monotonic()
        if not await self._door.work.enter(request.lane, Work.FINISH, until_s=request.until_s):
            self._door.refused(request.lane, Work.FINISH, is_inside=request.is_inside, for_room=True)
            self._count(request, "refused")
            raise CROWDED(retry_after_s=self._door.retry_after_s(Work.FINISH))
        request.held = time.monotonic()
        self._admitted(request, request.held - asked_s)

    async def _wait(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """It waits for news: a place among those who wait is all that it holds."""
        if not self._door.waiters.enter_now(request.lane, request.work):
            await self._refuse(request, scope, headers, CROWDED)
            return
        self._admitted(request, 0.0)
        try:
            await self._app(scope, request.receive, request.send)
        finally:
            self._door.waiters.leave(request.lane)

    def _admitted(self, request: Request, waited_s: float) -> None:
        self._door.admitted(request.lane, request.work, waited_s=waited_s)
        self._count(request, "admitted")

    def _leave(self, request: Request, status: int) -> None:
        if request.held is not None:
            took_s, request.held = time.monotonic() - request.held, None
            self._door.ended(request.lane, request.sort.name, took_s, failed=status == 503)

    async def _send_to_room(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """A browser goes to the waiting room, or gets a pass to finish and asks again; a program is told where."""
        room = room_path(request.lane)
        if _form_of(scope, headers) == "json":
            await self._refuse(request, scope, headers, PASS_NEEDED, room=room)
            return
        if cookie := await self._side.finishing(scope, headers):
            await self._drained(scope, request, lambda send: self._answers.once_more(send, scope, cookie))
            return
        self._count(request, "sent_to_room")
        await self._drained(scope, request, lambda send: self._answers.to_room(send, room))

    async def _refuse(
        self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes], kind: RefusalKind, *, room: str = ""
    ) -> None:
        for_room = kind is not RESTING and kind is not PASS_NEEDED
        self._door.refused(request.lane, request.work, is_inside=request.is_inside, for_room=for_room)
        self._count(request, "refused")
        retry_after_s, form = self._door.retry_after_s(request.work), _form_of(scope, headers)

        async def answer(send: Send) -> None:
            await self._answers.refuse(send, kind, retry_after_s=retry_after_s, form=form, room=room)

        if request.body_bytes > SMALL_BODY_BYTES:
            await self._drained(scope, request, answer)
        else:
            await answer(request.send)

    async def _drained(self, scope: HTTPScope, request: Request, answer: Callable[[Send], Awaitable[None]]) -> None:
        """Answer once the body has been read and dropped, up to a bound: whoever still sends would not hear us."""

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await answer(send)

        await DrainedRequests(app, size_bytes_max=_DRAINED_BYTES)(scope, request.receive, request.send)

    def _count(self, request: Request, outcome: str) -> None:
        key = (request.lane, request.work, outcome)
        counted = self._counted.get(key)
        if counted is None:
            lane = request.lane if len(self._counted) < _LANES_MEASURED_MAX * 9 else "other"
            counted = self._counted[key] = _outcomes.labels(lane, request.work.name.lower(), outcome)
        counted.inc()


def _watched(request: Request) -> Send:
    """Its way of answering, which sees whether somebody has come in by it."""
    send = request.send

    async def send_seen(message: Message) -> None:
        if message["type"] == "http.response.start":
            _answered(request, message["status"], message["headers"])
        await send(message)

    return send_seen


def _answered(request: Request, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Whoever is served has come in; who is refused, or sent to sign in, has not, and costs nobody's place."""
    if not is_served(status, headers):
        return
    walked_in, request.walked_in = request.walked_in, 0
    acts = request.sort.work is not Work.BROWSE and request.lane not in request.door.passes_needed
    if request.who and (walked_in or acts):
        request.door.seen(request.lane, request.who)


def _stayed_out(request: Request) -> None:
    if request.walked_in:
        request.door.stayed_out(request.lane, request.walked_in)


def _body_bytes(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> float:
    """How large the body says it is; endless for one that does not say, which HTTP/2 allows without a word."""
    if scope["method"] in WITHOUT_BODY:
        return 0.0
    if b"transfer-encoding" in headers:
        return inf
    length = headers.get(b"content-length")
    if length is None:
        return inf if scope["http_version"] == "2" else 0.0
    return int(length) if length.isdigit() and len(length) < 19 else inf


def _form_of(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> str:
    """How to say no: to programs as a problem document, to browsers as a page."""
    if scope["path"].startswith("/v1/") or b"text/html" not in headers.get(b"accept", b""):
        return "json"
    return "page" if scope["method"] in {"GET", "HEAD"} else "sent"
