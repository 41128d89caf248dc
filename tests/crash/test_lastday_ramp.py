"""The report of the last day's crowd at its multiples: goals, the page with its ten figures, lines for programs."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from figures import Figures
from lastday_figures import goals_of, show
from lastday_outages import Outage
from lastday_page import Ramp, Report, Storm, Waiting, plots_of, write_report
from lastday_promises import Promises
from lastday_stage import Phase
from lastday_sums import Line, Sums
from made_days import day_with, report_with, stamps_of

from emeterai.plan import measured_costs_ms

COSTS_MS = {
    "web": 26.0,
    "web, its opener": 1.0,
    "postgres": 13.0,
    "sealer-1": 4.0,
    "sealer-2": 2.0,
    "room": 1.9,
    "steward": 0.6,
    "sandbox": 4.5,
}


REFUSALS_MS = {"pass_needed to a POST": 0.07, "service_crowded to a POST": 0.31, "part_resting to a GET": 0.033}


# ---- the goals


def sums_at(times: float, stamps_per_s: float) -> Sums:
    """A phase of which all but a few figures are of no importance."""
    return Sums(
        phase=Phase(f"{times:g} x", times, 60.0, 20.0 * times),
        came_per_s=20.0 * times,
        done_per_s=20.0,
        stays_per_s=20.0,
        stamps_per_s=stamps_per_s,
        stamp_ms=(50.0, 100.0, 150.0),
        inside_ms=(5.0, 10.0, 15.0),
        partner_ms=(50.0, 100.0, 150.0),
        partner_ok=1.0,
        classes={"finish": 1.0, "buy": 1.0, "browse": 1.0},
        refused=Counter(),
        waiting=0.0,
        looks_per_s=0.0,
        service_cpu=1.0,
        idle_s=0.0,
        unused_s={},
        person_cpu_ms=dict(COSTS_MS),
        beat_ms=0.0,
        late_ms=1.0,
    )


FIRST, LAST = sums_at(1.0, 20.0), sums_at(1.0, 20.0)
WORST = replace(
    sums_at(10.0, 19.0),
    stamp_ms=(80.0, 200.0, 1_234.0),
    partner_ms=(60.0, 120.0, 180.0),
    partner_ok=0.995,
    classes={"finish": 0.995, "buy": 0.9, "browse": 0.23},
)
"""At the very edge of every goal."""


def ramp_of(worst: Sums = WORST, recovered_s: float | None = 5.0, *, off: bool = False) -> Ramp:
    """The crowd at 1, 10 and 1 times the capacity."""
    day = day_with([one.phase for one in (FIRST, worst, LAST)], stamp=stamps_of([20] * 180))
    bad = replace(sums_at(10.0, 0.7), stamp_ms=(8_900.0, 69_000.0, 70_000.0), classes={"finish": 0.008, "browse": 0.1})
    return Ramp(
        seconds=60.0,
        day=day,
        sums=[FIRST, worst, LAST],
        line=Line(
            people=15_727,
            inversions=3,
            overtaken_ms=12.0,
            out_of_turn=17,
            passed_by=2,
            promised=15_001,
            kept=0.96,
            error=0.42,
            still_in_line=8_123,
        ),
        recovered_s=recovered_s,
        off_day=day if off else None,
        off=[FIRST, bad, LAST] if off else [],
        off_recovered_s=None,
        waiting=Waiting(
            [(100, 20.0, 5.0, 0.1), (10_000, 170.0, 38.0, 4.0), (1_000_000, 17_000.0, 40.0, 440.0)],
            0.018,
            dict(REFUSALS_MS),
        ),
    )


def storm_of(back_s: float | None = 12.0) -> Storm:
    """Two losses: one that is found again when it is said, one at once."""
    outages = [
        Outage("the key is <away>", 60.0, 120.0, 20.0, 0.0, back_s, 39),
        Outage("PostgreSQL is killed", 240.0, 240.0, 20.0, None, 6.5, 0),
    ]
    return Storm(day_with([Phase("the key", 2.0, 180.0, 40.0)]), outages, times=2.0, in_token=True)


def missed(ramp: Ramp | None, storm: Storm | None, promises: Promises) -> list[str]:
    """The goals that were not kept, by what was wanted."""
    return [goal.wanted for goal in goals_of(ramp, storm, promises) if not goal.kept]


def test_at_its_very_edge_every_goal_is_kept() -> None:
    """Seven of them; without outages six, of outages alone two."""
    assert [] == missed(ramp_of(), storm_of(), Promises())
    assert (7, 6, 2) == tuple(
        len(goals_of(ramp, storm, Promises()))
        for ramp, storm in ((ramp_of(), storm_of()), (ramp_of(), None), (None, storm_of()))
    )


@pytest.mark.parametrize(
    ("ramp", "storm", "promises", "wanted"),
    [
        (ramp_of(replace(WORST, stamps_per_s=18.9)), None, Promises(), "goodput at 10 x"),
        (ramp_of(replace(WORST, stamp_ms=(80.0, 201.0, 300.0))), None, Promises(), "admitted p99 at 10 x"),
        (ramp_of(replace(WORST, stamp_ms=(0.0, 0.0, 0.0))), None, Promises(), "admitted p99 at 10 x"),
        (ramp_of(replace(WORST, classes={"finish": 0.994, "browse": 1.0})), None, Promises(), "finish-class success"),
        (ramp_of(replace(WORST, partner_ms=(60.0, 121.0, 180.0))), None, Promises(), "the partner's p99"),
        (ramp_of(replace(WORST, partner_ok=0.99)), None, Promises(), "the partner's p99"),
        (ramp_of(recovered_s=5.25), None, Promises(), "recovered within 5 s"),
        (ramp_of(recovered_s=None), None, Promises(), "recovered within 5 s"),
        (None, storm_of(back_s=None), Promises(), "returns unaided"),
        (None, None, Promises(faults=["money was paid and is not quota"]), "zero lost"),
    ],
)
def test_just_beyond_its_edge_one_goal_is_missed(
    ramp: Ramp | None, storm: Storm | None, promises: Promises, wanted: str
) -> None:
    """And no other."""
    (one,) = missed(ramp, storm, promises)
    assert one.startswith(wanted)


def test_a_core_that_was_slower_is_named_but_is_no_excuse() -> None:
    """What it would have been is said; the goal is of what was."""
    slower = replace(WORST, stamps_per_s=18.0, beat_ms=2.2)
    sums = [replace(FIRST, beat_ms=2.0), slower, replace(LAST, beat_ms=2.0)]
    goodput = goals_of(replace(ramp_of(), sums=sums), None, Promises())[0]
    assert (False, "90.0 %; were the core always as quick: 99.0 %") == (goodput.kept, goodput.found)


# ---- the page


def ten_on(page: str) -> dict[int, list[str]]:
    """What the table of the ten figures has in each row, but for the figure's name."""
    table = page.partition('<table class="ten">')[2].partition("</table>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]
    return {int(row[0]): row[2:] for row in rows if row}


def full_report(*, off: bool = True) -> Report:
    """A report in which nothing is missing."""
    promises = Promises(stamps=34_454, orders=15_401, files=120, credit_ms=[100.0, 140.0])
    return report_with(ramp_of(off=off), storm_of(), promises, lags_ms=(2_000.0, 3_500.0))


def test_the_page_opens_with_the_ten_figures_door_on_beside_door_off(tmp_path: Path) -> None:
    """Each with what was found; what there is not without a door is said to be not there."""
    page = write_report(tmp_path, full_report()).read_text()
    ten = ten_on(page)
    none, unknown = "no line without a door", "not measured"
    assert {
        1: ["1 x: 20.0<br>10 x: 19.0<br>1 x: 20.0", "1 x: 20.0<br>10 x: 0.7<br>1 x: 20.0"],
        2: [
            "1 x: 50 / 100 / 150<br>10 x: 80 / 200 / 1,234",
            "1 x: 50 / 100 / 150<br>10 x: 8,900 / 69,000 / 70,000",
        ],
        4: ["finish: 99.50 %<br>browse at 10 x: 23 %", "finish: 0.80 %<br>browse at 10 x: 10 %"],
        5: [
            (
                "3 of 15,727 who came in by number<br>worst 12 ms<br>let in out of turn: 17 pairs, the higher turn"
                " called first, sooner than looking explains<br>2 people were passed by so"
                "<br>whoever had not come in when the day ended is in none of this"
            ),
            none,
        ],
        6: [
            (
                "42 %<br>96.0 % of the 15,001 waits that ended were each within its range, give or take 5 s"
                "<br>8,123 more were still in line at the end: whether their range holds is not known"
            ),
            none,
        ],
        7: ["5.0 s", "not in time"],
        8: ["the key is &lt;away&gt;: 12.0 s<br>PostgreSQL is killed: 6.5 s", unknown],
        9: ["34,454 stamps and 15,401 paid orders looked up<br>0 faults", unknown],
    } == {number: cells for number, cells in ten.items() if number not in {3, 10}}
    for words in ("0.018 ms", "5.0 with 100, 40.0 with 1,000,000", "0.1 with 100, 440.0 with 1,000,000"):
        assert words in ten[3][0]
    assert [
        "a refusal 0.310 ms of processor time, the dearest: service_crowded to a POST",
        "a refusal 0.070 ms of processor time: pass_needed to a POST",
        "a refusal 0.033 ms of processor time: part_resting to a GET",
    ] == ten[3][0].split("<br>")[3:]
    for words in ("120 ms on average", "2,000 / 3,500 ms"):
        assert words in ten[10][0]
    assert [none, unknown] == [ten[3][1], ten[10][1]]
    assert page.index('class="ten"') < page.index("<h2>Goals</h2>")
    assert "Return after each loss (60 s; PostgreSQL is killed: a moment)" in page


def test_no_figure_is_told_twice_in_words(tmp_path: Path) -> None:
    """What the table says is not said again below it; how the crowd comes is."""
    page = write_report(tmp_path, full_report()).read_text()
    for words in ("15,727", "34,454", "0.018 ms", "0.2 to 2 s late", "at an even rate", "about 100 KB"):
        assert 1 == page.count(words)
    assert "half of all clients repeating within 0.3 s" in page


def test_with_the_door_off_not_run_there_is_one_column_and_nothing_of_a_storm(tmp_path: Path) -> None:
    """All ten are there; the eighth is not measured, nor the tenth where nobody bought."""
    ten = ten_on(write_report(tmp_path, report_with(ramp_of())).read_text())
    assert list(range(1, 11)) == list(ten)
    assert {1} == {len(cells) for cells in ten.values()}
    assert [["not measured"]] * 2 == [ten[8], ten[10]]


def test_of_outages_alone_there_are_the_figures_that_they_have(tmp_path: Path) -> None:
    """The return, the promises and the money."""
    report = replace(full_report(), ramp=None)
    ten = ten_on(write_report(tmp_path, report).read_text())
    assert [8, 9, 10] == list(ten)
    assert ["the key is &lt;away&gt;: 12.0 s<br>PostgreSQL is killed: 6.5 s"] == ten[8]


def test_the_picture_of_latency_has_the_slowest_thousandth() -> None:
    """By load, the last phase left out: it is 1 x again."""
    lines = plots_of(full_report())["latency"].lines
    assert [(1.0, 150.0), (10.0, 1_234.0)] == lines["p99.9, on"]
    assert [(1.0, 150.0), (10.0, 70_000.0)] == lines["p99.9, off"]


# ---- the lines of figures


def said(lines: Iterable[str]) -> dict[str, float]:
    """The figures by name."""
    return {figure["name"]: figure["value"] for figure in map(json.loads, lines)}


def test_the_planner_reads_what_a_person_costs_out_of_the_lines(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of each role, its opener and its fellows with it, whatever else is said."""
    show(Figures(as_json=True), full_report())
    day, stamps = tmp_path / "day", tmp_path / "stamps"
    day.write_text(capsys.readouterr().out)
    stamps.write_text("\n".join(json.dumps({"name": f"CPU a stamp: {role}", "value": 1}) for role in COSTS_MS))
    person_ms, _ = measured_costs_ms(day, stamps)
    assert {"web": 27.0, "room": 1.9, "sealer": 6.0, "database": 13.0, "steward": 0.6} == pytest.approx(person_ms)


def test_the_lines_have_every_figure_that_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """With the door on and off; what did not come back has no seconds."""
    show(Figures(as_json=True), full_report())
    found = said(capsys.readouterr().out.splitlines())
    for name, value in {
        "door on, 2: 10 x: stamps": 19.0,
        "door off, 2: 10 x: stamps": 0.7,
        "door on, 2: 10 x: a stamp, p99.9": 1_234.0,
        "door on, 2: 10 x: browse served": 0.23,
        "inversions": 3.0,
        "let in out of turn": 17.0,
        "in line at the end": 8_123.0,
        "error of the estimate, median": 0.42,
        "recovered, door on": 5.0,
        "origin, the file, 1,000,000 waiting": 40.0,
        "origin, pages without a script, 1,000,000 waiting": 440.0,
        "CPU: service_crowded to a POST": 0.31,
        "back: PostgreSQL is killed": 6.5,
        "provider's word to quota": 120.0,
        "money to quota, p99": 3_500.0,
        "lost or untrue": 0.0,
    }.items():
        assert value == found[name]
    assert "recovered, door off" not in found
