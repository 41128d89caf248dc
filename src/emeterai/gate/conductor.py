"""The conductor: moves the line of every lane once a second and says where it stands.

Of all stewards one at a time moves a line (a lease in its row); every steward writes the files of its own machine,
which its web server hands out. So a steward that is killed costs three seconds of standing still, and never a turn that
goes back: the row refuses that.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
import structlog

from emeterai.core.draw import SEED_BYTES, commitment_of
from emeterai.core.turns import (
    COME_SHARE_SURE,
    LEAD_S,
    RISE_TOLD,
    Mark,
    advanced,
    come_share_of,
    marked,
    rate_of,
    served_at,
)
from emeterai.gate import room_store
from emeterai.gate.door import WALK_IN_PER_S
from emeterai.gate.draw_seeds import DrawSeeds
from emeterai.gate.lanes import Lane
from emeterai.gate.now import (
    ESTIMATE_TOLERANCE_S,
    DrawState,
    EstimateError,
    NowFiles,
    NowServing,
    Promise,
    Reason,
    Sentence,
    State,
    Turns,
)
from emeterai.gate.room_store import Counts, RoomRow
from emeterai.infra import metrics
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

MOVE_EVERY_S = 1.0
GRACE_S = 1_800
"""Whoever was called may come for half an hour."""
WRITER_S = 3.0
"""A line whose conductor is silent for so long is taken over."""
UNREADABLE_S = 10.0
"""A line whose seed we cannot read is not claimed for so long: it is for a steward that can."""
STILL_S_MAX = 5.0
"""After a standstill that was longer the line goes on; it does not make up for it all at once, and
the rest of it is taken from nobody's grace.
"""
_QUIET_LEAD_S = 0.4
"""While no pass is needed few take a number. Whoever comes first in a rush has those that were called ahead."""
_COME_WINDOW_S, _COME_LAG_S, _COME_LATELY_S = 300.0, 30.0, 10.0
_BEFORE_S, _BEFORE_S_MIN = 300.0, 60.0
"""A wait is compared with what was told so long ago; in a line that is younger with the first word, a minute old."""
_STANDING = frozenset({"standing", "unknown"})
_AT_ONCE: Mapping[State, frozenset[str]] = {"open": _STANDING | {"ceiling"}, "paused": frozenset({"paused"})}
"""What holds a line up is said whether or not the estimate has grown: in these states, these codes."""
_SLOWER = Reason(
    "slower",
    "Lebih sedikit orang dapat dilayani per menit daripada beberapa menit yang lalu.",
    "Fewer people can be served a minute than a few minutes ago.",
)
_log = structlog.get_logger(__name__)
_serving = metrics.gauge_latest("emeterai_gate_now_serving", "The turn that is served now", ["lane"])
_waiting = metrics.gauge_latest("emeterai_gate_waiting", "People who hold a number that was not called", ["lane"])
_come_share = metrics.gauge_latest("emeterai_gate_come_share", "Part of those called who came lately", ["lane"])
_kept_share = metrics.gauge_latest(
    "emeterai_gate_estimates_kept",
    f"Part of the waits that were as promised, {ESTIMATE_TOLERANCE_S:g} s more or less",
    ["lane"],
)


@dataclass(frozen=True, slots=True)
class Admission:
    """What the controller says of a lane: how many people may come in a second, and whether a pass is needed at all.

    `why` is its word for why the wait grows; `brown_out` is its step, 0 for none.
    """

    per_s: float
    pass_needed: bool
    why: Reason | None = None
    brown_out: int = 0
    usual_per_s: float = 0.0
    """How many people come in a second by and large: what the line moves by when it stands for a moment."""
    walked_in_per_s: float = 0.0
    """How many people came in a second without a number, while no pass is needed."""


class Marks(msgspec.Struct, frozen=True):
    """How far the line had come, how many had come in, and how many turns a second pages were told, at times of the
    database; and what those who were drawn were told first. `lined_s` is the last second in which nobody waited: what
    was called by then, or told, says nothing of the line that has come since.
    """

    turns: list[Mark] = []
    came: list[Mark] = []
    told: list[tuple[float, float]] = []
    promise: Promise | None = None
    lined_s: float = 0.0


Controller = Callable[[], Awaitable[Mapping[str, Admission]]]
"""What the controller says now, by lane. A lane that it does not name moves at its floor."""


class Conductor:
    """Moves lines. `lanes` answers the lanes as they are now, `calls_offered` what people of a lane may be called by;
    `secret` is the gate's.
    """

    def __init__(
        self,
        db: Database,
        files: NowFiles,
        *,
        lanes: Callable[[], Awaitable[Mapping[str, Lane]]],
        controller: Controller,
        secret: bytes,
        calls_offered: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        self._db = db
        self._files = files
        self._lanes = lanes
        self._controller = controller
        self._seeds = DrawSeeds(secret)
        self._calls_offered = calls_offered
        self._id = new_id()
        self._not_ours: dict[str, float] = {}
        files.clear()

    async def move(self) -> None:
        """One step of every line that is ours to move, and the files of all. Raises what the database raises."""
        lanes = await self._lanes()
        admissions = await self._controller()
        now_s = time.monotonic()
        wanted = sorted(name for name in lanes if self._not_ours.get(name, now_s) <= now_s)
        rows = await room_store.claim_rooms(self._db, wanted, self._id, lease_s=WRITER_S)
        counts = await room_store.read_counts(self._db)
        for row in rows:
            lane = lanes[row.lane]
            admission = admissions.get(row.lane) or Admission(lane.floor_per_s, pass_needed=lane.always_room)
            await self._move(row, lane, admission, counts.get(row.lane, Counts()))
        for name, published in await room_store.read_published(self._db):
            if name in lanes:
                self._files.write(name, published.encode())
            else:
                self._files.remove(name)

    async def _move(self, row: RoomRow, lane: Lane, admission: Admission, counts: Counts) -> None:
        seed = None if row.draw_seed is None else self._seeds.deciphered(row.lane, row.draw_seed)
        if row.draw_seed is not None and seed is None:
            # Whatever seed took its place would not be the one that was promised: the line is left to who can read it.
            _log.error("draw_seed_unreadable", lane=row.lane)
            self._not_ours[row.lane] = time.monotonic() + UNREADABLE_S
            await room_store.give_room_back(self._db, row.lane, self._id)
            return
        opened = replace(row, draw_seed=seed)
        moved, now = step(opened, lane, admission, counts, call_by=self._calls_offered(row.lane))
        kept = replace(moved, draw_seed=self._kept(row, moved))
        if await room_store.write_room(self._db, self._id, kept, msgspec.json.encode(now).decode()):
            _serving.labels(row.lane).set(now.now_serving)
            _waiting.labels(row.lane).set(max(0, _last_turn(moved, counts) - now.now_serving))
            _come_share.labels(row.lane).set(moved.come_share)
            if now.estimate_error is not None:
                _kept_share.labels(row.lane).set(now.estimate_error.within)

    def _kept(self, before: RoomRow, moved: RoomRow) -> bytes | None:
        """The seed as it is to be on record: what stands there until the draw, then what everybody is told."""
        if moved.draw_seed is None or moved.draw_count is not None:
            return moved.draw_seed
        return before.draw_seed or self._seeds.enciphered(moved.lane, moved.draw_seed)


def step(
    row: RoomRow,
    lane: Lane,
    admission: Admission,
    counts: Counts,
    *,
    call_by: Sequence[str] = (),
    seed: bytes | None = None,
) -> tuple[RoomRow, NowServing]:
    """One step of one line: what is to be on record of it at `row.at`, its seed in the clear, and what everybody sees.

    `seed` takes the place of a random one, for tests.
    """
    at_s = row.at.timestamp()
    # While no pass is needed whoever takes a number all the same walks in; but not beside as many who walk in already,
    # or the first seconds of a rush, in which nobody has decided that one is needed, let in twice what they may.
    is_quiet = not (admission.pass_needed or lane.always_room)
    walking_per_s = WALK_IN_PER_S - admission.walked_in_per_s if is_quiet else 0.0
    admission = replace(admission, per_s=max(admission.per_s, walking_per_s))
    since_s = max(0.0, at_s - row.moved_at.timestamp())
    passed_s = min(STILL_S_MAX, since_s)
    was_drawn = row.draw_count is not None
    row, state = _drawn(row, lane, seed or secrets.token_bytes(SEED_BYTES))
    if row.draw_count is not None and not was_drawn:
        row = _begun_anew(row, counts.came)
    # While a line stands its time stands too: nobody's grace runs out, and the rate is the one of moving.
    marks = _later(_marks_of(row), since_s - passed_s if state == "open" else since_s)
    if state == "open":
        last_turn = _last_turn(row, counts)
        share = _share(marks, row, counts, last_turn=last_turn)
        went = advanced(
            row.now_serving,
            credit=row.credit,
            last_turn=last_turn,
            admit_per_s=admission.per_s,
            passed_s=passed_s,
            come_share=share,
            lead_s=_QUIET_LEAD_S if is_quiet else LEAD_S,
        )
        row = replace(row, now_serving=went.now_serving, credit=went.credit, come_share=share)
        marks = msgspec.structs.replace(
            marks,
            turns=marked(marks.turns, at_s, row.now_serving, keep_s=GRACE_S),
            came=marked(marks.came, at_s, counts.came, keep_s=GRACE_S),
            lined_s=at_s if row.now_serving >= last_turn else marks.lined_s,
        )
    # A pace that is low for a second says nothing of a wait; pages that believed it would look again far too late.
    per_s = max(admission.per_s, admission.usual_per_s) / row.come_share if state == "open" else 0.0
    rate = rate_of(marks.turns, at_s, row.now_serving, expected=per_s, since_s=marks.lined_s)
    turns = Turns(round(rate.low, 4), round(rate.mid, 4), round(rate.high, 4))
    if state == "open":
        marks = _told(row, marks, turns)
    row = replace(row, marks=msgspec.json.encode(marks).decode())
    return row, _published(row, lane, admission, counts, state=state, marks=marks, turns=turns, call_by=call_by)


def _drawn(row: RoomRow, lane: Lane, seed: bytes) -> tuple[RoomRow, State]:
    """The state of a lane; its draw is prepared before it opens, made as it does, and holds when it is postponed."""
    if lane.closes_at is not None and lane.closes_at <= row.at:
        return row, "closed"
    if lane.opens_at is not None and row.at < lane.opens_at and row.draw_count is None:
        return (row if row.draw_seed else replace(row, draw_seed=seed)), "before_opening"
    if row.draw_seed is not None and row.draw_count is None:
        row = replace(row, draw_count=row.next_number - 1)
    is_postponed = lane.opens_at is not None and row.at < lane.opens_at
    return row, "paused" if lane.paused or is_postponed else "open"


def _begun_anew(row: RoomRow, came: int) -> RoomRow:
    """A lane in the moment of its draw: its turns count from 1. The marks of those before must end nobody's grace, and
    which part of those people came says nothing of others. That `came` so many was long ago.
    """
    marks = Marks(came=[(0.0, came)])
    return replace(row, marks=msgspec.json.encode(marks).decode(), come_share=1.0)


def _last_turn(row: RoomRow, counts: Counts) -> int:
    """The last turn that somebody may have: a draw has turns for numbers, too, that were leased and given to nobody."""
    return max(counts.last_number, row.draw_count or 0)


def _marks_of(row: RoomRow) -> Marks:
    return msgspec.json.decode(row.marks, type=Marks) if row.marks != "[]" else Marks()


def _later(marks: Marks, seconds: float) -> Marks:
    """The marks as if all that they say had been so much later; but for the promise, as people wait all the same."""
    return msgspec.structs.replace(
        marks,
        turns=[(when_s + seconds, turn) for when_s, turn in marks.turns],
        came=[(when_s + seconds, count) for when_s, count in marks.came],
        told=[(when_s + seconds, per_s) for when_s, per_s in marks.told],
        lined_s=marks.lined_s + seconds,
    )


def _told(row: RoomRow, marks: Marks, turns: Turns) -> Marks:
    """The marks with what pages are told now. Of a draw what they are told after the first minute is kept for good:
    before, it is how fast an empty service fills, which says nothing of those who wait for long. Where nobody waits
    nobody was told anything.
    """
    at_s, promise = row.at.timestamp(), marks.promise
    if marks.lined_s >= at_s:
        return msgspec.structs.replace(marks, told=[])
    told = marked(marks.told, at_s, turns.mid, keep_s=_BEFORE_S) if turns.mid > 0 else marks.told
    is_measured = bool(told) and at_s - told[0][0] >= _BEFORE_S_MIN
    if row.draw_count and promise is None and is_measured and turns.low > 0:
        promise = Promise(_whole_ms(row.at), row.now_serving, turns)
    return msgspec.structs.replace(marks, told=told, promise=promise)


def _share(marks: Marks, row: RoomRow, counts: Counts, *, last_turn: int) -> float:
    """Which part of those who were called half a minute ago and earlier came in. As before where nobody was called: a
    turn that nobody has, as the turn of an empty lane runs ahead of the last number, calls nobody. Very
    few only while no more came in the last seconds: those who were away may be back, all at once.
    """
    at_s = row.at.timestamp()
    until, since = (
        min(last_turn, served_at(marks.turns, at_s - ago_s)) for ago_s in (_COME_LAG_S, _COME_LAG_S + _COME_WINDOW_S)
    )
    called = until - since
    came = served_at(marks.came, at_s) - served_at(marks.came, at_s - _COME_WINDOW_S)
    share = come_share_of(called, came, before=row.come_share)
    since_s = at_s - _COME_LATELY_S
    called = min(last_turn, row.now_serving) - min(last_turn, served_at(marks.turns, since_s))
    came = counts.came - served_at(marks.came, since_s)
    return max(share, min(COME_SHARE_SURE, come_share_of(called, came, before=COME_SHARE_SURE)))


def _published(
    row: RoomRow,
    lane: Lane,
    admission: Admission,
    counts: Counts,
    *,
    state: State,
    marks: Marks,
    turns: Turns,
    call_by: Sequence[str],
) -> NowServing:
    at_s = row.at.timestamp()
    waiting = _last_turn(row, counts) > row.now_serving
    pass_needed = admission.pass_needed or lane.always_room or state != "open" or waiting
    draw = None
    if row.draw_seed is not None:
        seed = row.draw_seed.hex() if row.draw_count is not None else None
        draw = DrawState(commitment_of(row.draw_seed), seed, row.draw_count, marks.promise)
    return NowServing(
        lane=row.lane,
        title=lane.title,
        colour=lane.colour,
        state=state,
        pass_needed=pass_needed,
        now_serving=row.now_serving,
        last_number=counts.last_number,
        grace_from=served_at(marks.turns, at_s - GRACE_S) + 1,
        turns_per_s=turns,
        draw=draw,
        opens_at=lane.opens_at,
        closes_at=lane.closes_at,
        message=Sentence(lane.message_id, lane.message_en) if lane.message_id or lane.message_en else None,
        why=_why(
            admission.why,
            state,
            waiting=waiting,
            pass_needed=pass_needed,
            slower=_is_slower(marks.told, at_s, turns.mid),
        ),
        brown_out=max(admission.brown_out, lane.rests_from),
        estimate_error=_error_of(counts),
        calls=bool(call_by),
        call_by=tuple(call_by),
        updated_at=_whole_ms(row.at),
    )


def _why(why: Reason | None, state: State, *, waiting: bool, pass_needed: bool, slower: bool) -> Reason | None:
    """What is said of the reason why people wait. Who walks in waits for nothing, whatever stands still."""
    if why is not None and why.code in _AT_ONCE.get(state, ()) and (waiting or (why.code in _STANDING and pass_needed)):
        return why
    return (why or _SLOWER) if state == "open" and waiting and slower else None


def _is_slower(told: Sequence[tuple[float, float]], at_s: float, per_s: float) -> bool:
    """Whether the wait is longer by a quarter than it was said to be: five minutes ago, or at first in a young line."""
    return bool(told) and at_s - told[0][0] >= _BEFORE_S_MIN and told[0][1] > RISE_TOLD * per_s


def _error_of(counts: Counts) -> EstimateError | None:
    if not counts.promised:
        return None
    within = counts.kept / counts.promised
    return EstimateError(counts.promised, round(within, 4), round(counts.late_s / counts.promised, 1))


def _whole_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
