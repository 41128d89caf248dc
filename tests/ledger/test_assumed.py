"""Transfers are posted without a lock when nothing stands against them. What came meanwhile is found by the writing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from test_against_model import code_of
from test_post import credit, ending, hold

from emeterai.core.ledger import Answer, Balance, Kind, Reason, Transfer, may_be_assumed
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger import store
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger

Meanwhile = Callable[[Sequence[Transfer]], None]


@pytest.fixture
def meanwhile(db: Database, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Have others post these after the next post has decided and before it writes."""

    def prepare(transfers: Sequence[Transfer]) -> None:
        write: Callable[..., Awaitable[Any]] = store.write

        async def others_first(*arguments: Any) -> None:
            monkeypatch.setattr(store, "write", write)
            await Ledger(db).post(transfers)
            await write(*arguments)

        monkeypatch.setattr(store, "write", others_first)

    return prepare


def words(answers: Sequence[Answer]) -> list[str]:
    """Answers in one word each."""
    return [code_of(answer) for answer in answers]


def refund(account: UUID, amount: int) -> Transfer:
    """Units that go back for money."""
    return Transfer(new_id(), Kind.REFUND, Reason.MONEY_BACK, amount, account=account)


@pytest.fixture
def ledger(db: Database) -> Ledger:
    """The ledger of this test."""
    return Ledger(db)


async def settled_state(db: Database, ledger: Ledger, account: UUID) -> tuple[Balance, bool]:
    """The balance, and whether the audit holds."""
    return await ledger.balance(account), (await check_ledger(db)).holds_true


@pytest.mark.parametrize("first", [Kind.SETTLE, Kind.RELEASE])
async def test_a_hold_that_others_ended_meanwhile_does_not_end_again(
    db: Database, ledger: Ledger, meanwhile: Meanwhile, first: Kind
) -> None:
    """The settle is told how the hold ended, and the one beside it is posted.

    The index that forbids a second ending knows those of its own month only, so it is taken away here.
    """
    async with db.transaction() as tx:
        await tx.execute("DROP INDEX ledger.transfers_one_ending")
    account = new_id()
    held, other = hold(account), hold(account)
    await ledger.post([credit(account, 3), held, other, hold(account)])
    meanwhile([ending(first, held)])
    answers = await ledger.post([ending(Kind.SETTLE, held), ending(Kind.SETTLE, other)])
    assert ["hold_settled" if first is Kind.SETTLE else "hold_released", "posted"] == words(answers)
    used = 2 if first is Kind.SETTLE else 1
    assert (Balance(bought=3, held=1, used=used), True) == await settled_state(db, ledger, account)


async def test_units_that_others_took_meanwhile_are_not_there(
    db: Database, ledger: Ledger, meanwhile: Meanwhile
) -> None:
    """Of two holds for the two last units one is refused, after another transaction took a unit."""
    account = new_id()
    await ledger.post([credit(account, 2)])
    meanwhile([refund(account, 1)])
    assert ["posted", "quota_not_enough"] == words(await ledger.post([hold(account), hold(account)]))
    assert (Balance(bought=2, held=1, refunded=1), True) == await settled_state(db, ledger, account)


async def test_what_others_moved_meanwhile_stays_moved(db: Database, ledger: Ledger, meanwhile: Meanwhile) -> None:
    """The balance that was read is old by the time of writing; nothing of the others' is overwritten."""
    account = new_id()
    await ledger.post([credit(account, 9)])
    meanwhile([hold(account, 2), refund(account, 1), credit(account, 3)])
    assert ["posted"] == words(await ledger.post([hold(account, 4)]))
    assert (Balance(bought=12, held=6, refunded=1), True) == await settled_state(db, ledger, account)


@pytest.mark.parametrize("bought", [1, 5])
async def test_the_same_transfer_posted_meanwhile_is_posted_once(
    db: Database, ledger: Ledger, meanwhile: Meanwhile, bought: int
) -> None:
    """The second is a repetition, also when the first took the last unit; with other content it is refused."""
    account = new_id()
    await ledger.post([credit(account, bought)])
    once = hold(account)
    meanwhile([once])
    assert ["again"] == words(await ledger.post([once]))
    assert ["again", "transfer_id_reused"] == words(await ledger.post([once, replace(once, amount=2)]))
    assert (Balance(bought=bought, held=1), True) == await settled_state(db, ledger, account)


async def test_a_hold_does_not_end_as_another_than_it_is(db: Database, ledger: Ledger) -> None:
    """A settle with another amount or account than its hold, and one that comes before its hold, find none.

    The accounts have other holds, so that their balances alone would allow it.
    """
    account, other = new_id(), new_id()
    held, late = hold(account), hold(account)
    await ledger.post([credit(account, 5), credit(other, 5), held, hold(account, 2), hold(other, 3)])
    more = replace(ending(Kind.SETTLE, held), amount=2)
    elsewhere = replace(ending(Kind.SETTLE, held), account=other)
    for wrong in (more, elsewhere):
        assert ["hold_unknown"] == words(await ledger.post([wrong]))
    assert ["hold_unknown", "posted"] == words(await ledger.post([ending(Kind.SETTLE, late), late]))
    assert (Balance(bought=5, held=4), True) == await settled_state(db, ledger, account)


async def test_a_refusal_is_about_what_others_leave_behind(db: Database, ledger: Ledger) -> None:
    """Too little quota, but the account is locked: whoever has it is waited for, and the answer is decided then."""
    account = new_id()
    await ledger.post([credit(account, 1)])
    async with db.transaction() as tx:
        book = await ledger.open_book(tx, [account], opening=True)
        waiting = asyncio.create_task(ledger.post([hold(account, 2)]))
        await asyncio.sleep(0.1)
        await book.post([credit(account, 1)])
    assert ["posted"] == words(await waiting)


@pytest.mark.parametrize("making_room", [Kind.CREDIT, Kind.RELEASE])
def test_what_makes_room_for_others_is_not_assumed(making_room: Kind) -> None:
    """Its order among the others counts, and that is kept by the lock."""
    account = new_id()
    held = hold(account)
    room = credit(account, 1) if making_room is Kind.CREDIT else ending(making_room, held)
    assert may_be_assumed([hold(account), refund(account, 1), ending(Kind.SETTLE, held)])
    assert not may_be_assumed([hold(account), room])
    assert not may_be_assumed([held, ending(Kind.SETTLE, held)])


async def test_batches_over_the_same_accounts_in_any_order_do_not_lock_each_other_out(
    db: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some forwards, some backwards, all at once: each is written at the first attempt."""
    accounts = [new_id() for _ in range(50)]
    await ledger.post([credit(account, 100) for account in accounts])

    async def again(*_: object, **__: object) -> None:
        pytest.fail("a batch had to be decided again")

    monkeypatch.setattr(ledger, "_open_sorted", again)
    for _ in range(5):
        orders = [accounts, accounts[::-1]] * 4
        batches = [[hold(account) for account in order] for order in orders]
        await asyncio.gather(*(ledger.post(batch) for batch in batches))
        await asyncio.gather(*(ledger.post([ending(Kind.SETTLE, one) for one in batch]) for batch in batches))
    assert (Balance(bought=100, used=40), True) == await settled_state(db, ledger, accounts[0])
