"""How a held stamp ends, step by step as stamping/endings.py does it, on the simulated store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple
from uuid import UUID

from simulated_database import LockedError, Transaction
from simulated_guards import Guard
from simulated_house import House
from simulated_rows import Claim, HoldRow, StampRow
from simulated_time import Process, Steps

from emeterai.core.ledger import Answer, Kind, Posted, Reason, Transfer
from emeterai.core.stamping import Move, StampState, after_move

SWEEP_MAX = 500
SWEPT_TOGETHER = 2
SWEEP_LOCK_WAIT_S = 2.0
ALONE_LOCK_WAIT = 0.05


class Sealed(NamedTuple):
    """What a settled stamp keeps of its seal."""

    tail_key: str
    digest: bytes


class Endings:
    """Ends holds for one process."""

    def __init__(self, house: House, process: Process) -> None:
        self.house = house
        self.process = process

    def settle(
        self, claims: Sequence[Claim], stamps: Mapping[UUID, StampRow], sealed: Mapping[UUID, Sealed]
    ) -> Steps[None]:
        """Held units become used; a stamp whose job was given away is left as it is."""
        if not claims:
            return
        store = self.house.store
        with store.transaction(self.process) as tx:
            yield from tx.open_book(stamps[claim.id].account for claim in claims)
            ours = [stamps[stamp_id] for stamp_id in tx.finish(claims)]
            yield from tx.statement()
            answers = tx.post([self._ending(stamp, Kind.SETTLE, Reason.SEALED) for stamp in ours])
            done = self._done(ours, answers)
            yield from tx.statement()
            for stamp in done:
                after = after_move(stamp.state, Move.SETTLE)
                assert isinstance(after, StampState)
                it = sealed[stamp.id]
                self._end_serial(tx, stamp, "affixed")
                if store.stamps[stamp.id].state is StampState.HELD:
                    tx.put(
                        "stamps", stamp.id, stamp._replace(state=after, tail_key=it.tail_key, sealed_digest=it.digest)
                    )
        self.house.say(self.process.name, "settles", *(stamp.id for stamp in done))
        for claim in claims:
            if claim.id not in {stamp.id for stamp in done}:
                self.house.say(self.process.name, "came too late with", claim.id)
        yield from store.answer()
        store.publish(stamp.id for stamp in done)

    def give_back(
        self, reasons: Mapping[UUID, Reason], *, claims: Sequence[Claim] | None = None, lock_wait_s: float = inf
    ) -> Steps[None]:
        """Held units become available again; with `claims`, only where the job is still the claimant's.

        Raises LockedError when somebody keeps an account locked for longer than `lock_wait_s`.
        """
        if not reasons:
            return
        store = self.house.store
        seen = [store.stamps[one] for one in reasons if one in store.stamps]
        yield self.house.pause_s()
        with store.transaction(self.process) as tx:
            yield from tx.open_book((stamp.account for stamp in seen), lock_wait_s=lock_wait_s)
            ours = list(reasons) if claims is None else tx.finish(claims)
            yield from tx.statement()
            if self.house.has(Guard.STATE_READ):
                seen = [store.stamps[one] for one in ours if one in store.stamps]
            held = [stamp for stamp in seen if stamp.state is StampState.HELD and stamp.id in ours]
            answers = tx.post([self._ending(stamp, Kind.RELEASE, reasons[stamp.id]) for stamp in held])
            done = self._done(held, answers)
            yield from tx.statement()
            for stamp in done:
                after = after_move(stamp.state, Move.GIVE_BACK)
                assert isinstance(after, StampState)
                if self.house.has(Guard.JOB_DROP):
                    tx.drop(stamp.id)
                self._end_serial(tx, stamp, "void")
                if store.stamps[stamp.id].state is StampState.HELD:
                    tx.put("stamps", stamp.id, stamp._replace(state=after, reason=reasons[stamp.id].value))
        for stamp in done:
            self.house.say(self.process.name, "gives back", stamp.id, reasons[stamp.id].value)
        yield from store.answer()
        store.publish(stamp.id for stamp in done)

    def sweep(self) -> Steps[None]:
        """Give back units whose hold is over by the database's clock, whatever the worker does."""
        now_s = self.house.now_s
        if not self.house.has(Guard.DATABASE_CLOCK):
            now_s += self.process.skew_s
        over = [it for it in self.house.store.holds.values() if it.expires_at_s <= now_s][:SWEEP_MAX]
        yield self.house.pause_s()
        accounts = sorted({it.account for it in over})
        for at in range(0, len(accounts), SWEPT_TOGETHER):
            chunk = accounts[at : at + SWEPT_TOGETHER]
            yield from self._give_back_expired([it for it in over if it.account in chunk], SWEEP_LOCK_WAIT_S)

    def _give_back_expired(self, over: Sequence[HoldRow], lock_wait_s: float) -> Steps[None]:
        """All accounts of a chunk together, or one by one when one of them is locked too long."""
        accounts = sorted({it.account for it in over})
        try:
            reasons = {it.subject: Reason.EXPIRED for it in over if it.subject}
            yield from self.give_back(reasons, lock_wait_s=lock_wait_s)
        except LockedError:
            if len(accounts) == 1:
                return
            for account in accounts:
                alone = [it for it in over if it.account == account]
                yield from self._give_back_expired(alone, lock_wait_s * ALONE_LOCK_WAIT)

    def _done(self, stamps: Sequence[StampRow], answers: Sequence[Answer]) -> list[StampRow]:
        for stamp, answer in zip(stamps, answers, strict=True):
            if not isinstance(answer, Posted):
                self.house.promises.ending_refused(stamp, answer)
        return [stamp for stamp, answer in zip(stamps, answers, strict=True) if isinstance(answer, Posted)]

    def _ending(self, stamp: StampRow, kind: Kind, reason: Reason) -> Transfer:
        shared = self.house.has(Guard.SHARED_ENDING)
        ending_id = stamp.ending if shared or kind is Kind.SETTLE else self.house.new_id()
        return Transfer(ending_id, kind, reason, 1, account=stamp.account, hold_id=stamp.hold, subject=stamp.id)

    def _end_serial(self, tx: Transaction, stamp: StampRow, state: str) -> None:
        tx.put("serials", stamp.serial, self.house.store.serials[stamp.serial]._replace(state=state))
