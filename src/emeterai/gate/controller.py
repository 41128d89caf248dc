"""The controller: once a second, from what all processes measured, how many people each lane lets in.

One process at a time decides (a lease in the database); every other takes over when it falls silent. All others read
what it decided: `Paces.now`. A pace that is not renewed, because the database is away or nobody decides, goes on by
itself and decays to the lane's floor, so a line never stands still and never runs into a service that nobody watches.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from uuid import UUID

import msgspec
import structlog

from emeterai.core.brownout import Step
from emeterai.core.pacing import LaneSeen, Pacer, Seen
from emeterai.core.refusal import Refused
from emeterai.gate import pace_store
from emeterai.gate.conductor import Admission
from emeterai.gate.door import INSIDE_S
from emeterai.gate.lanes import Lane, LaneKind, Lanes
from emeterai.gate.now import Reason
from emeterai.infra import jobs, metrics
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.interruption import INTERRUPTIONS

LEASE_S = 3.0
_STAY_S = 10.0
"""About so long people are busy before they count as gone INSIDE_S later."""
_STALE_S, _HALVES_S = 3.0, 5.0
WINDOW_START, WINDOW_MIN = 200.0, 64.0
"""So few people never need a line: the smallest machine serves them, and a fault sends nobody to wait."""
_SEAL = "seal"
_PROGRAMS = (LaneKind.PARTNERS, LaneKind.ENTERPRISES)
_SEALER, _COUNTER = "sealer", "counter"
"""A process without a door; and one whose door is for programs: what presses there is not the public's line."""
SETTLED = "settle"
"""The batches in which stamps are settled."""
FAILED = "seal_failed"
"""The batches in which units are given back because the service failed."""
_log = structlog.get_logger(__name__)
_window = metrics.gauge_latest("emeterai_gate_window", "People who may be inside at once")
_goodput = metrics.gauge_latest("emeterai_gate_goodput", "Stamps settled in the last second")
_lane_goodput = metrics.gauge_latest("emeterai_gate_lane_goodput", "Stamps settled in the last second", ["lane"])
_per_s = metrics.gauge_latest("emeterai_gate_people_per_second", "People let in a second", ["lane"])
_inside = metrics.gauge_latest("emeterai_gate_inside", "People inside", ["lane"])
_step = metrics.gauge_latest("emeterai_gate_brown_out_step", "What rests: 0 nothing, 7 stamping")
_decided = metrics.counter("emeterai_gate_controller_decisions", "Seconds in which paces were decided")
_failed = metrics.counter("emeterai_gate_controller_failures", "Seconds in which nothing could be decided")


WHY: Mapping[str, Reason] = {
    code: Reason(code, indonesian, english)
    for code, indonesian, english in (
        ("paused", "Jalur ini sedang dijeda; tempat Anda tetap.", "This lane is paused; your place is safe."),
        (
            "standing",
            "Pembubuhan sedang berhenti; tempat Anda tetap dan baris jalan lagi dengan sendirinya.",
            "Stamping stands still at the moment; your place is safe and the line goes on by itself.",
        ),
        ("ceiling", "Jumlah yang masuk di jalur ini dibatasi.", "This lane lets in a limited number of people."),
        (
            "sealing_slow",
            "Pembubuhan sedang penuh: yang sudah masuk didahulukan supaya selesai.",
            "Stamping is at its limit: those who are in are served first.",
        ),
        (
            "doors_full",
            "Layanan sedang penuh: yang sudah masuk didahulukan supaya selesai.",
            "The service is at its limit: those who are in are served first.",
        ),
        (
            "unknown",
            "Kami sedang tidak dapat mengukur layanan, jadi orang masuk pelan-pelan.",
            "We cannot measure the service at the moment, so people are let in slowly.",
        ),
    )
}
"""Why people wait, in the order in which the reasons count: a ceiling is named only where it is what holds them up."""


class LaneReading(msgspec.Struct, frozen=True):
    """What one process measured of one lane in a second."""

    inside: int = 0
    in_flight: int = 0
    queued: int = 0
    admitted: int = 0
    refused: dict[str, int] = {}
    inside_refused: int = 0
    entered: int = 0
    sent_away: int = 0
    came_back: int = 0
    walked_in: int = 0
    turned_away: int = 0
    settled: int = 0


class Reading(msgspec.Struct, frozen=True):
    """What one process measured in a second."""

    role: str
    lanes: dict[str, LaneReading] = {}
    pressure: float = 0.0
    ratio: float = 0.0
    step: int = 0
    limit: int = 0
    settled: float = 0.0
    given_back: int = 0
    """Since the process began: a reading that is read twice says nothing new."""


class LanePace(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided for one lane, and what it was decided from."""

    per_s: float
    """People let in a second."""
    floor_per_s: float = 0.0
    pass_needed: bool = False
    reasons: tuple[str, ...] = ()
    step: int = 0
    waiting: int = 0
    inside: int = 0
    in_flight: int = 0
    queued: int = 0
    admitted: int = 0
    refused: dict[str, int] = {}
    walked_in: int = 0
    """So many came in without a pass in the last second."""
    usual_per_s: float = 0.0
    """As many come in a second once the window is full; 0 while nobody knows."""
    goodput: float = 0.0
    """Stamps that were settled for this lane in the last second."""
    settled: float = 0.0
    """The same of the whole chain, lanes that are no more with it."""
    window: float = 0.0

    def aged(self, age_s: float) -> LanePace:
        """The same when nobody has renewed it for `age_s`: it decays to the floor."""
        if age_s <= _STALE_S:
            return self
        left = 0.5 ** ((age_s - _STALE_S) / _HALVES_S)
        per_s = self.floor_per_s + max(0.0, self.per_s - self.floor_per_s) * left if self.per_s > 0 else 0.0
        return msgspec.structs.replace(self, per_s=per_s, reasons=("unknown",), walked_in=0, usual_per_s=0.0)

    def unrenewed(self, lane: Lane, age_s: float) -> LanePace:
        """The same when nobody has renewed it for `age_s`, by the levers and the dates of its lane as they are now."""
        least_per_s, most_per_s = lane.floor_per_s, lane.ceiling_per_s or inf
        per_s = min(max(self.per_s, least_per_s), most_per_s)
        pace = msgspec.structs.replace(self, per_s=per_s, floor_per_s=least_per_s).aged(age_s)
        if lane.is_held_at(utc_now()):
            return msgspec.structs.replace(pace, per_s=0.0, pass_needed=True, reasons=("paused",))
        return msgspec.structs.replace(pace, pass_needed=pace.pass_needed or lane.always_room)


def admission_of(pace: LanePace) -> Admission:
    """A pace in the words of the conductor. While nobody knows what is usual, it is how many of those inside leave."""
    why = next((reason for code, reason in WHY.items() if code in pace.reasons), None)
    usual_per_s = pace.usual_per_s or pace.inside / (INSIDE_S + _STAY_S)
    return Admission(
        pace.per_s,
        pass_needed=pace.pass_needed,
        why=why,
        brown_out=pace.step,
        usual_per_s=usual_per_s,
        walked_in_per_s=pace.walked_in,
    )


class Paces:
    """The pace of every lane as this process knows it. `look` reads; `now` costs nothing."""

    def __init__(self, db: Database, lanes: Lanes) -> None:
        self._db = db
        self._lanes = lanes
        self._known: dict[str, tuple[LanePace, float]] = {}

    def now(self, lane: str) -> LanePace:
        """The pace of a lane; by its levers and dates alone when nobody has decided for some seconds, or ever."""
        configured, known = self._lanes.now.get(lane), self._known.get(lane)
        pace, age_s = (known[0], asyncio.get_running_loop().time() - known[1]) if known else (LanePace(per_s=0.0), 0.0)
        is_decided = known is not None and age_s <= _STALE_S
        return pace.aged(age_s) if is_decided or configured is None else pace.unrenewed(configured, age_s)

    async def admissions(self) -> Mapping[str, Admission]:
        """What the conductor of the lines is told, after a look; with the database away what is known, as it ages."""
        with contextlib.suppress(Refused, *INTERRUPTIONS):
            await self.look()
        return {name: admission_of(self.now(name)) for name in self._lanes.now}

    async def look(self) -> None:
        """Read what was decided. With the database away what is known is kept, and ages."""
        rows = await pace_store.read_paces(self._db)
        now_s = asyncio.get_running_loop().time()
        self._known = {lane: (msgspec.json.decode(text, type=LanePace), now_s - age_s) for lane, text, age_s, _ in rows}

    async def run(self) -> None:
        """Look every second until cancelled."""

        async def look() -> None:
            with contextlib.suppress(Refused, *INTERRUPTIONS):
                await self.look()

        await every_second(look)


class Controller:
    """Decides once a second, in whichever process holds the lease. It keeps what it has learned."""

    def __init__(self, db: Database, lanes: Lanes, *, process: UUID) -> None:
        self._db = db
        self._lanes = lanes
        self._process = process
        self._pacer = Pacer(start=WINDOW_START, floor=WINDOW_MIN)
        self._told: dict[UUID, int] = {}
        self._decided_s = 0.0

    async def second(self) -> None:
        """Decide and publish, if it is this process that decides. Once a second."""
        try:
            if await pace_store.hold_controller(self._db, self._process, lease_s=LEASE_S):
                await self._lanes.look()
                await self._decide()
                _decided.inc()
        except (Refused, *INTERRUPTIONS) as error:
            _failed.inc()
            _log.warning("controller_interrupted", error=type(error).__name__)

    async def _decide(self) -> None:
        told = await pace_store.read_readings(self._db)
        of_process = {process: msgspec.json.decode(text, type=Reading) for process, text in told}
        readings = list(of_process.values())
        lines = {row["lane"]: int(row["waiting"] or 0) for row in await pace_store.read_lines(self._db)}
        seen = _seen(
            readings,
            lines,
            self._lanes.now,
            self._lanes.shares(),
            under_way=await jobs.lane_depths(self._db, _SEAL),
            given_back=self._newly_given_back(of_process),
        )
        now_s = asyncio.get_running_loop().time()
        if now_s - self._decided_s > _STALE_S:
            self._pacer.after_gap()
        self._decided_s = now_s
        paces = self._pacer.turn(seen)
        step = max((one.step for one in readings if one.role != _COUNTER), default=0)
        _window.set(self._pacer.window)
        _goodput.set(seen.settled)
        _step.set(step)
        published: list[tuple[str, str]] = []
        for name, pace in paces.items():
            lane, whole = seen.lanes[name], _whole([one.lanes[name] for one in readings if name in one.lanes])
            _per_s.labels(name).set(pace.per_s)
            _inside.labels(name).set(lane.inside)
            _lane_goodput.labels(name).set(whole.settled)
            decided = LanePace(
                per_s=pace.per_s,
                floor_per_s=lane.floor_per_s,
                pass_needed=pace.pass_needed,
                reasons=(*pace.reasons, *([f"brown_out_{Step(step).name.lower()}"] if step else [])),
                step=step,
                waiting=lane.waiting,
                inside=lane.inside,
                in_flight=whole.in_flight,
                queued=whole.queued,
                admitted=whole.admitted,
                refused=whole.refused,
                walked_in=whole.walked_in,
                usual_per_s=pace.usual_per_s,
                goodput=whole.settled,
                settled=seen.settled,
                window=self._pacer.window,
            )
            published.append((name, msgspec.json.encode(decided).decode()))
        await pace_store.put_paces(self._db, published)

    def _newly_given_back(self, readings: Mapping[UUID, Reading]) -> int:
        """How many more units processes have given back than they had told before; one that is new has told none."""
        before, self._told = self._told, {process: one.given_back for process, one in readings.items()}
        return sum(count - before.get(process, count) for process, count in self._told.items())


def _seen(
    readings: list[Reading],
    lines: Mapping[str, int],
    lanes: Mapping[str, Lane],
    shares: Mapping[str, float],
    *,
    under_way: Mapping[str, tuple[int, float]],
    given_back: int,
) -> Seen:
    """The readings of all processes as one; a lane outside its dates lets nobody in."""
    now = utc_now()
    whole = {name: _whole([one.lanes[name] for one in readings if name in one.lanes]) for name in lanes}
    doors = [one for one in readings if one.role != _SEALER]
    for_people = [one for one in doors if one.role != _COUNTER]
    return Seen(
        {
            name: LaneSeen(
                waiting=lines.get(name, 0),
                inside=whole[name].inside,
                entered=whole[name].entered,
                sent_away=whole[name].sent_away,
                came_back=whole[name].came_back,
                turned_away=whole[name].turned_away,
                oldest_s=under_way.get(name, (0, 0.0))[1],
                share=shares.get(name, 0.0),
                floor_per_s=lane.floor_per_s,
                ceiling_per_s=lane.ceiling_per_s,
                paused=lane.is_held_at(now),
                always_room=lane.always_room,
                is_for_programs=lane.kind in _PROGRAMS,
            )
            for name, lane in lanes.items()
        },
        settled=sum(one.settled for one in readings),
        under_way=sum(count for count, _ in under_way.values()),
        oldest_s=max((oldest_s for _, oldest_s in under_way.values()), default=0.0),
        given_back=given_back,
        pressure=max((max(one.pressure, one.ratio) for one in for_people), default=0.0),
        refused=sum(lane.inside_refused for one in for_people for name, lane in one.lanes.items() if name in lanes),
        doors=len(doors) if for_people else 0,
    )


def _whole(readings: list[LaneReading]) -> LaneReading:
    """One lane of all processes."""
    refused: dict[str, int] = {}
    for reading in readings:
        for work, count in reading.refused.items():
            refused[work] = refused.get(work, 0) + count
    return LaneReading(
        inside=sum(one.inside for one in readings),
        in_flight=sum(one.in_flight for one in readings),
        queued=sum(one.queued for one in readings),
        admitted=sum(one.admitted for one in readings),
        refused=refused,
        entered=sum(one.entered for one in readings),
        sent_away=sum(one.sent_away for one in readings),
        came_back=sum(one.came_back for one in readings),
        walked_in=sum(one.walked_in for one in readings),
        turned_away=sum(one.turned_away for one in readings),
        settled=sum(one.settled for one in readings),
    )


def settled_reader() -> Callable[[], dict[str, object]]:
    """What a sealer measured since it was asked last: the stamps that it settled, and for which lanes; and how many
    units it has ever given back because the service failed.
    """
    before, before_by_lane = metrics.done(SETTLED), metrics.done_by_lane(SETTLED)

    def read() -> dict[str, object]:
        nonlocal before, before_by_lane
        done, by_lane = metrics.done(SETTLED), metrics.done_by_lane(SETTLED)
        new = {lane: count - before_by_lane.get(lane, 0) for lane, count in by_lane.items()}
        lanes = {lane: {"settled": count} for lane, count in new.items() if count}
        settled, before, before_by_lane = done - before, done, by_lane
        return {"role": _SEALER, "settled": settled, "given_back": metrics.done(FAILED), "lanes": lanes}

    return read


async def report(db: Database, process: UUID, read: Callable[[], dict[str, object]]) -> None:
    """Put what `read` answers on record every second until cancelled; while the database is away it is lost."""

    async def put() -> None:
        text = msgspec.json.encode(read()).decode()
        with contextlib.suppress(Refused, *INTERRUPTIONS):
            await pace_store.put_reading(db, process, text)

    await every_second(put)


async def every_second(work: Callable[[], Awaitable[None]]) -> None:
    """Call it once a second until cancelled; a call that takes longer than five seconds is given up.

    One that fails is logged, and the next one comes: a door that decides by what it knew is better than none.
    """
    loop = asyncio.get_running_loop()
    following_s = loop.time()
    while True:
        following_s = max(following_s + 1.0, loop.time())
        await asyncio.sleep(following_s - loop.time())
        try:
            async with asyncio.timeout(5.0):
                await work()
        except TimeoutError:
            continue
        except Exception:  # noqa: BLE001 - nobody begins this anew
            _log.exception("second_failed")
