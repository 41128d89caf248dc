"""Lines of which most have gone home, in simulated time: those who are still there come in as fast as others leave."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
from conducted_line import ConductedLine
from simulated_line import HOLD_LIFE_S, PLAIN, Chain

SEEDS = (1, 2, 3)
MILLION, BACK_S = 1_000_000, 400
CHAINS = {
    "that can do sixty a second": PLAIN,
    "that can do seven a second": Chain(capacity=7.0, units_each=1.0, thinks_s=(3.0, 8.0), lingers_s=10),
}


def conducted(seed: int, comes: Callable[[float], float], chain: Chain, *, seconds: int = 600) -> ConductedLine:
    """The first minutes of a line of a million."""
    line = ConductedLine(seed, MILLION, comes, chain=chain)
    line.run(seconds)
    return line


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.05, 0.1, 0.7])
@pytest.mark.parametrize("name", CHAINS)
def test_the_line_moves_over_those_who_have_gone_home(name: str, share: float, seed: int) -> None:
    """After four minutes the chain is full of work, where one in twenty comes as where most do; and nothing is late."""
    chain = CHAINS[name]
    ticks = conducted(seed, lambda _: share, chain).ticks
    assert statistics.mean(tick.settled for tick in ticks[240:]) >= 0.9 * chain.capacity
    assert max(tick.oldest_s for tick in ticks) <= HOLD_LIFE_S / 2
    assert 0 == sum(tick.lost for tick in ticks)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CHAINS)
def test_those_who_were_away_and_are_back_are_no_flood(name: str, seed: int) -> None:
    """From one second on all who are called come, where one in twenty did: those of the first seconds are too many, but
    are served while they wait; and nobody is called in the belief that few come once it is seen that they do.
    """
    chain = CHAINS[name]
    line = conducted(seed, lambda second: 1.0 if second >= BACK_S else 0.05, chain, seconds=BACK_S)
    assert line.row.come_share < 0.08
    line.run(25)
    assert line.row.come_share >= 0.19
    ticks = line.run(175)[BACK_S:]
    assert statistics.mean(tick.settled for tick in ticks) >= 0.9 * chain.capacity
    assert 0 == sum(tick.lost for tick in ticks)
