"""Works of one sweep at once: what becomes of one is nothing to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

from emeterai.core.refusal import Refused

_log = structlog.get_logger(__name__)


async def finish_all(works: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Finish every work, whatever becomes of the others. Refusals (a busy database) wait for the next sweep.

    Raises the first other failure, once all are finished.
    """
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            _log.info("left_to_next_sweep", code=outcome.code)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Refused):
            raise outcome
