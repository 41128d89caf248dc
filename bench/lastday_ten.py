"""The ten figures of the last day in one table: with the door on and, beside it, with the door off."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from lastday_promises import Promises
from lastday_stage import Day
from lastday_stays import Stays, stays_of
from lastday_sums import GOOD_SHARE, HOLE_S, HOLE_SHARE, TOLERANCE_S, Line, Spread, Sums

if TYPE_CHECKING:
    from lastday_outages import Outage
    from lastday_page import Ramp, Report, Storm

Lines = list[str]
_Figure = tuple[int, str, Lines, Lines]
"""Its number and name, and what was found with the door on and off."""
_NO_LINE, _NOT_MEASURED = ["no line without a door"], ["not measured"]


def ten_figures(report: Report) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table, in HTML. Where only outages were asked for, it has what they tell."""
    ramp = report.ramp
    figures = [*(_of_crowd(ramp) if ramp else []), *_of_promises(report)]
    doors = 2 if ramp and ramp.off else 1
    rows = [[str(number), html.escape(name), *map(_cell, found[:doors])] for number, name, *found in figures]
    return ["", "", *("door on", "door off, the same crowd")[:doors]], rows


def worst_of(sums: Iterable[Sums]) -> Sums:
    """The phase in which most people came."""
    return max(sums, key=lambda one: one.phase.times)


def finish_share(sums: Iterable[Sums]) -> float:
    """The least part of finishing requests that were served in any phase."""
    return min(one.classes["finish"] for one in sums)


def said_s(seconds: float | None) -> str:
    """Seconds, or that it did not come back."""
    return "not in time" if seconds is None else f"{seconds:.1f} s"


def said_back(one: Outage) -> str:
    """After how long goodput was back, or for how long that was looked for in vain."""
    return f"not in the {one.watched_s:.0f} s until the next" if one.back_s is None else said_s(one.back_s)


def said_ms(*values: float) -> str:
    """Milliseconds beside each other."""
    return " / ".join(f"{value:,.0f}" for value in values)


def _cell(lines: Lines) -> str:
    return "<br>".join(map(html.escape, lines))


def _of_crowd(ramp: Ramp) -> list[_Figure]:
    """The first seven: what the crowd at its multiples shows."""

    def each(found: Callable[[list[Sums]], Lines]) -> tuple[Lines, Lines]:
        return found(ramp.sums), found(ramp.off) if ramp.off else []

    return [
        (1, "Goodput: stamps a second at each multiple", *each(_goodput)),
        (
            2,
            "From asking for a stamp until it is sealed, of those inside: p50 / p99 / p99.9, ms; who was served",
            [*_stamp_ms(ramp.sums), *_admitted(ramp.day)],
            [*_stamp_ms(ramp.off), *_admitted(ramp.off_day)] if ramp.off and ramp.off_day else [],
        ),
        (3, "What waiting and refusing cost the origin", _cost_of_waiting(ramp), _NO_LINE),
        (4, "Finishing requests that were served, at the least, while browsing is cut", *each(_classes)),
        (
            5,
            "Unfairness: people who had their number before somebody with a lower one asked; let in out of turn",
            _unfairness(ramp.line),
            _NO_LINE,
        ),
        (
            6,
            "Error of the estimated wait: of its middle, median, as a part of the wait, where that was 10 s or more",
            _estimates(ramp.line),
            _NO_LINE,
        ),
        (
            7,
            _after_the_surge(),
            [said_s(ramp.recovered_s)],
            [said_s(ramp.off_recovered_s)],
        ),
    ]


def _unfairness(line: Line) -> Lines:
    return [
        f"{line.inversions:,} of {line.people:,} who came in by number",
        f"worst {line.overtaken_ms:,.0f} ms",
        f"let in out of turn: {line.out_of_turn:,} pairs, the higher turn called first, sooner than looking explains",
        f"{line.passed_by:,} people were passed by so",
        "whoever had not come in when the day ended is in none of this",
    ]


def _estimates(line: Line) -> Lines:
    within = f"within its range, give or take {TOLERANCE_S:g} s"
    return [
        f"{100 * line.error:.0f} %",
        f"{100 * line.kept:.1f} % of the {line.promised:,} waits that ended were each {within}",
        f"{line.still_in_line:,} more were still in line at the end: whether their range holds is not known",
    ]


def _after_the_surge() -> str:
    good, hole = f"{100 * GOOD_SHARE:.0f} % of that before it", f"{HOLE_S} s below {100 * HOLE_SHARE:.0f} % of it"
    return f"After the surge, until goodput was for good at {good}, and no {hole}"


def _goodput(sums: list[Sums]) -> Lines:
    return [f"{one.phase.times:g} x: {one.stamps_per_s:.1f}" for one in sums]


def _stamp_ms(sums: list[Sums]) -> Lines:
    first, worst = sums[0], worst_of(sums)
    return [_at(one, one.stamp_ms) for one in ([first] if worst is first else [first, worst])]


def _admitted(day: Day) -> Lines:
    """At first and at the worst, as with the stamps; nothing of a day on which nobody was heard to come in."""
    stays = stays_of(day)
    if not any(one.came_in for one in stays):
        return []
    first, worst = stays[0], max(stays, key=lambda one: one.phase.times)
    return [_of_stays(one) for one in ([first] if worst is first else [first, worst])]


def _of_stays(one: Stays) -> str:
    if not one.came_in:
        return f"{one.phase.times:g} x: nobody came in"
    share = f"{100 * one.done / one.came_in:.1f} % of the {one.came_in:,} who came in got what they came for"
    p99_s, thought_s = one.stay_ms[1] / 1e3, one.thought_ms / 1e3
    took = f", p99 in {p99_s:.1f} s, of which they thought {thought_s:.1f} s" if one.done else ""
    return f"{one.phase.times:g} x: {share}{took}"


def _at(one: Sums, spread: Spread) -> str:
    return f"{one.phase.times:g} x: {said_ms(*spread)}"


def _cost_of_waiting(ramp: Ramp) -> Lines:
    waiting = ramp.waiting
    asked, pages = (
        [f"{one[which]:.1f} with {one[0]:,}" for one in (waiting.simulated[0], waiting.simulated[-1])]
        for which in (2, 3)
    )
    return [
        f"a look at the line {waiting.look_ms:.3f} ms of processor time",
        f"requests/s for the now-serving file while people wait (simulated): {', '.join(asked)}",
        f"for pages without a script, of two in a hundred: {', '.join(pages)}",
        *_cost_of_refusing(waiting.refusals_ms),
    ]


def _cost_of_refusing(refusals_ms: dict[str, float]) -> Lines:
    """The dearest first."""
    dearest = sorted(refusals_ms.items(), key=lambda item: -item[1])
    return [
        f"a refusal {cost_ms:.3f} ms of processor time{', the dearest' if not place else ''}: {name}"
        for place, (name, cost_ms) in enumerate(dearest)
    ]


def _classes(sums: list[Sums]) -> Lines:
    worst = worst_of(sums)
    browse = f"browse at {worst.phase.times:g} x: {100 * worst.classes['browse']:.0f} %"
    return [f"finish: {100 * finish_share(sums):.2f} %", browse]


def _of_promises(report: Report) -> list[_Figure]:
    """The last three: what outages, the audit and the money show, with the door on only."""
    storm, found = report.storm, report.promises
    away = _lost_for(storm.outages) if storm and storm.outages else ""
    told = f"{found.stamps:,} stamps and {found.orders:,} paid orders looked up"
    return [
        (8, f"Return after each loss{away}, under a retry storm", _returns(storm), _NOT_MEASURED),
        (9, "Conservation: what somebody was told of", [told, f"{len(found.faults):,} faults"], _NOT_MEASURED),
        (10, "From money to quota", _money(found, report.lags_ms), _NOT_MEASURED),
    ]


def _lost_for(outages: Sequence[Outage]) -> str:
    long_s = max(one.found_s - one.lost_s for one in outages)
    moments = [one.name for one in outages if one.away_per_s is None]
    return f" ({long_s:.0f} s{''.join(f'; {name}: a moment' for name in moments)})"


def _returns(storm: Storm | None) -> Lines:
    return [f"{one.name}: {said_back(one)}" for one in storm.outages] if storm else _NOT_MEASURED


def _money(found: Promises, lags_ms: tuple[float, float]) -> Lines:
    if not found.credit_ms:
        return _NOT_MEASURED
    return [
        f"from the provider's word {fmean(found.credit_ms):,.0f} ms on average",
        f"from payment until the buyer sees it, p50 / p99, {said_ms(*lags_ms)} ms",
        "(the provider tells 0.2 to 2 s late, and everything twice)",
    ]
