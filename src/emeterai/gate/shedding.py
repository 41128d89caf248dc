"""Load shedding: an ASGI wrapper around everything, which lets a request in, makes it wait briefly, or turns it away.

A slot is held by work, not by lines: it is taken when the last byte of the body is here and given back when the answer
begins, so a slow phone, an open stream of events and a long download hold none. What is turned away has cost a look at
the path and a ready-made answer; a file that has arrived whole is worth more than one that has not and goes in a class
more urgent. What takes no file has a small body, or is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from emeterai.core.admission import Work
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate.door import INSIDE_S, Door
from emeterai.gate.early import Early
from emeterai.gate.free_road import FreeRoad
from emeterai.gate.kept_page import KeptPage
from emeterai.gate.lanes import RETAIL
from emeterai.gate.late_bodies import SMALL_BODY_BYTES, Late, LateBodies
from emeterai.gate.listening import TEMPO, Gone, Incoming, Tempo
from emeterai.gate.passes import PASS_NEEDED, room_path
from emeterai.gate.remembered import Remembered
from emeterai.gate.renewing import Lengthen, as_it_is
from emeterai.gate.request import PassOf, Request, body_bytes_of, form_of, network_of, stayed_out, turned_away
from emeterai.gate.room_crowd import Numbers
from emeterai.gate.side_entrance import SideEntrance
from emeterai.gate.sorting import Needs, asks_to_wait, sort_of
from emeterai.gate.turning_away import (
    CROWDED,
    ENTRANCE_CROWDED,
    RESTING,
    SENDING_CROWDED,
    UPLOADS_CROWDED,
    Answers,
    after_body,
    come_again_s,
)
from emeterai.gate.ways_in import LaneOfKey, Way, WaysIn
from emeterai.gate.welcoming import Welcome
from emeterai.infra import metrics
from emeterai.infra.lane import deadline, lift_deadline, work_for
from emeterai.web import paths
from emeterai.web.credentials import headers_of

_outcomes = metrics.counter("emeterai_door_requests", "Requests at the door", ["lane", "work", "outcome"])
_LANES_MEASURED_MAX = 64
_NO_SIGN_OF_LOAD = (RESTING, PASS_NEEDED, SENDING_CROWDED)
"""Refusals that say nothing of how much there is to do: a stranger could have any number of them."""


class Shedding:
    """Wraps an ASGI application. `lane_of_key` knows the lane of an API key; `known` are those who were answered as
    themselves.
    """

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        *,
        pass_of: PassOf,
        lane_of_key: LaneOfKey = lambda _: None,
        answers: Answers | None = None,
        numbers: Numbers | None = None,
        tempo: Tempo = TEMPO,
        lengthen: Lengthen = as_it_is,
        welcome: Welcome | None = None,
        side: SideEntrance | None = None,
        known: Remembered | None = None,
    ) -> None:
        self._app = app
        self._door = door
        self._answers = answers or Answers()
        self._tempo, self._late, self._early = tempo, LateBodies(tempo), Early(clock=time.monotonic)
        door.shared.append(self._late.bodies.slots)
        self._ways = WaysIn(
            door,
            pass_of=pass_of,
            lane_of_key=lane_of_key,
            lengthen=lengthen,
            welcome=welcome,
            side=side,
            known=known,
        )
        self._front = KeptPage(app)
        self._free = FreeRoad(app, door, numbers, self._answers, self._late)
        self._counted: dict[tuple[str, Work, str], Any] = {}
        for outcome in ("admitted", "refused"):
            _outcomes.labels(RETAIL, Work.FINISH.name.lower(), outcome)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is free passes through untouched."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        sort = sort_of(scope["method"], scope["path"], waits=b"prefer" in headers and asks_to_wait(scope["headers"]))
        if sort is None:
            work_for(RETAIL, Work.FINISH)
            await self._free.answer(scope, headers, receive, send)
            return
        request = Request(self._door, sort, receive, send)
        request.body_bytes = body_bytes_of(scope, headers)
        if SMALL_BODY_BYTES < request.body_bytes < inf and not sort.takes_file:
            await self._refuse_size(request, scope, headers)
            return
        self._ways.recognise(request, headers)
        if request.asked is not None:
            # Before anybody is counted: who is held back here is not inside, and uses up nobody's way in.
            await self._early.wait(request.asked, until_s=request.until_s)
        way = self._ways.way_of(request, scope)
        self._ways.take(request, way, headers)
        work_for(request.lane, request.urgency, until_s=request.until_s)
        if self._is_for_everybody(request, scope, headers):
            await self._front.answer(scope, receive, send)
            return
        try:
            await self._let_in(request, scope, headers, way)
        finally:
            stayed_out(request)
            request.ends()

    async def _let_in(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes], way: Way) -> None:
        """Each request its way."""
        sort = request.sort
        if way is Way.ROOM:
            await self._send_to_room(request, scope, headers)
        elif self._door.step_in(request.lane) >= sort.rests_from:
            await self._refuse(request, scope, headers, RESTING)
        elif request.budget is self._door.strangers and not self._ways.office.may_ask(scope):
            await self._refuse(request, scope, headers, CROWDED)
        elif sort.needs is Needs.WAIT:
            await self._wait(request, scope, headers)
        elif request.body_bytes > SMALL_BODY_BYTES and sort.takes_file:
            await self._take_in(request, scope, headers)
        else:
            await self._serve(request, scope, headers)

    def _is_for_everybody(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> bool:
        """Whether this is a look at the front page that shows nobody's name: who is a stranger here, or, while a pass
        is asked for, anybody who is not inside.
        """
        if scope["path"] != paths.HOME or scope["method"] != "GET" or request.is_inside:
            return False
        return request.lane in self._door.passes_needed or not (b"cookie" in headers or b"authorization" in headers)

    async def _serve(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """The ordinary way: the body, if any, is here before the slot is asked for."""
        first = request.receive
        if request.body_bytes:
            try:
                first = await self._late.whole(self._heard(request, scope), announced_bytes=request.body_bytes)
            except Refused as refused:
                if refused.kind is SENDING_CROWDED:
                    await self._refuse(request, scope, headers, SENDING_CROWDED)
                else:
                    await self._refuse_size(request, scope, headers)
                return
        if not request.begins():
            await self._refuse(request, scope, headers, CROWDED, for_room=False)
            return
        budget, part = request.budget, request.part or request.lane
        asked_s, gone = time.monotonic(), Gone(first)
        request.receive, deadline().gone = gone.receive, gone.left
        admitted = await budget.enter(part, request.work, until_s=request.until_s, gone=gone.left)
        if not admitted:
            if not gone.has_left:
                kind = ENTRANCE_CROWDED if request.sort.needs is Needs.ENTRY else CROWDED
                await self._refuse(request, scope, headers, kind)
            return
        request.held = time.monotonic()
        self._admitted(request, request.held - asked_s)
        await self._run(request, scope)

    async def _run(self, request: Request, scope: HTTPScope) -> None:
        """Run the application and give the slot back when the answer begins, or when there is none."""
        status = 503

        async def send_and_leave(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told_s = come_again_s(message["headers"]) if status == 503 else 0
                is_sent_away = told_s >= INSIDE_S and not request.is_turned_away
                self._leave(request, status, is_sent_away=is_sent_away)
                self._told(request, told_s)
                lift_deadline()  # it was for the answer, which is given to its end
                if is_sent_away:
                    request.door.sent_away(request.lane, request.who)
            await request.send(message)

        try:
            # Whoever holds a slot does so for a turn of the event loop at least: work that never waits would otherwise
            # be over before the next one asks, and everybody would wait where the door does not see them.
            await asyncio.sleep(0)
            await self._app(scope, request.receive, send_and_leave)
        finally:
            self._leave(request, status)

    async def _take_in(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """A large body: refused before it is sent, or not at all for want of time; its slot is taken at its end."""
        network = network_of(scope, is_member=request.is_member)
        body = self._door.bodies.begin(request.lane, request.work, announced_bytes=request.body_bytes, network=network)
        if body is None:
            await self._refuse(request, scope, headers, UPLOADS_CROWDED)
            return
        incoming = Incoming(request.receive, self._tempo)
        next_piece = self._door.link.paced(incoming.next_piece, request.lane)

        async def receive_then_enter() -> HTTPReceiveMessage:
            was_over, message = incoming.is_over, await next_piece()
            if incoming.is_over and not was_over:
                body.end()
                if not incoming.has_gone:
                    await self._enter_with_file(request)
            elif message["type"] == "http.request" and not was_over and not body.came(len(message["body"])):
                incoming.hang_up()
                body.end()
                raise self._refused_inside(request, request.work, UPLOADS_CROWDED)
            return message

        request.receive = receive_then_enter
        try:
            await self._run(request, scope)
        finally:
            body.end()

    async def _enter_with_file(self, request: Request) -> None:
        """The file is here: its bytes are spent, so it goes in a class more urgent than it was. Raises
        `service_crowded`.
        """
        asked_s, work = time.monotonic(), Work(max(Work.FINISH, request.work - 1))
        part, until_s = request.part or request.lane, request.until_s
        if not request.begins():
            raise self._refused_inside(request, work, CROWDED, for_room=False)
        if not await request.budget.enter(part, work, until_s=until_s):
            raise self._refused_inside(request, work, CROWDED)
        request.held = time.monotonic()
        self._admitted(request, request.held - asked_s)

    def _refused_inside(self, request: Request, work: Work, kind: RefusalKind, *, for_room: bool = True) -> Refused:
        """The refusal of a request that the application is already reading."""
        turned_away(request, work, for_room=for_room)
        self._count(request, "refused")
        return kind(retry_after_s=self._door.retry_after_s(work, is_inside=request.is_inside))

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

    def _leave(self, request: Request, status: int, *, is_sent_away: bool = False) -> None:
        """Give the slot back. What somebody else's outage cost (`is_sent_away`) is no sign of how much we can do."""
        request.ends()
        if request.held is not None:
            took_s, request.held = time.monotonic() - request.held, None
            part = request.part or request.lane
            if request.budget is self._door.work and not is_sent_away:
                self._door.ended(part, request.sort.name, took_s, failed=status == 503 and not deadline().has_passed)
            else:
                request.budget.leave(part)

    async def _send_to_room(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """A browser goes to the waiting room, or gets a pass to finish and asks again; a program is told where."""
        room = room_path(self._ways.side.lane_of(request.lane, headers))
        if form_of(scope, headers) == "json":
            await self._refuse(request, scope, headers, PASS_NEEDED, room=room)
            return
        if cookie := await self._ways.side.finishing(scope, headers):
            again = self._answers.once_more
            await self._answer_late(request, scope, lambda send: again(send, scope, cookie))
            return
        self._count(request, "sent_to_room")
        await self._answer_late(request, scope, lambda send: self._answers.to_room(send, room))

    async def _refuse(
        self,
        request: Request,
        scope: HTTPScope,
        headers: Mapping[bytes, bytes],
        kind: RefusalKind,
        *,
        room: str = "",
        for_room: bool = True,
    ) -> None:
        turned_away(request, request.work, for_room=for_room and kind not in _NO_SIGN_OF_LOAD)
        self._count(request, "sent_to_room" if kind is PASS_NEEDED else "refused")
        retry_after_s = self._door.retry_after_s(request.urgency, is_inside=request.is_inside)
        form = form_of(scope, headers)
        self._told(request, retry_after_s)

        async def answer(send: Send) -> None:
            await self._answers.refuse(send, kind, retry_after_s=retry_after_s, form=form, room=room)

        if request.body_bytes > SMALL_BODY_BYTES:
            await self._answer_late(request, scope, answer)
        else:
            await answer(request.send)

    def _told(self, request: Request, come_again_s: int) -> None:
        """Its sender was told when to come again, if at all."""
        if come_again_s and request.asked is not None:
            self._early.told(request.asked, come_again_s)

    async def _refuse_size(self, request: Request, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """A body that is larger than what it is for could ever need: no sign of load, and nothing to wait for."""
        self._count(request, "refused")
        with self._heard(request, scope) as late:
            receive = self._door.link.paced(late.receive, request.lane)
            await self._answers.too_large(scope, receive, request.send, form=form_of(scope, headers))

    async def _answer_late(self, request: Request, scope: HTTPScope, answer: Callable[[Send], Awaitable[None]]) -> None:
        """Answer once the body has come: whoever still sends would not hear it. A body that is late is waited for as
        long as there are places for such bodies.
        """
        with self._heard(request, scope) as late:
            is_small = request.body_bytes <= SMALL_BODY_BYTES
            receive = late.receive if is_small else self._door.link.paced(late.receive, request.lane)
            await after_body(scope, receive, request.send, answer)

    def _heard(self, request: Request, scope: HTTPScope) -> Late:
        return self._late.heard(scope, request.receive, request.lane, request.work, is_member=request.is_member)

    def _count(self, request: Request, outcome: str) -> None:
        key = (request.lane, request.work, outcome)
        counted = self._counted.get(key)
        if counted is None:
            lane = request.lane if len(self._counted) < _LANES_MEASURED_MAX * 9 else "other"
            counted = self._counted[key] = _outcomes.labels(lane, request.work.name.lower(), outcome)
        counted.inc()
