"""Work that lasts as long as its process. However it ends by itself, that is an error: somebody must begin it again.

A task group hears of a task that fails. One that returns, or seems to have been cancelled because something that it
waited for was, looks to it like a task that is done: the process would live on without that work, and nobody notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


class EndedError(Exception):
    """Work that should have gone on has ended; the text names it."""


async def lasting(name: str, work: Awaitable[None]) -> None:
    """Do `work` until cancelled. Raises what it raises, and EndedError when it ends although nobody cancelled it."""
    try:
        await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise EndedError(f"{name} ended as if it had been cancelled") from error
    raise EndedError(f"{name} came to an end")
