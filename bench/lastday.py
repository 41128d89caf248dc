"""`emeterai bench lastday`: the crowd of the last day at 1, 2, 5 and 10 times what the service can do, then at 1 again.

The service has one core, the crowd and the room, which answers those outside, the other. First the capacity: what
the door lets through to the end while twice as many come as a closed loop without it gets through. Then the same crowd
against the service with the door switched off, against the door, and, on a service of its own, outages under a retry
storm; `--only outages` has the last of these alone. Every promise is checked at the end. Writes `report.html`; exit
code 1 when a promise was broken, never for a missed goal.
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
from lastday_outages import Rhythm, lose_each, outages_of, rounds_of, with_remarks
from lastday_page import Ramp, Report, Storm, Waiting, write_report
from lastday_promises import Promises, check_promises
from lastday_stage import SCRIPTS_EACH, VUS, Cores, Day, Phase, Stage, people_of
from lastday_sums import is_sealed_of_partner, lags_ms, line_of, quantile, recovery_s, sums_of
from lastday_twins import twins_in

from running import RunningService

sys.path.insert(0, str(TESTS / "gate"))

from million import minute

SECONDS, OUTAGE_S, AROUND_S = 180.0, 60.0, 60.0
STORM = 2.0
"""People come at this multiple of the capacity while dependencies are lost."""
WAITING = (100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Chosen:
    """What was asked for on the command line. `rhythm` None: no outages; `ramp`: whether there is anything else."""

    seconds: float
    times: tuple[float, ...]
    rhythm: Rhythm | None
    ramp: bool
    off: bool
    room: bool
    people_per_s: float
    out: Path


def main() -> None:
    """Measure, check, report; exit 1 when a promise was broken."""
    chosen, as_json = asked()
    figures = Figures(as_json=as_json)
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


def asked() -> tuple[Chosen, bool]:
    """What the command line says, and whether figures are wanted as JSON."""
    options = parser(__doc__ or "")
    options.add_argument("--times", default="1,2,5,10,1", help="multiples of the capacity, one phase each")
    options.add_argument("--only", choices=["outages"], help="nothing but the outages: no multiples, no door off")
    options.add_argument("--outage", type=float, default=OUTAGE_S, help="seconds that each dependency is lost; 0: none")
    options.add_argument("--around", type=float, default=AROUND_S, help="seconds before and after each outage")
    options.add_argument("--no-off", action="store_true", help="leave out the run with the door switched off")
    options.add_argument("--no-room", action="store_true", help="one web process answers everybody, as by default")
    options.add_argument("--people", type=float, default=0.0, help="people a second that are 1 x; 0: measure it")
    options.add_argument("--out", type=Path, default=Path("var/bench"), help="folder of the report")
    found = options.parse_args()
    if found.only and not found.outage:
        options.error("--only outages and --outage 0 leave nothing to measure")
    chosen = Chosen(
        found.seconds or SECONDS,
        tuple(float(one) for one in found.times.split(",")),
        Rhythm(found.outage, warm_s=found.around, back_s=found.around) if found.outage else None,
        ramp=not found.only,
        off=not found.no_off,
        room=not found.no_room,
        people_per_s=found.people,
        out=found.out / ("lastday-outages" if found.only else "lastday"),
    )
    return chosen, found.json


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


async def run(folder: Path, chosen: Chosen, cores: Cores) -> Report:
    """All of it, one after another."""
    os.sched_setaffinity(0, cores.crowd)
    promises, ramp, storm = Promises(), None, None
    async with Ears() as ears:
        capacity = await measured(folder, chosen, ears, cores)
        if chosen.ramp:
            ramp = await ramped(folder, chosen, ears, cores, capacity, promises)
        if chosen.rhythm:
            storm = await outages(folder, chosen, ears, cores, capacity, promises)
    day = ramp.day if ramp else storm.day if storm else None
    lags = lags_ms(day.heard) if day else []
    return Report(
        parted=cores.parted,
        room=chosen.room,
        capacity=capacity,
        ramp=ramp,
        storm=storm,
        promises=promises,
        lags_ms=(quantile(lags, 0.5), quantile(lags, 0.99)),
        goals=goals_of(ramp, storm, promises),
    )


async def measured(folder: Path, chosen: Chosen, ears: Ears, cores: Cores) -> Capacity:
    """The capacity, or what was asked for in its place."""
    if chosen.people_per_s and not chosen.ramp:
        return Capacity(chosen.people_per_s)
    off = Stage(folder / "closed", ears, cores, gate=False)
    if chosen.people_per_s:
        found = await closed_loop(off)
        capacity = Capacity(chosen.people_per_s, found.done_per_s, found.stamps_per_s)
    else:
        capacity = await capacity_of(off, Stage(folder / "rush", ears, cores, gate=True, room=chosen.room))
    say(f"capacity: {capacity.people_per_s:.1f} people/s; closed loop: {capacity.closed_people_per_s:.1f}")
    return capacity


async def ramped(
    folder: Path, chosen: Chosen, ears: Ears, cores: Cores, capacity: Capacity, promises: Promises
) -> Ramp:
    """The crowd at each multiple, with the door switched off and on, and what waiting costs."""
    off_day = None
    if chosen.off:
        off_stage = Stage(folder / "off", ears, cores, gate=False, room=chosen.room)
        off_day = await door_off(off_stage, chosen, capacity)
    on_stage = Stage(folder / "on", ears, cores, gate=True, room=chosen.room)
    day = await door_on(on_stage, chosen, capacity, promises)
    return Ramp(
        seconds=chosen.seconds,
        day=day,
        sums=sums_of(day),
        line=line_of(day),
        recovered_s=recovered(day),
        off_day=off_day,
        off=sums_of(off_day) if off_day else [],
        off_recovered_s=recovered(off_day) if off_day else None,
        waiting=await cost_of_waiting(folder / "waiting", cores),
    )


async def door_off(stage: Stage, chosen: Chosen, capacity: Capacity) -> Day:
    """How the service fares with everybody inside at once."""
    phases = phases_of(chosen, capacity)
    async with stage.open(int(1.3 * people_of(phases)) + VUS * 60) as db:
        return await stage.live(db, phases)


async def door_on(stage: Stage, chosen: Chosen, capacity: Capacity, promises: Promises) -> Day:
    """The day itself; `promises` get what became of each."""
    phases = phases_of(chosen, capacity)
    async with stage.open(int(1.3 * people_of(phases)) + VUS * 60) as db:
        day = await stage.live(db, phases)
        say("the day is over")
        promises.add(await check_promises(stage, db, [day.heard]))
        return day


async def outages(
    folder: Path, chosen: Chosen, ears: Ears, cores: Cores, capacity: Capacity, promises: Promises
) -> Storm:
    """The outages, on a fresh service: the line of the day holds numbers of people who have gone home."""
    rhythm = chosen.rhythm
    assert rhythm is not None
    with twins_in(folder / "twins") as twins:
        stage = Stage(folder / "storm", ears, cores, gate=True, room=chosen.room, settings=twins.settings)
        rounds = rounds_of(stage, twins)
        whole_s = sum(rhythm.spans_s(len(rounds)))
        people = 1.3 * STORM * capacity.people_per_s * whole_s
        say(f"{len(rounds)} outages, {whole_s / 60:.0f} minutes")
        async with stage.open(int(people) + VUS * 60) as db:
            day = await lose_each(stage, db, rounds, rhythm, times=STORM, people_per_s=capacity.people_per_s)
            say("the outages are over")
            promises.add(await check_promises(stage, db, [day.heard]))
            found = await with_remarks(outages_of(day, rhythm), day, twins, db)
    return Storm(day, found, STORM, in_token=twins.token is not None)


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
    """A million people in line, simulated, and what one look and a refusal of each kind cost the origin."""
    simulated = [minute(waiting, seconds=30) for waiting in WAITING]
    service = RunningService(folder)
    with cores.of_service():
        service.spawn()
    try:
        await service.wait_ready()
        look_ms, _ = await door.cost_ms(service, door.LOOK, seconds)
        refusals_ms = await door.refusals_ms(service, seconds)
        await service.stop()
    finally:
        service.kill_rest()
    seen = [(one.waiting, one.looks_per_s, one.origin_per_s, one.pages_per_s) for one in simulated]
    return Waiting(seen, look_ms, refusals_ms)


def recovered(day: Day) -> float | None:
    """How long after the last surge goodput was again what it was before the first."""
    spans = list(day.spans())
    first, last = sums_of(day)[0], spans[-1]
    began_s, ended_s = spans[0][1:]
    partner = [one for one in day.heard.of("partner") if began_s <= one[0] / 1000 < ended_s]
    mine_per_s = first.stamps_per_s - sum(map(is_sealed_of_partner, partner)) / (ended_s - began_s)
    return recovery_s(day, last[1], good_per_s=mine_per_s, until_s=last[2])


if __name__ == "__main__":
    main()
