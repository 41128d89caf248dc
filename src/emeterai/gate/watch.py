"""What an operator has to see of the lines without looking for it: one that stands, news that is old, people whom a
forgotten pause holds; and as numbers what people of each lane are told.

Each web process looks at the files that people see, so it notices as well when no steward runs, and every machine says
the same, whichever steward moves the line. It measures by its own clock how long something has stayed as it is: a clock
that is wrong elsewhere raises no alarm.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from math import inf, nan

from emeterai.core.refusal import Refused
from emeterai.gate.controller import every_second
from emeterai.gate.now import NowFiles, NowServing
from emeterai.infra import metrics

_still_s = metrics.gauge_latest(
    "emeterai_gate_line_still_seconds", "How long nobody was called in an open line where people wait, at worst"
)
_old_s = metrics.gauge_latest("emeterai_gate_news_seconds", "Age of the oldest now-serving file of a lane")
_wait_s = metrics.gauge_latest(
    "emeterai_gate_wait_seconds",
    "What whoever comes last is told to wait, from low to high; high +Inf: nobody can tell; NaN: the lane is not open",
    ["lane", "bound"],
)
_rests = metrics.gauge_latest(
    "emeterai_gate_lane_brown_out_step",
    "What rests in a lane, as measured or by its lever: 0 nothing, 7 stamping",
    ["lane"],
)
_held = metrics.gauge_latest(
    "emeterai_gate_held_people", "People who wait in a lane that nothing but its pause holds back", ["lane"]
)
_NOT_TOLD = nan, nan


class LineWatch:
    """Measures the lines of the lanes that `lanes` names. `clock` gives seconds."""

    def __init__(
        self, files: NowFiles, lanes: Callable[[], Iterable[str]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._files, self._lanes, self._clock = files, lanes, clock
        self._since: dict[tuple[str, str], tuple[Hashable, float]] = {}

    def look(self) -> None:
        """Set the gauges. Call it once a second."""
        seen = {lane: self._read(lane) for lane in self._lanes()}
        before, self._since = self._since, {}
        old, still = [0.0], [0.0]
        for lane in {lane for _, lane in before} - seen.keys():
            _tell(lane, _NOT_TOLD, step=0, held=0)  # a lane that is no more is shown for as long as the process lives
        for lane, now in seen.items():
            if now is not None:
                wait_s = now.wait_of(now.last_turn) if now.state == "open" else _NOT_TOLD
                _tell(lane, wait_s, step=now.brown_out, held=_held_by_pause(now))
            old.append(self._unchanged_s(before, ("news", lane), None if now is None else now.updated_at))
            if now is not None and now.state == "open" and now.last_turn > now.now_serving:
                still.append(self._unchanged_s(before, ("turn", lane), now.now_serving))
        _old_s.set(max(old))
        _still_s.set(max(still))

    def _read(self, lane: str) -> NowServing | None:
        """The lane's file; None when there is none, which is as good as an old one."""
        try:
            return self._files.read(lane)
        except Refused:
            return None

    def _unchanged_s(
        self, before: dict[tuple[str, str], tuple[Hashable, float]], what: tuple[str, str], value: Hashable
    ) -> float:
        """For how long `value` has been the same."""
        now_s = self._clock()
        known = before.get(what)
        since_s = known[1] if known is not None and known[0] == value else now_s
        self._since[what] = value, since_s
        return now_s - since_s


def _held_by_pause(now: NowServing) -> int:
    """How many wait in a lane that somebody has to let go again. One that was drawn and is put off opens by itself."""
    is_put_off = now.opens_at is not None and now.updated_at < now.opens_at
    return max(0, now.last_turn - now.now_serving) if now.state == "paused" and not is_put_off else 0


def _tell(lane: str, wait_s: tuple[float, float | None], *, step: int, held: int) -> None:
    for bound, bound_s in zip(("low", "high"), wait_s, strict=True):
        _wait_s.labels(lane, bound).set(inf if bound_s is None else bound_s)
    _rests.labels(lane).set(step)
    _held.labels(lane).set(held)


@contextlib.asynccontextmanager
async def watching(files: NowFiles, lanes: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Measure the lines every second inside the block."""
    watch = LineWatch(files, lanes)

    async def look() -> None:
        watch.look()

    task = asyncio.create_task(every_second(look))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
