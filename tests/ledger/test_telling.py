"""Whose history has got a line is told, once that is committed, on every road by which the ledger posts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from uuid import UUID

import pytest

from emeterai.core.ledger import Counter, Kind, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger


class Told:
    """Who was told of, in order."""

    def __init__(self) -> None:
        self.accounts: list[UUID] = []

    def tell(self, accounts: Iterable[UUID]) -> None:
        """Remember them."""
        self.accounts += accounts


@pytest.fixture
def told() -> Told:
    """Nobody yet."""
    return Told()


@pytest.fixture
def ledger(db: Database, told: Told) -> Ledger:
    """A ledger that tells."""
    return Ledger(db, told.tell)


def credit(account: UUID, amount: int = 1) -> Transfer:
    """A purchase."""
    return Transfer(new_id(), Kind.CREDIT, Reason.PURCHASE, amount, account=account)


async def test_what_is_posted_is_told(ledger: Ledger, told: Told) -> None:
    """Alone, in a batch and in a book; both ends of a gift; each account once for each call."""
    giver, taker, subject = new_id(), new_id(), new_id()
    await ledger.post_one(credit(giver, 5))
    assert [giver] == told.accounts
    await ledger.post([credit(giver), credit(giver), credit(taker)])
    assert {giver: 2, taker: 1} == {account: told.accounts.count(account) for account in (giver, taker)}
    gift = Transfer(new_id(), Kind.GIVE, Reason.SOLD, 1, account=giver, subject=subject)
    receipt = Transfer(new_id(), Kind.RECEIVE, Reason.SOLD, 1, account=taker, subject=subject)
    await ledger.post([gift, receipt])
    assert {giver: 3, taker: 2} == {account: told.accounts.count(account) for account in (giver, taker)}


async def test_what_is_posted_without_a_lock_is_told(ledger: Ledger, told: Told) -> None:
    """Holds and their endings, on the assumption that nothing stands against them."""
    account, held = new_id(), new_id()
    await ledger.post([credit(account)])
    told.accounts.clear()
    await ledger.post_one(Transfer(held, Kind.HOLD, Reason.STAMPING, 1, account=account, life_s=60))
    assert [account] == told.accounts
    await ledger.post_one(Transfer(new_id(), Kind.SETTLE, Reason.SEALED, 1, account=account, hold_id=held))
    assert [account, account] == told.accounts


async def test_a_book_tells_after_its_commit(db: Database, ledger: Ledger, told: Told) -> None:
    """Whoever looks because he was told finds it there: nothing is told while the transaction is open."""
    account = new_id()
    async with db.transaction() as tx:
        book = await ledger.open_book(tx, [account], opening=True)
        await book.post([credit(account)])
        assert [] == told.accounts
    assert [account] == told.accounts


async def test_what_is_undone_is_not_told(db: Database, ledger: Ledger, told: Told) -> None:
    """A transaction that was rolled back has moved nothing; the next one on its connection tells its own."""
    undone, done = new_id(), new_id()
    with contextlib.suppress(LookupError):
        async with db.transaction() as tx:
            book = await ledger.open_book(tx, [undone], opening=True)
            await book.post([credit(undone)])
            raise LookupError
    async with db.transaction() as tx:
        book = await ledger.open_book(tx, [done], opening=True)
        await book.post([credit(done)])
    assert [done] == told.accounts


async def test_what_moves_nothing_is_not_told(ledger: Ledger, told: Told) -> None:
    """What was there before, what is refused, and money, which is in nobody's history."""
    account, once = new_id(), credit(new_id())
    await ledger.post([once])
    told.accounts.clear()
    await ledger.post([once])
    await ledger.post([Transfer(new_id(), Kind.REFUND, Reason.RETURNED, 9, account=account)])
    money = Transfer(new_id(), Kind.MONEY, Reason.DUTY, 1, debit=Counter.ORDER_LIABILITY, credit=Counter.TREASURY_DUTY)
    await ledger.post([money])
    assert [] == told.accounts
