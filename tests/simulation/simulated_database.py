"""An in-memory store that commits as PostgreSQL does: locks on balances, writes seen at the commit and all at once.

It has no constraints: what a unique index, a check or a trigger would stop is left for the promises to find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Any
from uuid import UUID

from simulated_guards import Guard
from simulated_rows import AskedKeyRow, Claim, DocumentRow, HoldRow, JobRow, NoticeRow, OrderRow, SerialRow, StampRow
from simulated_time import Clock, Process, Signal, Steps

from emeterai.core.ledger import Answer, Balance, Book, Kind, Posted, Transfer, accounts_of

IDLE_IN_TRANSACTION_S = 10.0
"""PostgreSQL ends a session that holds a transaction open for so long without a word (infra/database.py)."""


class GoneError(Exception):
    """The connection is gone: what was not committed never happened, and who commits just now learns nothing."""


class LockedError(Exception):
    """Somebody kept a lock for longer than this transaction waits."""


Row = Any
"""A row of any table, a Transfer, a Balance or a Kind; None where there is none."""
Write = tuple[str, Any, Row, Row]
"""What a commit did: the table, the key, the row before and the row after."""


_TABLES = (
    "balances",
    "transfers",
    "holds",
    "endings",
    "serials",
    "blocks",
    "documents",
    "stamps",
    "asked_keys",
    "jobs",
    "orders",
    "notices",
    "events",
)


class Store:
    """The committed state. `committed` is told of every commit, after it."""

    def __init__(self, clock: Clock, missing: frozenset[Guard]) -> None:
        self.clock = clock
        self.missing = missing
        self.tables: dict[str, dict[Any, Row]] = {name: {} for name in _TABLES}
        self.balances: dict[UUID, Balance] = self.tables["balances"]
        self.transfers: dict[UUID, Transfer] = self.tables["transfers"]
        self.holds: dict[UUID, HoldRow] = self.tables["holds"]
        self.endings: dict[UUID, Kind] = self.tables["endings"]
        self.serials: dict[str, SerialRow] = self.tables["serials"]
        self.documents: dict[UUID, DocumentRow] = self.tables["documents"]
        self.stamps: dict[UUID, StampRow] = self.tables["stamps"]
        self.asked_keys: dict[tuple[UUID, UUID], AskedKeyRow] = self.tables["asked_keys"]
        self.jobs: dict[UUID, JobRow] = self.tables["jobs"]
        self.orders: dict[UUID, OrderRow] = self.tables["orders"]
        self.notices: dict[UUID, NoticeRow] = self.tables["notices"]
        self.stamps_by: dict[tuple[UUID, bytes | UUID], list[UUID]] = {}
        """Stamps by account and digest, and by account and idempotency key: what the indexes find."""
        self.watched: dict[UUID, None] = {}
        """Orders whose provider is still asked."""
        self.blobs: dict[str, bytes] = {}
        self.open: dict[Transaction, None] = {}
        self.lock_of: dict[UUID, Transaction] = {}
        self.locked_jobs: dict[UUID, Transaction] = {}
        self.freed = Signal()
        self.stirred = {name: Signal() for name in ("holds", "jobs", "orders")}
        """Ring when something new may fall due: a hold, a lease, an order or a notification."""
        self.work: dict[str, Signal] = {"inspect": Signal(), "seal": Signal()}
        self.news: dict[UUID, Signal] = {}
        self.committed: Callable[[Transaction], None] = lambda _: None

    def transaction(self, process: Process) -> Transaction:
        """Begin one: `with store.transaction(process) as tx`. It commits when the block ends."""
        return Transaction(self, process)

    def end_idle(self, process: Process) -> None:
        """End the transactions of a process that said nothing for IDLE_IN_TRANSACTION_S."""
        for tx in [tx for tx in self.open if tx.process is process]:
            tx.roll_back()

    def restart(self) -> None:
        """Kill -9 of the database: every open transaction never happened."""
        for tx in list(self.open):
            tx.roll_back()

    def answer(self, chance_of_loss: float = 0.002) -> Steps[None]:
        """The answer to a commit on its way back. Raises GoneError when the connection breaks just then."""
        yield self.clock.pause_s()
        if self.clock.random() < chance_of_loss:
            raise GoneError

    def publish(self, ids: Iterable[UUID]) -> None:
        """Tell those who wait on the bus; the bus may lose it."""
        for one in ids:
            signal = self.news.pop(one, None)
            if signal is not None and self.clock.random() > 0.05:
                self.clock.ring(signal, after_s=self.clock.pause_s())

    def rouse(self, kind: str) -> None:
        """Wake workers that have nothing to do: by the bus, or when that lost it by their own look each second."""
        heard = self.clock.random() > 0.05
        self.clock.ring(self.work[kind], after_s=self.clock.pause_s() if heard else self.clock.random())

    def hear(self, one: UUID, wait_s: float) -> tuple[Signal, float]:
        """What to wait for to hear of `one` on the bus, at most `wait_s`."""
        return self.news.setdefault(one, Signal()), wait_s


def patiently(steps: Steps[None]) -> Steps[None]:
    """Do it; when the connection breaks, leave it to a later sweep."""
    with suppress(GoneError):
        yield from steps


class Transaction:
    """One READ COMMITTED transaction. Reads go to the tables as they are now; writes are kept until the commit."""

    def __init__(self, store: Store, process: Process) -> None:
        self.store = store
        self.process = process
        self.gone = False
        self.writes: list[Write] = []
        self.read: dict[UUID, Balance] = {}
        self.locks: list[UUID] = []

    def __enter__(self) -> Transaction:
        self.store.open[self] = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.gone:
            if kind is None:
                raise GoneError
        elif kind is None:
            self._commit()
        else:
            self.roll_back()

    def statement(self) -> Steps[None]:
        """The time of one statement. Raises GoneError when the database has ended this transaction meanwhile."""
        yield self.store.clock.pause_s()
        if self.gone:
            raise GoneError

    def put(self, table: str, key: Any, row: Row) -> None:
        """Write a row, or with None delete it."""
        self.writes.append((table, key, None, row))

    def row(self, table: str, key: Any) -> Row:
        """A row as this transaction sees it, its own writes included."""
        mine = [row for name, it, _, row in self.writes if (name, it) == (table, key)]
        return mine[-1] if mine else self.store.tables[table].get(key)

    def open_book(self, accounts: Iterable[UUID], *, lock_wait_s: float = inf) -> Steps[None]:
        """Lock the balances in sorted order, then read them (ledger/service.py). Raises LockedError."""
        ordered = sorted(set(accounts))
        if Guard.LOCK not in self.store.missing:
            for account in ordered:
                yield from self._lock(account, lock_wait_s)
        yield from self.statement()
        self.read = {one: self.store.balances[one] for one in ordered if one in self.store.balances}

    def _lock(self, account: UUID, wait_s: float) -> Steps[None]:
        over_s = self.store.clock.now_s + wait_s
        while account in self.store.lock_of:
            if self.store.clock.now_s >= over_s:
                raise LockedError
            yield self.store.freed if wait_s == inf else (self.store.freed, over_s - self.store.clock.now_s)
            if self.gone:
                raise GoneError
        self.store.lock_of[account] = self
        self.locks.append(account)

    def post(self, transfers: list[Transfer]) -> list[Answer]:
        """Read what the decision needs, decide by core/ledger.py, and write (ledger/store.py)."""
        store = self.store
        book = Book(dict(self.read))
        if Guard.TRANSFER_MEMORY not in store.missing:
            book.earlier = {it.id: store.transfers[it.id].content() for it in transfers if it.id in store.transfers}
        for hold_id in [it.hold_id for it in transfers if it.hold_id is not None]:
            hold = store.holds.get(hold_id)
            if hold is not None:
                book.open_holds[hold_id] = (hold.account, hold.amount)
            elif hold_id in store.endings:
                if Guard.HOLD_MEMORY in store.missing:
                    was = store.transfers[hold_id]
                    assert was.account is not None
                    book.open_holds[hold_id] = (was.account, was.amount)
                else:
                    book.endings[hold_id] = store.endings[hold_id]
        answers = book.decide(transfers)
        fresh = [it.transfer for it in answers if isinstance(it, Posted) and not it.again]
        for transfer in fresh:
            self._write_transfer(transfer)
        for account in accounts_of(fresh):
            self.put("balances", account, book.balances[account])
        self.read.update(book.balances)
        return answers

    def finish(self, claims: Iterable[Claim]) -> list[UUID]:
        """End claimed jobs; answers those that were still the claimant's (infra/jobs.py)."""
        ours: list[UUID] = []
        for claim in claims:
            job = self.store.jobs.get(claim.id)
            mine = job is not None and (job.worker, job.attempts) == (claim.worker, claim.attempt)
            if (mine and claim.id not in self.store.locked_jobs) or Guard.FENCING in self.store.missing:
                ours.append(claim.id)
                self.drop(claim.id)
        return ours

    def drop(self, job_id: UUID) -> None:
        """Delete a job whoever holds it."""
        if job_id in self.store.jobs:
            self.store.locked_jobs.setdefault(job_id, self)
            self.put("jobs", job_id, None)

    def roll_back(self) -> None:
        """Forget everything and free the locks."""
        self.gone = True
        self._leave()

    def _write_transfer(self, transfer: Transfer) -> None:
        self.put("transfers", transfer.id, transfer)
        if transfer.kind is Kind.HOLD:
            assert transfer.account is not None
            assert transfer.life_s is not None
            expires_at_s = self.store.clock.now_s + transfer.life_s
            row = HoldRow(transfer.id, transfer.account, transfer.amount, transfer.subject, expires_at_s)
            self.put("holds", transfer.id, row)
        elif transfer.hold_id is not None:
            self.put("endings", transfer.hold_id, transfer.kind)
            self.put("holds", transfer.hold_id, None)

    def _commit(self) -> None:
        tables = self.store.tables
        done: list[Write] = []
        for table, key, _, row in self.writes:
            rows = tables[table]
            done.append((table, key, rows.get(key), row))
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
            self._index(table, done[-1])
        self.writes = done
        self._leave()
        if done:
            self.store.committed(self)

    def _index(self, table: str, write: Write) -> None:
        _, key, before, after = write
        if after is not None:
            stirred = self.store.stirred.get("orders" if table == "notices" else table)
            if stirred is not None:
                self.store.clock.ring(stirred)
        if table == "stamps" and before is None:
            for what in (after.digest, after.key):
                if what is not None:
                    self.store.stamps_by.setdefault((after.account, what), []).append(key)
        elif table == "orders":
            if after.next_check_s is None:
                self.store.watched.pop(key, None)
            else:
                self.store.watched[key] = None
        elif table == "jobs" and after is not None and after.worker is None:
            self.store.rouse(after.kind)

    def _leave(self) -> None:
        store = self.store
        store.open.pop(self, None)
        for job_id in [job_id for job_id, tx in store.locked_jobs.items() if tx is self]:
            del store.locked_jobs[job_id]
        if self.locks:
            for account in self.locks:
                del store.lock_of[account]
            self.locks = []
            store.clock.ring(store.freed)
