"""Bodies that come late: small ones, and those of requests that are turned away.

Such a body nearly always comes with its headers, and then costs nothing here. One that is not here whole after a moment
takes one of a bounded number of places until it is; where there is none it is not waited for. Who announces bodies and
sends nothing would otherwise hold the server's connections, which belong to everybody.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from math import inf

from litestar.types import HTTPReceiveMessage, HTTPScope, Receive

from emeterai.core.admission import Slots, Work
from emeterai.gate.bodies import Bodies, Body
from emeterai.gate.lanes import RETAIL
from emeterai.gate.listening import TEMPO, Incoming, Tempo, said, whole_body
from emeterai.gate.request import network_of
from emeterai.gate.turning_away import SENDING_CROWDED

SMALL_BODY_BYTES = 64 * 1024
"""A body up to this size is read before its request takes a slot; only what takes a file may be larger."""
PLACES_MAX = 1_000
"""Of which a fifth is kept for what finishes, as with slots."""
AT_ONCE_S = 0.25
"""So long a body may be on its way without a place: all but those of slow or broken lines."""
_GRACE_S = 10.0
"""A small body is a few packets and soon sent again: nobody is waited for as long as with a file."""


class Late:
    """The way of hearing one body, inside its block."""

    __slots__ = (
        *("_bodies", "_is_member", "_lane", "_listening", "_place", "_receive", "_scope", "_timer", "_whole", "_work"),
        "is_refused",
    )

    def __init__(
        self, bodies: Bodies, scope: HTTPScope, receive: Receive, lane: str, work: Work, *, is_member: bool
    ) -> None:
        self._bodies, self._scope, self._receive = bodies, scope, receive
        self._lane, self._work, self._is_member = lane, work, is_member
        self._timer: asyncio.TimerHandle | None = None
        """Until it is late or heard."""
        self._listening: asyncio.Timeout | None = None
        self._whole: Incoming | None = None
        self._place: Body | None = None
        self.is_refused = False
        """It was late and there was no place for it: nothing more is heard of it."""

    def __enter__(self) -> Late:
        self._timer = asyncio.get_running_loop().call_later(AT_ONCE_S, self._is_late)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._place is not None:
            self._place.end()

    async def receive(self) -> HTTPReceiveMessage:
        """The next piece; that its sender has gone, once it is refused."""
        if self.is_refused:
            return {"type": "http.disconnect"}
        if self._timer is None:
            return await said(self._receive)
        try:
            async with asyncio.timeout(None) as self._listening:
                return await said(self._receive)
        except TimeoutError:
            return {"type": "http.disconnect"}
        finally:
            self._listening = None

    def whole(self, tempo: Tempo) -> Incoming:
        """All of it, at a tempo that it has to keep."""
        self._whole = Incoming(self._receive, tempo)
        return self._whole

    def _is_late(self) -> None:
        self._timer = None
        network = network_of(self._scope, is_member=self._is_member)
        self._place = self._bodies.begin(self._lane, self._work, announced_bytes=SMALL_BODY_BYTES, network=network)
        self.is_refused = self._place is None
        if self.is_refused and self._listening is not None:
            self._listening.reschedule(asyncio.get_running_loop().time())
        if self.is_refused and self._whole is not None:
            self._whole.hang_up()


class LateBodies:
    """Those of one web process. No network takes all of their places, by the rule for files (bodies.py)."""

    def __init__(self, tempo: Tempo = TEMPO) -> None:
        self.bodies = Bodies(Slots(PLACES_MAX, {}))
        self._tempo = replace(tempo, grace_s=min(tempo.grace_s, _GRACE_S))

    def heard(
        self,
        scope: HTTPScope,
        receive: Receive,
        lane: str = RETAIL,
        work: Work = Work.BROWSE,
        *,
        is_member: bool = False,
    ) -> Late:
        """The way of hearing a body. `is_member`: its key belongs to the lane, and has no bound by network."""
        return Late(self.bodies, scope, receive, lane, work, is_member=is_member)

    async def whole(self, late: Late, *, announced_bytes: float = inf) -> Receive:
        """A small body, read to its end. Raises `body_too_large` when it goes on beyond what is small, whatever it
        announced, and `sending_crowded`.
        """
        with late:
            incoming = late.whole(self._tempo)
            found = await whole_body(incoming, size_bytes_max=SMALL_BODY_BYTES, announced_bytes=announced_bytes)
        if late.is_refused:
            raise SENDING_CROWDED()
        return found
