"""For whom work is done: the lane that a request came by, known wherever its work is done without being handed on.

Whoever lets requests in says so once (`work_for`); it holds in the tasks that the request starts, too. What nobody said
anything of is the service's own work: sweeps, looks, and batches, which belong to all whose requests are in them.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import NamedTuple

COMMON = "retail"
"""The lane of work that came by no other, as the table of jobs has it by default."""


class Caller(NamedTuple):
    """For whom: a lane, and how urgent it is within that lane, 0 being the most urgent."""

    lane: str
    urgency: int


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def work_for(lane: str, urgency: int) -> None:
    """Say for whom this task works from now on."""
    _caller.set(Caller(lane, urgency))


def caller() -> Caller | None:
    """For whom this task works; None: for the service itself."""
    return _caller.get()


def lane_now() -> str:
    """The lane for which this task works."""
    found = _caller.get()
    return COMMON if found is None else found.lane


def own_context() -> Context:
    """A context for a task that works for nobody in particular, whoever happens to start it."""
    return Context()
