"""The window of people inside, second by second: what is learned of how long they stay, and what a cut leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from emeterai.core.pacing import LaneSeen, Pace, Pacer, Seen

PER_S, STAY_S = 10, 10
"""So many come and leave a second, each after so long."""


@pytest.fixture
def pacer() -> Pacer:
    """One that has seen two minutes of that, with nobody in line."""
    found = Pacer(start=100)
    for second in range(120):
        lived(found, min(PER_S * STAY_S, PER_S * (second + 1)))
    assert STAY_S == pytest.approx(found._stay.seconds, abs=1)
    return found


def lived(pacer: Pacer, inside: int, *, entered: int = PER_S, pressure: float = 0.0, **lane: int) -> Pace:
    """One second."""
    retail = LaneSeen(inside=inside, entered=entered, share=1.0, **lane)  # type: ignore[arg-type]
    return pacer.turn(Seen({"retail": retail}, settled=1.0, pressure=pressure))["retail"]


def test_a_cut_leaves_room_for_those_who_leave_and_for_who_is_called_in_their_place(pacer: Pacer) -> None:
    """However late all is: by Little's law those inside, and those who are on the way, are what the chain wants."""
    pacer.window = 3.0 * PER_S * STAY_S
    for _ in range(300):
        lived(pacer, 2 * PER_S * STAY_S, pressure=4.0, waiting=5_000)
    assert 1.1 * PER_S * (STAY_S + 2) < pacer.window < 1.5 * PER_S * STAY_S


@pytest.mark.parametrize(
    "changes",
    [{"pressure": 4.0}, {"settled": 0.0, "under_way": 9, "oldest_s": 60.0}],
    ids=["all was late", "all stood still"],
)
def test_who_leaves_after_having_been_kept_waiting_teaches_nothing(pacer: Pacer, changes: dict[str, float]) -> None:
    """Their stays were long for twenty seconds: believed, they would let in a second such crowd."""
    inside = PER_S * STAY_S
    for _ in range(20):
        inside += PER_S
        lane = LaneSeen(inside=inside, entered=PER_S, waiting=5_000, share=1.0)
        pacer.turn(Seen({"retail": lane}, **{"settled": 1.0, **changes}))  # type: ignore[arg-type]
    for _ in range(8):
        inside -= PER_S
        lived(pacer, inside, waiting=5_000)
    assert STAY_S == pytest.approx(pacer._stay.seconds, abs=1)


def test_a_stay_that_is_longer_in_good_times_is_believed(pacer: Pacer) -> None:
    """People have more to do than before, and nothing is late."""
    for second in range(120):
        lived(pacer, min(2 * PER_S * STAY_S, PER_S * (STAY_S + second)))
    assert 2 * STAY_S == pytest.approx(pacer._stay.seconds, abs=2)


def test_a_shorter_stay_is_believed_while_all_is_late(pacer: Pacer) -> None:
    """It cannot be the lateness that made it short."""
    for _ in range(60):
        lived(pacer, PER_S * STAY_S // 2, pressure=4.0, waiting=5_000)
    assert STAY_S / 2 == pytest.approx(pacer._stay.seconds, abs=1)


def test_passes_are_asked_for_once_somebody_was_sent_to_the_line(pacer: Pacer) -> None:
    """Nobody has a number yet, and those inside are few: the crowd is at the door all the same."""
    assert not lived(pacer, PER_S * STAY_S).pass_needed
    assert lived(pacer, PER_S * STAY_S, turned_away=1).pass_needed
    assert [True] * 4 + [False] == [lived(pacer, PER_S * STAY_S).pass_needed for _ in range(5)]


def test_people_are_let_in_up_to_well_below_what_makes_a_door_refuse(pacer: Pacer) -> None:
    """Where the pressure is nine tenths of that, the window is cut."""
    for second in range(60):
        lived(pacer, PER_S * (STAY_S + second), entered=2 * PER_S)
    before = pacer.window
    for _ in range(5):
        lived(pacer, int(before), pressure=0.9, waiting=5_000)
    assert pacer.window < before


def test_pressure_where_nobody_waits_is_not_of_the_crowd() -> None:
    """Programs of partners, a slow disk: short of what makes doors refuse it keeps nobody out, whatever is known."""
    pacer = Pacer(start=250)
    for _ in range(120):
        assert not lived(pacer, 200, pressure=0.8).pass_needed
    assert pacer.window >= 200


def beside(*, retail: LaneSeen, partners: LaneSeen) -> Pacer:
    """A window of a hundred after ten seconds in which the oldest unit of all is very late."""
    pacer = Pacer(start=100)
    for _ in range(10):
        pacer.turn(Seen({"retail": retail, "partners": partners}, settled=10.0, under_way=500, oldest_s=30.0))
    return pacer


CROWD = LaneSeen(waiting=5_000, inside=100, entered=10, oldest_s=0.2, share=0.4)
PROGRAMS = LaneSeen(inside=1, oldest_s=30.0, share=0.25, is_for_programs=True)


@pytest.mark.parametrize("theirs", [0, 9], ids=["all programs are inside", "a program waits"])
@pytest.mark.parametrize("waiting", [5_000, 0])
def test_programs_that_send_more_than_is_sealed_keep_nobody_of_the_public_out(waiting: int, theirs: int) -> None:
    """Their own units are late, whoever stamps in a lane of people gets on at once: more people may come in."""
    pacer = beside(retail=replace(CROWD, waiting=waiting), partners=replace(PROGRAMS, waiting=theirs))
    assert ([], True) == (pacer.reasons, pacer.window > 100)


@pytest.mark.parametrize(
    ("retail", "partners"),
    [
        (replace(CROWD, oldest_s=30.0), LaneSeen(is_for_programs=True)),
        (replace(CROWD, waiting=0), LaneSeen(oldest_s=30.0)),
        (replace(CROWD, waiting=0), LaneSeen(waiting=9, oldest_s=30.0, paused=True)),
    ],
    ids=["the line's", "nobody waits", "who waits has a paused lane"],
)
def test_units_that_are_late_where_people_come_in_hold_the_line(retail: LaneSeen, partners: LaneSeen) -> None:
    """Those of the lanes that have a line; where none has, those of all people."""
    pacer = beside(retail=retail, partners=partners)
    assert (["sealing_slow"], True) == (pacer.reasons, pacer.window <= 100)


@pytest.mark.parametrize("changes", [{"doors": 0}, {"doors": 2}], ids=["nobody counts", "another door counts"])
def test_who_is_counted_by_others_has_neither_come_nor_left(pacer: Pacer, changes: dict[str, int]) -> None:
    """The database was away, or a process came and went: those who were inside a second ago still are."""
    leaving_per_s = pacer._leaving_per_s
    for _ in range(5):
        pacer.turn(Seen({"retail": LaneSeen(inside=0, share=1.0)}, settled=1.0, **changes))  # type: ignore[arg-type]
    for _ in range(3 * STAY_S):
        lived(pacer, PER_S * STAY_S, pressure=4.0, waiting=5_000)
    assert STAY_S == pytest.approx(pacer._stay.seconds, abs=1)
    assert leaving_per_s == pytest.approx(pacer._leaving_per_s, rel=0.1)


def test_a_calm_second_now_and_then_does_not_keep_a_rush_from_being_worked_off() -> None:
    """Whoever begins to decide in the middle of one knows no stay, and finds none while all is late."""
    pacer = Pacer(start=200)
    for second in range(120):
        lived(pacer, 200, pressure=0.1 if second % 4 == 0 else 2.0, waiting=5_000)
    assert pacer.window < 180


def stood(pacer: Pacer) -> None:
    """The chain stood still for a minute, and of those inside all but thirty gave up."""
    for second in range(60):
        lane = LaneSeen(inside=max(30, PER_S * STAY_S - 2 * second), waiting=5_000, share=1.0)
        pacer.turn(Seen({"retail": lane}, under_way=9, oldest_s=60.0, pressure=4.0))
    assert ["standing"] == pacer.reasons


def missed(pacer: Pacer) -> None:
    """Nobody could decide for a minute, and of those inside all but thirty went."""
    pacer.after_gap()


@pytest.mark.parametrize("away", [stood, missed])
def test_once_all_goes_on_the_room_of_those_who_gave_up_is_filled_again(
    pacer: Pacer, away: Callable[[Pacer], None]
) -> None:
    """Nobody could come while it stood: that few are inside says nothing, although the doors are full yet."""
    away(pacer)
    before = pacer.window
    for second in range(5):
        lived(pacer, 30 + 5 * second, entered=5, pressure=3.0, waiting=5_000)
    assert 0.8 * before < pacer.window <= before


def test_a_room_that_stays_empty_is_cut_to_who_is_there(pacer: Pacer) -> None:
    """Once a stay has passed and the doors are full all the same."""
    stood(pacer)
    for _ in range(30):
        lived(pacer, 10, entered=1, pressure=1.1)
    assert pacer.window < 0.5 * PER_S * STAY_S


def test_who_goes_while_nobody_decides_did_not_leave_in_a_second(pacer: Pacer) -> None:
    """Or a minute of them would be called for at once."""
    usual_per_s = pacer._leaving_per_s
    missed(pacer)
    lived(pacer, 30, waiting=5_000)
    assert usual_per_s == pytest.approx(pacer._leaving_per_s)


def failed(pacer: Pacer, given_back: int, *, settled: float = 0.0) -> list[str]:
    """A second in which so many units were given back because the service failed; answers what is held to be wrong."""
    lane = LaneSeen(inside=PER_S * STAY_S, entered=PER_S, waiting=5_000, share=1.0)
    pacer.turn(Seen({"retail": lane}, settled=settled, given_back=given_back, under_way=9, oldest_s=1.0))
    return pacer.reasons


def test_where_units_only_fail_all_stands_although_none_is_old(pacer: Pacer) -> None:
    """From the third on, whenever it was; and until a stamp is settled, whatever else fails in that second."""
    assert [[], [], ["standing"], ["standing"]] == [failed(pacer, count) for count in (2, 0, 1, 0)]
    assert [[], [], ["standing"]] == [failed(pacer, 9, settled=1.0), failed(pacer, 2), failed(pacer, 1)]


def test_units_that_fail_among_others_that_are_settled_hold_nobody_up(pacer: Pacer) -> None:
    """One in two is bad enough, but it is not standing still."""
    for _ in range(60):
        assert [] == failed(pacer, 2, settled=2.0)


def test_what_failed_on_a_quiet_day_is_forgotten(pacer: Pacer) -> None:
    """Nobody comes any more who would show that all is well: after two minutes it is taken for well."""
    assert ["standing"] == failed(pacer, 3)
    standing = [failed(pacer, 0) for _ in range(200)]
    assert 60 <= standing.count(["standing"]) <= 120
    assert [] == standing[-1]
    assert [] == failed(pacer, 2)


def test_as_many_are_usual_as_a_full_window_lets_in(pacer: Pacer) -> None:
    """By how long people stay: also in a second in which hardly anybody is let in. A ceiling is never passed."""
    pace = lived(pacer, 2 * PER_S * STAY_S, waiting=5_000)
    assert pace.per_s < PER_S
    assert pacer.window / (STAY_S + 2) == pytest.approx(pace.usual_per_s, rel=0.1)
    assert 3.0 == lived(pacer, PER_S * STAY_S, waiting=5_000, ceiling_per_s=3).usual_per_s


@pytest.mark.parametrize(
    "changes",
    [{"settled": 0.0, "under_way": 9, "oldest_s": 60.0}, {"doors": 0}],
    ids=["all stands still", "nobody could measure"],
)
def test_nothing_is_usual_in_an_outage(pacer: Pacer, changes: dict[str, float]) -> None:
    """However full it was before; nor in a lane that is paused, nor before any stay is known."""
    lane = LaneSeen(inside=PER_S * STAY_S, entered=PER_S, waiting=5_000, share=1.0)
    outage = Seen({"retail": lane}, **{"settled": 1.0, **changes})  # type: ignore[arg-type]
    assert 0.0 == pacer.turn(outage)["retail"].usual_per_s
    assert 0.0 == lived(pacer, PER_S * STAY_S, waiting=5_000, paused=True).usual_per_s
    assert 0.0 == Pacer().turn(Seen({"retail": lane}, settled=1.0))["retail"].usual_per_s
