"""The report of `emeterai bench lastday`: one page of HTML that needs nothing beside it."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lastday_capacity import Capacity
from lastday_outages import Outage
from lastday_plots import Plot, Points
from lastday_promises import Promises
from lastday_slow import BREAKS, PACE_BYTES_PER_S
from lastday_stage import FILE_BYTES, SCRIPTS_EACH, Day
from lastday_stays import SCRIPTS
from lastday_sums import GOOD_SHARE, HOLE_S, HOLE_SHARE, Line, Sums, rates
from lastday_tables import phases_table, scripts_table, stays_table, wide
from lastday_ten import said_back, said_s, ten_figures

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}svg{width:100%;height:auto;border:1px solid #e3e3e3}
figure{margin:1rem 0}.plots{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr))}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;white-space:nowrap}
td,th{border-bottom:1px solid #ddd;padding:.25rem .6rem;text-align:right}td:first-child,th:first-child{text-align:left}
.goals td,.ten td,.outages td:nth-child(2),.outages td:last-child{white-space:normal;text-align:left}
.outages th{white-space:normal;vertical-align:bottom}.outages td:nth-child(2){min-width:9rem}
.outages td:last-child{min-width:16rem}.yes{color:#0b6b3a;font-weight:700}.no{color:#a3122a;font-weight:700}
.stays td{vertical-align:top}.ten th{text-align:left}.ten td{vertical-align:top}.ten td:nth-child(2){min-width:10rem}
.ten td:nth-child(n+3){min-width:13rem}"""


@dataclass(frozen=True)
class Waiting:
    """What waiting costs the origin: (waiting, looks of pages a second, requests for the now-serving file and for pages
    without a script at the origin a second), and processor time: of a look, and of one refusal of each kind, by name.
    """

    simulated: list[tuple[int, float, float, float]]
    look_ms: float
    refusals_ms: dict[str, float]


@dataclass(frozen=True)
class Goal:
    """One goal: what was wanted, what was found, and whether that is it."""

    wanted: str
    found: str
    kept: bool


@dataclass(frozen=True)
class Ramp:
    """The crowd at each multiple of the capacity. `off` is the same crowd with the door switched off."""

    seconds: float
    day: Day
    sums: list[Sums]
    line: Line
    recovered_s: float | None
    off_day: Day | None
    off: list[Sums]
    off_recovered_s: float | None
    waiting: Waiting


@dataclass(frozen=True)
class Storm:
    """What was lost under a retry storm. `in_token`: the seals of that day were signed by a PKCS#11 token."""

    day: Day
    outages: list[Outage]
    times: float
    """People came at this multiple of the capacity."""
    in_token: bool


@dataclass(frozen=True)
class Report:
    """Everything that the page shows. `ramp` None: only outages were asked for; `storm` None: none were."""

    parted: bool
    room: bool
    capacity: Capacity
    ramp: Ramp | None
    storm: Storm | None
    promises: Promises
    lags_ms: tuple[float, float]
    goals: list[Goal]


def write_report(folder: Path, report: Report) -> Path:
    """Write `report.html` and each plot into the folder; answers the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = plots_of(report)
    for name, plot in plots.items():
        (folder / f"{name}.svg").write_text(plot.svg() + "\n", encoding="utf-8")
    page = folder / "report.html"
    page.write_text(_page(report, plots), encoding="utf-8")
    return page


def plots_of(report: Report) -> dict[str, Plot]:
    """The pictures by name."""
    found = _ramp_plots(report.ramp, report.capacity) if report.ramp else {}
    if report.storm is not None:
        found["outages"] = Plot(
            "Stamps sealed in each second of a retry storm",
            "seconds; the numbers are those of the table",
            {"stamps": smoothed(rates(report.storm.day))},
            bands=_away(report.storm.outages),
        )
        found["outages-line"] = Plot(
            "People in line, and inside, in the retry storm",
            "seconds",
            _line_over_time(report.storm.day),
            bands=_away(report.storm.outages),
            log_y=True,
        )
    return found


def _ramp_plots(ramp: Ramp, capacity: Capacity) -> dict[str, Plot]:
    on, off = ramp.sums[:-1], ramp.off[:-1]
    bands = _bands(ramp.day)
    return {
        "goodput": Plot(
            "Stamps sealed a second, by offered load",
            "people who come, as a multiple of capacity",
            {"door on": [(one.phase.times, one.stamps_per_s) for one in on]}
            | ({"door off": [(one.phase.times, one.stamps_per_s) for one in off]} if off else {}),
            across={"closed loop, door off": capacity.closed_stamps_per_s},
            dots=True,
        ),
        "latency": Plot(
            "From asking for a stamp until it is sealed, ms",
            "people who come, as a multiple of capacity",
            _by_load("on", on) | (_by_load("off", off) if off else {}),
            log_y=True,
            dots=True,
        ),
        "timeline": Plot(
            "Stamps sealed in each second",
            "seconds",
            {"door on": smoothed(rates(ramp.day))}
            | ({"door off": smoothed(rates(ramp.off_day))} if ramp.off_day else {}),
            bands=bands,
        ),
        "line": Plot("People in line, and inside", "seconds", _line_over_time(ramp.day), bands=bands, log_y=True),
        "classes": Plot(
            "Requests of people inside that were served, %",
            "people who come, as a multiple of capacity",
            {name: [(one.phase.times, 100 * one.classes[name]) for one in on] for name in ("finish", "buy", "browse")},
            dots=True,
        ),
        "partner": Plot(
            "The partner's stamps, p99, ms",
            "people who come, as a multiple of capacity",
            {"door on": [(one.phase.times, one.partner_ms[1]) for one in on]}
            | ({"door off": [(one.phase.times, one.partner_ms[1]) for one in off]} if off else {}),
            log_y=True,
            dots=True,
        ),
        "million": Plot(
            "Requests a second while a million wait (simulated)",
            "people who wait",
            {
                "looks of all pages": [(float(one[0]), one[1]) for one in ramp.waiting.simulated],
                "origin: the file": [(float(one[0]), one[2]) for one in ramp.waiting.simulated],
                "origin: pages without a script": [(float(one[0]), one[3]) for one in ramp.waiting.simulated],
            },
            log_x=True,
            log_y=True,
            dots=True,
        ),
    }


def smoothed(values: list[float], over: int = 3) -> Points:
    """Seconds and their values, each the mean of a few."""
    return [(float(place), fmean(values[max(0, place - over + 1) : place + 1])) for place in range(len(values))]


def _bands(day: Day) -> list[tuple[float, float, str]]:
    return [
        (began_s - day.began_s, ended_s - day.began_s, f"{phase.times:g} x") for phase, began_s, ended_s in day.spans()
    ]


def _away(outages: list[Outage]) -> list[tuple[float, float, str]]:
    """Every second band is shaded: those in which something was away, by number."""
    found, free_from_s = [], 0.0
    for number, one in enumerate(outages, 1):
        until_s = max(one.found_s, one.lost_s + 1)
        found += [(free_from_s, one.lost_s, ""), (one.lost_s, until_s, str(number))]
        free_from_s = until_s
    return found


def _by_load(door: str, sums: Iterable[Sums]) -> dict[str, Points]:
    some = list(sums)
    return {
        f"p50, {door}": [(one.phase.times, one.stamp_ms[0]) for one in some],
        f"p99, {door}": [(one.phase.times, one.stamp_ms[1]) for one in some],
        f"p99.9, {door}": [(one.phase.times, one.stamp_ms[2]) for one in some],
    }


def _line_over_time(day: Day) -> dict[str, Points]:
    known = [(one.at_s - day.began_s, one.paces["retail"]) for one in day.samples if "retail" in one.paces]
    known = [(at_s, pace) for at_s, pace in known if at_s >= 0]
    return {
        name: [(at_s, max(1.0, float(pace.get(key, 0)))) for at_s, pace in known]
        for name, key in (("waiting", "waiting"), ("inside", "inside"), ("may be inside", "window"))
    }


def _page(report: Report, plots: dict[str, Plot]) -> str:
    figures = "".join(f"<figure>{plot.svg()}</figure>" for plot in plots.values())
    cores = (
        "The service (web, sealer, steward, PostgreSQL"
        + (", and the counter, which answers the partner" if report.room else "")
        + ") has one core, the crowd the other, with the payment sandbox"
        + (" and the room, the process that answers those outside." if report.room else ".")
        if report.parted
        else "Service and crowd share one core: the figures are the crowd's as much as the service's."
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>The last day</title>',
        f"<style>{_STYLE}</style></head><body><h1>The last day, as a benchmark</h1>",
        f"<p>{cores} {_what_is_once(report)}</p>",
        "<h2>The ten figures</h2>",
        wide(*ten_figures(report), "ten"),
        "<h2>Goals</h2>",
        _goals(report.goals),
        "<h2>The curves</h2>",
        f'<div class="plots">{figures}</div>',
        _ramp(report.ramp) if report.ramp else "",
        _storm(report.storm) if report.storm else "",
        "<h2>What was promised</h2>",
        _promises(report),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _what_is_once(report: Report) -> str:
    """What 1 x is, and what comes at multiples of it."""
    capacity, ramp, storm = report.capacity, report.ramp, report.storm
    said = (
        f"While twice as many come as a closed loop without the door gets through "
        f"({capacity.closed_people_per_s:.1f} people, {capacity.closed_stamps_per_s:.1f} stamps a second), the door "
        f"lets <b>{capacity.people_per_s:.1f} people</b> a second through to the end: that is 1 x."
        if capacity.closed_people_per_s
        else f"1 x was given: <b>{capacity.people_per_s:.1f} people</b> a second."
    )
    if ramp:
        said += f" An open crowd then comes at multiples of it, {ramp.seconds:g} s each, whether or not it is served."
    if storm:
        said += f" During the outages it comes at {storm.times:g} x."
    low, high = (f"{pace / 1e3:.0f}" for pace in PACE_BYTES_PER_S)
    return (
        f"{said} Within a phase people come at an even rate, and documents are of about "
        f"{round(FILE_BYTES, -4) / 1e3:.0f} KB; <code>emeterai bench plan</code> has the shape of a whole campaign. "
        f"Every tenth document comes by the line of a phone, {low} to {high} KB a second; {100 * BREAKS:.0f} % of them "
        f"break midway. {len(SCRIPTS)} scripts, each with an address of its own, hammer one endpoint each: "
        f"{SCRIPTS_EACH:g} requests of all together for each person who comes."
    )


def _goals(goals: list[Goal]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(goal.wanted)}</td><td>{html.escape(goal.found)}</td>"
        f'<td class="{"yes" if goal.kept else "no"}">{"kept" if goal.kept else "missed"}</td></tr>'
        for goal in goals
    )
    return f'<table class="goals"><tr><th>wanted</th><th>found</th><th></th></tr>{rows}</table>'


def _ramp(ramp: Ramp) -> str:
    parts = ["<h2>Each phase</h2><h3>Door on</h3>", phases_table(ramp.sums), _came(ramp.day)]
    if ramp.off_day:
        parts += ["<h3>Door off: the same crowd, the same service</h3>", phases_table(ramp.off), _came(ramp.off_day)]
    return "\n".join(parts)


def _came(day: Day) -> str:
    """What became of whoever came in, and what scripts were answered."""
    return (
        f"<p>Whoever came in, by the phase in which they did:</p>{stays_table(day)}"
        f"<p>The scripts, and how often each was answered what:</p>{scripts_table(day)}"
    )


def _storm(storm: Storm) -> str:
    back = (
        f"back for good after, at {100 * GOOD_SHARE:.0f} % of the mean before by what the core could do then "
        "(without those before which the last outage was not overcome), and no "
        f"{HOLE_S} s below {100 * HOLE_SHARE:.0f} % of it"
    )
    even = "the same, as if the core were always as quick"
    beats = "a beat of the core before, and while watched, ms"
    head = ("", "", "away", "stamps/s before", "stamps/s meanwhile", back, even, "watched", beats, "given back", "")
    rows = [
        (
            str(number),
            html.escape(one.name),
            "a moment" if one.away_per_s is None else f"{one.found_s - one.lost_s:.0f} s",
            f"{one.before_per_s:.1f}",
            "" if one.away_per_s is None else f"{one.away_per_s:.1f}",
            said_back(one),
            "no" if one.back_even_s is None else said_s(one.back_even_s),
            f"{one.watched_s:.0f} s",
            " / ".join(f"{took_ms:.2f}" for took_ms in one.beats_ms),
            f"{one.given_back:,}",
            html.escape(one.remark),
        )
        for number, one in enumerate(storm.outages, 1)
    ]
    return (
        "<h2>Outages, with half of all clients repeating within 0.3 s</h2>"
        f"<p>{_leaning(storm)}</p>{wide(head, rows, 'outages')}{_came(storm.day)}"
    )


def _leaning(storm: Storm) -> str:
    """What the service of this day leans on more than by default, and how each thing is lost."""
    key, lost = "signed in a PKCS#11 token (SoftHSM2) and ", "; the token is pulled out"
    return (
        f"Each seal of this day is {key if storm.in_token else ''}dated by a timestamp authority (RFC 3161), and "
        "every fifth person in line wants an e-mail. By default a service has its key in a file and neither of those, "
        "so a stamp of this day costs the sealer more. PostgreSQL, the payment sandbox, the authority and the mail "
        f"server stand still, the blob store answers with errors{lost if storm.in_token else ''}."
    )


def _promises(report: Report) -> str:
    found = report.promises
    faults = "".join(f"<li>{html.escape(fault[:300])}</li>" for fault in found.faults[:20])
    return (
        f"<p>{found.files} sealed files were fetched and compared, and <code>emeterai ledger check</code> was run; "
        f"{found.given_back:,} stamps were given back with their reasons{_raised(found)}.</p><ul>{faults}</ul>"
    )


def _raised(found: Promises) -> str:
    return f", and {found.raised:,} files have grown by a timestamp since they were told of" if found.raised else ""
