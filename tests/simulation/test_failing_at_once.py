"""A chain in which every unit fails within seconds, in simulated time: nothing is ever old, and nothing done."""

from __future__ import annotations

import statistics

import pytest
from simulated_line import CAPACITY, UNITS_EACH, SimulatedLine

SEEDS = (1, 2, 3)
ARRIVING = 3 * CAPACITY / UNITS_EACH
FAILS_S, HEALS_S = 200, 260


@pytest.mark.parametrize("seed", SEEDS)
def test_the_line_stands_while_every_unit_fails_and_goes_on_when_one_is_settled(seed: int) -> None:
    """From some seconds on only the floor comes in; the first of them who gets a stamp opens the line again."""
    line = SimulatedLine(seed, lambda _: ARRIVING, failing=lambda second: FAILS_S <= second < HEALS_S)
    ticks = line.run(400)
    assert sum(tick.called for tick in ticks[FAILS_S - 50 : FAILS_S]) > 1_000
    assert sum(tick.called for tick in ticks[FAILS_S + 10 : HEALS_S]) <= 20
    assert statistics.mean(tick.settled for tick in ticks[HEALS_S + 60 :]) >= 0.85 * CAPACITY
