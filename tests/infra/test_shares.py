"""A sweep goes on at once while there is more, and has its end."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import pytest

from emeterai.infra.shares import while_there_is_more


def work(there: int) -> tuple[Callable[[int], Awaitable[int]], list[int]]:
    """So much to do, and what was found each time."""
    found: list[int] = []

    async def part(limit: int) -> int:
        found.append(min(limit, there - sum(found)))
        return found[-1]

    return part, found


@pytest.mark.parametrize(
    ("there", "rounds_max", "goes_on_s", "shares"),
    [
        (0, 10, math.inf, [0]),
        (7, 10, math.inf, [7]),
        (20, 10, math.inf, [10, 10, 0]),
        (25, 10, math.inf, [10, 10, 5]),
        (99, 3, math.inf, [10, 10, 10]),
        (99, 10, 0.0, [10]),
    ],
)
async def test_shares_are_taken_on_until_there_is_less_than_one_or_enough_was_done(
    there: int, rounds_max: int, goes_on_s: float, shares: list[int]
) -> None:
    """By number or by time."""
    part, found = work(there)
    assert sum(shares) == await while_there_is_more(part, share_max=10, rounds_max=rounds_max, goes_on_s=goes_on_s)
    assert shares == found
