"""The brown-out: one step after another, in order, with hysteresis, stamping last."""

from __future__ import annotations

from emeterai.core.brownout import DOWN_AFTER_S, UP_AFTER_S, BrownOut, Step


def steps_of(pressures: list[float]) -> list[Step]:
    """The step after each second."""
    brown_out = BrownOut()
    return [brown_out.turn(pressure, float(second)) for second, pressure in enumerate(pressures)]


def test_what_nobody_needs_today_rests_first_and_stamping_last() -> None:
    """History, previews, statistics, then looking, entering, buying."""
    taken = list(dict.fromkeys(steps_of([4.0] * 20)))
    assert list(Step) == taken
    assert [Step.HISTORY, Step.PREVIEWS, Step.STATISTICS] == taken[1:4]
    assert Step.STAMPING == taken[-1]


def test_each_step_is_given_time_to_help() -> None:
    """One a second, never two at once."""
    steps = steps_of([4.0] * 20)
    assert all(after - before <= 1 for before, after in zip(steps, steps[1:], strict=False))
    assert Step.NONE == steps[int(UP_AFTER_S) - 1]


def test_a_full_service_alone_never_turns_stamping_away() -> None:
    """The last steps ask for more than being full."""
    assert Step.LOOKING == steps_of([1.2] * 60)[-1]


def test_a_moment_of_pressure_changes_nothing() -> None:
    """Nor does pressure that comes and goes."""
    assert {Step.NONE} == set(steps_of([2.0, 0.0] * 30))


def test_steps_are_taken_back_in_turn_and_later_than_they_were_taken() -> None:
    """Between the two levels the step stays as it is."""
    steps = steps_of([1.2] * 4 + [0.8] * 20 + [0.2] * 20)
    assert {Step.STATISTICS} == set(steps[4:24])
    assert Step.STATISTICS == steps[24 + int(DOWN_AFTER_S) - 1]
    assert Step.PREVIEWS == steps[24 + int(DOWN_AFTER_S)]
    assert Step.NONE == steps[-1]
