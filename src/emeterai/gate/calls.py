"""Leave and be called, by e-mail or by phone, when one's turn is near.

The steward calls, nearest turn first, a share at a time and on at once while there is more, and tries again when the
post is down. Whoever asked before a draw gets their turn on record once it is made. An address is deleted as soon as
its call was made or given up. `callers.py` has the ways to call.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from emeterai.gate import call_store
from emeterai.gate.call_store import Due
from emeterai.gate.callers import LETTERS_AT_ONCE, Caller, CallError
from emeterai.gate.lanes import DEFAULTS
from emeterai.gate.now import EMAIL, NowFiles, NowServing
from emeterai.infra import metrics
from emeterai.infra.database import Database
from emeterai.infra.shares import while_there_is_more

CALL_EVERY_S = 5.0
CALLS_MAX = 200_000
"""So many may wait to be called in one lane; then it is not offered any more."""
AHEAD_S = 300.0
"""People are called about five minutes before their turn."""
AT_ONCE = 100
LETTERS_SHARE = LETTERS_AT_ONCE
"""Of letters no more are taken than can be sent at once: each is under way from the moment in which it was taken."""
ROUNDS_MAX, GOES_ON_S = 60, 10.0
"""So many times a lane goes on while a whole share was due, and not for longer: the other lanes have theirs, too."""
TURNS_AT_ONCE = 1_000
"""So many turns of a draw are worked out before anything else gets the processor: about a twentieth of a second."""
KEPT_AFTER_CLOSING = timedelta(days=1)
"""A lane that was closed, or taken back, by mistake has its calls again."""
LATE_S = 60.0
"""A call that goes out so long after it was due came late."""
TRIES_MAX = 5
AGAIN_S = 60.0
"""Give or take a quarter: those whom a gateway failed together do not come back together."""
_LETTER_LOST_S, _HOOK_LOST_S = 180.0, AGAIN_S
"""Of whoever takes a call nothing is heard for so long, give or take a quarter: then it is another steward's to make. A
letter to a slow mail server takes a minute or two, and must not come twice.
"""
_FAR_S = 3_600.0
_AHEAD_S = (0.0, 15.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 420.0, 600.0)
_log = structlog.get_logger(__name__)
_calls = metrics.counter("emeterai_gate_calls", "People called to their turn", ["outcome"])
_late = metrics.counter("emeterai_gate_calls_late", "Calls that went out over a minute after they were due")
_ahead_s = metrics.histogram(
    "emeterai_gate_call_ahead_seconds", "How long before the turn a call went out", buckets=_AHEAD_S
)
_waiting = metrics.gauge_latest("emeterai_gate_calls_waiting", "People who wait to be called, in the fullest lane")
for _outcome in ("made", "failed", "late"):
    _calls.labels(_outcome)


@dataclass(slots=True)
class _Made:
    """How many were called in one sweep."""

    count: int = 0


class Calls:
    """What the steward does for those who left to be called."""

    def __init__(self, db: Database, files: NowFiles, callers: Sequence[Caller]) -> None:
        self._db = db
        self._files = files
        self._by_email = next((one for one in callers if EMAIL in one.channels), None)
        self._by_phone = next((one for one in callers if EMAIL not in one.channels), None)
        self._channels = tuple(channel for one in callers for channel in one.channels)
        self._full: Mapping[str, bool] = {}

    def offered(self, lane: str) -> tuple[str, ...]:
        """What people of a lane may ask to be called by; nothing where nobody calls, or too many wait for it."""
        return () if self._full.get(lane, False) else self._channels

    async def call_due(self) -> int:
        """Call those whose turn is near and forget those whose turn is over, also where nobody calls any more; answers
        how many were called. Raises what the database raises.
        """
        calls, most, full = _Made(), 0, {}
        await call_store.drop_calls_of_no_lane(self._db, sorted(DEFAULTS), kept_for=KEPT_AFTER_CLOSING)
        for lane in self._files.lanes():
            now = self._files.read(lane)
            waiting = await call_store.count_calls(self._db, lane, up_to=CALLS_MAX)
            full[lane] = waiting >= CALLS_MAX
            most = max(most, waiting)
            late = await call_store.drop_late_calls(self._db, lane, now.grace_from, tries_max=TRIES_MAX)
            _calls.labels("late").inc(late)
            if not now.awaits_draw:
                await _share_by_share(functools.partial(self._give_turns, lane), TURNS_AT_ONCE)
            if now.state == "open":
                for way in (self._by_email, self._by_phone):
                    if way is not None:
                        share = LETTERS_SHARE if way is self._by_email else AT_ONCE
                        await _share_by_share(functools.partial(self._call, lane, way, calls), share)
        self._full = full
        _waiting.set(most)
        return calls.count

    async def _give_turns(self, lane: str, limit: int) -> int:
        """Put the turns on record of a share of those who asked before the draw; answers how many that were."""
        now = self._files.read(lane)
        numbers = await call_store.calls_without_turn(self._db, lane, limit=limit)
        turns = [(number, turn) for number in numbers if (turn := now.turn_of(number)) is not None]
        await call_store.give_turns(self._db, lane, turns)
        return len(numbers)

    async def _call(self, lane: str, way: Caller, calls: _Made, limit: int) -> int:
        """Call a share of those who are due, by one way; answers how many that were."""
        now = self._files.read(lane)
        near = now.now_serving + int(now.turns_per_s.high * AHEAD_S)
        by_phone = way is self._by_phone
        lost_s = _HOOK_LOST_S if by_phone else _LETTER_LOST_S
        due = await call_store.due_calls(
            self._db, lane, near, limit=limit, tries_max=TRIES_MAX, again_s=lost_s, by_phone=by_phone
        )
        # What breaks on one letter must not keep all the others from being written.
        outcomes = await asyncio.gather(*(_one(way, now, one) for one in due), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                _calls.labels("failed").inc()
                _log.error("call_broken", lane=now.lane, error=type(outcome).__name__)
        made = [one for one, done in zip(due, outcomes, strict=True) if done is True]
        failed = [one for one, done in zip(due, outcomes, strict=True) if done is not True]
        await call_store.end_calls(self._db, now.lane, made)
        await call_store.put_off_calls(self._db, now.lane, failed, tries_max=TRIES_MAX, again_s=AGAIN_S)
        calls.count += len(made)
        _measure(self._files.read(lane), made)
        return len(due)


async def _share_by_share(work: Callable[[int], Awaitable[int]], share_max: int) -> None:
    await while_there_is_more(work, share_max=share_max, rounds_max=ROUNDS_MAX, goes_on_s=GOES_ON_S)


async def _one(way: Caller, now: NowServing, due: Due) -> bool:
    """Whether somebody was reached."""
    reached = True
    try:
        await way.call(now, due.number, due.turn, due.to)
    except CallError as error:
        reached = False
        _log.warning("call_failed", lane=now.lane, number=due.number, how=type(way).__name__, error=str(error))
    _calls.labels("made" if reached else "failed").inc()
    return reached


def _measure(now: NowServing, made: Sequence[Due]) -> None:
    """How long before their turns these calls have gone out, and which of them were due long before."""
    for due in made:
        left_s = _ahead_of(now, due.turn)
        _ahead_s.observe(left_s)
        if min(AHEAD_S - left_s, due.asked_ago_s) > LATE_S:
            _late.inc()


def _ahead_of(now: NowServing, turn: int) -> float:
    """How long it is until a turn, as the line moves now: 0 once it has come, an hour at most."""
    ahead, per_s = max(0, turn - now.now_serving), now.turns_per_s.mid
    return min(_FAR_S, ahead / per_s if per_s > 0 else _FAR_S) if ahead else 0.0
