"""How a held stamp ends: settled or given back, once, in one transaction, whoever asks and however often."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import structlog

from emeterai.accounts.groups_spending import Spending, return_spending
from emeterai.core.ledger import Kind, Posted, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.core.stamping import Move, StampState, after_move
from emeterai.infra import jobs, metrics
from emeterai.infra.bus import Bus
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Connection, Database
from emeterai.infra.jobs import Claim
from emeterai.infra.one_fault import DATA_REFUSED, together_or_alone
from emeterai.ledger.serials import SerialRegister
from emeterai.ledger.service import Ledger
from emeterai.stamping import store
from emeterai.stamping.levels import UPGRADE, is_below
from emeterai.stamping.model import Stamp
from emeterai.stamping.passwords import forget_passwords_of
from emeterai.stamping.store import Sealed

Why = tuple[Reason, Refused | None]
"""Why a unit goes back: the ledger's reason and, when a file was refused, the refusal."""
_FIRST_RAISE_S = (1.0, 5.0)
_given_back = metrics.counter("emeterai_units_given_back", "Held units that went back to their owners", ["reason"])
_too_late = metrics.counter("emeterai_seals_too_late", "Seals dropped because the stamp was no longer the worker's")
for _reason in (Reason.EXPIRED, Reason.FILE_REFUSED, Reason.SEALING_FAILED, Reason.CANCELLED):
    _given_back.labels(_reason.value)
_ALONE_LOCK_WAIT = 0.05
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
        tail is never shown to anybody. One that the database refuses to settle is left too, and keeps no other waiting.
        """
        if not claims:
            return 0
        with metrics.stage("settle"):
            done = await together_or_alone(claims, lambda some: self._settle(some, stamps, sealed))
        may_die_at("settle.recorded")
        lanes = {claim.id: claim.lane for claim in claims}
        metrics.batch("settle", len(done), lanes=Counter(lanes[stamp.id] for stamp in done))
        self._bus.publish(stamp.id for stamp in done)
        if len(done) < len(claims):
            _too_late.inc(len(claims) - len(done))
            _log.warning("seal_came_too_late", count=len(claims) - len(done))
        return len(done)

    async def _settle(
        self, claims: Sequence[Claim], stamps: Mapping[UUID, Stamp], sealed: Mapping[UUID, Sealed]
    ) -> list[Stamp]:
        """Those that were settled."""
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
                await forget_passwords_of(tx, done)
            may_die_at("settle.written")
        return done

    async def give_back(
        self, reasons: Mapping[UUID, Why], *, claims: Sequence[Claim] | None = None, lock_wait_s: float | None = None
    ) -> int:
        """Held units become available again, with the reason, and their serials void; answers how many.

        With `claims`, only stamps whose job is still the claimant's; without, whoever works on them loses the job. With
        `lock_wait_s`, raises asyncpg.LockNotAvailableError and leaves all as it was when somebody keeps a lock longer.
        """
        if not reasons:
            return 0
        accounts = {stamp.account_id for stamp in (await store.find_many(self._db, list(reasons))).values()}
        async with self._db.transaction() as tx:
            if lock_wait_s is not None:
                await store.limit_lock_wait(tx, lock_wait_s)
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
                await return_spending(tx, [(_spending(it), it.held_at) for it in done if it.made_by is not None])
                await forget_passwords_of(tx, done)
            may_die_at("give_back.written")
        may_die_at("give_back.recorded")
        self._bus.publish(stamp.id for stamp in done)
        for stamp in done:
            reason, refused = reasons[stamp.id]
            _given_back.labels(reason.value).inc()
            _log.info("unit_given_back", stamp=str(stamp.id), reason=reason.value, code=refused and refused.code)
        if failed := sum(reasons[stamp.id][0] is Reason.SEALING_FAILED for stamp in done):
            metrics.batch("seal_failed", failed)
        return len(done)

    async def _want_higher_levels(self, tx: Connection, sealed: Sequence[Sealed]) -> None:
        low = [one.stamp_id for one in sealed if is_below(one.level, self._level_wanted)]
        if low:
            await jobs.enqueue(tx, UPGRADE, low, delay_s=random.uniform(*_FIRST_RAISE_S))  # noqa: S311 - to spread load

    async def sweep(self, limit: int = 500, *, together: int = 50, lock_wait_s: float = 2.0) -> int:
        """Give back units whose hold is over by the database's clock, whatever the worker does; answers how many.

        At most `limit` holds, so many accounts `together`. One that somebody keeps locked, or about which the database
        refuses what is to be written, is left to the next sweep, delays the others by little more than `lock_wait_s`,
        and does not count against the limit. Raises that refusal when all others are done.
        """
        given_back, stuck, refused = 0, list[UUID](), list[Exception]()
        while True:
            of_account: dict[UUID, dict[UUID, Why]] = {}
            expired = await self._ledger.expired_holds(limit, without=stuck)
            for hold in expired:
                if hold.subject is not None:
                    of_account.setdefault(hold.account, {})[hold.subject] = (Reason.EXPIRED, None)
            accounts, known_stuck = sorted(of_account), len(stuck)
            for at in range(0, len(accounts), together):
                chunk = {one: of_account[one] for one in accounts[at : at + together]}
                count, left = await self._give_back_expired(chunk, lock_wait_s, refused)
                given_back += count
                stuck += left
            if len(expired) < limit or len(stuck) == known_stuck:
                break
        if refused:
            raise refused[0]
        return given_back

    async def _give_back_expired(
        self, of_account: Mapping[UUID, Mapping[UUID, Why]], lock_wait_s: float, refused: list[Exception]
    ) -> tuple[int, list[UUID]]:
        """Give back the stamps of these accounts, together or, when one of them is locked or refused, one by one.

        Answers how many, and the accounts that are left; `refused` gets what the database says about one of them.
        """
        try:
            reasons = {stamp_id: why for stamps in of_account.values() for stamp_id, why in stamps.items()}
            return await self.give_back(reasons, lock_wait_s=lock_wait_s), []
        except (asyncpg.LockNotAvailableError, *DATA_REFUSED) as error:
            if len(of_account) == 1:
                accounts, why = [str(one) for one in of_account], type(error).__name__
                _log.warning("account_left_to_next_sweep", accounts=accounts, error=why)
                refused += [error] if isinstance(error, DATA_REFUSED) else []
                return 0, list(of_account)
        alone_s = lock_wait_s * _ALONE_LOCK_WAIT
        ones = [await self._give_back_expired({one: of_account[one]}, alone_s, refused) for one in of_account]
        return sum(count for count, _ in ones), [one for _, left in ones for one in left]


def _ending(stamp: Stamp, kind: Kind, reason: Reason) -> Transfer:
    # Settle and release share one id made with the hold: even without the rules above only one of them can be posted.
    return Transfer(stamp.ending_id, kind, reason, 1, account=stamp.account_id, hold_id=stamp.hold_id, subject=stamp.id)


def _spending(stamp: Stamp) -> Spending:
    assert stamp.made_by is not None
    return Spending(stamp.id, stamp.account_id, stamp.made_by)


def _require_move(stamps: Sequence[Stamp], move: Move) -> None:
    for stamp in stamps:
        after_move(stamp.state, move)
