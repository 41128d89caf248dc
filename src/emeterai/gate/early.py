"""Those who come again sooner than they were told to: they wait here first, and are then looked at like everybody else.

A client that repeats a refused request at once is refused at once, several times a second. Some hundreds of them cost
the very core that those inside need, which makes everything slower, which refuses more: an overload that keeps itself
up when its cause is long gone. Held back for what is left of their time, at most HELD_S_MAX, they ask once in a second
or two and cost a timer and their connection meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from emeterai.infra import metrics

HELD_S_MAX = 2.0
"""Nobody is held for longer, whatever they were told: a client that waits for an answer must not give up for that."""
_HELD_MAX, _KEPT_MAX = 1_000, 20_000
"""So many are held at once, and of so many it is known; beyond that all goes on as if they had not been told."""
_FORGET_EVERY_S = 1.0
_held_back = metrics.counter(
    "emeterai_door_held_back", "Requests that came sooner than they were told to, and had to wait first"
)
Asked = tuple[str, bytes, str]
"""What somebody wants: the lane, who it is, the sort of request."""


class Early:
    """One for each web process. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_s: dict[Asked, float] = {}
        self._forgot_s = -inf
        self.held = 0
        """So many are held now."""

    def told(self, asked: Asked, come_again_s: float) -> None:
        """Somebody was refused, and told to come again in so many seconds."""
        now_s = self._clock()
        if len(self._told_s) >= _KEPT_MAX and now_s - self._forgot_s >= _FORGET_EVERY_S:
            self._told_s = {one: until_s for one, until_s in self._told_s.items() if until_s > now_s}
            self._forgot_s = now_s
        if len(self._told_s) < _KEPT_MAX:
            self._told_s[asked] = now_s + come_again_s

    async def wait(self, asked: Asked, *, until_s: float = inf) -> None:
        """Return when it is time to look at this request: at once, unless its sender was told to come later.

        Whoever would give up meanwhile (`until_s`, its own deadline on the same clock) is not held: nothing is begun
        for those who have gone. Once looked at, it is refused or served on its merits.
        """
        now_s = self._clock()
        rest_s = min(self._told_s.pop(asked, now_s) - now_s, HELD_S_MAX)
        if rest_s <= 0 or until_s <= now_s + rest_s or self.held >= _HELD_MAX:
            return
        self.held += 1
        _held_back.inc()
        try:
            await asyncio.sleep(rest_s)
        finally:
            self.held -= 1
