"""Quota goes from one account to another: whole, once, and only when it was there to give."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emeterai.core.ledger import Answer, Balance, Book, Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger

ACCOUNTS = 3


def credit(account: UUID, amount: int) -> Transfer:
    """Quota from nowhere in particular."""
    return Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, amount, account=account)


def passing(giver: UUID, receiver: UUID, amount: int, *, received: int | None = None) -> list[Transfer]:
    """A sale: what one gives and the other receives."""
    sale = new_id()
    return [
        Transfer(new_id(), Kind.GIVE, Reason.SOLD, amount, account=giver, subject=sale),
        Transfer(new_id(), Kind.RECEIVE, Reason.SOLD, received or amount, account=receiver, subject=sale),
    ]


def words(answers: list[Answer]) -> list[str]:
    """Answers in one word each."""
    return [it.code if isinstance(it, Refused) else "again" if it.again else "posted" for it in answers]


async def test_what_is_given_is_received(db: Database) -> None:
    """The giver has less, the receiver more; together as much as was issued; both read it in their history."""
    ledger, shop, person = Ledger(db), new_id(), new_id()
    sale = passing(shop, person, 2)
    await ledger.post([credit(shop, 5)])
    assert ["posted"] * 2 == words(await ledger.post(sale))
    assert ["again"] * 2 == words(await ledger.post(sale))
    assert (Balance(bought=3), Balance(bought=2)) == (await ledger.balance(shop), await ledger.balance(person))
    assert ["give", "credit"] == [line.kind for line in await ledger.history(shop)]
    assert ["receive"] == [line.kind for line in await ledger.history(person)]
    report = await check_ledger(db)
    assert report.holds_true
    assert (5, 5) == (report.bought, report.available)


async def test_what_cannot_be_given_is_not_received(db: Database) -> None:
    """An empty stock is refused, and nothing reaches the buyer out of nothing."""
    ledger, shop, person = Ledger(db), new_id(), new_id()
    await ledger.post([credit(shop, 1)])
    assert ["quota_not_enough", "quota_not_given"] == words(await ledger.post(passing(shop, person, 2)))
    assert Balance() == await ledger.balance(person)


@pytest.mark.parametrize("sides", [slice(0, 1), slice(0, 2)])
async def test_what_is_given_and_not_received_is_not_posted(db: Database, sides: slice) -> None:
    """Without its receipt, or with one of another sum: a bug, after which nothing of the transaction is there."""
    ledger, shop, person = Ledger(db), new_id(), new_id()
    wrong = passing(shop, person, 3, received=2)[sides]
    await ledger.post([credit(shop, 5)])
    with pytest.raises(RuntimeError, match="received by nobody"):
        await ledger.post(wrong)
    with pytest.raises(RuntimeError, match="received by nobody"):
        await post_in_turn(db, ledger, [passing(shop, person, 1), wrong])
    assert (Balance(bought=5), Balance()) == (await ledger.balance(shop), await ledger.balance(person))
    assert (await check_ledger(db)).holds_true


async def post_in_turn(db: Database, ledger: Ledger, batches: list[list[Transfer]]) -> None:
    """Batches in one book, as a capability posts them beside rows of its own."""
    async with db.transaction() as tx:
        accounts = {it.account for batch in batches for it in batch if it.account}
        book = await ledger.open_book(tx, accounts, opening=True)
        for batch in batches:
            await book.post(batch)


async def test_what_passes_on_is_never_posted_alone(db: Database) -> None:
    """Which others come in the same millisecond is chance: both sides are one call, or it is a bug."""
    ledger, shop = Ledger(db), new_id()
    await ledger.post([credit(shop, 5)])
    for side in passing(shop, new_id(), 1):
        with pytest.raises(ValueError, match="posted together"):
            await ledger.post_one(side)
    assert Balance(bought=5) == await ledger.balance(shop)


async def test_held_units_are_not_given(db: Database) -> None:
    """What is on its way into a stamp is not for sale."""
    ledger, shop, person = Ledger(db), new_id(), new_id()
    hold = Transfer(new_id(), Kind.HOLD, Reason.CANCELLED, 1, account=shop, life_s=60)
    await ledger.post([credit(shop, 1), hold])
    assert ["quota_not_enough", "quota_not_given"] == words(await ledger.post(passing(shop, person, 1)))


async def test_of_many_buyers_of_the_last_units_some_get_them(db: Database) -> None:
    """Twenty sales at once of seven units: seven are sold, and the audit holds."""
    ledger, shop = Ledger(db), new_id()
    await ledger.post([credit(shop, 7)])
    answers = await asyncio.gather(*(ledger.post(passing(shop, new_id(), 1)) for _ in range(20)))
    assert 7 == sum(words(answer) == ["posted", "posted"] for answer in answers)
    assert 13 == sum(words(answer) == ["quota_not_enough", "quota_not_given"] for answer in answers)
    assert Balance() == await ledger.balance(shop)
    assert (await check_ledger(db)).holds_true


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(*[st.integers(0, ACCOUNTS - 1)] * 2, st.integers(1, 4)), max_size=6), max_size=6))
async def test_any_sales_among_accounts_keep_the_sum(db: Database, batches: list[list[tuple[int, int, int]]]) -> None:
    """In batches of any size, each batch twice: a dictionary counts the same, and the audit holds."""
    ledger, accounts = Ledger(db), [new_id() for _ in range(ACCOUNTS)]
    await ledger.post([credit(account, 4) for account in accounts])
    expected = [4] * ACCOUNTS
    for batch in batches:
        sales = [passing(accounts[giver], accounts[receiver], amount) for giver, receiver, amount in batch]
        answers = words(await ledger.post([it for sale in sales for it in sale]))
        for (giver, receiver, amount), answer in zip(batch, answers[::2], strict=True):
            assert ("posted" if expected[giver] >= amount else "quota_not_enough") == answer
            if answer == "posted":
                expected[giver] -= amount
                expected[receiver] += amount
    assert expected == [(await ledger.balance(account)).available for account in accounts]
    assert (await check_ledger(db)).holds_true


@pytest.mark.parametrize("kind", [Kind.GIVE, Kind.RECEIVE])
def test_passing_on_names_its_subject(kind: Kind) -> None:
    """By which the two sides are found together."""
    with pytest.raises(ValueError, match="same subject"):
        Transfer(new_id(), kind, Reason.SOLD, 1, account=new_id())


def test_a_receipt_alone_is_refused() -> None:
    """Whatever the balance is."""
    _, receipt = passing(new_id(), new_id(), 1)
    assert ["quota_not_given"] == words(Book({}).decide([receipt]))
