"""The ledger: the only writer of quota and money facts.

`post` takes a sequence of transfers and answers each one; `post_one` takes one and posts it with those that others
bring at the same time. A capability that has rows of its own to write in the same transaction opens a book instead:
`open_book` locks the accounts, the caller reads what it needs, `OpenBook.post` decides and writes, and everything
commits together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import asyncpg

from emeterai.core.ledger import (
    Answer,
    Balance,
    Book,
    Kind,
    OpenHold,
    Posted,
    Transfer,
    accounts_of,
    changes,
    in_order,
    may_be_assumed,
    spenders_of,
)
from emeterai.core.refusal import Refused
from emeterai.infra.batching import Batcher
from emeterai.infra.database import Connection, Database
from emeterai.infra.lane import lift_deadline
from emeterai.ledger import store
from emeterai.ledger.model import Movement

Tell = Callable[[Iterable[UUID]], None]
"""Tells whoever waits that these accounts have moved. It returns at once."""
_POST_TRIES_MAX = 3
_LANES = 2
"""So many batches of `post_one` are under way at once, each of accounts of its own: they never wait for each other."""
_NO_TRANSFERS_FAULT = (
    Refused,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""The database is busy, full or away, or was too slow: trying the transfers by themselves would only add to that."""

_OVERTAKEN = (
    asyncpg.UniqueViolationError,
    asyncpg.CheckViolationError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
"""What was assumed is not so, or not any more; nothing was written."""


class OpenBook:
    """Balances locked in one transaction. It lives exactly as long as that transaction."""

    def __init__(self, tx: Connection, book: Book, moved: Callable[[set[UUID]], None]) -> None:
        self._tx = tx
        self._book = book
        self._moved = moved

    def balance(self, account: UUID) -> Balance:
        """The balance of a locked account as it stands now, this transaction's transfers included."""
        return self._book.balances.get(account, Balance())

    async def post(self, transfers: Sequence[Transfer]) -> list[Answer]:
        """Post transfers of locked accounts, in order, each with its own answer. Visible after the commit.

        Raises RuntimeError, before anything is written, when one gives what no other of them receives.
        """
        await store.read_earlier(self._tx, transfers, self._book)
        before = dict(self._book.balances)
        answers = self._book.decide(transfers)
        self._moved(await _write(self._tx, answers, changes(before, self._book.balances)))
        return answers

    async def post_whole(self, transfers: Sequence[Transfer], *, about: object) -> None:
        """Post what was decided under this lock. Raises RuntimeError when one is refused: a bug; nothing may commit."""
        refused = [answer.code for answer in await self.post(transfers) if isinstance(answer, Refused)]
        if refused:
            raise RuntimeError(f"the ledger refused what follows for {about}: {refused[:5]}")


async def _write(connection: Connection, answers: Sequence[Answer], changed: Mapping[UUID, Balance]) -> set[UUID]:
    """Write what was decided and is new; answers the accounts whose histories have got a line."""
    fresh = [answer.transfer for answer in answers if isinstance(answer, Posted) and not answer.again]
    if fresh:
        await store.write(connection, fresh, changed)
    return {transfer.account for transfer in fresh if transfer.account is not None}


def _nobody(_: Iterable[UUID]) -> None:
    """Nobody waits."""


class Ledger:
    """Quota and money as double entry. docs/accounts.md is its chart.

    `tell` hears of every account whose history has got a line, once that is committed; it is no promise: whoever dies
    between the two tells nobody.
    """

    def __init__(self, db: Database, tell: Tell = _nobody) -> None:
        self._db = db
        self._tell = tell
        self._lanes: list[Batcher[Transfer, Answer]] = [Batcher(self._post_apart) for _ in range(_LANES)]

    async def open_book(self, tx: Connection, accounts: Iterable[UUID], *, opening: bool = False) -> OpenBook:
        """Lock the balances of `accounts` until `tx` ends. Call it first and once in a transaction.

        `opening` makes the rows of accounts that have none yet: for a first credit.
        """
        return await self._open_sorted(tx, in_order(accounts), opening=opening)

    async def _open_sorted(self, tx: Connection, accounts: Sequence[UUID], *, opening: bool) -> OpenBook:
        if opening:
            await store.open_accounts(tx, accounts)
        return OpenBook(tx, Book(await store.lock_accounts(tx, accounts)), partial(self._tell_afterwards, tx))

    def _tell_afterwards(self, tx: Connection, accounts: set[UUID]) -> None:
        if accounts:
            self._db.after_commit(tx, partial(self._tell, accounts))

    async def post(self, transfers: Sequence[Transfer]) -> list[Answer]:
        """Post a sequence of transfers in one transaction, each with its own answer.

        Safe to repeat with the same ids after a lost answer: what was posted is answered `again` and not posted twice.
        """
        for _ in range(_POST_TRIES_MAX - 1):
            try:
                return await self._post_once(transfers)
            except asyncpg.UniqueViolationError:
                # Another transaction posted one of these ids between our read and our write, which only transfers
                # without an account (money) allow. It has committed by now, so the next read sees it.
                continue
        return await self._post_once(transfers)

    async def post_one(self, transfer: Transfer) -> Posted:
        """Post one transfer, in one transaction with those that arrive in the same millisecond or two.

        Raises its refusal. Whatever becomes of the others, it is answered as if it had come alone, in its turn among
        those of its account. What passes to another account never comes alone: it goes through `post`.
        """
        if transfer.kind in {Kind.GIVE, Kind.RECEIVE}:
            raise ValueError("a gift and its receipt are posted together")
        account = transfer.account
        lane = 0 if account is None else account.int % len(self._lanes)
        posted = await self._lanes[lane].submit(transfer)
        assert isinstance(posted, Posted)
        return posted

    async def _post_apart(self, transfers: Sequence[Transfer]) -> list[Answer | Exception]:
        """Post all at once, or in halves when that fails, so that one that cannot be written fails alone."""
        try:
            return list(await self.post(transfers))
        except _NO_TRANSFERS_FAULT:
            raise
        except Exception as error:  # noqa: BLE001 - it goes to the caller whose transfer it is
            if len(transfers) == 1:
                return [error]
        middle = len(transfers) // 2
        return [*await self._post_apart(transfers[:middle]), *await self._post_apart(transfers[middle:])]

    async def _post_once(self, transfers: Sequence[Transfer]) -> list[Answer]:
        if may_be_assumed(transfers):
            answers = await self._post_assumed(transfers)
            if answers is not None:
                return answers
        opening = any(transfer.kind in {Kind.CREDIT, Kind.RECEIVE} for transfer in transfers)
        async with self._db.transaction() as tx:
            book = await self._open_sorted(tx, accounts_of(transfers), opening=opening)
            return await book.post(transfers)

    async def _post_assumed(self, transfers: Sequence[Transfer]) -> list[Answer] | None:
        """Post without a lock, in one statement that finds out whether it may; None when these need the lock.

        They do when a transfer may be refused or is there already, or when another transaction was faster.
        """
        spenders = spenders_of(transfers)
        try:
            async with self._db.connection() as connection:
                balances = await store.read_balances(connection, spenders) if spenders else {}
                book = Book.assuming(balances, transfers)
                before = dict(book.balances)
                answers = book.decide(transfers)
                if any(isinstance(answer, Refused) for answer in answers):
                    return None
                lift_deadline()
                moved = await _write(connection, answers, changes(before, book.balances))
        except _OVERTAKEN:
            return None
        if moved:
            self._tell(moved)
        return answers

    async def balance(self, account: UUID) -> Balance:
        """The balance of one account; zero for one that was never credited."""
        return (await store.read_balances(self._db, [account])).get(account, Balance())

    async def balances(self, accounts: Sequence[UUID]) -> Mapping[UUID, Balance]:
        """The balances of these accounts; one that was never credited is absent."""
        return await store.read_balances(self._db, accounts)

    async def history(
        self, account: UUID, *, before: tuple[datetime, UUID] | None = None, limit: int = 50
    ) -> list[Movement]:
        """Every movement of an account, newest first; `before` is the (posted_at, id) of the last line already seen."""
        return await store.history(self._db, account, before=before, limit=limit)

    async def expired_holds(self, limit: int, *, without: Sequence[UUID] = ()) -> list[OpenHold]:
        """Holds whose life is over and that nobody has ended: for the sweeper, which gives them back.

        None of the accounts `without`: those that it cannot lock now.
        """
        return await store.expired_holds(self._db, limit, without=without)
