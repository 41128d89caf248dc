"""What became of whoever came in on a last day, of what went by slow lines, and what the scripts were answered."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from figures import Figures
from lastday_ears import Event
from lastday_figures import show
from lastday_outages import Outage
from lastday_page import Ramp, Storm, Waiting, write_report
from lastday_slow import Carried
from lastday_stage import Day, Phase
from lastday_stays import SCRIPTS, UNHEARD, SlowLines, scripts_of, slow_lines_of, stays_of
from lastday_sums import Line, sums_of
from made_days import BEGAN_S, day_with, moment_ms, report_with

CROWD_JS = Path(__file__).parents[2] / "bench" / "lastday_scripts.js"


def entered(at_s: float, by_pass: int = 1) -> Event:
    """Somebody comes in."""
    return [moment_ms(at_s), by_pass]


def left(came_s: float, stay_s: float, why: str = "done", *, by_pass: int = 1, thought_s: float = 0.0) -> Event:
    """The same leaves."""
    return [moment_ms(came_s + stay_s), 1000 * stay_s, int(why == "done"), why, 7, by_pass, 1000 * thought_s]


def day_of_stays() -> Day:
    """Ten seconds in which two hundred come in and are served, ten in which seven come in and most are not."""
    quick = [left(one / 20, 1 + one / 100, thought_s=one / 200) for one in range(200)]
    come = [(11, "done"), (12, "service_crowded"), (13, "service_crowded"), (14, "no answer"), (15, "pass_needed")]
    slow = [left(at_s, 20.0, why, thought_s=3.0) for at_s, why in come]
    turned_back = [left(at_s, 0.5, "pass_needed", by_pass=0) for at_s in (16, 17)]
    never_left = [entered(18), entered(19)]
    ins = [[one[0] - one[1], one[5]] for one in (*quick, *slow, *turned_back)]
    day = day_with(
        [Phase("1 x", 1.0, 10.0, 20.0), Phase("10 x", 10.0, 10.0, 200.0)],
        enter=[*ins, *never_left],
        out=[*quick, *slow, *turned_back],
        phone=[[moment_ms(3)], [moment_ms(9)], [moment_ms(25)]],
    )
    day.carried += [
        Carried(BEGAN_S + 2, BEGAN_S + 5, 98_500, broke=False),
        Carried(BEGAN_S + 8, BEGAN_S + 12, 60_000, broke=True),
        Carried(BEGAN_S - 3, BEGAN_S + 1, 98_500, broke=False),
    ]
    for at_s, what, status, count in (
        (1, "script-orders", 401, 30),
        (2, "script-orders", 503, 20),
        (2, "script-sessions", 429, 9),
        (3, "look", 200, 5_000),
        (12, "script-orders", 503, 300),
        (13, "script-orders", 0, 2),
        (14, "script-giliran", 200, 98),
    ):
        day.heard.counts[int(BEGAN_S) + at_s, what, status] = count
    return day


# ---- the sums


def test_everybody_counts_in_the_phase_in_which_they_came_in() -> None:
    """Who stays for long leaves in another one, or after the end; who was not heard of any more has left, too."""
    first, second = stays_of(day_of_stays())
    assert (200, 200, {}, 0) == (first.came_in, first.done, first.left, first.to_line)
    assert (7, 1) == (second.came_in, second.done)
    assert {"service_crowded": 2, UNHEARD: 2, "no answer": 1, "pass_needed": 1} == second.left
    assert second.came_in == second.done + sum(second.left.values())


def test_who_walked_in_and_was_sent_to_the_line_has_not_come_in() -> None:
    """Whose pass has ended inside has, and leaves for that reason."""
    second = stays_of(day_of_stays())[1]
    assert (2, 1) == (second.to_line, second.left["pass_needed"])


def test_a_whole_stay_is_of_those_who_were_served_and_what_they_thought_is_of_the_slowest() -> None:
    """Of two hundred, the two slowest."""
    first, second = stays_of(day_of_stays())
    assert (2_000.0, 2_980.0) == pytest.approx(first.stay_ms)
    assert 992.5 == pytest.approx(first.thought_ms)
    assert (20_000.0, 20_000.0, 3_000.0) == pytest.approx((*second.stay_ms, second.thought_ms))


def test_a_day_on_which_nobody_comes_in_has_no_stays() -> None:
    """Nothing is divided by nobody."""
    (one,) = stays_of(day_with([Phase("1 x", 1.0, 10.0, 20.0)]))
    assert (0, 0, {}, (0.0, 0.0), 0.0) == (one.came_in, one.done, one.left, one.stay_ms, one.thought_ms)


def test_a_body_counts_in_every_phase_in_which_it_was_on_its_way() -> None:
    """For the part of it that it was; it breaks in one, and its document arrives in one."""
    assert [SlowLines(0.6, 0, 2), SlowLines(0.2, 1, 0)] == [
        replace(one, at_once=round(one.at_once, 6)) for one in slow_lines_of(day_of_stays())
    ]


def test_scripts_are_told_apart_by_what_they_hammer() -> None:
    """Looks are of people."""
    orders, sessions, stamps, turn = SCRIPTS.values()
    first, second = scripts_of(day_of_stays())
    in_first = {orders: Counter({401: 30, 503: 20}), sessions: Counter({429: 9}), stamps: Counter(), turn: Counter()}
    assert in_first == first
    assert {orders: Counter({503: 300, 0: 2}), turn: Counter({200: 98})} == {k: v for k, v in second.items() if v}


def test_every_script_of_the_crowd_has_its_name_in_the_report() -> None:
    """In the order in which the crowd has them."""
    names = re.findall(r"^  \['(\w+)', \(\) =>", CROWD_JS.read_text(encoding="utf-8"), re.MULTILINE)
    assert list(SCRIPTS) == names


def test_how_slow_a_phone_is_counts_as_no_request_of_the_service() -> None:
    """That it was answered does."""
    phases = [Phase("1 x", 1.0, 10.0, 20.0)]
    quick = [[moment_ms(1), "buy", "piece", 204, 10, 1]] * 9
    slow = [[moment_ms(2), "buy", "phone", 204, 5_000, 1], [moment_ms(3), "buy", "phone", 503, 4_000, 1]]
    (one,) = sums_of(day_with(phases, r=[*quick, *slow, [moment_ms(4), "broken", "phone", 0, 3_000, 1]]))
    assert (10, 10, 10) == one.inside_ms
    assert 10 / 11 == pytest.approx(one.classes["buy"])


# ---- the report


def ramp_of_stays(*, off: bool = True) -> Ramp:
    """A ramp of which nothing else is of importance."""
    day = day_of_stays()
    line = Line(0, 0, 0.0, 0, 0, 0, 1.0, 0.0, 0)
    waiting = Waiting([(100, 1.0, 1.0, 0.1)], 0.1, {})
    return Ramp(10.0, day, sums_of(day), line, None, day if off else None, sums_of(day) if off else [], None, waiting)


def rows_of(page: str) -> list[list[str]]:
    """The rows of the tables of stays, slow lines and scripts."""
    tables = [part.partition("</table>")[0] for part in page.split('<table class="stays">')[1:]]
    return [re.findall(r"<td>(.*?)</td>", row) for table in tables for row in re.findall(r"<tr>(<td>.*?)</tr>", table)]


def test_the_page_says_who_came_in_and_why_some_left(tmp_path: Path) -> None:
    """With the door on and off, in words; and what each script was answered."""
    page = write_report(tmp_path, report_with(ramp_of_stays())).read_text()
    rows = rows_of(page)
    why = "2 service_crowded, 2 were not heard of any more, 1 asked in vain for a minute, 1 had a pass that had ended"
    assert [
        ["1 x", "200", "200 (100.0 %)", "", "0", "2.0 / 3.0", "1.0", "0.6", "0", "2"],
        ["10 x", "7", "1 (14.3 %)", why.replace(", ", "<br>"), "2", "20.0 / 20.0", "3.0", "0.2", "1", "0"],
        ["1 x", "5.9", "401: 30<br>503: 20", "429: 9", "", ""],
        ["10 x", "40.0", "503: 300<br>no answer: 2", "", "", "200: 98"],
    ] == rows[:4]
    assert rows[:4] == rows[4:]
    assert "GET /gate/retail/giliran" in page


def test_the_second_figure_says_how_many_got_what_they_came_for(tmp_path: Path) -> None:
    """At first and when most came, beside the stamps."""
    page = write_report(tmp_path, report_with(ramp_of_stays(off=False))).read_text()
    for words in (
        "1 x: 100.0 % of the 200 who came in got what they came for, p99 in 3.0 s, of which they thought 1.0 s",
        "10 x: 14.3 % of the 7 who came in got what they came for, p99 in 20.0 s, of which they thought 3.0 s",
    ):
        assert 1 == page.count(words)


def test_outages_tell_of_stays_and_scripts_too(tmp_path: Path) -> None:
    """Each phase by the name of what was lost in it."""
    day = day_of_stays()
    day.phases[0] = replace(day.phases[0], name="the <key>")
    storm = Storm(day, [Outage("the <key>", 1.0, 2.0, 1.0, 0.0, 1.0, 0)], 2.0, in_token=False)
    rows = rows_of(write_report(tmp_path, report_with(storm=storm)).read_text())
    assert ["the &lt;key&gt;", "10 x"] * 2 == [row[0] for row in rows]


def test_the_lines_say_who_came_in_and_what_scripts_were_answered(capsys: pytest.CaptureFixture[str]) -> None:
    """For people, with every reason."""
    show(Figures(as_json=False), report_with(ramp_of_stays(off=False)))
    said = capsys.readouterr().out
    for words in (
        "door on, 2: 10 x: got what they came for ",
        "door on, 2: 10 x: left without: 2 service_crowded, 2 were not heard of any more, 1 asked in vain for a minute",
        "door on, 1: 1 x: POST /v1/orders of a script: 401: 30, 503: 20",
        "door on, 1: 1 x: bodies by slow lines ",
        "door on, 1: 1 x: scripts ",
    ):
        assert 1 == said.count(words)
