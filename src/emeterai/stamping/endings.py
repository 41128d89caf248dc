"""How a held stamp ends: settled or given back, once, in one transaction, whoever asks and however often."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from emeterai.core.ledger import Kind, Posted, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.core.stamping import Move, StampState, after_move
from emeterai.infra import jobs
from emeterai.infra.bus import Bus
from emeterai.infra.database import Connection, Database
from emeterai.infra.jobs import Claim
from emeterai.ledger.serials import SerialRegister
from emeterai.ledger.service import Ledger
from emeterai.stamping import store
from emeterai.stamping.levels import UPGRADE, is_below
from emeterai.stamping.model import Stamp
from emeterai.stamping.store import Sealed

Why = tuple[Reason, Refused | None]
"""Why a unit goes back: the ledger's reason and, when a file was refused, the refusal."""
_FIRST_RAISE_S = (1.0, 5.0)
_log = structlog.get_logger(__name__)


class Endings:
    """Ends holds. The ledger's lock on the account comes first; then the job tells whether the stamp is still ours."""

    def __init__(
        self, db: Database, bus: Bus, ledger: Ledger, serials: SerialRegister, *, level_wanted: str = "B-B"
    ) -> None:
        """A file that is settled below `level_wanted` leaves a job behind that raises it."""
        self._db = db
        self._bus = bus
        self._ledger = ledger
        self._serials = serials
        self._level_wanted = level_wanted

    async def settle(self, claims: Sequence[Claim], stamps: Mapping[UUID, Stamp], sealed: Mapping[UUID, Sealed]) -> int:
        """Held units become used, for seals that were read back; answers how many.

        A stamp whose job was given to another worker, or whose unit was given back meanwhile, is left as it is: its
        tail is never shown to anybody.
        """
        if not claims:
            return 0
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, {stamps[claim.id].account_id for claim in claims})
            ours = [stamps[stamp_id] for stamp_id in await jobs.finish(tx, claims)]
            answers = await book.post([_ending(stamp, Kind.SETTLE, Reason.SEALED) for stamp in ours])
            done = [stamp for stamp, answer in zip(ours, answers, strict=True) if isinstance(answer, Posted)]
            if done:
                _require_move(done, Move.SETTLE)
                await self._serials.affix(tx, [stamp.serial for stamp in done])
                await store.settle(tx, [sealed[stamp.id] for stamp in done])
                await self._want_higher_levels(tx, [sealed[stamp.id] for stamp in done])
        self._bus.publish(stamp.id for stamp in done)
        if len(done) < len(claims):
            _log.warning("seal_came_too_late", count=len(claims) - len(done))
        return len(done)

    async def give_back(self, reasons: Mapping[UUID, Why], *, claims: Sequence[Claim] | None = None) -> int:
        """Held units become available again, with the reason, and their serials void; answers how many.

        With `claims`, only stamps whose job is still the claimant's; without, whoever works on them loses the job.
        """
        if not reasons:
            return 0
        accounts = {stamp.account_id for stamp in (await store.find_many(self._db, list(reasons))).values()}
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, accounts)
            ours = set(reasons) if claims is None else await jobs.finish(tx, claims)
            stamps = await store.find_many(tx, list(ours))
            held = [stamp for stamp in stamps.values() if stamp.state is StampState.HELD]
            answers = await book.post([_ending(stamp, Kind.RELEASE, reasons[stamp.id][0]) for stamp in held])
            done = [stamp for stamp, answer in zip(held, answers, strict=True) if isinstance(answer, Posted)]
            if done:
                _require_move(done, Move.GIVE_BACK)
                await jobs.drop(tx, [stamp.id for stamp in done])
                await self._serials.void(tx, [stamp.serial for stamp in done])
                await store.give_back(tx, {stamp.id: reasons[stamp.id] for stamp in done})
        self._bus.publish(stamp.id for stamp in done)
        for stamp in done:
            reason, refused = reasons[stamp.id]
            _log.info("unit_given_back", stamp=str(stamp.id), reason=reason.value, code=refused and refused.code)
        return len(done)

    async def _want_higher_levels(self, tx: Connection, sealed: Sequence[Sealed]) -> None:
        low = [one.stamp_id for one in sealed if is_below(one.level, self._level_wanted)]
        if low:
            await jobs.enqueue(tx, UPGRADE, low, delay_s=random.uniform(*_FIRST_RAISE_S))  # noqa: S311 - to spread load

    async def sweep(self, limit: int = 500) -> int:
        """Give back units whose hold is over by the database's clock, whatever the worker does; answers how many."""
        expired = await self._ledger.expired_holds(limit)
        return await self.give_back({hold.subject: (Reason.EXPIRED, None) for hold in expired if hold.subject})


def _ending(stamp: Stamp, kind: Kind, reason: Reason) -> Transfer:
    # Settle and release share one id made with the hold: even without the rules above only one of them can be posted.
    return Transfer(stamp.ending_id, kind, reason, 1, account=stamp.account_id, hold_id=stamp.hold_id, subject=stamp.id)


def _require_move(stamps: Sequence[Stamp], move: Move) -> None:
    for stamp in stamps:
        after_move(stamp.state, move)
