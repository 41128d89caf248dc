"""Who asks for the pages of staff: known to be staff, or not yet, told without asking anybody.

The door knows no roles. But it sees the answers: whoever was shown a page of staff in this process is staff, and goes
in by their lane for some hours. All others are let in two at a time, and seldom from one address, so that who has just
signed in gets through, and nobody takes the places of staff. What one may do is decided inside, as ever.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from litestar.types import HTTPScope, Message, Send

from emeterai.gate.addresses import address_of
from emeterai.gate.renewing import is_served
from emeterai.gate.side_entrance import SmallRate
from emeterai.gate.sorting import SESSION

KNOWN_S = 8 * 3_600.0
KNOWN_MAX = 4_096
ASKS_PER_S = 100.0
"""Of all who are not known, in each web process."""
ASKS_AT_ONCE, ASKS_PER_S_OF_ONE = 10, 1.0
"""Of one address."""


class Office:
    """One for each web process. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, float] = OrderedDict()
        """Digests of sessions, the one that was served longest ago first."""
        self._asks = SmallRate(ASKS_PER_S, clock=clock, at_once=ASKS_AT_ONCE, per_s_of_one=ASKS_PER_S_OF_ONE)

    def knows(self, session: bytes) -> bool:
        """Whether this session was shown a page of staff in the last hours."""
        at_s = self._known.get(session)
        return at_s is not None and self._clock() - at_s < KNOWN_S

    def may_ask(self, scope: HTTPScope) -> bool:
        """Whether one who is not known may ask now."""
        return self._asks.take(address_of(scope))

    def watched(self, session: bytes, send: Send) -> Send:
        """The way of answering a session, which sees whether it is of staff, or over."""

        async def send_seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                # A redirect proves nothing: it may lead to where one has to go first.
                if 200 <= status < 300:
                    self._remember(session)
                elif 300 <= status < 400 and not is_served(status, message["headers"]):
                    self._known.pop(session, None)
            await send(message)

        return send_seen

    def _remember(self, session: bytes) -> None:
        if session:
            self._known[session] = self._clock()
            self._known.move_to_end(session)
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)


def office_session(headers: Mapping[bytes, bytes]) -> bytes:
    """The digest of the session that a browser shows, by which it is remembered; nothing without one. The pages of
    staff know no other way to sign in.
    """
    token = headers.get(b"cookie", b"").partition(SESSION)[2].partition(b";")[0].strip()
    return hashlib.sha256(token).digest() if token else b""
