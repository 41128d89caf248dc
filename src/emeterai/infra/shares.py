"""A sweep takes on a share at a time: no more than it can answer for, and on at once while there is more."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable


async def while_there_is_more(
    part: Callable[[int], Awaitable[int]], *, share_max: int, rounds_max: int, goes_on_s: float
) -> int:
    """Call `part` with `share_max` until it finds less than that; answers how much it found in all.

    Not more than `rounds_max` times, and not again after `goes_on_s`: whatever else there is to do has its turn.
    """
    found_in_all, until_s = 0, time.monotonic() + goes_on_s
    for _ in range(rounds_max):
        found = await part(share_max)
        found_in_all += found
        if found < share_max or time.monotonic() >= until_s:
            break
    return found_in_all
