"""The report of `emeterai bench crash` says how often kill -9 struck, and no more of any deed than was done."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from crash_page import COLOURS, Story, text_of, timeline
from crowd import Crowd
from killing import FILE_BYTES, TARGETS, Deed, Killer, every_deed
from overdue import GRACE_S, Looks, Overdue
from verdict import Verdict

from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from running import RunningService

DEEDS = [
    *(Deed("kill -9", "web"), Deed("kill -9 twice", "postgres"), Deed("kill -9", "everything")),
    *(Deed("SIGSTOP", "sealers"), Deed("SIGSTOP", "sealer-1"), Deed("files end at 4 KB", "postgres")),
]


def some_story(deeds: list[Deed], kills: list[int]) -> Story:
    """What happened, with nobody in it."""
    return Story(7, 0.0, 100.0, 10.0, Crowd([]), [(20.0 + at, deed) for at, deed in enumerate(deeds)], kills)


def test_the_report_says_how_often_kill_9_struck_beside_the_other_deeds() -> None:
    """Twice is two strokes, everything is one; deeds of another kind are none, and are named."""
    page = text_of(some_story(DEEDS, [1, 1, 1, 12]), Verdict())
    words = "4 strokes of kill -9, which took 15 processes, and 3 other deeds (SIGSTOP 2, files end at 4 KB 1)"
    assert words in page
    assert "6 deeds of the killer" in page


def test_the_report_says_for_how_long_units_were_held_beyond_their_lives() -> None:
    """Beside what is allowed, and how often anybody looked."""
    page = text_of(some_story(DEEDS, [1]), Verdict(held=Looks(count=1_800, open=900, over=3, late=700, worst_s=1.25)))
    assert "| longest, with nothing that kept the sweep from its work | 1.2 s |" in page
    assert f"| {GRACE_S:g} s |" in page
    assert "| 900; 3 |" in page


def test_every_kind_of_deed_has_a_colour_and_no_name_says_more_than_was_done() -> None:
    """Files of up to 4 KB can still be written, which is no full disk."""
    assert set(TARGETS) == set(COLOURS)
    assert 4 * 1_024 == FILE_BYTES
    story = some_story(every_deed(), [1])
    assert "full disk" not in text_of(story, Verdict()) + timeline(story)


@pytest.mark.parametrize(("over", "calm", "is_fault"), [(2.0, 2.0, True), (2.0, 0.5, False), (0.5, 2.0, False)])
async def test_a_hold_is_overdue_by_what_it_is_over_while_nothing_is_broken(
    db: Database, database_url: str, over: float, calm: float, is_fault: bool
) -> None:
    """Neither a long outage nor a long calm alone is a fault: who died has its time to come back."""
    async with db.transaction() as tx:
        late = "INSERT INTO ledger.holds VALUES ($1, $2, 1, NULL, now() - make_interval(secs => $3))"
        await tx.execute(late, new_id(), new_id(), over * GRACE_S)
    async with Overdue(database_url, some_killer(calm * GRACE_S)).watching() as overdue:
        await overdue.look_again()
        assert is_fault == bool(overdue.faults())
        assert (True, True) == (overdue.looks.open > 0, overdue.looks.over > 0)


async def test_a_hold_in_its_life_is_no_fault_and_is_seen(db: Database, database_url: str) -> None:
    """However long nothing has been broken."""
    async with db.transaction() as tx:
        living = "INSERT INTO ledger.holds VALUES ($1, $2, 1, NULL, now() + interval '1 hour')"
        await tx.execute(living, new_id(), new_id())
    async with Overdue(database_url, some_killer(9 * GRACE_S)).watching() as overdue:
        await overdue.look_again()
        assert [] == overdue.faults()
        assert (True, 0, True) == (overdue.looks.open > 0, overdue.looks.over, overdue.looks.late > 0)


async def test_nobody_who_looked_is_a_fault_too() -> None:
    """A check that saw nothing has not found that all is well."""
    assert ["nobody has looked at the holds"] == Overdue("", some_killer(0.0)).faults()


@pytest.mark.parametrize("deed", every_deed(), ids=str)
def test_only_what_takes_steward_or_database_or_stops_a_process_excuses_a_late_sweep(deed: Deed) -> None:
    """The sweep that gives units back needs neither web nor sealers, neither store nor clock."""
    touched = {"steward", "postgres", "postgres and steward", "supervisor", "everything"}
    assert (deed.kind == "SIGSTOP" or deed.target in touched) == deed.stops_sweeps


def some_killer(calm_s: float) -> Killer:
    """A killer that has broken nothing for so long."""
    killer = Killer(RunningService(Path("nowhere")), sleep_s=0.0, faults=Path("nowhere"), rng=random.Random(1))
    killer.calm_since_s = time.monotonic() - calm_s
    return killer
