"""The link that large bodies come in by: so many bytes a second, shared between the lanes, where its speed is known.

A piece has used the link when it is here, so what can be shared is how soon the next is read: a piece waits for its
turn, and nothing more of its body is read until then. TCP holds back who sends it meanwhile, and what he leaves others
may send. Turns are fair by bytes (infra/fair_turns.py): a lane whose pieces wait gets its share of the link, what the
others leave goes to whoever has more, and who comes back waits for one piece at most. Inside a lane the first is first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from math import inf

from litestar.types import HTTPReceiveMessage

from emeterai.infra import metrics
from emeterai.infra.fair_turns import FairTurns

SLACK_S = 0.05
"""What the link could have carried while nobody looked may go by at once, up to so much: a process that is late for a
turn, or busy with a piece, costs the link nothing."""
_bytes = metrics.counter("emeterai_door_link_bytes", "Bytes of large bodies, where the link's speed is known", ["lane"])
_held_s = metrics.counter("emeterai_door_link_held_seconds", "How long pieces waited for their turn", ["lane"])

Pieces = Callable[[], Awaitable[HTTPReceiveMessage]]
"""A way to hear a body, piece by piece."""


class Link:
    """One web process's part of it. `inf` bytes a second: its speed is not known, and nobody waits. `clock` is
    monotonic.
    """

    def __init__(self, bytes_per_s: float, *, clock: Callable[[], float]) -> None:
        self.bytes_per_s = bytes_per_s
        self._clock = clock
        self._turns = FairTurns()
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}
        """The pieces that wait, by lane. One that was given up meanwhile is passed over when its turn comes."""
        self._free_s = -inf
        """When what has had its turn is through."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """So many pieces wait for their turn."""
        return sum(not turn.done() for queue in self._waiting.values() for _, turn in queue)

    def share(self, shares: Mapping[str, float]) -> None:
        """The lanes' shares, from now on."""
        self._turns.share(shares)

    def paced(self, next_piece: Pieces, lane: str) -> Pieces:
        """The pieces of a body, each of which has waited for its turn. It belongs around what minds how fast a sender
        is: this is our time and not his.
        """
        if self.bytes_per_s == inf:
            return next_piece

        async def piece_in_turn() -> HTTPReceiveMessage:
            message = await next_piece()
            if message["type"] == "http.request" and message["body"]:
                await self.turn(lane, len(message["body"]))
            return message

        return piece_in_turn

    async def turn(self, lane: str, size_bytes: int) -> None:
        """Return when it is the turn of a piece. Whoever is cancelled meanwhile uses up nothing."""
        asked_s = self._clock()
        if not self._waiting and self._free_s <= asked_s:
            self._take(lane, size_bytes, asked_s)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(lane, deque()).append((size_bytes, turn))
        self._wake_later(asked_s)
        await turn
        _held_s.labels(lane).inc(self._clock() - asked_s)

    def _take(self, lane: str, size_bytes: int, now_s: float) -> None:
        self._turns.took_one(lane, size_bytes)
        self._free_s = max(self._free_s, now_s - SLACK_S) + size_bytes / self.bytes_per_s
        _bytes.labels(lane).inc(size_bytes)

    def _wake(self) -> None:
        """Let on those whose turn it is."""
        self._timer, now_s = None, self._clock()
        while self._waiting and self._free_s <= now_s:
            lane = self._turns.first(self._waiting)
            size_bytes, turn = self._waiting[lane].popleft()
            if not self._waiting[lane]:
                del self._waiting[lane]
            if not turn.done():
                self._take(lane, size_bytes, now_s)
                turn.set_result(None)
        self._wake_later(now_s)

    def _wake_later(self, now_s: float) -> None:
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, self._free_s - now_s), self._wake)
