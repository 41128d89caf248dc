"""A loop that claims jobs and works on them: woken by the bus, looking seldom by itself, renewing its leases.

Lanes share each kind of work by their weights; what one has borrowed is back when the batch that it is in has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import structlog

from emeterai.core.refusal import Refused
from emeterai.infra import jobs, metrics
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.fair_turns import FairTurns
from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.infra.jobs import Claim
from emeterai.infra.lasting import lasting
from emeterai.infra.one_fault import DATA_REFUSED

_LOOK_AGAIN_S = 1.0
_LAST_WORD_S = 3.0
_log = structlog.get_logger(__name__)
Work = Callable[[Sequence[Claim]], Awaitable[None]]
Shares = Callable[[], Mapping[str, float]]


def equal_shares() -> Mapping[str, float]:
    """No lane has a share of its own: all that have work get equal parts."""
    return {}


async def work_on(
    db: Database,
    bus: Bus,
    work: Mapping[str, Work],
    *,
    worker: UUID,
    batch_max: int,
    lease_s: float,
    batches_at_once: int = 1,
    shares: Shares = equal_shares,
) -> None:
    """Claim and work until cancelled: so many loops for each kind of job, and one that renews leases under way.

    `shares` are asked before each batch: the lanes' parts of each kind of work.

    With two batches at once one is worked on while the other waits for the database.
    What is unfinished at the end is handed back, so that it does not wait for its lease to run out.
    """
    under_way: set[UUID] = set()
    try:
        async with asyncio.TaskGroup() as group:
            for kind, function in work.items():
                batches = _Claims(db, kind, FairTurns(), shares, worker=worker, batch_max=batch_max, lease_s=lease_s)
                for _ in range(batches_at_once):
                    group.create_task(lasting(f"work on {kind}", _loop(bus, batches, function, under_way)))
            group.create_task(lasting("renewing", _renew(db, under_way, worker, lease_s)))
    finally:
        await _hand_back_all(db, worker)


class _Claims:
    """What takes the next batch of one kind of work, for all loops of that kind."""

    def __init__(
        self, db: Database, kind: str, turns: FairTurns, shares: Shares, *, worker: UUID, batch_max: int, lease_s: float
    ) -> None:
        self.kind = kind
        self._db, self._turns, self._shares = db, turns, shares
        self._worker, self._batch_max, self._lease_s = worker, batch_max, lease_s

    async def next(self) -> list[Claim]:
        self._turns.share(self._shares())
        return await jobs.claim(
            self._db,
            [self.kind],
            worker=self._worker,
            limit=self._batch_max,
            lease_s=self._lease_s,
            turns=self._turns,
        )


async def _loop(bus: Bus, batches: _Claims, work: Work, under_way: set[UUID]) -> None:
    kind = batches.kind
    with bus.listening(kind) as news:
        while True:
            news.clear()
            try:
                claims = await batches.next()
                if claims:
                    metrics.batch(kind, len(claims))
                    await _do(work, claims, under_way)
                    continue
            except DATA_REFUSED:
                _log.exception("work_refused", kind=kind)
            except (Refused, *INTERRUPTIONS) as error:
                _log.warning("work_interrupted", kind=kind, error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await news.wait()


async def _do(work: Work, claims: Sequence[Claim], under_way: set[UUID]) -> None:
    """Work on claims. When that is interrupted (the database is away) their leases run out and they are found again."""
    ids = {claim.id for claim in claims}
    under_way |= ids
    try:
        await work(claims)
    finally:
        under_way -= ids


async def _hand_back_all(db: Database, worker: UUID) -> None:
    """By the worker and not by what is known to be under way: a claim may have been made and its answer cut off."""
    try:
        async with asyncio.timeout(_LAST_WORD_S):
            await jobs.hand_back_all(db, worker)
    except (Refused, *INTERRUPTIONS) as error:
        _log.warning("claims_not_handed_back", error=type(error).__name__)


async def _renew(db: Database, under_way: set[UUID], worker: UUID, lease_s: float) -> None:
    while True:
        await asyncio.sleep(lease_s / 3)
        if under_way:
            with contextlib.suppress(Refused, *INTERRUPTIONS):
                await jobs.renew(db, worker, sorted(under_way), lease_s=lease_s)
