"""The last day in two minutes: a far too large crowd keeps no promise from being kept. Nothing here is timed.

The long form, with times, is `emeterai bench lastday`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from lastday_ears import Ears, Heard
from lastday_outages import Rhythm, lose_each, outages_of, rounds_of, with_remarks
from lastday_promises import check_promises
from lastday_stage import VUS, Cores, Phase, Stage
from lastday_stays import SCRIPTS, scripts_of, stays_of
from lastday_twins import twins_in

PEOPLE_PER_S, CROWD_PER_S, PHASE_S = 4.0, 150.0, 6.0
PEOPLE = VUS * 60


@pytest.mark.timeout(400)
async def test_a_crowd_that_is_far_too_large_is_told_nothing_but_the_truth(short_folder: Path) -> None:
    """People come at many times what the service can do, then a few; some repeat badly, lines are slow and break,
    scripts hammer, notifications come late and twice. Whatever anybody was told of a stamp or of money is so in the
    end, and nobody was shown a crash.
    """
    async with Ears() as ears:
        stage = Stage(short_folder / "day", ears, Cores(parted=False), gate=True, room=True)
        async with stage.open(PEOPLE) as db:
            few = Phase("few", 1.0, PHASE_S, PEOPLE_PER_S)
            phases = [few, Phase("crowd", 10.0, PHASE_S, CROWD_PER_S, 20.0), few]
            day = await stage.live(db, phases, HOME_S="10", PHONES="1")
            found = await check_promises(stage, db, [day.heard])
    assert [] == found.faults
    assert found.stamps > 0
    assert 201 in {one[2] for one in day.heard.of("partner")}
    assert [] == [one for one in day.heard.of("r") if one[3] == 500]
    assert day.heard.of("phone")
    assert len(day.heard.of("phone")) <= len(day.carried)
    stays = stays_of(day)
    assert sum(one.came_in for one in stays) >= sum(one.done for one in stays) > 0
    nothing_got = {name: counts for name, counts in scripts_of(day)[1].items() if not set(counts) & {200, 201, 500}}
    assert [*SCRIPTS.values()][:3] == [name for name, counts in nothing_got.items() if counts]
    assert 200 in scripts_of(day)[1][SCRIPTS["giliran"]]


@pytest.mark.timeout(200)
async def test_with_the_door_off_those_outside_are_answered_apart_as_well(short_folder: Path) -> None:
    """The same crowd against the same processes: the room has the front page, and nobody is told to wait in line."""
    async with Ears() as ears:
        stage = Stage(short_folder / "off", ears, Cores(parted=False), gate=False, room=True)
        async with stage.open(PEOPLE) as db:
            assert "room" in stage.service.pids()
            day = await stage.live(db, [Phase("few", 1.0, PHASE_S, PEOPLE_PER_S)], HOME_S="10")
    looked = [one[3] for one in day.heard.of("r") if one[2] == "front page"]
    assert {200} == set(looked)
    assert "done" in {one[3] for one in day.heard.of("out")}
    assert [] == day.heard.of("in")


@pytest.mark.timeout(400)
async def test_whatever_is_lost_for_a_moment_comes_back_and_nothing_is_gone(short_folder: Path) -> None:
    """PostgreSQL stops and dies, the blob store fails, the payment provider, the key in its token, the timestamp
    authority and the mail server are away, under a retry storm. Whoever was told the digest of a file that was sealed
    without its timestamp was told the truth: the file has only grown. Any other digest would have been found out.
    """
    rhythm = Rhythm(2.0, warm_s=3.0, back_s=4.0)
    async with Ears() as ears:
        with twins_in(short_folder / "twins") as twins:
            stage = Stage(
                short_folder / "storm", ears, Cores(parted=False), gate=True, room=True, settings=twins.settings
            )
            rounds = rounds_of(stage, twins)
            async with stage.open(PEOPLE) as db:
                storm = await lose_each(stage, db, rounds, rhythm, times=1.0, people_per_s=PEOPLE_PER_S)
                found = await check_promises(stage, db, [storm.heard])
                lost = await with_remarks(outages_of(storm, rhythm), storm, twins, db)
                others = [[*one[:5], "0" * 64, *one[6:]] for one in storm.heard.of("stamp") if one[3] == "sealed"]
                lies = await check_promises(stage, db, [Heard({"stamp": others})])
                levels = {row["level"] for row in await db.fetch("SELECT level FROM stamping.stamps")}
    assert [] == found.faults
    assert found.stamps > 0
    assert "B-T" in levels
    assert all(any(one[what] for one in scripts_of(storm)) for what in SCRIPTS.values())
    assert len({one[2] for one in others}) == len([fault for fault in lies.faults if " and is (" in fault])
    assert [one.name for one in rounds] == [one.name for one in lost]
