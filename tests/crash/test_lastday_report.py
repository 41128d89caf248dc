"""The report of the last day's outages: what is counted as lost, as given back, and as back for good."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from lastday_outages import Outage, Rhythm, outages_of
from lastday_page import Storm, write_report
from lastday_promises import Promises
from lastday_stage import Day, Phase
from made_days import day_with, report_with, stamp_at, stamps_of

RHYTHM = Rhythm(10.0, warm_s=30.0, back_s=20.0)
PER_S = 10


def day_of(stamps_per_s: list[int], names: list[str], given_back_at: list[float]) -> Day:
    """A day on which so many stamps were sealed in each second, and somebody was told that a unit is back."""
    given_back = [stamp_at(at_s, "given_back") for at_s in given_back_at]
    phases = [Phase(name, 2.0, RHYTHM.round_s, 1.0) for name in names]
    return day_with(phases, stamp=[*stamps_of(stamps_per_s), *given_back])


def away(*, meanwhile: int, slow_s: int = 0) -> list[int]:
    """The stamps of each second of one round: as usual, meanwhile, slowly for some seconds, as usual again."""
    warm, lost = [PER_S] * int(RHYTHM.warm_s), [meanwhile] * int(RHYTHM.away_s)
    return [*warm, *lost, *[PER_S // 2] * slow_s, *[PER_S] * (int(RHYTHM.back_s) - slow_s)]


def test_each_outage_has_its_goodput_before_and_meanwhile_and_its_return() -> None:
    """One that nobody notices is back at once; one that stops all is back when goodput is, for all the rest."""
    day = day_of([*away(meanwhile=0, slow_s=6), *away(meanwhile=PER_S)], ["the key", "the mail"], [35.0, 61.0, 95.0])
    key, mail = outages_of(day, RHYTHM)
    assert (PER_S, 0.0, 2) == (key.before_per_s, key.away_per_s, key.given_back)
    assert (PER_S, PER_S, 1, 0.0) == (mail.before_per_s, mail.away_per_s, mail.given_back, mail.back_s)
    assert (30.0, 40.0, 90.0, 100.0) == (key.lost_s, key.found_s, mail.lost_s, mail.found_s)
    assert key.back_s is not None
    assert 4.0 <= key.back_s <= 6.0


def test_what_does_not_come_back_is_said_so() -> None:
    """Half of the goodput for all the rest is not back."""
    (one,) = outages_of(day_of(away(meanwhile=0, slow_s=int(RHYTHM.back_s)), ["the key"], []), RHYTHM)
    assert one.back_s is None


def test_what_was_slow_before_is_not_back_when_it_is_as_slow_again() -> None:
    """Where one outage was not overcome the next one is not back because it found the service as slow as it left it.
    The first had not come back for good either: half of the goodput went again before the next one did.
    """
    slow = [PER_S // 2] * int(RHYTHM.round_s)
    first, second = outages_of(day_of([*away(meanwhile=0), *slow], ["the key", "the mail"], []), RHYTHM)
    assert (PER_S, PER_S / 2) == (first.before_per_s, second.before_per_s)
    assert (None, None) == (first.back_s, second.back_s)


def test_each_is_watched_until_the_next_one_goes() -> None:
    """So goodput that is back after the minute of its own is back, and the day's end ends the last. What a beat of the
    core cost before and since stands beside.
    """
    late = [PER_S // 2] * 5 + [PER_S] * 25
    seconds = [*away(meanwhile=0, slow_s=20), *late, *[0] * 10, *[PER_S] * 20]
    day = day_of(seconds, ["the key", "the mail"], [])
    day.beats = [(day.began_s + 5.0, 2.0), (day.began_s + 35.0, 9.0), (day.began_s + 85.0, 3.0)]
    key, mail = outages_of(day, RHYTHM)
    assert (50.0, 20.0) == (key.watched_s, mail.watched_s)
    assert ((2.0, 3.0), (3.0, 0.0)) == (key.beats_ms, mail.beats_ms)
    assert key.back_s is not None
    assert 20.0 < key.back_s <= 25.0


def test_what_was_slow_because_of_the_last_outage_lowers_no_bar() -> None:
    """After two of five outages all goes at half the pace until the next but one: the next of each is left out of what
    is usual, so that 8.5 of 10 is not back.
    """
    still_slow = [PER_S // 2] * int(RHYTHM.round_s)
    nearly = [*[PER_S] * 30, *[0] * 10, *([8, 9] * 10)]
    rounds = [away(meanwhile=0, slow_s=20), still_slow, away(meanwhile=0, slow_s=20), still_slow, away(meanwhile=0)]
    names = ["the key", "the blobs", "the mail", "the bank", "the provider", "the stamps"]
    day = day_of([one for part in (*rounds, nearly) for one in part], names, [])
    found = outages_of(day, RHYTHM)
    assert [True, False, True, False, False, True] == [one.back_s is None for one in found]
    assert [PER_S, PER_S / 2] * 2 + [PER_S] * 2 == [one.before_per_s for one in found]


def test_a_core_that_has_become_slower_is_not_held_against_the_return() -> None:
    """A fifth less is sealed, and a beat takes a quarter more: as good as it can be, but not by an even bar."""
    slower = [PER_S] * 30 + [0] * 10 + [PER_S * 4 // 5] * 20
    day = day_of([*away(meanwhile=0), *slower], ["the key", "the mail"], [])
    day.beats = [(day.began_s + at_s, 2.5 if at_s > 100 else 2.0) for at_s in range(120)]
    key, mail = outages_of(day, RHYTHM)
    assert [(0.0, 0.0), (0.0, None)] == [(one.back_s, one.back_even_s) for one in (key, mail)]


def test_the_last_one_is_watched_as_long_as_the_others() -> None:
    """Until another would go."""
    assert [60.0, 60.0, 90.0] == RHYTHM.spans_s(3)
    day = day_of([PER_S] * 150, ["the key", "the mail"], [])
    day.phases[-1] = replace(day.phases[-1], seconds=RHYTHM.spans_s(2)[-1])
    assert [50.0, 50.0] == [one.watched_s for one in outages_of(day, RHYTHM)]


def test_the_page_of_outages_alone_has_a_row_for_each(tmp_path: Path) -> None:
    """Its number, what was said of it, and no curve of what was not asked for."""
    day = day_of(away(meanwhile=0), ["the key"], [])
    outages = [
        Outage("the key", 30.0, 40.0, 10.0, 0.5, 1.25, 1_234, "each with <its> reason", 120.0, (2.2, 2.345), 2.5),
        Outage("PostgreSQL is killed", 90.0, 90.0, 10.0, None, None, 0, watched_s=120.0),
    ]
    storm = Storm(day, outages, times=2.0, in_token=True)
    report = report_with(storm=storm, promises=Promises(raised=7))
    page = write_report(tmp_path, report).read_text()
    assert "<td>1</td><td>the key</td><td>10 s</td><td>10.0</td><td>0.5</td>" in page
    assert "<td>1.2 s</td><td>2.5 s</td><td>120 s</td>" in page
    assert "<td>2.20 / 2.35</td><td>1,234</td>" in page
    assert "<td>2</td><td>PostgreSQL is killed</td><td>a moment</td><td>10.0</td><td></td>" in page
    assert "<td></td><td>not in the 120 s until the next</td><td>no</td><td>120 s</td>" in page
    assert "each with &lt;its&gt; reason" in page
    assert "at 95 % of the mean before by what the core could do then (without those before which" in page
    assert "7 files have grown by a timestamp" in page
    assert {"outages.svg", "outages-line.svg"} == {path.name for path in tmp_path.glob("*.svg")}
    assert "Each phase" not in page
