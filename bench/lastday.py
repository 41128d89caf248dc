"""`emeterai bench lastday`: the crowd of the last day at 1, 2, 5 and 10 times what the service can do, then at 1 again.

The service has one core, the crowd and the room, which answers those outside, the other. First the capacity: what
the door lets through to the end while twice as many come as a closed loop without it gets through. Then the same crowd
against the service with the door switched off, against the door, and, on a service of its own, outages under a retry
storm. Every promise is checked at the end. Writes `report.html`; exit code 1 when a promise was broken, never for a
missed goal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import door
from figures import TESTS, Figures, parser
from lastday_capacity import Capacity, capacity_of, closed_loop
from lastday_ears import Ears
from lastday_figures import goals_of, show
from lastday_outages import BACK_S, WARM_S, lose_each, outages_of
from lastday_page import Report, Waiting, write_report
from lastday_promises import Promises, check_promises
from lastday_stage import VUS, Cores, Day, Phase, Stage, people_of
from lastday_sums import lags_ms, line_of, quantile, recovery_s, sums_of

from running import RunningService

sys.path.insert(0, str(TESTS / "gate"))

from million import minute

SECONDS, OUTAGE_S = 180.0, 60.0
STORM = 2.0
"""People come at this multiple of the capacity while dependencies are lost."""
SCRIPTS_EACH = 0.3
"""Requests of scripts for each person who comes."""
WAITING = (100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Chosen:
    """What was asked for on the command line."""

    seconds: float
    times: tuple[float, ...]
    outage_s: float
    off: bool
    room: bool
    people_per_s: float
    out: Path


def main() -> None:
    """Measure, check, report; exit 1 when a promise was broken."""
    options = parser(__doc__ or "")
    options.add_argument("--times", default="1,2,5,10,1", help="multiples of the capacity, one phase each")
    options.add_argument("--outage", type=float, default=OUTAGE_S, help="seconds that each dependency is lost; 0: none")
    options.add_argument("--no-off", action="store_true", help="leave out the run with the door switched off")
    options.add_argument("--no-room", action="store_true", help="those outside are answered by the web process too")
    options.add_argument("--people", type=float, default=0.0, help="people a second that are 1 x; 0: measure it")
    options.add_argument("--out", type=Path, default=Path("var/bench"), help="folder of the report")
    asked = options.parse_args()
    times = tuple(float(one) for one in asked.times.split(","))
    chosen = Chosen(
        asked.seconds or SECONDS,
        times,
        asked.outage,
        off=not asked.no_off,
        room=not asked.no_room,
        people_per_s=asked.people,
        out=asked.out / "lastday",
    )
    figures = Figures(as_json=asked.json)
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # the database goes away, as it is told to
    folder = Path(tempfile.mkdtemp(prefix="emeterai-lastday-"))
    folder.chmod(0o755)
    try:
        report = asyncio.run(run(folder, chosen, Cores()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(figures, report)
    page = write_report(chosen.out, report)
    for fault in report.promises.faults[:50]:
        say(f"FAULT: {fault}")
    say(f"{len(report.promises.faults)} faults; the report: {page}")
    if report.promises.faults:
        sys.exit(1)


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


async def run(folder: Path, chosen: Chosen, cores: Cores) -> Report:
    """All of it, one after another."""
    os.sched_setaffinity(0, cores.crowd)
    async with Ears() as ears:
        capacity = await measured(folder, chosen, ears, cores)
        off_stage = Stage(folder / "off", ears, cores, gate=False)
        off_day = await door_off(off_stage, chosen, capacity) if chosen.off else None
        day, promises = await door_on(Stage(folder / "on", ears, cores, gate=True, room=chosen.room), chosen, capacity)
        storm = None
        if chosen.outage_s:
            storm_stage = Stage(folder / "storm", ears, cores, gate=True, room=chosen.room)
            storm, others = await outages(storm_stage, chosen, capacity)
            promises.add(others)
    waiting = await cost_of_waiting(folder / "waiting", cores)
    return reported(chosen, cores, capacity, day, storm, off_day, waiting, promises)


async def measured(folder: Path, chosen: Chosen, ears: Ears, cores: Cores) -> Capacity:
    """The capacity, or what was asked for in its place."""
    off = Stage(folder / "closed", ears, cores, gate=False)
    if chosen.people_per_s:
        found = await closed_loop(off)
        capacity = Capacity(chosen.people_per_s, found.done_per_s, found.stamps_per_s)
    else:
        capacity = await capacity_of(off, Stage(folder / "rush", ears, cores, gate=True, room=chosen.room))
    say(f"capacity: {capacity.people_per_s:.1f} people/s; closed loop: {capacity.closed_people_per_s:.1f}")
    return capacity


async def door_off(stage: Stage, chosen: Chosen, capacity: Capacity) -> Day:
    """How the service fares with everybody inside at once."""
    phases = phases_of(chosen, capacity)
    async with stage.open(int(1.3 * people_of(phases)) + VUS * 60) as db:
        return await stage.live(db, phases)


async def door_on(stage: Stage, chosen: Chosen, capacity: Capacity) -> tuple[Day, Promises]:
    """The day itself, and what became of every promise."""
    phases = phases_of(chosen, capacity)
    async with stage.open(int(1.3 * people_of(phases)) + VUS * 60) as db:
        day = await stage.live(db, phases)
        say("the day is over")
        return day, await check_promises(stage, db, [day.heard])


async def outages(stage: Stage, chosen: Chosen, capacity: Capacity) -> tuple[Day, Promises]:
    """The outages, on a fresh service: the line of the day holds numbers of people who have gone home."""
    per_s, storm_s = capacity.people_per_s, 4 * (chosen.outage_s + WARM_S + BACK_S)
    async with stage.open(int(1.3 * STORM * per_s * storm_s) + VUS * 60) as db:
        storm = await lose_each(stage, db, seconds=chosen.outage_s, times=STORM, people_per_s=per_s)
        say("the outages are over")
        return storm, await check_promises(stage, db, [storm.heard])


def phases_of(chosen: Chosen, capacity: Capacity) -> list[Phase]:
    """The parts of the day."""
    return [
        Phase(
            f"{times:g} x",
            times,
            chosen.seconds,
            times * capacity.people_per_s,
            scripts_per_s=SCRIPTS_EACH * times * capacity.people_per_s,
        )
        for times in chosen.times
    ]


async def cost_of_waiting(folder: Path, cores: Cores, seconds: float = 2.0) -> Waiting:
    """A million people in line, simulated, and what one look and one refusal cost the origin."""
    simulated = [minute(waiting, seconds=30) for waiting in WAITING]
    service = RunningService(folder)
    with cores.of_service():
        service.spawn()
    try:
        await service.wait_ready()
        look_ms, _ = await door.cost_ms(service, door.LOOK, seconds)
        await door.turn_away(service)
        refusal_ms, _ = await door.cost_ms(service, door.REFUSED, seconds)
        await service.stop()
    finally:
        service.kill_rest()
    return Waiting([(one.waiting, one.looks_per_s, one.origin_per_s) for one in simulated], look_ms, refusal_ms)


def reported(
    chosen: Chosen,
    cores: Cores,
    capacity: Capacity,
    day: Day,
    storm: Day | None,
    off_day: Day | None,
    waiting: Waiting,
    promises: Promises,
) -> Report:
    """What was measured, added up."""
    sums, off = sums_of(day), sums_of(off_day) if off_day else []
    lost = outages_of(storm, chosen.outage_s) if storm else []
    lags = lags_ms(day.heard)
    recovered_s, off_recovered_s = (recovered(one) if one else None for one in (day, off_day))
    line = line_of(day.heard)
    return Report(
        seconds=chosen.seconds,
        parted=cores.parted,
        room=chosen.room,
        capacity=capacity,
        day=day,
        sums=sums,
        line=line,
        recovered_s=recovered_s,
        off_day=off_day,
        off=off,
        off_recovered_s=off_recovered_s,
        storm=storm,
        outages=lost,
        waiting=waiting,
        promises=promises,
        lags_ms=(quantile(lags, 0.5), quantile(lags, 0.99)),
        goals=goals_of(sums, recovered_s, lost, promises),
    )


def recovered(day: Day) -> float | None:
    """How long after the last surge goodput was again what it was before the first."""
    spans = list(day.spans())
    first, last = sums_of(day)[0], spans[-1]
    mine_per_s = (
        first.stamps_per_s
        - sum(one[2] == 201 and spans[0][1] <= one[0] / 1000 < spans[0][2] for one in day.heard.of("partner"))
        / spans[0][0].seconds
    )
    return recovery_s(day, last[1], good_per_s=mine_per_s, until_s=last[2])


if __name__ == "__main__":
    main()
