"""Posting: what the ledger lets happen, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg
import pytest

from emeterai.core.ledger import Answer, Balance, Kind, Posted, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger


def credit(account: UUID, amount: int) -> Transfer:
    """Quota that nobody has to have paid for."""
    return Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, amount, account=account)


def hold(account: UUID, amount: int = 1, life_s: float = 60) -> Transfer:
    """A hold that needs no serial."""
    return Transfer(new_id(), Kind.HOLD, Reason.CANCELLED, amount, account=account, life_s=life_s)


def ending(kind: Kind, held: Transfer) -> Transfer:
    """What ends a hold."""
    return Transfer(new_id(), kind, Reason.SEALED, held.amount, account=held.account, hold_id=held.id)


def codes(answers: list[Answer]) -> list[str]:
    """Answers in one word each."""
    return [answer.code if isinstance(answer, Refused) else "posted" for answer in answers]


async def test_a_held_unit_becomes_used_when_it_settles(db: Database) -> None:
    """Bought 3, held 1, settled 1: two are available and one is used."""
    ledger, account = Ledger(db), new_id()
    held = hold(account)
    await ledger.post([credit(account, 3)])
    assert ["posted"] == codes(await ledger.post([held]))
    assert Balance(bought=3, held=1) == await ledger.balance(account)
    assert ["posted"] == codes(await ledger.post([ending(Kind.SETTLE, held)]))
    assert Balance(bought=3, used=1) == await ledger.balance(account)
    assert (await check_ledger(db)).holds_true


async def test_an_overdraft_in_a_batch_costs_only_itself(db: Database) -> None:
    """The second hold is refused, the third, of another account, is not."""
    ledger, poor, rich = Ledger(db), new_id(), new_id()
    await ledger.post([credit(poor, 1), credit(rich, 5)])
    answers = await ledger.post([hold(poor), hold(poor), hold(rich)])
    assert ["posted", "quota_not_enough", "posted"] == codes(answers)


async def test_the_same_transfer_twice_is_one_transfer(db: Database) -> None:
    """Same id and content: the same answer, marked as a repetition. In one batch, in two, and at the same time."""
    ledger, account = Ledger(db), new_id()
    once = credit(account, 2)
    await ledger.post([once, once])
    (answer,) = await ledger.post([once])
    assert isinstance(answer, Posted)
    assert answer.again
    await asyncio.gather(*(ledger.post([once]) for _ in range(8)))
    assert 2 == (await ledger.balance(account)).bought


async def test_the_same_id_with_other_content_is_refused(db: Database) -> None:
    """An id belongs to one content for ever."""
    ledger, account = Ledger(db), new_id()
    first = credit(account, 2)
    other = Transfer(first.id, Kind.CREDIT, Reason.RETURNED, 3, account=account)
    assert ["posted", "transfer_id_reused"] == codes(await ledger.post([first, other]))
    assert ["transfer_id_reused"] == codes(await ledger.post([other]))


@pytest.mark.parametrize("first", [Kind.SETTLE, Kind.RELEASE])
@pytest.mark.parametrize("second", [Kind.SETTLE, Kind.RELEASE])
async def test_a_hold_ends_once(db: Database, first: Kind, second: Kind) -> None:
    """Whatever comes second is refused by the name of what came first."""
    ledger, account = Ledger(db), new_id()
    held = hold(account)
    await ledger.post([credit(account, 1), held])
    await ledger.post([ending(first, held)])
    name = "hold_settled" if first is Kind.SETTLE else "hold_released"
    assert [name] == codes(await ledger.post([ending(second, held)]))
    assert (await check_ledger(db)).holds_true


async def test_of_many_who_want_the_last_unit_one_gets_it(db: Database) -> None:
    """Twenty holds at once for three units: three are held."""
    ledger, account = Ledger(db), new_id()
    await ledger.post([credit(account, 3)])
    answers = await asyncio.gather(*(ledger.post([hold(account)]) for _ in range(20)))
    assert 3 == sum(codes(answer) == ["posted"] for answer in answers)
    assert Balance(bought=3, held=3) == await ledger.balance(account)


async def test_settle_and_release_at_once_end_the_hold_once(db: Database) -> None:
    """Whoever comes first ends it; the conservation holds."""
    ledger, account = Ledger(db), new_id()
    holds = [hold(account) for _ in range(10)]
    await ledger.post([credit(account, 10), *holds])
    both = [ledger.post([ending(kind, held)]) for held in holds for kind in (Kind.SETTLE, Kind.RELEASE)]
    answers = [codes(answer)[0] for answer in await asyncio.gather(*both)]
    assert 10 == answers.count("posted")
    balance = await ledger.balance(account)
    assert (10, 0) == (balance.available + balance.used, balance.held)
    assert (await check_ledger(db)).holds_true


async def test_an_account_nobody_credited_has_nothing(db: Database) -> None:
    """It is refused, and no row is made for it."""
    ledger, account = Ledger(db), new_id()
    assert ["quota_not_enough"] == codes(await ledger.post([hold(account)]))
    assert ["hold_unknown"] == codes(await ledger.post([ending(Kind.SETTLE, hold(account))]))
    assert 0 == await db.fetchval("SELECT count(*) FROM ledger.balances")


async def test_history_shows_every_movement_newest_first_page_by_page(db: Database) -> None:
    """The cursor loses no line and repeats none."""
    ledger, account = Ledger(db), new_id()
    await ledger.post([credit(account, 9)])
    for _ in range(4):
        held = hold(account)
        await ledger.post([held])
        await ledger.post([ending(Kind.RELEASE, held)])
    seen, before = [], None
    while page := await ledger.history(account, before=before, limit=2):
        seen.extend(page)
        before = (page[-1].posted_at, page[-1].id)
    assert ["release", "hold"] * 4 + ["credit"] == [line.kind for line in seen]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger.transfers SET amount = 5", "DELETE FROM ledger.transfers", "TRUNCATE ledger.transfers"],
)
async def test_a_transfer_cannot_be_changed(db: Database, statement: str) -> None:
    """The database itself refuses, whoever asks."""
    await Ledger(db).post([credit(new_id(), 1)])
    with pytest.raises(asyncpg.RaiseError, match="immutable"):
        await db.fetch(statement)
