"""`emeterai plan`: from a campaign and from measured costs to machines, waits, and when more of them comes too late."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import msgspec

from emeterai.core.planning import (
    BURST,
    STEP_S,
    Campaign,
    LineSeen,
    arrivals_of,
    busiest_per_s,
    last_useful_step,
    line_of,
    speed_needed,
)
from emeterai.core.refusal import RefusalKind
from emeterai.core.turns import look_again_s
from emeterai.plan_picture import picture_of
from emeterai.web.formats import ZONE_DEFAULT, ZONES

PLAN_IMPOSSIBLE = RefusalKind(
    "plan_impossible",
    422,
    "Rencana ini tidak dapat dihitung: {detail}.",
    "This plan cannot be made: {detail}.",
)
STAMP_MS = {"web": 2.3, "room": 0.0, "sealer": 2.0, "database": 0.7, "steward": 0.02}
"""Processor time of one stamp of 100 KB in each role, its opener with it: `emeterai bench stamp` at 351 stamps a
second, 21 November 2026, as docs/measured.md has it ("One stamp, whole")."""
PERSON_MS = {"web": 27.9, "room": 1.9, "sealer": 6.8, "database": 13.0, "steward": 0.6}
"""And of a person with one stamp, who also looks, waits, signs in, buys and fetches: `emeterai bench lastday` on the
quicker of our machines, 2026-11. The last day of docs/measured.md ran on a slower one, where a person costs more."""
_WHOSE_COSTS = (
    f"Reckoned with what was measured on the quicker of our machines: {sum(PERSON_MS.values()):.0f} ms of processor "
    "time for a person with one stamp.\nA slower one took over twice that: measure yours, and give it with --rates."
)
CORES_EACH = 8
"""So many cores has a machine of which nobody says how many."""
BUSY_MAX = 0.7
"""Processors are planned to be so busy in the busiest hour: what is measured at the edge does not last."""
_ZONE = ZONES[ZONE_DEFAULT]
"""The crowd's hours are those of most people; a deadline may be written in any zone."""
_STAMPS_MAX, _WAIT_MINUTES_MAX, _FILE_KB_MAX = 1e12, 1e6, 1e9
_STORED_BYTES, _TAIL_BYTES = 3_271, 12_288
_ROLES = {"web": "web", "room": "room", "sealer": "sealer", "postgres": "database", "steward": "steward"}
_DATABASE = "database"
_PLACES = 100
_MAY_BE_ABSENT = frozenset({"room", "steward"})
"""Those outside may have no process of their own, and sweeps may cost less than is measured."""
_COST_LINE = re.compile(r"CPU a (person|stamp): ([a-z]+)(?:-\d+)?(?:,.*)?")
_CostMs = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Machine(msgspec.Struct, frozen=True):
    """What one role needs in the busiest hour."""

    role: str
    cpu_ms_a_stamp: float
    cores: int


class Less(msgspec.Struct, frozen=True):
    """What becomes of the same campaign with a part of the machines, and when the rest must be there at the latest."""

    share: float
    stamps_per_s: float
    longest_wait_s: float
    waiting_max: int
    left_at_deadline: int
    rest_helps_until: datetime | None


class Plan(msgspec.Struct, frozen=True):
    """A campaign, planned. Rates are stamps a second; waits are of whoever comes at the worst minute."""

    stamps: int
    mean_per_s: float
    busiest_day_per_s: float
    busiest_hour_per_s: float
    burst_per_s: float
    planned_per_s: float
    longest_wait_s: float
    longest_wait_at: datetime
    waiting_max: int
    burst_wait_s: float
    machines: list[Machine]
    machine_count: int
    """So many machines of `cores_each` hold all roles together."""
    cores_each: int
    database_machine_cores: int
    """One of them holds the database, which is not divided: with more cores than the others where it needs more."""
    looking_per_s: int
    into_mbit_per_s: float
    stored_gb: float
    less: list[Less]


@dataclass(frozen=True)
class Wishes:
    """What an operator asks for. `costs_ms` by role; `wait_s_max` is how long anybody may wait in the line.

    The zone of `deadline` is that of all moments of the plan.
    """

    campaign: Campaign
    deadline: datetime
    wait_s_max: float
    costs_ms: Mapping[str, float]
    file_bytes: int = 800_000
    cores_each: int = CORES_EACH


def add_plan(commands: Any) -> argparse.ArgumentParser:
    """The command and its options; `planned` answers it."""
    plan = commands.add_parser("plan", help="machines and waiting times for a campaign, from measured costs")
    plan.add_argument("--applicants", type=float, required=True, help="people who will need stamps")
    plan.add_argument("--per-person", type=float, default=2.5, help="stamps each (default 2.5)")
    plan.add_argument("--deadline", type=datetime.fromisoformat, required=True, help="such as 2026-09-10T23:59+07:00")
    plan.add_argument("--days", type=float, default=22.0, help="from the opening to the deadline (default 22)")
    plan.add_argument("--wait-minutes", type=float, default=10.0, help="the longest wait in the line (default 10)")
    plan.add_argument("--file-kb", type=float, default=800.0, help="a document of an applicant (default 800)")
    plan.add_argument(
        "--cores-each", type=int, default=CORES_EACH, metavar="N", help=f"cores of a machine (default {CORES_EACH})"
    )
    plan.add_argument(
        "--rates",
        type=Path,
        nargs=2,
        metavar="FILE",
        help="what `emeterai bench lastday --json` and `emeterai bench stamp --json` printed on your machine",
    )
    plan.add_argument("--picture", metavar="SVG", type=Path, help="draw the crowd and the line into this file")
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    made: argparse.ArgumentParser = plan
    return made


def plan_of(wishes: Wishes) -> Plan:
    """The plan for a campaign that has people, stamps and time."""
    campaign = wishes.campaign
    arrivals = arrivals_of(campaign)
    opening = wishes.deadline - timedelta(seconds=STEP_S * len(arrivals))
    planned_per_s = speed_needed(arrivals, wait_s_max=wishes.wait_s_max)
    seen = line_of(arrivals, planned_per_s)
    hour_per_s = busiest_per_s(arrivals, 60)
    burst_per_s = BURST * hour_per_s
    machines = [
        Machine(role, cost_ms, max(1, math.ceil(planned_per_s * cost_ms / 1_000 / BUSY_MAX)))
        for role, cost_ms in wishes.costs_ms.items()
    ]
    machine_count, database_machine_cores = machines_for(machines, cores_each=wishes.cores_each)
    return Plan(
        stamps=round(campaign.stamps),
        mean_per_s=campaign.stamps / (len(arrivals) * STEP_S),
        busiest_day_per_s=busiest_per_s(arrivals, 1_440),
        busiest_hour_per_s=hour_per_s,
        burst_per_s=burst_per_s,
        planned_per_s=planned_per_s,
        longest_wait_s=seen.wait_s_max,
        longest_wait_at=opening + timedelta(seconds=STEP_S * seen.longest_at),
        waiting_max=round(seen.waiting_max),
        burst_wait_s=max(0.0, burst_per_s - planned_per_s) * 300.0 / planned_per_s,
        machines=machines,
        machine_count=machine_count,
        cores_each=wishes.cores_each,
        database_machine_cores=database_machine_cores,
        looking_per_s=round(seen.waiting_max / campaign.per_person * looks_per_s(seen.wait_s_max)),
        into_mbit_per_s=planned_per_s * wishes.file_bytes * 8 / 1e6,
        stored_gb=campaign.stamps * (_STORED_BYTES + _TAIL_BYTES + wishes.file_bytes) / 1e9,
        less=[_less(arrivals, share, planned_per_s, opening) for share in (0.9, 0.75, 0.5, 0.25)],
    )


def looks_per_s(longest_wait_s: float) -> float:
    """How often a second one of those in line looks, on average over a line of this length: the more often the nearer
    the turn is (core/turns).
    """
    return fmean(1.0 / look_again_s(longest_wait_s * place / _PLACES, 0.5) for place in range(_PLACES))


def machines_for(roles: Sequence[Machine], *, cores_each: int) -> tuple[int, int]:
    """How many machines hold these roles, and how many cores that of the database has.

    All but the database are processes of one core each, so they fill up whatever machine has room.
    """
    database = sum(one.cores for one in roles if one.role == _DATABASE)
    others = sum(one.cores for one in roles) - database
    if database > cores_each:
        return 1 + math.ceil(others / cores_each), database
    return math.ceil((database + others) / cores_each), cores_each


def _less(arrivals: list[float], share: float, planned_per_s: float, opening: datetime) -> Less:
    seen = line_of(arrivals, share * planned_per_s)
    until = last_useful_step(arrivals, share * planned_per_s, planned_per_s)
    is_enough = until is None or until == len(arrivals)
    return Less(
        share=share,
        stamps_per_s=share * planned_per_s,
        longest_wait_s=seen.wait_s_max,
        waiting_max=round(seen.waiting_max),
        left_at_deadline=round(seen.left),
        rest_helps_until=None if is_enough or until is None else opening + timedelta(seconds=STEP_S * until),
    )


def planned(arguments: argparse.Namespace, *, now: datetime) -> tuple[Plan, str]:
    """The plan that the command asks for, and how people read it at `now`. Raises `plan_impossible`, OSError."""
    _refuse_the_impossible(arguments)
    deadline: datetime = arguments.deadline.astimezone(_ZONE)
    hour = deadline.hour + (deadline.minute + 1) / 60
    campaign = Campaign(arguments.applicants, arguments.per_person, arguments.days, hour)
    person_ms, stamp_ms = measured_costs_ms(*arguments.rates) if arguments.rates else (PERSON_MS, STAMP_MS)
    costs_ms = {role: mean_cost_ms(campaign, person_ms[role], stamp_ms[role]) for role in person_ms}
    costs_ms = {role: cost_ms for role, cost_ms in costs_ms.items() if cost_ms or role not in _MAY_BE_ABSENT}
    file_bytes = int(arguments.file_kb * 1_000)
    wishes = Wishes(campaign, deadline, arguments.wait_minutes * 60, costs_ms, file_bytes, arguments.cores_each)
    plan = plan_of(wishes)
    if arguments.picture:
        arrivals = arrivals_of(campaign)
        lines: dict[str, LineSeen] = {
            f"{share:.0%}": line_of(arrivals, share * plan.planned_per_s) for share in (1.0, 0.75, 0.5)
        }
        makes = f"the line makes {plan.planned_per_s:,.1f}: {_machines(plan)}"
        arguments.picture.write_text(
            picture_of(arrivals, plan.planned_per_s, lines, deadline, makes=makes), encoding="utf-8"
        )
    text = text_of(plan, wishes, now=now)
    return plan, text if arguments.rates else f"{text}\n\n{_WHOSE_COSTS}"


def _refuse_the_impossible(asked: argparse.Namespace) -> None:
    """Before anything is reckoned with them. No comparison holds for NaN, so it is refused wherever it stands."""
    are_people = 0 < asked.applicants <= _STAMPS_MAX and 0 < asked.per_person <= _STAMPS_MAX
    for is_possible, detail in (
        (
            are_people and 1 <= asked.applicants * asked.per_person <= _STAMPS_MAX,
            f"it needs people, and from one stamp to {_STAMPS_MAX:,.0f} stamps for all of them",
        ),
        (0.1 <= asked.days <= 1_000, "it needs between a tenth of a day and a thousand days"),
        (asked.deadline.tzinfo is not None, "the deadline needs its zone, such as +07:00"),
        (2_000 <= asked.deadline.year < 9_999, "the deadline lies in a year from 2000 to 9998"),
        (0 <= asked.wait_minutes <= _WAIT_MINUTES_MAX, f"people wait from 0 to {_WAIT_MINUTES_MAX:,.0f} minutes"),
        (0 <= asked.file_kb <= _FILE_KB_MAX, f"a document has from 0 to {_FILE_KB_MAX:,.0f} kB"),
        (asked.cores_each >= 1, "a machine has at least one core"),
    ):
        if not is_possible:
            raise PLAN_IMPOSSIBLE(detail=detail)


def mean_cost_ms(campaign: Campaign, person_ms: float, stamp_ms: float) -> float:
    """What a stamp of the campaign costs on average: each person comes in once, and has the further stamps inside."""
    return (person_ms + max(0.0, campaign.per_person - 1.0) * stamp_ms) / campaign.per_person


def measured_costs_ms(*files: Path) -> tuple[dict[str, float], dict[str, float]]:
    """The costs of a person and of a stamp by role, out of the lines that the benches printed.

    Raises `plan_impossible` when lines are missing or no figures; OSError.
    """
    found_ms = {"person": dict.fromkeys(PERSON_MS, 0.0), "stamp": dict.fromkeys(STAMP_MS, 0.0)}
    for file in files:
        for line in file.read_bytes().splitlines():
            if not line.startswith(b"{"):
                continue
            try:
                figure = json.loads(line)
                named = _COST_LINE.fullmatch(str(figure.get("name", "")))
                if named and named[2] in _ROLES:
                    found_ms[named[1]][_ROLES[named[2]]] += msgspec.convert(figure.get("value"), _CostMs)
            except ValueError as error:
                raise PLAN_IMPOSSIBLE(detail=f"{file.name} holds a line that is no figure of a bench") from error
    for of, costs_ms in found_ms.items():
        if not all(cost_ms for role, cost_ms in costs_ms.items() if role not in _MAY_BE_ABSENT):
            names = " and ".join(file.name for file in files)
            raise PLAN_IMPOSSIBLE(detail=f"{names} lack the lines `CPU a {of}` of web, sealer and postgres")
    return found_ms["person"], found_ms["stamp"]


def text_of(plan: Plan, wishes: Wishes, *, now: datetime) -> str:
    """The plan as people read it at `now`."""
    campaign = wishes.campaign
    until = f"{wishes.deadline:%d %b %Y %H:%M %Z}"
    rates = (plan.mean_per_s, plan.busiest_day_per_s, plan.busiest_hour_per_s, plan.burst_per_s)
    words = (
        "asked for: {:,.1f} stamps/s on average, {:,.1f} on the busiest day, {:,.1f} in its hour, {:,.0f} for minutes"
    )
    return "\n".join(
        [
            f"{campaign.people:,.0f} people, {plan.stamps:,} stamps in {campaign.days:g} days to {until}",
            f"  {words.format(*rates)}",
            "",
            f"Nobody waits longer than {_span(wishes.wait_s_max)} at {plan.planned_per_s:,.1f} stamps/s:",
            *(f"  {_machine(it)}" for it in plan.machines),
            f"  together {_machines(plan)}",
            f"  longest wait {_span(plan.longest_wait_s)}, at {plan.longest_wait_at:%d %b %H:%M %Z}",
            f"  a burst of five minutes adds {_span(plan.burst_wait_s)}",
            f"  {plan.waiting_max:,} stamps wait at most; the cache answers {plan.looking_per_s:,} looks a second",
            f"  {plan.into_mbit_per_s:,.0f} Mbit/s in and as much out; {plan.stored_gb:,.0f} GB stored",
            "",
            "With less, and until when the rest, once it is there, still serves everybody in time:",
            "   part  stamps/s  longest wait  wait at once    too late  the rest helps until",
            *(f"  {_part(it)}" for it in plan.less),
            *_past(plan, wishes.deadline, now),
        ]
    )


def _machine(it: Machine) -> str:
    cost = f"{it.cpu_ms_a_stamp:.2f} ms of processor time a stamp, {BUSY_MAX:.0%} busy"
    return f"{it.cores:>4} {'core' if it.cores == 1 else 'cores'} for {it.role} ({cost})"


def _machines(plan: Plan) -> str:
    """How many machines that are."""
    if plan.database_machine_cores == plan.cores_each:
        return f"{_counted(plan.machine_count, 'machine')} of {_counted(plan.cores_each, 'core')}"
    others = f"{_counted(plan.machine_count - 1, 'machine')} of {_counted(plan.cores_each, 'core')}"
    return f"{others}, and one of {plan.database_machine_cores} for the database, which is not divided"


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def _part(it: Less) -> str:
    numbers = f"{it.waiting_max:>13,} {it.left_at_deadline:>11,}"
    return f"{it.share:>5.0%} {it.stamps_per_s:>9,.1f} {_span(it.longest_wait_s):>13} {numbers}  {_until(it)}"


def _until(less: Less) -> str:
    if less.rest_helps_until is None:
        return "not needed for that" if less.left_at_deadline < 1 else "the opening, at once"
    return f"{less.rest_helps_until:%d %b %H:%M %Z}"


def _past(plan: Plan, deadline: datetime, now: datetime) -> list[str]:
    """A line for what no machine mends any more, so that nobody takes a moment that is gone for a hope."""
    if deadline < now:
        return ["", "The deadline is already past: more comes too late."]
    gone = [f"{it.share:.0%}" for it in plan.less if it.rest_helps_until is not None and it.rest_helps_until < now]
    return ["", f"For a part of {', '.join(gone)} this moment is already past: more comes too late."] if gone else []


def _span(seconds: float) -> str:
    """A wait in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
