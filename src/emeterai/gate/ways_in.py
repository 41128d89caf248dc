"""Who asks, and by which way they come in: told from what a request shows and from who was let in before."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial

from litestar.types import HTTPScope

from emeterai.core.admission import Work
from emeterai.gate.carrying import PASS_COOKIE, PASS_HEADER
from emeterai.gate.door import PAYMENTS, Door
from emeterai.gate.lanes import RETAIL, STAFF
from emeterai.gate.office import Office, office_session
from emeterai.gate.remembered import Remembered
from emeterai.gate.renewing import Lengthen
from emeterai.gate.request import PassOf, Request, watched
from emeterai.gate.side_entrance import SideEntrance
from emeterai.gate.sorting import Needs, seconds_of, session_of
from emeterai.gate.welcoming import Welcome
from emeterai.web.credentials import bearer_in

_API_KEY = "emk_"
_COOKIE = PASS_COOKIE.encode()
_KNOWN_S, _KNOWN_MAX = 3_600.0, 100_000
"""So long, and so many in each process, it is remembered who was answered as themselves."""
LaneOfKey = Callable[[bytes], str | None]
"""The lane of an API key by the SHA-256 of its token."""


class Way(Enum):
    """How a request comes in."""

    FREE = "free"
    """It needs no pass."""
    INSIDE = "inside"
    """Its sender is inside, by a pass or since none was asked for."""
    WALKS_IN = "walks_in"
    """None is asked for, and there is room for one newcomer more."""
    TO_LOT = "to_lot"
    """Its sender signs in to have a lot in a draw that is soon: so nobody comes in, whatever session they show."""
    SIDE = "side"
    """The same by the side entrance."""
    ROOM = "room"
    """Not at all: its sender is sent to the waiting room."""


class WaysIn:
    """One for each door. `known` are those who were answered as themselves."""

    def __init__(
        self,
        door: Door,
        *,
        pass_of: PassOf,
        lane_of_key: LaneOfKey,
        lengthen: Lengthen,
        welcome: Welcome | None = None,
        side: SideEntrance | None = None,
        known: Remembered | None = None,
    ) -> None:
        self._door = door
        self._pass_of, self._lane_of_key, self._lengthen = pass_of, lane_of_key, lengthen
        self.side, self.office, self._welcome = side or SideEntrance(), Office(), welcome or Welcome()
        self._known = known or Remembered(lasts_s=_KNOWN_S, most=_KNOWN_MAX)

    def recognise(self, request: Request, headers: Mapping[bytes, bytes]) -> None:
        """Find the lane, the class and the deadline of a request, and who asks."""
        sort = request.sort
        bearer, cookie = bearer_in(headers) or "", headers.get(b"cookie", b"")
        shows_pass = _COOKIE in cookie or PASS_HEADER in headers
        held = self._pass_of(headers) if shows_pass else None
        if shows_pass:
            request.send = self._welcome.taken_away(headers, request.send)
        if (timeout_s := seconds_of(headers.get(b"x-request-timeout"))) is not None:
            request.until_s = time.monotonic() + timeout_s
        if sort.is_machine:
            request.lane, request.part = STAFF, PAYMENTS
        elif sort.needs is Needs.OFFICE:
            self._recognise_staff(request, headers)
        elif held is not None:
            request.lane, request.who, request.is_inside, request.is_person = held.lane, held.subject, True, True
            request.send = self._lengthen(held, request.sort, headers, request.send)
            if held.finish and request.work is not Work.FINISH:
                request.work = Work(request.work - 1)
        elif bearer.startswith(_API_KEY):
            digest = hashlib.sha256(bearer.encode("latin-1")).digest()
            lane, request.who = self._lane_of_key(digest), digest
            request.lane, request.is_member = lane or RETAIL, lane is not None
        else:
            request.who, request.is_person = session_of(headers), not bearer

    def way_of(self, request: Request, scope: HTTPScope) -> Way:
        """By which way a request comes in. What that costs is taken: the place of a newcomer, or a try at the side."""
        sort, door = request.sort, self._door
        if request.is_inside or (request.who and door.knows(request.lane, request.who)):
            return Way.INSIDE
        if not sort.stays:
            return Way.FREE
        if sort.needs is Needs.ENTRY and door.lots_are_given:
            return Way.TO_LOT
        request.walked_in = door.walks_in(request.lane)
        if request.walked_in:
            return Way.WALKS_IN
        return Way.SIDE if self._may_sign_in(request, scope) else Way.ROOM

    def take(self, request: Request, way: Way, headers: Mapping[bytes, bytes]) -> None:
        """What follows from the way: who is seen inside, how urgent it is, and what is done with its answer."""
        holds_pass = request.is_inside
        if way is Way.INSIDE:
            request.is_inside = True
            self._door.seen(request.lane, request.who)
        elif self._is_of_stranger(request):
            request.give_way()
            request.send = self._known.watched(request.who, request.send)
        if way in {Way.TO_LOT, Way.SIDE}:
            request.who = b""
            if way is Way.SIDE or request.lane in self._door.passes_needed:
                request.send = self.side.watched(request.send)
        if way is not Way.ROOM and not holds_pass:
            request.send = watched(request, partial(self._welcome.add, request.lane, request.sort, headers))

    def _recognise_staff(self, request: Request, headers: Mapping[bytes, bytes]) -> None:
        """Whoever is known to be of staff goes in by their lane; everybody else by the places of strangers."""
        session = office_session(headers)
        if self.office.knows(session):
            request.lane = STAFF
        else:
            request.budget, request.work = self._door.strangers, Work.BROWSE
        request.send = self.office.watched(session, request.send)

    def _may_sign_in(self, request: Request, scope: HTTPScope) -> bool:
        """Whether one without a pass may say who they are."""
        sort = request.sort
        return sort.signs_in and self._door.step_in(request.lane) < sort.rests_from and self.side.lets_in(scope)

    def _is_of_stranger(self, request: Request) -> bool:
        """Whether it would be of the most urgent class, and nobody knows who asks: neither staff nor a machine does."""
        sort = request.sort
        if sort.work is not Work.FINISH or sort.is_machine or sort.needs is Needs.OFFICE:
            return False
        return not (request.is_member or self._known.knows(request.who))
