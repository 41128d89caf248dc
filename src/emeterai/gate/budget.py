"""One scarce thing of a web process, shared between lanes: whoever asks gets a slot, waits briefly, or is refused."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

from emeterai.core.admission import Patience, Slots, Waiting, Work

Clock = Callable[[], float]
_Turn = asyncio.Future[bool | None]
"""Whether one has a slot; None: it is not known yet, and from now on somebody listens whether it hangs up."""
_TURN_S = 0.02
_LISTEN_AFTER_S = 0.2
"""Whoever has waited for less is not listened for: hardly anybody gives up so soon, most get their turn or are refused
before, and to listen costs as much as a refusal."""


class Budget:
    """One scarce thing. `enter` waits for a slot for a bounded time; `leave` hands it to the next."""

    def __init__(self, limit: int, *, clock: Clock, patience: Mapping[Work, Patience] | None = None) -> None:
        self.slots = Slots(limit, {}) if patience is None else Slots(limit, {}, patience=patience)
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._unheard: deque[Waiting] = deque()
        """Those who wait, in order, whom nobody listens for yet."""

    async def enter(
        self, lane: str, work: Work, *, until_s: float = inf, gone: Callable[[], Awaitable[None]] | None = None
    ) -> bool:
        """Whether there is a slot for it now, or soon enough. When `gone` returns, whoever waits has left."""
        answer = self.slots.ask(lane, work, now_s=self._clock(), until_s=until_s)
        if isinstance(answer, bool):
            return answer
        turn = _turn_of(answer)
        self._wake_later()
        if gone is not None:
            self._unheard.append(answer)
        try:
            found = await turn
            if gone is not None and found is None:
                found = await self._turn_or_gone(answer, gone)
        except asyncio.CancelledError:
            self._forget(answer)
            raise
        return bool(found)

    def enter_now(self, lane: str, work: Work) -> bool:
        """Whether there is a slot for it at once, above the limit where its lane has less than it is guaranteed."""
        return self.slots.ask_now(lane, work)

    def leave(self, lane: str) -> None:
        """A slot is free: the next one gets it at once."""
        self.slots.end(lane)
        if self.slots.waiting:
            self._admit()

    def turn(self) -> None:
        """Refuse those who have waited for too long, and let in whom there is room for."""
        for waiting in self.slots.expire(self._clock()):
            self._answer(waiting, answer=False)
        self._admit()

    async def _turn_or_gone(self, waiting: Waiting, gone: Callable[[], Awaitable[None]]) -> bool:
        """Its turn, while somebody listens: False as well when it has left."""
        turn: _Turn = waiting.tag
        left = asyncio.ensure_future(gone())
        watched: set[asyncio.Future[Any]] = {turn, left}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
        if not turn.done() and (left.cancelled() or left.exception() is not None):
            await asyncio.wait({turn})  # the listening has failed, which is no sign that anybody left
        if turn.done():
            return bool(turn.result())
        self.slots.leave(waiting)
        return False

    def _forget(self, waiting: Waiting) -> None:
        """The one who waited was cancelled: what it got at the last moment goes back."""
        self.slots.leave(waiting)
        turn: _Turn = waiting.tag
        if turn.done() and not turn.cancelled() and turn.result():
            self.leave(waiting.lane)

    def _admit(self) -> None:
        all_took = False
        while not all_took:  # what somebody did not take any more is for the next one
            all_took = True
            for waiting in self.slots.admit(self._clock()):
                all_took = self._answer(waiting, answer=True) and all_took

    def _answer(self, waiting: Waiting, *, answer: bool) -> bool:
        """Tell one whether it has a slot. Answers False when it was cancelled and does not know so yet: a slot goes
        back.
        """
        turn: _Turn = waiting.tag
        if not turn.done():
            turn.set_result(answer)
        elif answer:
            self.slots.end(waiting.lane)
            return False
        return True

    def _listen(self) -> None:
        """Whoever has waited for long enough is listened for from now on, and has another turn to wait for."""
        heard_s = self._clock() - _LISTEN_AFTER_S
        while self._unheard and (self._unheard[0].over or self._unheard[0].since_s <= heard_s):
            waiting = self._unheard.popleft()
            turn: _Turn = waiting.tag
            if not (waiting.over or turn.done()):
                _turn_of(waiting)
                turn.set_result(None)

    def _wake_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TURN_S, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.turn()
        self._listen()
        if self.slots.waiting:
            self._wake_later()


def _turn_of(waiting: Waiting) -> _Turn:
    """What one waits for from now on."""
    turn: _Turn = asyncio.get_running_loop().create_future()
    waiting.tag = turn
    return turn
