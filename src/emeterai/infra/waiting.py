"""Waiting for something to be done: told by the bus, and looking seldom by itself in case the telling was lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from emeterai.infra.bus import Bus

LOOK_AGAIN_S = 1.0
Thing = TypeVar("Thing")


async def wait_for(
    bus: Bus,
    key: UUID,
    *,
    look: Callable[[], Awaitable[Thing]],
    done: Callable[[Thing], bool],
    wait_s: float,
    look_again_s: float = LOOK_AGAIN_S,
) -> Thing:
    """Look at a thing until it is `done`, at most `wait_s`; answers it as it was at the last look.

    Without news it is looked at every `look_again_s`, and at the end.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    with bus.listening(key) as news:
        while True:
            news.clear()
            thing = await look()
            left_s = deadline - loop.time()
            if done(thing) or left_s <= 0:
                return thing
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, look_again_s)):
                    await news.wait()
