"""Who was answered as themselves, told without asking anybody: the door sees the answers that others give.

It checks no session and no key. But whoever was served with what only its owner gets has shown a real one, and is
remembered by it for a while.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from litestar.types import Message, Send

from emeterai.gate.renewing import is_served


class Remembered:
    """One for each web process: of `most` the one that was served longest ago is forgotten. `clock` is monotonic."""

    def __init__(self, *, lasts_s: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts_s, self._most, self._clock = lasts_s, most, clock
        self._at_s: OrderedDict[bytes, float] = OrderedDict()

    def knows(self, who: bytes) -> bool:
        """Whether this one was served in that time."""
        at_s = self._at_s.get(who)
        return at_s is not None and self._clock() - at_s < self._lasts_s

    def watched(self, who: bytes, send: Send) -> Send:
        """The way of answering one, which sees whether they are served, or sent to sign in and known no more."""

        async def send_seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                # A redirect proves nothing: it may lead to where one has to go first.
                if 200 <= status < 300:
                    self._remember(who)
                elif 300 <= status < 400 and not is_served(status, message["headers"]):
                    self._at_s.pop(who, None)
            await send(message)

        return send_seen

    def _remember(self, who: bytes) -> None:
        if who:
            self._at_s[who] = self._clock()
            self._at_s.move_to_end(who)
            if len(self._at_s) > self._most:
                self._at_s.popitem(last=False)
