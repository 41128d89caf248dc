"""`emeterai bench plan`: is what `emeterai plan` foretells what happens? The last days of a campaign in some minutes.

First the speed: what the door lets through while far more people come than can be served. From it and from the shape
of the crowd the planner foretells the line; then such a crowd comes to another service of the same kind, a day in a
minute and a bit, and the line that it really gets stands beside the foretold one.
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

from figures import Figures, parser
from lastday_capacity import capacity_of
from lastday_ears import Ears, Heard
from lastday_stage import VUS, Cores, Day, Phase, Stage, people_of
from lastday_sums import sums_of

from emeterai.core.planning import STEP_S, Campaign, LineSeen, arrivals_of, line_of, speed_needed

DAYS, SECONDS, PHASE_S = 3.0, 240.0, 6.0
WAIT_S = 40.0
"""The crowd is made so large that its longest wait should be this."""


@dataclass(frozen=True)
class Scale:
    """A campaign of days in a run of seconds: one step of the planner, a minute of the campaign, takes `step_s`."""

    step_s: float

    def speed(self, people_per_s: float) -> float:
        """A speed of the run, as the planner has it."""
        return people_per_s * self.step_s / STEP_S

    def seconds(self, campaign_s: float) -> float:
        """Seconds of the campaign, in seconds of the run."""
        return campaign_s * self.step_s / STEP_S


def main() -> None:
    """Foretell, live through it, print both."""
    options = parser(__doc__ or "")
    options.add_argument("--wait", type=float, default=WAIT_S, help="the longest wait that should come, in seconds")
    asked = options.parse_args()
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="emeterai-plan-"))
    folder.chmod(0o755)
    try:
        asyncio.run(run(Figures(as_json=asked.json), folder, asked.seconds or SECONDS, asked.wait))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def run(figures: Figures, folder: Path, seconds: float, wait_s: float) -> None:
    """The speed, the crowd that it can just serve in time, and what came of it."""
    cores = Cores()
    os.sched_setaffinity(0, cores.crowd)
    async with Ears() as ears:
        off = Stage(folder / "off", ears, cores, gate=False)
        found = await capacity_of(off, Stage(folder / "rush", ears, cores, gate=True, room=True))
        speed, closed = found.people_per_s, found.closed_people_per_s
        figures.note(
            f"speed: {speed:.1f} people/s through the door in a rush; {closed:.1f} without it, in a closed loop"
        )
        arrivals = arrivals_of(Campaign(1.0, 1.0, DAYS))
        scale = Scale(seconds / len(arrivals))
        people = scale.speed(speed) / speed_needed(arrivals, wait_s_max=wait_s / scale.seconds(1.0))
        arrivals = [people * one for one in arrivals]
        phases = phases_of(arrivals, scale)
        stage = Stage(folder / "on", ears, cores, gate=True, room=True)
        async with stage.open(int(1.3 * people_of(phases)) + VUS * 60) as db:
            day = await stage.live(db, phases)
    show(figures, day, line_of(arrivals, scale.speed(speed)), arrivals, scale, speed)


def phases_of(arrivals: list[float], scale: Scale) -> list[Phase]:
    """The crowd, in phases of some seconds."""
    each = max(1, round(PHASE_S / scale.step_s))
    parts = [arrivals[at : at + each] for at in range(0, len(arrivals), each)]
    return [
        Phase(f"part {number}", 1.0, len(part) * scale.step_s, sum(part) / (len(part) * scale.step_s))
        for number, part in enumerate(parts, 1)
    ]


def show(figures: Figures, day: Day, foretold: LineSeen, arrivals: list[float], scale: Scale, speed: float) -> None:
    """What was foretold beside what came, and the line in each part of the run."""
    sums = sums_of(day)
    foretold_lines = lines_foretold(arrivals, scale, speed, [one.phase.seconds for one in sums])
    figures.note("part  came/s  done/s  in line, foretold  in line")
    for one, expected in zip(sums, foretold_lines, strict=True):
        figures.note(
            f"{one.phase.name:<8}{one.came_per_s:>5.1f}{one.done_per_s:>8.1f}{expected:>15.0f}{one.waiting:>12.0f}"
        )
    figures.say(
        "longest wait",
        longest_wait_s(day.heard),
        "s",
        yardstick="foretold",
        yardstick_value=scale.seconds(foretold.wait_s_max),
    )
    figures.say(
        "most people in line",
        max(one.waiting for one in sums),
        "people",
        yardstick="foretold",
        yardstick_value=max(foretold_lines),
    )
    done = sum(one.done_per_s * one.phase.seconds for one in sums)
    came = sum(one.came_per_s * one.phase.seconds for one in sums)
    figures.say(
        "served by the deadline",
        done,
        "people",
        yardstick="foretold",
        yardstick_value=sum(arrivals) - foretold.left,
    )
    figures.note(f"{came:.0f} came, of {sum(arrivals):.0f} in the plan")
    if not came:
        sys.exit("nobody came")


def lines_foretold(arrivals: list[float], scale: Scale, speed: float, seconds: list[float]) -> list[float]:
    """How many should be in line on average in each part of the run."""
    waits_s = line_of(arrivals, scale.speed(speed)).waits_s
    waiting = [one * scale.speed(speed) for one in waits_s]
    found, at = [], 0
    for part_s in seconds:
        steps = round(part_s / scale.step_s)
        found.append(sum(waiting[at : at + steps]) / steps)
        at += steps
    return found


def longest_wait_s(heard: Heard) -> float:
    """From a person's number until it was called, the longest of all who came in."""
    waits_ms = [called - answered for _, number, _, answered, _, _, called, _ in heard.of("in") if number and answered]
    return max(waits_ms, default=0.0) / 1e3


if __name__ == "__main__":
    main()
