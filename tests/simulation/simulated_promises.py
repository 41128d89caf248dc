"""Who watches: the promises, checked after every commit on what it touched, and on everything when all is quiet.

Nothing here shares code with what it checks: sums are kept from the committed transfers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from simulated_database import IDLE_IN_TRANSACTION_S, Store, Transaction
from simulated_guards import BrokenPromiseError, Promise
from simulated_rows import HoldRow, JobRow, OrderRow, SerialRow, StampRow
from simulated_time import Clock, Process

from emeterai.core.ledger import Balance, Counter, Kind, Transfer
from emeterai.core.ordering import CURRENCY, OrderState
from emeterai.core.refusal import Refused
from emeterai.core.serial import is_serial
from emeterai.core.stamping import DocumentState, StampState

if TYPE_CHECKING:
    from simulated_provider import Provider

SWEEP_S = 1.0
SLACK_S = 2 * IDLE_IN_TRANSACTION_S + 5.0
"""A sweep may wait for the lock of a process that sleeps, until the database ends it; and for a second one."""


@dataclass(slots=True)
class Sums:
    """What the transfers of one account add up to, in stamps."""

    bought: int = 0
    opened: int = 0
    settled: int = 0
    released: int = 0
    refunded: int = 0

    def add(self, transfer: Transfer) -> None:
        """One more transfer."""
        match transfer.kind:
            case Kind.CREDIT:
                self.bought += transfer.amount
            case Kind.REFUND:
                self.refunded += transfer.amount
            case Kind.HOLD:
                self.opened += transfer.amount
            case Kind.SETTLE:
                self.settled += transfer.amount
            case Kind.RELEASE:
                self.released += transfer.amount

    @property
    def balance(self) -> Balance:
        """What they lead to."""
        return Balance(self.bought, self.opened - self.settled - self.released, self.settled, self.refunded)


class Promises:
    """Checks. Every method that finds a promise broken raises BrokenPromiseError."""

    def __init__(self, clock: Clock, store: Store, provider: Provider) -> None:
        self.clock = clock
        self.store = store
        self.provider = provider
        self.stewards: list[Process] = []
        self.latest_hold_s = 0.0
        self._sums: dict[UUID, Sums] = {}
        self._lines: dict[UUID, int] = {}
        self._paid_idr = 0
        self._ended: dict[UUID, Kind] = {}
        self._owners: dict[str, tuple[bytes, UUID]] = {}
        self._told_by_key: dict[tuple[UUID, UUID], tuple[UUID, bytes | None]] = {}
        self._told_final: dict[UUID, StampRow] = {}
        self._further: dict[tuple[UUID, bytes], dict[UUID, None]] = {}
        self._checks: dict[str, Callable[[Any, Any], None]] = {
            "transfers": self._transfer,
            "stamps": self._stamp,
            "serials": self._serial,
            "holds": self._hold,
            "jobs": self._job,
            "orders": self._order,
        }

    def committed(self, tx: Transaction) -> None:
        """Check what a commit touched: each row by itself, then the accounts and the stamps as a whole."""
        accounts: dict[UUID, None] = {}
        stamps: dict[UUID, None] = {}
        for table, key, before, after in tx.writes:
            check = self._checks.get(table)
            if check is not None:
                check(before, after)
            if table == "balances":
                accounts[key] = None
            elif table == "stamps" or (table == "jobs" and key not in self.store.documents):
                stamps[key] = None
            elif table in {"holds", "serials"}:
                stamps[(after or before).subject] = None
        for account in accounts:
            self._balance(account)
        for stamp_id in stamps:
            self._agreement(stamp_id)

    def stored(self, key: str) -> None:
        """A blob was written: no sealed stamp may have pointed to something else there."""
        stamp = self.store.stamps.get(UUID(key.split("/")[1].split(".", maxsplit=1)[0]))
        if stamp is not None and stamp.tail_key == key:
            self._file(stamp)

    def ending_refused(self, stamp: StampRow, refused: Refused) -> None:
        """The ledger had to refuse the ending of a hold."""
        _broken(Promise.NOT_REFUSED, f"stamp {stamp.id}: {refused.code}")

    def wished(self, account: UUID, digest: bytes, further_key: UUID | None) -> None:
        """A person asks for a stamp on a file, or with a key for a further one on the same file."""
        keys = self._further.setdefault((account, digest), {})
        if further_key is not None:
            keys[further_key] = None

    def told(self, stamp: StampRow, *, key: UUID | None = None, request: bytes | None = None) -> None:
        """A person was answered with a stamp; with `key`, to that key and that request."""
        if key is not None:
            first = self._told_by_key.setdefault((stamp.account, key), (stamp.id, request))
            if first != (stamp.id, request):
                _broken(Promise.ANSWER_TRUE, f"key {key} was answered with {first[0]}, now with {stamp.id}")
            if stamp.key == key and stamp.request != request:
                _broken(Promise.ANSWER_TRUE, f"key {key} is answered with the stamp of another request: {stamp.id}")
        now = self.store.stamps.get(stamp.id)
        if now is None:
            _broken(Promise.ANSWER_TRUE, f"stamp {stamp.id} was told of and is not there")
        if stamp.state is not StampState.HELD:
            self._told_final.setdefault(stamp.id, stamp)
            self._still_as_told(now)

    def quiet(self) -> None:
        """Everything that was begun has ended: check all of it, from the rows themselves."""
        store = self.store
        self.hourly()
        held = [stamp.id for stamp in store.stamps.values() if stamp.state is StampState.HELD]
        for what, left in {"stamps": held, "holds": store.holds, "jobs": store.jobs, "notices": store.notices}.items():
            if left:
                _broken(Promise.ENDED, f"{what} are left: {[str(one) for one in left]}")
        for stamp in store.stamps.values():
            self._file(stamp)
        self._recount()

    def hourly(self) -> None:
        """What is open is not older than it may be."""
        for hold in self.store.holds.values():
            self._in_time(hold.expires_at_s, "hold", hold.id)
        for job in self.store.jobs.values():
            if job.worker is not None:
                self._in_time(job.lease_until_s, "the lease of", job.id)

    def settled_money(self, watch_s: float) -> None:
        """Every charge that the provider settled while we watch is quota, or in quarantine."""
        for charge in self.provider.charges.values():
            order = self.store.orders[charge.order]
            settled = charge.settled_at_s is not None and charge.settled_at_s <= order.expires_at_s + watch_s
            if settled and order.state not in {OrderState.PAID, OrderState.QUARANTINED}:
                _broken(Promise.PAID_IS_QUOTA, f"order {order.id} is {order.state.value}, its money came")

    def _transfer(self, before: Transfer | None, after: Transfer) -> None:
        if after.kind is Kind.MONEY:
            debit, credit = after.lines
            self._lines[debit] = self._lines.get(debit, 0) - after.amount
            self._lines[credit] = self._lines.get(credit, 0) + after.amount
            return
        assert after.account is not None
        self._sums.setdefault(after.account, Sums()).add(after)
        if after.hold_id is not None:
            if after.hold_id in self._ended:
                was = self._ended[after.hold_id].value
                _broken(Promise.ENDED_ONCE, f"hold {after.hold_id} had its {was} and now a {after.kind.value}")
            self._ended[after.hold_id] = after.kind

    def _balance(self, account: UUID) -> None:
        kept, by_sum = self.store.balances[account], self._sums[account].balance
        if kept != by_sum:
            _broken(Promise.CONSERVED, f"account {account}: {by_sum} by its transfers, {kept} kept")
        if min(kept.bought, kept.held, kept.used, kept.refunded, kept.available) < 0:
            _broken(Promise.CONSERVED, f"account {account} is below nought: {kept}")
        if kept.bought != kept.available + kept.held + kept.used + kept.refunded:
            _broken(Promise.CONSERVED, f"account {account}: {kept}, {kept.available} available")

    def _stamp(self, before: StampRow | None, after: StampRow) -> None:
        if before is None:
            self._new_stamp(after)
        self._still_as_told(after)
        self._file(after)

    def _new_stamp(self, stamp: StampRow) -> None:
        document = self.store.documents[stamp.document]
        if document.state is not DocumentState.READY:
            _broken(Promise.NO_BEFORE_DEBIT, f"stamp {stamp.id} is on a document that is {document.state.value}")
        alike = [self.store.stamps[one] for one in self.store.stamps_by[stamp.account, stamp.digest]]
        copies = [one.copy for one in alike if one.state is not StampState.GIVEN_BACK]
        wishes = 1 + len(self._further[stamp.account, stamp.digest])
        if len(copies) > wishes or len(set(copies)) < len(copies):
            _broken(Promise.ONE_STAMP, f"stamps {copies} of one file for {wishes} wishes, the last is {stamp.id}")
        if stamp.key is not None and len(self.store.stamps_by[stamp.account, stamp.key]) > 1:
            _broken(Promise.ONE_STAMP, f"the key {stamp.key} made a second stamp, {stamp.id}")
        told = None if stamp.key is None else self._told_by_key.get((stamp.account, stamp.key))
        if told is not None and told[0] != stamp.id:
            _broken(Promise.ANSWER_TRUE, f"key {stamp.key} was answered with {told[0]}, now it makes {stamp.id}")

    def _still_as_told(self, stamp: StampRow) -> None:
        told = self._told_final.get(stamp.id)
        if told is not None and told != stamp:
            _broken(Promise.ANSWER_TRUE, f"stamp {stamp.id} was told {told.state.value}, is {stamp}")

    def _file(self, stamp: StampRow) -> None:
        if stamp.state is StampState.SEALED:
            kept = self.store.blobs.get(stamp.tail_key)
            if kept is None or kept != stamp.sealed_digest or not kept.startswith(b"good " + stamp.serial.encode()):
                _broken(Promise.FILE_THERE, f"stamp {stamp.id} has {kept!r} at {stamp.tail_key}")

    def _serial(self, before: SerialRow | None, after: SerialRow) -> None:
        if before is None:
            if not is_serial(after.serial):
                _broken(Promise.SERIAL_ONCE, f"{after.serial} is no serial")
            owner = self._owners.setdefault(after.serial, (after.digest, after.subject))
            if owner != (after.digest, after.subject):
                _broken(Promise.SERIAL_ONCE, f"serial {after.serial} is taken for two: {owner[1]}, {after.subject}")
        elif before.state != "taken" or before._replace(state=after.state) != after:
            _broken(Promise.SERIAL_ONCE, f"{before} becomes {after}")

    def _hold(self, before: HoldRow | None, after: HoldRow | None) -> None:
        if before is None or after is not None:
            return
        self._in_time(before.expires_at_s, "hold", before.id)
        late_s = self.clock.now_s - before.expires_at_s
        self.latest_hold_s = max(self.latest_hold_s, late_s)
        stamp = self.store.stamps.get(before.subject) if before.subject else None
        if stamp is not None and stamp.reason == "expired" and late_s < 0:
            _broken(Promise.IN_TIME, f"hold {before.id} is given back as expired, {-late_s:.1f} s before it is")

    def _job(self, before: JobRow | None, after: JobRow | None) -> None:
        if before is not None and before.worker is not None:
            self._in_time(before.lease_until_s, "the lease of", before.id)

    def _order(self, before: OrderRow | None, after: OrderRow) -> None:
        was_paid, is_paid = before is not None and before.state is OrderState.PAID, after.state is OrderState.PAID
        if was_paid and not is_paid:
            _broken(Promise.PAID_IS_QUOTA, f"order {after.id} was paid and is {after.state.value}")
        if is_paid and not was_paid:
            seen, total = self.provider.charges[after.id].seen, after.price.total_idr
            if seen.amount != total or seen.currency != CURRENCY:
                _broken(Promise.PAID_IS_QUOTA, f"order {after.id} of {total} became quota for {seen}")
            self._paid_idr += total
        owed, received = (self._lines.get(it, 0) for it in (Counter.ORDER_LIABILITY, Counter.PROVIDER_RECEIVABLE))
        if owed != 0 or -received != self._paid_idr:
            _broken(
                Promise.MONEY_BALANCED, f"{owed} rupiah owed, {-received} received, {self._paid_idr} of paid orders"
            )

    def _agreement(self, stamp_id: UUID) -> None:
        store, stamp = self.store, self.store.stamps.get(stamp_id)
        if stamp is None:
            _broken(Promise.AGREED, f"there is a hold, a serial or a job of no stamp: {stamp_id}")
        serial = store.serials.get(stamp.serial)
        found = (
            store.endings.get(stamp.hold),
            stamp.hold in store.holds,
            serial.state if serial else None,
            stamp_id in store.jobs,
        )
        if found != _AGREEMENT[stamp.state]:
            _broken(Promise.AGREED, f"stamp {stamp_id} is {stamp.state.value}, ending, hold, serial and job: {found}")

    def _in_time(self, over_s: float, what: str, which: UUID) -> None:
        """Whatever was over at `over_s` is put right within a sweep of the first steward that is fit."""
        if self.clock.now_s > over_s:
            late_s = self.clock.now_s - max(over_s, min(steward.back_at_s for steward in self.stewards))
            if late_s > SWEEP_S + SLACK_S:
                _broken(Promise.IN_TIME, f"{what} {which} is {late_s:.1f} s over")

    def _recount(self) -> None:
        """Everything once more from nothing: totals over all accounts, stamps and serials."""
        store, transfers = self.store, self.store.transfers.values()
        bought, used, returned = (_total(transfers, kind) for kind in (Kind.CREDIT, Kind.SETTLE, Kind.REFUND))
        kept = list(store.balances.values())
        totals = Balance(*(sum(getattr(it, part) for it in kept) for part in ("bought", "held", "used", "refunded")))
        if totals != Balance(bought, 0, used, returned):
            _broken(Promise.CONSERVED, f"in sum {totals}, by the transfers {bought} {used} {returned}")
        sealed = sum(stamp.state is StampState.SEALED for stamp in store.stamps.values())
        affixed = sum(serial.state == "affixed" for serial in store.serials.values())
        if not sealed == affixed == used:
            _broken(Promise.AGREED, f"{sealed} stamps sealed, {affixed} serials affixed, {used} units used")


_AGREEMENT = {
    StampState.HELD: (None, True, "taken", True),
    StampState.SEALED: (Kind.SETTLE, False, "affixed", False),
    StampState.GIVEN_BACK: (Kind.RELEASE, False, "void", False),
}
"""For each state of a stamp: how its hold ended, whether it is open, the state of its serial, whether it has a job."""


def _total(transfers: Iterable[Transfer], kind: Kind) -> int:
    return sum(transfer.amount for transfer in transfers if transfer.kind is kind)


def _broken(promise: Promise, detail: str) -> NoReturn:
    raise BrokenPromiseError(promise, detail)
