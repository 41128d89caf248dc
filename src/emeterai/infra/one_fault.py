"""One thing whose data the database refuses costs itself only, not those that came to be written with it.

Things are written together because that is quicker. When the database says no to what one of them writes (a rule of a
table, a text that it cannot take), that is a bug of ours about this one thing, and none of the others waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import asyncpg
import structlog

DATA_REFUSED = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.PLPGSQLError)
"""The database is well and says no to what was to be written: saying it again helps nobody."""
_log = structlog.get_logger(__name__)
Item = TypeVar("Item")
Answer = TypeVar("Answer")
Done = TypeVar("Done")


def apart(
    work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
) -> Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]]:
    """The same `work` of a batch, which answers each item: where it is refused, halves are tried, down to the one."""

    async def work_apart(items: Sequence[Item]) -> Sequence[Answer | Exception]:
        try:
            return await work(items)
        except DATA_REFUSED as error:
            if len(items) == 1:
                return [error]
        middle = len(items) // 2
        return [*await work_apart(items[:middle]), *await work_apart(items[middle:])]

    return work_apart


async def together_or_alone(
    items: Sequence[Item], work: Callable[[Sequence[Item]], Awaitable[Iterable[Done]]]
) -> list[Done]:
    """What `work` did with all of these in one transaction or, when that is refused, with each in one of its own.

    What is refused even alone is logged and left as it was; the only one there is raises.
    """
    try:
        return [*await work(items)]
    except DATA_REFUSED as error:
        if len(items) <= 1:
            raise
        _log.warning("written_one_by_one", count=len(items), error=type(error).__name__)
    done: list[Done] = []
    for item in items:
        try:
            done += await work([item])
        except DATA_REFUSED:
            _log.exception("one_was_refused", item=str(item))
    return done
