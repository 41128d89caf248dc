"""Two who end the same hold at once. Each race is first shown with its guard removed, then shown to be absent.

Three guards stand one behind the other: the lock on the account, the job that only its holder can finish, and in the
database the hold's one ending. Removing the lock leaves an error; removing the index as well, a hold that ends twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from emeterai.core.ledger import Answer, Balance, Kind, Posted, Reason, Transfer, accounts_of
from emeterai.core.stamping import StampState
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger import store as ledger_store
from emeterai.ledger.check import check_ledger
from emeterai.stamping.model import Stamp
from spine import Spine, some_seal

Widen = Callable[[Any, str], None]
ENDS_ONCE = "a hold ends at most once"


async def settle_and_expire(spine: Spine, stamp: Stamp) -> list[int | BaseException]:
    """The worker settles in the moment in which the steward gives the expired unit back."""
    claims = await spine.claim()
    await spine.let_holds_run_out()
    return await asyncio.gather(
        spine.endings.settle(claims, {stamp.id: stamp}, {stamp.id: some_seal(stamp)}),
        spine.endings.sweep(),
        return_exceptions=True,
    )


async def settle_and_release(spine: Spine, hold: Transfer) -> list[Any]:
    """Two transactions with books of their own end one hold of the ledger, with ids of their own."""
    endings = [
        Transfer(new_id(), kind, reason, 1, account=hold.account, hold_id=hold.id)
        for kind, reason in ((Kind.SETTLE, Reason.SEALED), (Kind.RELEASE, Reason.CANCELLED))
    ]
    answers = await asyncio.gather(*(post_in_a_book(spine, ending) for ending in endings), return_exceptions=True)
    return [answer if isinstance(answer, BaseException) else answer[0] for answer in answers]


async def post_in_a_book(spine: Spine, transfer: Transfer) -> list[Answer]:
    """Post under the lock, as those do who have rows of their own to write beside it."""
    async with spine.db.transaction() as tx:
        book = await spine.ledger.open_book(tx, accounts_of([transfer]))
        return await book.post([transfer])


async def hold_of(spine: Spine) -> Transfer:
    """An open hold of a new person, known to the ledger alone."""
    account_id = await spine.person(1)
    hold = Transfer(new_id(), Kind.HOLD, Reason.CANCELLED, 1, account=account_id, life_s=60)
    await spine.ledger.post([hold])
    return hold


async def drop_one_ending(db: Database) -> None:
    """Remove the index by which a hold ends once."""
    async with db.transaction() as tx:
        await tx.execute("DROP INDEX ledger.transfers_one_ending")


async def broken_rules(db: Database) -> set[str]:
    """The rules that the audit finds broken."""
    return {rule.name for rule in (await check_ledger(db)).rules if rule.broken}


async def test_without_the_lock_settling_and_expiry_collide(spine: Spine, widen: Widen, no_lock: None) -> None:
    """Both find the hold open; the database lets one ending in, and the other crashes instead of standing back: its
    change is not covered, or the two wait for each other's rows, as only those can who take no lock first.
    """
    stamp = await spine.held()
    widen(ledger_store, "read_earlier")
    answers = await settle_and_expire(spine, stamp)
    assert 1 == answers.count(1)
    [error] = [it for it in answers if isinstance(it, BaseException)]
    assert isinstance(error, asyncpg.CheckViolationError | asyncpg.DeadlockDetectedError)
    await spine.assert_sound(stamp)


async def test_a_hold_that_expires_exactly_while_it_settles_ends_once(spine: Spine, widen: Widen) -> None:
    """With the lock one of them ends it and the other finds nothing to do; neither sees an error."""
    stamp = await spine.held()
    widen(ledger_store, "read_earlier")
    assert [0, 1] == sorted(await settle_and_expire(spine, stamp))  # type: ignore[type-var]
    await spine.assert_sound(stamp)


async def test_settling_and_expiry_of_many_at_once(spine: Spine) -> None:
    """Forty expired holds, settled by two at a time while two stewards sweep: each ends once, whoever came first."""
    account_id = await spine.person(40)
    stamps = [(await spine.stamping.ask(await spine.wanted(account_id)))[0] for _ in range(40)]
    claims = await spine.claim(limit=40)
    await spine.let_holds_run_out()
    held, seals = {one.id: one for one in stamps}, {one.id: some_seal(one) for one in stamps}
    turns = [spine.endings.settle(claims[at : at + 4], held, seals) for at in range(0, 40, 4)]
    turns[3:3] = [spine.endings.sweep(12)]
    turns[7:7] = [spine.endings.sweep(12)]
    assert 40 == sum(await asyncio.gather(*turns)) + await spine.endings.sweep()
    states = [(await spine.now(stamp)).state for stamp in stamps]
    used = states.count(StampState.SEALED)
    assert Balance(bought=40, used=used) == await spine.ledger.balance(account_id)
    await spine.assert_sound(*stamps)


@pytest.mark.usefixtures("no_lock", "no_guard")
async def test_without_lock_guard_and_index_a_hold_is_settled_and_released(spine: Spine, widen: Widen) -> None:
    """With nothing in the way the unit is both used and given back, and the audit says so."""
    hold = await hold_of(spine)
    await drop_one_ending(spine.db)
    widen(ledger_store, "read_earlier")
    assert 2 == sum(isinstance(answer, Posted) for answer in await settle_and_release(spine, hold))
    assert ENDS_ONCE in await broken_rules(spine.db)


@pytest.mark.parametrize("index", [True, False])
async def test_settle_and_release_at_once_end_a_hold_once(spine: Spine, widen: Widen, index: bool) -> None:
    """With the lock one is posted and the other is told which it was, index or not."""
    hold = await hold_of(spine)
    if not index:
        await drop_one_ending(spine.db)
    widen(ledger_store, "read_earlier")
    answers = await settle_and_release(spine, hold)
    posted = [answer for answer in answers if isinstance(answer, Posted)]
    assert 1 == len(posted)
    code = "hold_settled" if posted[0].transfer.kind is Kind.SETTLE else "hold_released"
    assert [code] == [answer.code for answer in answers if not isinstance(answer, Posted)]
    assert ENDS_ONCE not in await broken_rules(spine.db)
