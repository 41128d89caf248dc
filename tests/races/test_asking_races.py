"""Two who ask at once. Each race is first shown with its guard removed, then shown to be absent with it in place.

The guard is the lock on the account's balance row: lock, read, decide, write. The unique indexes stand behind it; where
they are left in place, removing the lock turns the race into an error, and where they are dropped, into a wrong result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from emeterai.core.ledger import Balance
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.ledger.check import check_ledger
from emeterai.stamping import store
from emeterai.stamping.model import Stamp, StampWanted
from emeterai.stamping.service import Asked, Stamping
from spine import Spine

Widen = Callable[[Any, str], None]


async def ask_at_once(spine: Spine, *wanted: StampWanted) -> list[Asked | BaseException]:
    """Each request comes to a web process of its own."""
    desks = [Stamping(spine.db, spine.bus, spine.ledger, spine.serials, hold_life_s=60) for _ in wanted]
    return await asyncio.gather(
        *(desk.ask(one) for desk, one in zip(desks, wanted, strict=True)), return_exceptions=True
    )


def stamps_of(answers: list[Asked | BaseException]) -> list[Stamp]:
    """The stamps among the answers."""
    return [answer[0] for answer in answers if not isinstance(answer, BaseException)]


def errors_of(answers: list[Asked | BaseException]) -> list[BaseException]:
    """The errors among the answers."""
    return [answer for answer in answers if isinstance(answer, BaseException)]


async def drop(db: Database, index: str) -> None:
    """Remove a unique index from this test's own database."""
    async with db.transaction() as tx:
        await tx.execute(f"DROP INDEX stamping.{index}")


async def broken_rules(db: Database) -> set[str]:
    """The rules that the audit finds broken."""
    return {rule.name for rule in (await check_ledger(db)).rules if rule.broken}


@pytest.mark.usefixtures("no_lock", "no_guard")
async def test_without_lock_and_guard_the_last_unit_is_spent_twice(spine: Spine, widen: Widen) -> None:
    """Both read one available unit and both hold it: two stamps for one unit, and only the audit sees it."""
    account_id = await spine.person(1)
    wanted = [await spine.wanted(account_id) for _ in range(2)]
    widen(store, "earlier")
    assert 2 == len(stamps_of(await ask_at_once(spine, *wanted)))
    assert Balance(bought=1, held=2) == await spine.ledger.balance(account_id)
    assert "bought = available + held + used + refunded, and nothing is below zero" in await broken_rules(spine.db)


async def test_without_the_lock_the_last_unit_is_spent_once(spine: Spine, widen: Widen, no_lock: None) -> None:
    """The balance does not cover the second: it crashes instead of being answered."""
    account_id = await spine.person(1)
    wanted = [await spine.wanted(account_id) for _ in range(2)]
    widen(store, "earlier")
    answers = await ask_at_once(spine, *wanted)
    [stamp], [error] = stamps_of(answers), errors_of(answers)
    assert isinstance(error, asyncpg.CheckViolationError)
    await spine.assert_sound(stamp)


async def test_of_two_who_want_the_last_unit_one_gets_it(spine: Spine, widen: Widen) -> None:
    """With the lock, the other is told that the quota is not enough, and nothing of that stamp is left."""
    account_id = await spine.person(1)
    wanted = [await spine.wanted(account_id) for _ in range(2)]
    widen(store, "earlier")
    answers = await ask_at_once(spine, *wanted)
    [stamp], [refused] = stamps_of(answers), errors_of(answers)
    assert isinstance(refused, Refused)
    assert "quota_not_enough" == refused.code
    assert [stamp.id] == [one.id for one in await spine.stamping.of_account(account_id)]
    await spine.assert_sound(stamp)


async def test_without_the_lock_two_phones_collide_on_the_index(spine: Spine, widen: Widen, no_lock: None) -> None:
    """Both find no earlier stamp; the unique index lets one in and the other crashes instead of being answered."""
    wanted = await spine.wanted(await spine.person(2))
    widen(store, "earlier")
    answers = await ask_at_once(spine, wanted, wanted)
    assert 1 == len(stamps_of(answers))
    assert [asyncpg.UniqueViolationError] == [type(error) for error in errors_of(answers)]


async def test_without_lock_and_index_two_phones_pay_twice(spine: Spine, widen: Widen, no_lock: None) -> None:
    """With nothing in the way, one document of one person has two stamps and two serials."""
    wanted = await spine.wanted(await spine.person(2))
    await drop(spine.db, "stamps_once")
    widen(store, "earlier")
    assert 2 == len({stamp.id for stamp in stamps_of(await ask_at_once(spine, wanted, wanted))})


@pytest.mark.parametrize("index", [True, False])
async def test_the_same_document_from_two_phones_is_one_stamp(spine: Spine, widen: Widen, index: bool) -> None:
    """With the lock both get the same stamp and one unit is held, whether or not the index stands behind it."""
    wanted = await spine.wanted(await spine.person(2))
    if not index:
        await drop(spine.db, "stamps_once")
    widen(store, "earlier")
    answers = await ask_at_once(spine, wanted, wanted)
    first, second = stamps_of(answers)
    assert first.id == second.id
    assert [False, True] == sorted(answer[1] for answer in answers if not isinstance(answer, BaseException))
    assert Balance(bought=2, held=1) == await spine.balance(first)
    await spine.assert_sound(first)


async def test_without_the_lock_a_key_sent_twice_collides_on_the_index(
    spine: Spine, widen: Widen, no_lock: None
) -> None:
    """Both find the key unused; the unique index lets one in and the other crashes instead of being answered."""
    wanted = await spine.wanted(await spine.person(2), idempotency_key="once", additional=True)
    await drop(spine.db, "stamps_once")
    widen(store, "earlier")
    answers = await ask_at_once(spine, wanted, wanted)
    assert 1 == len(stamps_of(answers))
    assert ["stamps_key"] == [getattr(error, "constraint_name", None) for error in errors_of(answers)]


async def test_without_lock_and_index_a_key_sent_twice_pays_twice(spine: Spine, widen: Widen, no_lock: None) -> None:
    """With nothing in the way, one key has made two stamps."""
    wanted = await spine.wanted(await spine.person(2), idempotency_key="once", additional=True)
    for index in ("stamps_key", "stamps_once"):
        await drop(spine.db, index)
    widen(store, "earlier")
    stamps = stamps_of(await ask_at_once(spine, wanted, wanted))
    assert 2 == len({stamp.id for stamp in stamps})
    assert {"once"} == {stamp.idempotency_key for stamp in stamps}


@pytest.mark.parametrize("index", [True, False])
async def test_the_same_key_twice_at_once_is_one_stamp(spine: Spine, widen: Widen, index: bool) -> None:
    """With the lock both get the same stamp, even for a further stamp on the same file, index or not."""
    wanted = await spine.wanted(await spine.person(2), idempotency_key="once", additional=True)
    if not index:
        await drop(spine.db, "stamps_key")
    widen(store, "earlier")
    first, second = stamps_of(await ask_at_once(spine, wanted, wanted))
    assert first.id == second.id
    assert Balance(bought=2, held=1) == await spine.balance(first)
    await spine.assert_sound(first)
