"""For whom work is done, and until when: the lane that a request came by and the moment at which its sender stops
waiting, known wherever its work is done without being handed on.

Whoever lets requests in says so once (`work_for`); it holds in the tasks that the request starts, too. What nobody said
anything of is the service's own work: sweeps, looks, and batches, which belong to all whose requests are in them. It
has no deadline. A task that serves more than the one who happens to start it is started in its `own_context`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from math import inf
from typing import NamedTuple

COMMON = "retail"
"""The lane of work that came by no other, as the table of jobs has it by default."""


class Caller(NamedTuple):
    """For whom: a lane, and how urgent it is within that lane, 0 being the most urgent."""

    lane: str
    urgency: int


class Deadline:
    """Until when whoever asked waits: `until_s` of time.monotonic; `inf`: for ever, or something was begun for him.

    It keeps work from being begun. What has been begun is done to its end, however late, and its outcome is told.
    """

    __slots__ = ("gone", "until_s")

    def __init__(self, until_s: float = inf) -> None:
        self.until_s = until_s
        self.gone: Callable[[], Awaitable[None]] | None = None
        """Returns when whoever asked has hung up, where somebody can tell."""

    @property
    def has_passed(self) -> bool:
        """Whether nobody waits any more."""
        return time.monotonic() >= self.until_s

    @property
    def left_s(self) -> float:
        """How long somebody still waits; `inf` without a deadline, not above 0 once it has passed."""
        return self.until_s - time.monotonic()

    async def hung_up(self) -> None:
        """Return when whoever asked has hung up: nobody waits any more. Never, once something was begun."""
        if self.gone is not None:
            await self.gone()
        if self.gone is None:
            await asyncio.Event().wait()
        self.until_s = -inf

    def lift(self) -> None:
        """From now on there is none, and nobody is listened for."""
        self.until_s, self.gone = inf, None


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)
_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def work_for(lane: str, urgency: int, *, until_s: float = inf) -> None:
    """Say for whom this task works from now on, and until which second of time.monotonic he waits for it."""
    _caller.set(Caller(lane, urgency))
    _deadline.set(Deadline(until_s))


def caller() -> Caller | None:
    """For whom this task works; None: for the service itself."""
    return _caller.get()


def deadline() -> Deadline:
    """Until when the one for whom this task works waits: the same in all tasks of one request."""
    return _deadline.get() or Deadline()


def lift_deadline() -> None:
    """From now on this request is worked on however late: something was begun for it, or is for others as well."""
    deadline().lift()


def lane_now() -> str:
    """The lane for which this task works."""
    found = _caller.get()
    return COMMON if found is None else found.lane


def own_context() -> Context:
    """A context for a task that works for nobody in particular, whoever happens to start it."""
    return Context()
