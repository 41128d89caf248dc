"""The window of people inside, second by second: what is learned of how long they stay, and what a cut leaves."""

from __future__ import annotations

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


def test_who_leaves_after_having_been_kept_waiting_teaches_nothing(pacer: Pacer) -> None:
    """All was late for twenty seconds, so their stays were long: believed, they would let in a second such crowd."""
    inside = PER_S * STAY_S
    for _ in range(20):
        inside += PER_S
        lived(pacer, inside, pressure=4.0, waiting=5_000)
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
