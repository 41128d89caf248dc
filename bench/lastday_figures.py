"""The ten figures of the last day as lines, each beside its yardstick, and the goals that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from statistics import fmean

from figures import Figures
from lastday_page import Goal, Ramp, Report, Storm
from lastday_promises import Promises
from lastday_stage import Day
from lastday_stays import Stays, scripts_of, slow_lines_of, stays_of
from lastday_sums import Spread, Sums
from lastday_tables import reasons, statuses
from lastday_ten import finish_share, said_back, said_s, worst_of

_RETURNS = "returns unaided after every outage, before the next"
GOODPUT, SLOWER, FINISH, PARTNER, RECOVERED_S = 0.95, 2.0, 0.995, 1.2, 5.0


def goals_of(ramp: Ramp | None, storm: Storm | None, promises: Promises) -> list[Goal]:
    """What was wanted, and what was found."""
    outages = storm.outages if storm else []
    back = ", ".join(map(said_back, outages))
    return [
        *(_goals_of_ramp(ramp) if ramp else []),
        *([Goal(_RETURNS, back, all(one.back_s is not None for one in outages))] if outages else []),
        Goal("zero lost", f"{len(promises.faults)} faults", not promises.faults),
    ]


def _goals_of_ramp(ramp: Ramp) -> list[Goal]:
    """What nobody was answered is missed: it cannot be compared."""
    sums, recovered_s = ramp.sums, ramp.recovered_s
    first, worst = sums[0], worst_of(sums)
    goodput = _beside_peak(worst, sums, lambda one: one.stamps_per_s)
    at_one_speed = _beside_peak(worst, sums, lambda one: one.stamps_per_s * one.beat_ms)
    slower, partner = _times(worst.stamp_ms, first.stamp_ms), _times(worst.partner_ms, first.partner_ms)
    finish = finish_share(sums)
    at = f"{worst.phase.times:g} x"
    return [
        Goal(
            f"goodput at {at} at least 95 % of the peak",
            f"{100 * goodput:.1f} %"
            + (f"; were the core always as quick: {100 * at_one_speed:.1f} %" if at_one_speed else "")
            + _beside_off(worst, ramp.off),
            goodput >= GOODPUT,
        ),
        Goal(f"admitted p99 at {at} at most 2 x that at 1 x, of sealed stamps", f"{slower:.2f} x", slower <= SLOWER),
        Goal(
            "finish-class success at least 99.5 % while browse is cut",
            f"{100 * finish:.2f} % (browse {100 * worst.classes['browse']:.0f} %)",
            finish >= FINISH,
        ),
        Goal(
            f"the partner's p99 at {at} within 20 %, and all its requests served",
            f"{partner:.2f} x, {100 * worst.partner_ok:.1f} % served",
            partner <= PARTNER and worst.partner_ok >= FINISH,
        ),
        Goal("recovered within 5 s", said_s(recovered_s), recovered_s is not None and recovered_s <= RECOVERED_S),
    ]


def _beside_off(worst: Sums, off: list[Sums]) -> str:
    """Beside the most that went through at any multiple with the door off, at whatever speed for each."""
    if not off:
        return ""
    best = max(off, key=lambda one: one.stamps_per_s)
    share = worst.stamps_per_s / max(best.stamps_per_s, 0.01)
    return f"; {100 * share:.0f} % of the best with the door off, at {best.phase.times:g} x"


def _beside_peak(worst: Sums, sums: list[Sums], of: Callable[[Sums], float]) -> float:
    peak = max(map(of, sums))
    return of(worst) / peak if peak else 0.0


def _times(spread: Spread, beside: Spread) -> float:
    """How many times slower the slowest hundredth is."""
    return spread[1] / beside[1] if spread[1] and beside[1] else inf


def show(figures: Figures, report: Report) -> None:
    """Every figure beside its yardstick."""
    if report.ramp:
        _show_ramp(figures, report.ramp, report.capacity.closed_stamps_per_s)
    if report.storm:
        _show_storm(figures, report.storm)
    credit_ms = fmean(report.promises.credit_ms or [0.0])
    figures.say("provider's word to quota", credit_ms, "ms", yardstick="one second", yardstick_value=1e3)
    for part, lag_ms in zip(("p50", "p99"), report.lags_ms, strict=True):
        figures.say(f"money to quota, {part}", lag_ms, "ms", yardstick="provider late, ms", yardstick_value=1_100)
    promised = report.promises.stamps + report.promises.orders
    figures.say("lost or untrue", len(report.promises.faults), "faults", yardstick="promised", yardstick_value=promised)
    for goal in report.goals:
        figures.note(f"{'kept  ' if goal.kept else 'MISSED'} {goal.wanted}: {goal.found}")


def _show_ramp(figures: Figures, ramp: Ramp, closed_stamps_per_s: float) -> None:
    for name, sums in (("door on", ramp.sums), ("door off", ramp.off)):
        for place, one in enumerate(sums):
            _show_phase(figures, f"{name}, {place + 1}: {one.phase.times:g} x", one, sums[0], closed_stamps_per_s)
    for name, day in (("door on", ramp.day), ("door off", ramp.off_day)):
        if day is not None:
            _show_came(figures, name, day)
    _show_costs(figures, ramp.sums[0].person_cpu_ms)
    line, waiting = ramp.line, ramp.waiting
    figures.say("inversions", line.inversions, "people", yardstick="came in by number", yardstick_value=line.people)
    figures.say("overtaken, worst", line.overtaken_ms, "ms", yardstick="one second", yardstick_value=1e3)
    figures.say("let in out of turn", line.out_of_turn, "pairs", yardstick="passed by", yardstick_value=line.passed_by)
    figures.say("waits within the promised range", line.kept, "share", yardstick="all", yardstick_value=1.0)
    figures.say(
        "in line at the end", line.still_in_line, "people", yardstick="waits ended", yardstick_value=line.promised
    )
    figures.say("error of the estimate, median", line.error, "share", yardstick="the wait", yardstick_value=1.0)
    for text, value in (("on", ramp.recovered_s), ("off", ramp.off_recovered_s)):
        if value is not None:
            figures.say(f"recovered, door {text}", value, "s", yardstick="goal, s", yardstick_value=RECOVERED_S)
    for people, looks_per_s, *origin in waiting.simulated:
        for what, per_s in zip(("the file", "pages without a script"), origin, strict=True):
            name = f"origin, {what}, {people:,} waiting"
            figures.say(name, per_s, "requests/s", yardstick="looks/s", yardstick_value=looks_per_s)
    figures.say("CPU: a look at the line", waiting.look_ms, "ms", yardstick="goal, ms", yardstick_value=0.2)
    for name, refusal_ms in waiting.refusals_ms.items():
        figures.say(f"CPU: {name}", refusal_ms, "ms", yardstick="goal, ms", yardstick_value=0.2)
    few = waiting.simulated[0]
    figures.note(f"a line of {few[0]:,} asks the origin {few[2]:.1f} times a second for the file")


def _show_storm(figures: Figures, storm: Storm) -> None:
    _show_came(figures, "retry storm", storm.day)
    for one in storm.outages:
        if one.away_per_s is not None:
            figures.say(
                f"while {one.name}", one.away_per_s, "stamps/s", yardstick="before", yardstick_value=one.before_per_s
            )
        if one.back_s is not None:
            away_s = max(1.0, one.found_s - one.lost_s)
            figures.say(f"back: {one.name}", one.back_s, "s", yardstick="away, s", yardstick_value=away_s)
        else:
            figures.note(f"back: {one.name}: not in the {one.watched_s:.0f} s that it was watched")
        before_ms, since_ms = one.beats_ms
        if before_ms:
            even = "not then" if one.back_even_s is None else f"{one.back_even_s:.1f} s"
            figures.note(f"back, as if the core were always as quick: {one.name}: {even}")
            figures.say(
                f"a beat of the core since: {one.name}", since_ms, "ms", yardstick="before", yardstick_value=before_ms
            )
        if one.remark:
            figures.note(f"{one.name}: {one.remark}")


def _show_came(figures: Figures, door: str, day: Day) -> None:
    """Who came in and what became of them, what went by slow lines, and what scripts were answered."""
    parts = zip(stays_of(day), slow_lines_of(day), scripts_of(day), strict=True)
    for place, (one, slow, answers) in enumerate(parts, 1):
        name = f"{door}, {place}: {one.phase.name}"
        _show_stays(figures, name, one)
        figures.say(
            f"{name}: bodies by slow lines", slow.at_once, "at once", yardstick="whole", yardstick_value=slow.documents
        )
        asked_per_s = sum(counts.total() for counts in answers.values()) / one.phase.seconds
        figures.say(
            f"{name}: scripts", asked_per_s, "requests/s", yardstick="people/s", yardstick_value=one.phase.people_per_s
        )
        for what, counts in answers.items():
            if counts:
                figures.note(f"{name}: {what} of a script: {', '.join(statuses(counts))}")


def _show_stays(figures: Figures, name: str, one: Stays) -> None:
    figures.say(f"{name}: got what they came for", one.done, "people", yardstick="came in", yardstick_value=one.came_in)
    figures.say(
        f"{name}: a whole stay, p99", one.stay_ms[1], "ms", yardstick="thinking", yardstick_value=one.thought_ms
    )
    if one.left:
        figures.note(f"{name}: left without: {', '.join(reasons(one.left))}")


def _show_costs(figures: Figures, costs_ms: dict[str, float]) -> None:
    """What a person costs each role: `emeterai plan --rates` reads these lines."""
    for role, cpu_ms in sorted(costs_ms.items(), key=lambda item: -item[1]):
        figures.say(
            f"CPU a person: {role}", cpu_ms, "ms", yardstick="all roles", yardstick_value=sum(costs_ms.values())
        )


def _show_phase(figures: Figures, name: str, one: Sums, first: Sums, capacity: float) -> None:
    figures.say(f"{name}: stamps", one.stamps_per_s, "/s", yardstick="closed loop", yardstick_value=capacity)
    for part, value, beside in zip(("p50", "p99", "p99.9"), one.stamp_ms, first.stamp_ms, strict=True):
        figures.say(f"{name}: a stamp, {part}", value, "ms", yardstick="at first", yardstick_value=beside)
    figures.say(
        f"{name}: partner, p99", one.partner_ms[1], "ms", yardstick="at first", yardstick_value=first.partner_ms[1]
    )
    for kind, share in one.classes.items():
        figures.say(f"{name}: {kind} served", share, "share", yardstick="all", yardstick_value=1.0)
    if one.refused:
        said = (f"{what} {status}: {count:,}" for (what, status), count in one.refused.most_common())
        figures.note(f"{name}: of finish not served: {', '.join(said)}")
    figures.say(f"{name}: by stays", one.stays_per_s, "people/s", yardstick="left/s", yardstick_value=one.done_per_s)
    if first.beat_ms:
        figures.say(
            f"{name}: a beat of the core", one.beat_ms, "ms", yardstick="at first", yardstick_value=first.beat_ms
        )
    figures.say(
        f"{name}: seconds not full, a line", one.idle_s, "s", yardstick="phase, s", yardstick_value=one.phase.seconds
    )
    for why, unused_s in one.unused_s.items():
        figures.say(
            f"{name}: core {why}, a line", unused_s, "core s", yardstick="phase, s", yardstick_value=one.phase.seconds
        )
    figures.say(f"{name}: in line", one.waiting, "people", yardstick="came/s", yardstick_value=one.came_per_s)
    figures.say(f"{name}: the crowd's own delay, p99", one.late_ms, "ms", yardstick="a second", yardstick_value=1e3)
