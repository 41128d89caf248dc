"""Load shedding: an ASGI wrapper around everything, which lets a request in, makes it wait briefly, or turns it away.

A slot is held by work, not by lines: it is taken when the last byte of the body is here and given back when the answer
begins, so a slow phone, an open stream of events and a long download hold none. What is turned away has cost a look at
the path and a ready-made answer; a file that has arrived whole is worth more than one that has not and is let in first.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any, Protocol, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from emeterai.core.admission import Work
from emeterai.core.refusal import RefusalKind
from emeterai.gate.door import BODIES_BYTES_MAX, Door
from emeterai.gate.lanes import RETAIL, STAFF
from emeterai.gate.passes import PASS_NEEDED, room_path
from emeterai.gate.sorting import Needs, Sort, seconds_of, sort_of
from emeterai.gate.turning_away import CROWDED, ENTRANCE_CROWDED, RESTING, UPLOADS_CROWDED, Answers
from emeterai.infra import metrics
from emeterai.infra.draining import DrainedRequests

SMALL_BODY_BYTES = 64 * 1024
"""A body up to this size is read before its request takes a slot."""
PIECE_S_MAX = 30.0
"""A sender from whom nothing comes for so long has gone; what has come is kept where uploads can be resumed."""
_DRAINED_BYTES = 1_000_000
_UNKNOWN_BYTES = 25_000_000
_API_KEY = b"bearer emk_"
_outcomes = metrics.counter("emeterai_door_requests", "Requests at the door", ["lane", "work", "outcome"])
_LANES_MEASURED_MAX = 64
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


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

    __slots__ = ("body_bytes", "door", "held", "is_inside", "lane", "receive", "send", "sort", "until_s", "work")

    def __init__(self, door: Door, sort: Sort, receive: Receive, send: Send) -> None:
        self.door, self.sort, self.receive, self.send = door, sort, receive, send
        self.lane, self.work = RETAIL, sort.work
        self.is_inside = False
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
    ) -> None:
        self._app = app
        self._door = door
        self._pass_of = pass_of
        self._lane_of_key = lane_of_key
        self._answers = answers or Answers()
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
            await self._app(scope, receive, send)
            return
        request = Request(self._door, sort, receive, send)
        request.body_bytes = _body_bytes(scope, headers)
        if not self._recognise(request, headers):
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
            if held.finish and request.work is not Work.FINISH:
                request.work = Work(request.work - 1)
        elif authorization[: len(_API_KEY)].lower() == _API_KEY:
            digest = hashlib.sha256(authorization[7:].strip()).digest()
            request.lane, who = self._lane_of_key(digest) or RETAIL, digest
        elif authorization or b"emeterai_session=" in cookie:
            who = authorization[-16:] if authorization else cookie.partition(b"emeterai_session=")[2][-16:]
        # Who came in while no pass was asked for stays inside; who only looks, or is sent to the line, is not.
        is_known = held is not None or (bool(who) and door.knows(request.lane, who))
        if sort.stays and not is_known and not door.walks_in(request.lane):
            return False
        if who and (is_known or (sort.work is not Work.BROWSE and request.lane not in door.passes_needed)):
            request.is_inside = True
            if door.seen(request.lane, who):
                door.tally(request.lane).entered += 1
        return True

    async def _serve(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """The ordinary way: the body, if any, is here before the slot is asked for."""
        request.receive = first = await _whole_body(request.receive) if request.body_bytes else request.receive
        budget = self._door.entries if request.sort.needs is Needs.ENTRY else self._door.work
        asked_s, gone = time.monotonic(), None
        if budget.slots.used >= budget.slots.limit:
            gone = _Gone(first)
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
        bodies = self._door.bodies
        size_bytes = min(request.body_bytes, _UNKNOWN_BYTES)
        is_full = self._door.bodies_bytes + size_bytes > BODIES_BYTES_MAX
        if is_full or not bodies.enter_now(request.lane, request.work):
            await self._refuse(request, scope, headers, UPLOADS_CROWDED)
            return
        self._door.bodies_bytes += size_bytes
        comes, is_coming = request.receive, True

        async def receive_then_enter() -> HTTPReceiveMessage:
            nonlocal is_coming
            message = await _next_piece(comes)
            if is_coming and not (message["type"] == "http.request" and message["more_body"]):
                is_coming = False
                self._door.bodies_bytes -= size_bytes
                bodies.leave(request.lane)
                if message["type"] == "http.request":
                    await self._enter_with_file(request)
            return message

        request.receive = receive_then_enter
        try:
            await self._run(request, scope)
        finally:
            if is_coming:
                self._door.bodies_bytes -= size_bytes
                bodies.leave(request.lane)

    async def _enter_with_file(self, request: Request) -> None:
        """The file is here: the most urgent class, whatever it was. Raises `service_crowded`."""
        asked_s = time.monotonic()
        if not await self._door.work.enter(request.lane, Work.FINISH, until_s=request.until_s):
            self._door.refused(request.lane, Work.FINISH, is_inside=request.is_inside)
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
        """A browser goes to the waiting room; a program is told where it is."""
        room = room_path(request.lane)
        if _form_of(scope, headers) == "json":
            await self._refuse(request, scope, headers, PASS_NEEDED, room=room)
            return
        self._count(request, "sent_to_room")
        await self._drained(scope, request, lambda send: self._answers.to_room(send, room))

    async def _refuse(
        self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes], kind: RefusalKind, *, room: str = ""
    ) -> None:
        self._door.refused(request.lane, request.work, is_inside=request.is_inside)
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


class _Gone:
    """Listens for the client to hang up while it waits; what else it says is kept for the application."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[HTTPReceiveMessage] = []
        self._saying: asyncio.Task[HTTPReceiveMessage] | None = None
        self.has_left = False

    async def left(self) -> None:
        """Return when the client has hung up."""
        while not self.has_left:
            self._saying = self._saying or asyncio.ensure_future(_said(self._receive))
            message = await asyncio.shield(self._saying)
            self._saying = None
            self._kept.append(message)
            self.has_left = message["type"] == "http.disconnect"

    async def receive(self) -> HTTPReceiveMessage:
        """What was said while it waited, then the rest."""
        if self._kept:
            return self._kept.pop(0)
        if self._saying is not None:
            saying, self._saying = self._saying, None
            return await saying
        return cast("HTTPReceiveMessage", await self._receive())


async def _said(receive: Receive) -> HTTPReceiveMessage:
    return cast("HTTPReceiveMessage", await receive())


async def _next_piece(receive: Receive) -> HTTPReceiveMessage:
    """The next piece of a body; a sender who has been silent for too long counts as gone."""
    try:
        async with asyncio.timeout(PIECE_S_MAX):
            return cast("HTTPReceiveMessage", await receive())
    except TimeoutError:
        return {"type": "http.disconnect"}


async def _whole_body(receive: Receive) -> Receive:
    """A small body, read to its end; the application receives it in one piece."""
    pieces: list[bytes] = []
    last: HTTPReceiveMessage
    while True:
        last = await _next_piece(receive)
        if last["type"] != "http.request":
            break
        pieces.append(last["body"])
        if not last["more_body"]:
            last = {"type": "http.request", "body": b"".join(pieces), "more_body": False}
            break
    said = False

    async def receive_kept() -> HTTPReceiveMessage:
        nonlocal said
        if not said:
            said = True
            return last
        return cast("HTTPReceiveMessage", await receive())

    return receive_kept


def _body_bytes(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> float:
    """How large the body says it is; endless for one that does not say, which HTTP/2 allows without a word."""
    if b"transfer-encoding" in headers:
        return inf
    length = headers.get(b"content-length")
    if length is None:
        return inf if scope["http_version"] == "2" and scope["method"] in _WITH_BODY else 0.0
    return int(length) if length.isdigit() and len(length) < 19 else inf


def _form_of(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> str:
    """How to say no: to programs as a problem document, to browsers as a page."""
    if scope["path"].startswith("/v1/") or b"text/html" not in headers.get(b"accept", b""):
        return "json"
    return "page" if scope["method"] in {"GET", "HEAD"} else "sent"
