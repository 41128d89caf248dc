"""Who asks for the pages of staff: known to be staff, or not yet, told without asking anybody.

The door knows no roles. But it sees the answers: whoever was shown a page of staff in this process is staff, and goes
in by their lane for some hours. All others are let in two at a time, and seldom from one address, so that who has just
signed in gets through, and nobody takes the places of staff. What one may do is decided inside, as ever.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping

from litestar.types import HTTPScope, Send

from emeterai.gate.addresses import address_of
from emeterai.gate.remembered import Remembered
from emeterai.gate.side_entrance import SmallRate
from emeterai.web.credentials import session_in

KNOWN_S = 8 * 3_600.0
KNOWN_MAX = 4_096
ASKS_PER_S = 100.0
"""Of all who are not known, in each web process."""
ASKS_AT_ONCE, ASKS_PER_S_OF_ONE = 10, 1.0
"""Of one address."""


class Office:
    """One for each web process. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._known = Remembered(lasts_s=KNOWN_S, most=KNOWN_MAX, clock=clock)
        """By the digests of their sessions."""
        self._asks = SmallRate(ASKS_PER_S, clock=clock, at_once=ASKS_AT_ONCE, per_s_of_one=ASKS_PER_S_OF_ONE)

    def knows(self, session: bytes) -> bool:
        """Whether this session was shown a page of staff in the last hours."""
        return self._known.knows(session)

    def may_ask(self, scope: HTTPScope) -> bool:
        """Whether one who is not known may ask now."""
        return self._asks.take(address_of(scope))

    def watched(self, session: bytes, send: Send) -> Send:
        """The way of answering a session, which sees whether it is of staff, or over."""
        return self._known.watched(session, send)


def office_session(headers: Mapping[bytes, bytes]) -> bytes:
    """The digest of the session that a browser shows, by which it is remembered; nothing without one. The pages of
    staff know no other way to sign in.
    """
    token = session_in(headers)
    return hashlib.sha256(token.encode("latin-1")).digest() if token else b""
