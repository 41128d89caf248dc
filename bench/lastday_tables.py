"""The tables of the last day's report: each phase in numbers, who came in and what became of them, and the scripts."""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from lastday_stage import Day
from lastday_stays import UNHEARD, SlowLines, Stays, scripts_of, slow_lines_of, stays_of
from lastday_sums import Sums
from lastday_ten import said_ms

_WHY = {
    "gone": "were inside when the day was over",
    "no answer": "asked in vain for a minute",
    "not paid": "could not pay before the day was over",
    "pass_needed": "had a pass that had ended",
    UNHEARD: "were not heard of any more",
}
"""Reasons that are no refusal's code, in words."""


def wide(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """A table that is scrolled where the screen is narrow; cells are HTML."""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    return f'<div class="wide"><table class="{style}"><tr>{heads}</tr>{body}</table></div>'


def phases_table(sums: Iterable[Sums]) -> str:
    """Each phase in numbers."""
    head = (
        "load",
        "came/s",
        "finished/s",
        "by stays/s",
        "stamps/s",
        "stamp p50 / p99 / p99.9, ms",
        "request p50 / p99 / p99.9, ms",
        "partner p50 / p99, ms",
        "finish, buy, browse served",
        "in line",
        "looks/s each",
        "service, cores",
        "seconds not full with a line",
        "core-seconds unused then: idle, disk, taken away",
        "a beat of the core, ms",
        "ms of processor a person: web, database, sealer",
        "crowd late p99, ms",
    )
    rows = [
        f"{one.phase.times:g} x|{one.came_per_s:.1f}|{one.done_per_s:.1f}|{one.stays_per_s:.1f}|{one.stamps_per_s:.1f}|"
        f"{said_ms(*one.stamp_ms)}|{said_ms(*one.inside_ms)}|{said_ms(*one.partner_ms[:2])}|"
        f"{' '.join(f'{100 * share:.1f} %' for share in one.classes.values())}|{one.waiting:,.0f}|"
        f"{one.looks_per_s:.3f}|{one.service_cpu:.2f}|{one.idle_s:.0f}|"
        f"{', '.join(f'{seconds:.1f}' for seconds in one.unused_s.values())}|{one.beat_ms:.2f}|{_costs(one)}|"
        f"{one.late_ms:.0f}".split("|")
        for one in sums
    ]
    return wide(head, rows)


def _costs(one: Sums) -> str:
    found = defaultdict[str, float](float)
    for role, cost_ms in one.person_cpu_ms.items():
        found[role.partition(",")[0].partition("-")[0]] += cost_ms
    return ", ".join(f"{found[role]:.0f}" for role in ("web", "postgres", "sealer"))


def stays_table(day: Day) -> str:
    """Who came in, what became of them, and what went by slow lines."""
    head = (
        "",
        "came in",
        "got what they came for",
        "left without it",
        "walked in and were sent to the line",
        "a whole stay p50 / p99, s",
        "thinking in the slowest hundredth, s",
        "by lines of phones: bodies at once",
        "of them broke",
        "documents that arrived",
    )
    rows = [_stays_row(one, slow) for one, slow in zip(stays_of(day), slow_lines_of(day), strict=True)]
    return wide(head, rows, "stays")


def _stays_row(one: Stays, slow: SlowLines) -> Sequence[str]:
    share = f" ({100 * one.done / one.came_in:.1f} %)" if one.came_in else ""
    return (
        html.escape(one.phase.name),
        f"{one.came_in:,}",
        f"{one.done:,}{share}",
        "<br>".join(map(html.escape, reasons(one.left))),
        f"{one.to_line:,}",
        " / ".join(f"{ms / 1e3:.1f}" for ms in one.stay_ms),
        f"{one.thought_ms / 1e3:.1f}",
        f"{slow.at_once:.1f}",
        f"{slow.broke:,}",
        f"{slow.documents:,}",
    )


def reasons(left: Mapping[str, int]) -> list[str]:
    """How many left, and why, in words."""
    return [f"{count:,} {_WHY.get(reason, reason)}" for reason, count in left.items()]


def scripts_table(day: Day) -> str:
    """What the scripts asked in each phase, and how each was answered."""
    found = scripts_of(day)
    head = ("", "requests/s of all", *(html.escape(what) for what in next(iter(found), {})))
    rows = [
        (
            html.escape(phase.name),
            f"{sum(counts.total() for counts in answers.values()) / phase.seconds:.1f}",
            *("<br>".join(statuses(counts)) for counts in answers.values()),
        )
        for phase, answers in zip(day.phases, found, strict=True)
    ]
    return wide(head, rows, "stays")


def statuses(counts: Counter[int]) -> list[str]:
    """How often each status was answered, the most frequent first."""
    return [f"{status or 'no answer'}: {count:,}" for status, count in counts.most_common()]
