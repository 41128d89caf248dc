"""What is free: the gate, the status, static files, probes. It holds no slot, and brings no more than a small body.

What is the same for all costs next to nothing and has no bound. What asks the database has: whoever sends something to
the waiting room takes one of a few places, in which each lane has its share; those whose turn has not come and who want
to come in have others, and fewer. Who asks for a pass again at once, and was refused, is told so again. What is made
for one person without asking anybody, as the page without a script is, has places that are held for a moment longer
than it takes: so many are made in a second, and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from math import inf

from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Receive, Send

from emeterai.core.admission import Patience, Work
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate.addresses import address_of, is_of_this_machine
from emeterai.gate.budget import Budget
from emeterai.gate.door import Door
from emeterai.gate.kept_probes import KEPT_S, KeptProbe
from emeterai.gate.kept_refusals import KeptRefusals, question_of
from emeterai.gate.lanes import RETAIL
from emeterai.gate.late_bodies import SMALL_BODY_BYTES, LateBodies
from emeterai.gate.listening import Gone, said
from emeterai.gate.request import body_bytes_of, form_of
from emeterai.gate.room_crowd import Numbers, RoomCrowd
from emeterai.gate.sorting import SESSION
from emeterai.gate.turning_away import CROWDED, SENDING_CROWDED, Answers
from emeterai.infra.http import BODY_TOO_LARGE
from emeterai.infra.lane import deadline, work_for

PLACES_MAX = 28
LOOKS_MAX = 4
"""So many at once have it looked up whether they may come in though it is not their turn."""
PAGES_MAX, PAGE_HELD_S = 12, 0.02
"""Pages for people without a script, and how long the place of each is held once it is made. Making one takes one go,
so this time is what bounds them: 600 a second in each web process."""
PROOFS_MAX, PROOF_HELD_S = 4, 0.04
"""The same of all else that is made for one who looks: proofs of being in line, turns in a draw. 100 a second."""
ROOM_CROWDED = RefusalKind(
    "room_crowded",
    503,
    "Ruang tunggu sedang ramai; tempat Anda di antrean tetap. Coba lagi dalam {retry_after_s} detik.",
    "The waiting room is crowded; you keep your place in line. Try again in {retry_after_s} seconds.",
)
_PATIENCE: Mapping[Work, Patience] = {
    Work.FINISH: Patience(3.0, 1.5, 0.5, newest_first=False, length_max=512),
    Work.BUY: Patience(2.0, 1.0, 0.5, newest_first=False, length_max=256, reserved=0.25),
    Work.BROWSE: Patience(1.0, 0.5, 0.25, newest_first=False, length_max=64),
}
"""Of those who are called, of those who take a number, leave or want to be called, and of everybody else."""
_NUMBERS = ("/tickets", "/leave", "/calls")
_TURN = "/giliran"
"""The page of one person, and where its forms are sent to."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class FreeRoad:
    """Stands before `app`, beside all that is counted."""

    def __init__(self, app: ASGIApp, door: Door, numbers: Numbers | None, answers: Answers, late: LateBodies) -> None:
        self._app, self._door = app, door
        self._numbers = numbers or Numbers()
        self._room = RoomCrowd(app, door, self._numbers)
        self._answers, self._late = answers, late
        self._places = Budget(PLACES_MAX, clock=time.monotonic, patience=_PATIENCE)
        self._looks = Budget(LOOKS_MAX, clock=time.monotonic, patience=_PATIENCE)
        self._pages = Budget(PAGES_MAX, clock=time.monotonic, patience=_PATIENCE)
        self._proofs = Budget(PROOFS_MAX, clock=time.monotonic, patience=_PATIENCE)
        door.shared += [budget.slots for budget in (self._places, self._pages, self._proofs)]
        self._kept = KeptRefusals(clock=time.monotonic)
        self._probes = {path: KeptProbe(app, kept_s) for path, kept_s in KEPT_S.items()}

    async def answer(self, scope: HTTPScope, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if size_bytes := body_bytes_of(scope, headers):
            try:
                if SMALL_BODY_BYTES < size_bytes < inf:
                    raise BODY_TOO_LARGE()
                receive = await self._late.whole(self._late.heard(scope, receive), announced_bytes=size_bytes)
            except Refused as refused:
                await self._refuse_body(refused, scope, headers, receive, send)
                return
        if await self._room.answered(scope, headers, receive, send):
            return
        is_in_room = scope["path"].startswith("/gate/")
        if is_in_room and scope["method"] not in _READS:
            await self._in_turn(scope, headers, receive, send, has_body=size_bytes > 0)
        elif is_in_room and not self._is_for_all(scope["path"]):
            await self._made_for_one(scope, headers, receive, send)
        elif (probe := self._probe_of(scope)) is not None:
            await probe.answer(scope, send)
        else:
            await self._app(scope, receive, send)

    async def _in_turn(
        self, scope: HTTPScope, headers: Mapping[bytes, bytes], receive: Receive, send: Send, *, has_body: bool
    ) -> None:
        """What asks the database: in one of the places, and for those who are called or inside before all others."""
        body = b""
        if has_body:
            message = await said(receive)
            body = message["body"] if message["type"] == "http.request" else b""
            receive = _again(message, receive)
        lane, work = self._lane_of(scope), self._work_of(scope, headers, body)
        # Of nobody whose turn has not come it is known that something is paid: who pays has the connections first.
        work_for(lane, Work.FINISH if work is Work.FINISH else Work.BUY)
        if self._asks_nobody(scope, headers, body, lane):
            if not await self._numbers.refuse(scope, headers, body, send, lane):
                await self._app(scope, receive, send)
            return
        if scope["path"].endswith("/passes"):
            question = question_of(scope, body, work)
            if await self._kept.answered(question, send):
                return
            send = self._kept.watched(question, send)
        gone, places = Gone(receive), self._looks if work is Work.BROWSE else self._places
        deadline().gone = gone.left
        if await places.enter(lane, work, gone=gone.left):
            try:
                await self._app(scope, gone.receive, send)
            finally:
                places.leave(lane)
        elif not gone.has_left:
            await self._refuse(send, CROWDED, work, form_of(scope, headers))

    async def _made_for_one(
        self, scope: HTTPScope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """What costs the core for each who looks, and asks nobody: so many a second, and those who are called first."""
        is_page = scope["path"].rstrip("/").endswith(_TURN)
        places, held_s = (self._pages, PAGE_HELD_S) if is_page else (self._proofs, PROOF_HELD_S)
        lane, gone, work = self._lane_of(scope), Gone(receive), Work.BROWSE
        if places.slots.used >= places.slots.limit and self._numbers.is_called(scope, headers, b""):
            work = Work.FINISH  # found out only where somebody has to wait: it may cost half a page
        if await places.enter(lane, work, gone=gone.left):
            try:
                await self._app(scope, gone.receive, send)
            finally:
                asyncio.get_running_loop().call_later(held_s, places.leave, lane)
        elif not gone.has_left:
            # Always as a page, which asks again by itself: whoever looks here has no script that would.
            await self._refuse(send, ROOM_CROWDED, work, "page")

    def _is_for_all(self, path: str) -> bool:
        """Whether it is the page or the file of a lane that there is. Whoever invents lanes is told so one by one."""
        return path.removeprefix("/gate/").removesuffix(".json") in self._door.lane_steps

    def _work_of(self, scope: HTTPScope, headers: Mapping[bytes, bytes], body: bytes) -> Work:
        if self._numbers.is_called(scope, headers, body):
            return Work.FINISH
        path = scope["path"].rstrip("/")
        is_look = not path.endswith(_NUMBERS) and not (path.endswith(_TURN) and b"do=masuk" not in body)
        return Work.BROWSE if is_look else Work.BUY

    def _lane_of(self, scope: HTTPScope) -> str:
        """The lane of whose room it is; that of everybody where there is none of this name."""
        name = scope["path"].split("/", 3)[2]
        return name if name in self._door.lane_steps else RETAIL

    def _asks_nobody(self, scope: HTTPScope, headers: Mapping[bytes, bytes], body: bytes, lane: str) -> bool:
        """Whether this takes a number for nobody in particular, which comes from what this machine was lent of them: so
        no database is needed, nor a place. Before the opening it is a lot; a code may be anybody's, a lane be invented.
        """
        is_known = b"authorization" in headers or SESSION in headers.get(b"cookie", b"") or b'"code"' in body
        is_number = scope["method"] == "POST" and scope["path"] == f"/gate/{lane}/tickets"
        return is_number and not is_known and lane not in self._door.before_opening

    def _probe_of(self, scope: HTTPScope) -> KeptProbe | None:
        """Of which probe this has an answer that others have too. Whoever is on this machine runs the service."""
        if scope["method"] != "GET" or is_of_this_machine(address_of(scope)):
            return None
        return self._probes.get(scope["path"])

    async def _refuse_body(
        self, refused: Refused, scope: HTTPScope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        form = form_of(scope, headers)
        if refused.kind is SENDING_CROWDED:
            await self._refuse(send, SENDING_CROWDED, Work.BROWSE, form)
            return
        with self._late.heard(scope, receive) as late:
            await self._answers.too_large(scope, self._door.link.paced(late.receive, RETAIL), send, form=form)

    async def _refuse(self, send: Send, kind: RefusalKind, work: Work, form: str) -> None:
        await self._answers.refuse(send, kind, retry_after_s=self._door.retry_after_s(work), form=form)


def _again(message: HTTPReceiveMessage, receive: Receive) -> Receive:
    """The way of hearing a body that was looked at: it says once more what it said."""
    is_heard = False

    async def receive_again() -> HTTPReceiveMessage:
        nonlocal is_heard
        if is_heard:
            return await said(receive)
        is_heard = True
        return message

    return receive_again
