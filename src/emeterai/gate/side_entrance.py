"""The side entrance, while passes are asked for: who has no pass may still prove who they are, a few a second.

Whoever is signed out with money or a unit under way, or is staff or of another lane, cannot show it before the
password is checked. Signing in opens nothing that needs a pass: strangers are in the line as before. So what is
bounded is the price, a password to check, and nobody gets many tries at the cost of others. Who proves to have
something under way gets the pass to finish it with the answer.

Everybody else who has no pass is sent to a room: that of the lane where they were, when a pass of ours says so, though
it opens nothing any more. Their turn there may be good still, and the line of everybody is not theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from litestar.types import HTTPScope, Message, Send

from emeterai.core.refusal import Refused
from emeterai.gate.addresses import Addresses, address_of, is_of_this_machine, networks_of
from emeterai.gate.carrying import pass_text
from emeterai.gate.lanes import RETAIL
from emeterai.gate.passes import Passes
from emeterai.gate.renewing import is_served
from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.web.credentials import session_in

ENTRIES_PER_S = 3.0
"""So many passwords a second in each web process: some 0.1 s of processor time."""
LOOKS_PER_S = 10.0
"""So often a second it is looked up whether who is signed in has something under way."""
TRIES_AT_ONCE, TRIES_PER_S = 3, 0.2
"""Of one address: a password is mistyped once or twice."""
_BLOCK_TIMES = 4
"""A block of addresses may take so many times as much as one: it costs a program hardly more."""
_TOLD_WITHIN_S = 1.0
Finish = Callable[[str], Awaitable[str]]
"""The `Set-Cookie` of a pass to finish for whoever holds this session token, or nothing."""


async def nobody_finishes(_token: str) -> str:
    """Nobody has anything under way: where nobody is known."""
    return ""


class SmallRate:
    """A few a second for all together, and fewer for each address: so many at once, then `per_s_of_one`. `clock` is
    monotonic.
    """

    def __init__(
        self,
        per_s: float,
        *,
        clock: Callable[[], float],
        at_once: int = TRIES_AT_ONCE,
        per_s_of_one: float = TRIES_PER_S,
    ) -> None:
        self._per_s, self._most = per_s, 2 * per_s
        self._clock = clock
        self._level, self._at_s = self._most, clock()
        self._networks = Addresses(at_once=at_once, per_s=per_s_of_one)

    def take(self, address: str) -> bool:
        """Whether there is one for this address. When none is left it takes nothing of the address's own."""
        now_s = self._clock()
        self._level = min(self._most, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._level < 1 or not self._has_share(address, now_s):
            return False
        self._level -= 1
        return True

    def _has_share(self, address: str, now_s: float) -> bool:
        if is_of_this_machine(address):
            return True
        networks = [(name, min(times, _BLOCK_TIMES)) for name, times in networks_of(address)]
        return not self._networks.take(networks, now_s)


class SideEntrance:
    """One for each web process. `finish` is set once the application knows what is under way; `passes` read those of
    this installation, and without them no pass names a lane.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, passes: Passes | None = None) -> None:
        self.finish: Finish = nobody_finishes
        self.rooms: Collection[str] = ()
        """The lanes that are there and not closed, as last seen."""
        self._passes = passes
        self._entries, self._looks = SmallRate(ENTRIES_PER_S, clock=clock), SmallRate(LOOKS_PER_S, clock=clock)

    def lets_in(self, scope: HTTPScope) -> bool:
        """Whether this one may sign in without a pass."""
        return self._entries.take(address_of(scope))

    def watched(self, send: Send) -> Send:
        """The way of answering one who signs in here: a browser gets its pass to finish with its session."""

        async def send_with_pass(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = list(message["headers"])
                token = _new_session(said) if is_served(message["status"], said) else ""
                if token and (cookie := await self._finished(token)):
                    message["headers"] = [*said, (b"set-cookie", cookie.encode())]
            await send(message)

        return send_with_pass

    async def finishing(self, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> str:
        """The `Set-Cookie` of a pass to finish for a browser that is signed in and has no pass any more, or nothing."""
        token = session_in(headers)
        return await self._finished(token) if token and self._looks.take(address_of(scope)) else ""

    def lane_of(self, lane: str, headers: Mapping[bytes, bytes]) -> str:
        """The lane to whose room a request of `lane` that may not come in is sent: of one that belongs to no other than
        everybody's that of the pass it shows, whatever its age. Nothing is let in by this, or counted there.
        """
        if lane != RETAIL or self._passes is None:
            return lane
        shown = self._passes.read(pass_text(headers))
        return shown.lane if shown is not None and shown.lane in self.rooms else lane

    async def _finished(self, token: str) -> str:
        with contextlib.suppress(Refused, *INTERRUPTIONS):
            async with asyncio.timeout(_TOLD_WITHIN_S):
                return await self.finish(token)
        return ""


def _new_session(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The token of the session that an answer begins."""
    cookies = (session_in({b"cookie": value}) for name, value in headers if name.lower() == b"set-cookie")
    return next(filter(None, cookies), "")
