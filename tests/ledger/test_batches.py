"""Batches: whoever comes together is answered as if each had come alone, and thousands at once cost no more each."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from math import inf
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_against_model import ACCOUNTS, IDS, Model, Names, Step, code_of, sequences

from emeterai.core.ledger import Answer, Balance, Kind, Posted, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.batching import Batcher
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.lane import COMMON, deadline, work_for
from emeterai.ledger import store
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger

TOO_MUCH = 2**63
"""One more than a bigint holds: a transfer that passes every rule and that no table can take."""
MANY = 3_000
READS_EACH_MAX = 6
"""Rows that a transfer may make PostgreSQL read: its balance twice, its hold twice, and two when it is a repetition."""
FAILED = "failed"


async def outcome(ledger: Ledger, transfer: Transfer) -> str:
    """What a caller of `post_one` hears, in one word."""
    try:
        return code_of(await ledger.post_one(transfer))
    except Refused as refused:
        return code_of(refused)
    except asyncpg.DataError:
        return FAILED


async def balances_of(ledger: Ledger, names: Names) -> list[Balance]:
    """The balance of every account of an example."""
    return [await ledger.balance(account) for account in names.accounts]


def balances_in(model: Model) -> list[Balance]:
    """The same, as the model has them."""
    return [
        Balance(model.bought[number], model.held(number), model.used[number], model.refunded[number])
        for number in range(ACCOUNTS)
    ]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences(), st.integers(1, 12))
async def test_callers_who_come_together_are_answered_in_their_turn(
    db: Database, steps: list[Step], batch_max: int
) -> None:
    """Each transfer from a caller of its own, all at the same moment, whatever the batches that they fall into."""
    ledger, model, names = Ledger(db), Model(), Names(IDS)
    ledger._lanes = [Batcher(ledger._post_apart, batch_max=batch_max)]
    expected = [model.answer(step) for step in steps]
    heard = await asyncio.gather(*(outcome(ledger, names.transfer(step)) for step in steps))
    assert expected == heard
    assert balances_in(model) == await balances_of(ledger, names)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences(), st.sets(st.integers(0, 30), min_size=1, max_size=4))
async def test_a_transfer_that_cannot_be_written_costs_only_itself(
    db: Database, steps: list[Step], places: set[int]
) -> None:
    """Impossible amounts anywhere in a batch: their callers hear the error, everybody else what the model says."""
    ledger, model, names = Ledger(db), Model(), Names(IDS + len(places))
    ledger._lanes = ledger._lanes[:1]
    transfers, expected = [], []
    for number, step in enumerate(steps):
        if number in places:
            transfers.append(impossible(names))
            expected.append(FAILED)
        transfers.append(names.transfer(step))
        expected.append(model.answer(step))
    heard = await asyncio.gather(*(outcome(ledger, transfer) for transfer in transfers))
    assert expected == heard
    assert balances_in(model) == await balances_of(ledger, names)


def impossible(names: Names) -> Transfer:
    """A credit of more than a balance can hold."""
    return Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, TOO_MUCH, account=names.accounts[0])


async def test_a_database_that_is_away_is_not_asked_again_for_each(db: Database) -> None:
    """A hundred callers hear that it is away, and there was one attempt for all of a lane."""
    ledger = Ledger(db)
    attempts = 0

    async def away(transfers: Any) -> list[Answer]:
        nonlocal attempts
        attempts += 1
        raise ConnectionRefusedError(f"nobody is there for {len(transfers)}")

    ledger.post = away  # type: ignore[method-assign]
    heard = await asyncio.gather(*(ledger.post_one(a_credit()) for _ in range(100)), return_exceptions=True)
    assert [ConnectionRefusedError] * 100 == [type(one) for one in heard]
    assert len(ledger._lanes) == attempts


async def test_a_transfer_whose_sender_has_stopped_waiting_is_not_posted(db: Database) -> None:
    """It alone, of those in one batch: nothing of it is there, and sent again it is as if for the first time."""
    ledger = Ledger(db)
    ledger._lanes = ledger._lanes[:1]
    transfers = [a_credit() for _ in range(5)]
    late = transfers[2]

    async def sent(transfer: Transfer) -> str:
        now_s = time.monotonic()
        work_for(COMMON, 0, until_s=now_s if transfer is late else now_s + 3_600)
        return await outcome(ledger, transfer)

    heard = await asyncio.gather(*(asyncio.create_task(sent(transfer)) for transfer in transfers))
    assert ["posted", "posted", "service_busy", "posted", "posted"] == heard
    rows = await db.fetch("SELECT id FROM ledger.transfers")
    assert {transfer.id for transfer in transfers if transfer is not late} == {row["id"] for row in rows}
    assert late.account is not None
    assert Balance() == await ledger.balance(late.account)
    assert ["posted", "again"] == [await outcome(ledger, late) for _ in range(2)]


async def test_who_has_posted_something_is_worked_for_to_the_end(db: Database) -> None:
    """Whether it took a lock or not: what is left to do for the same request is done, however late."""
    ledger, bought = Ledger(db), a_credit(3)

    async def left_s(transfer: Transfer) -> float:
        work_for(COMMON, 0, until_s=time.monotonic() + 3_600)
        await ledger.post([transfer])
        return deadline().left_s

    transfers = (bought, hold_of(bought), replace(a_credit(), account=bought.account), bought)
    assert [inf] * 4 == [await asyncio.create_task(left_s(transfer)) for transfer in transfers]


def a_credit(amount: int = 1) -> Transfer:
    """Quota for an account of its own."""
    return Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, amount, account=new_id())


def hold_of(credit: Transfer) -> Transfer:
    """One unit of it is set aside."""
    return Transfer(new_id(), Kind.HOLD, Reason.CANCELLED, 1, account=credit.account, life_s=60.0)


def end_of(hold: Transfer, kind: Kind) -> Transfer:
    """The hold ends."""
    return Transfer(new_id(), kind, Reason.SEALED, 1, account=hold.account, hold_id=hold.id)


@pytest.mark.parametrize("life_s", [float("nan"), float("inf")])
def test_a_hold_without_an_end_cannot_be_made(life_s: float) -> None:
    """It would be a transfer without an open hold."""
    with pytest.raises(ValueError, match="a hold ends"):
        replace(hold_of(a_credit()), life_s=life_s)


async def test_thousands_in_one_batch_are_answered_like_a_few(db: Database) -> None:
    """Credits, holds, overdrafts, repetitions, reused ids, endings of holds of the same batch, and second endings."""
    ledger = Ledger(db)
    bought = [a_credit() for _ in range(MANY)]
    holds = [hold_of(credit) for credit in bought]
    over = [hold_of(credit) for credit in bought]
    reused = [replace(hold, amount=2) for hold in holds]
    ends = [end_of(hold, Kind.SETTLE if number % 2 else Kind.RELEASE) for number, hold in enumerate(holds)]
    second = [end_of(hold, Kind.RELEASE) for hold in holds]
    answers = await ledger.post([*bought, *holds, *over, *holds, *reused, *ends, *second])
    expected = [
        *["posted"] * (2 * MANY),
        *["quota_not_enough"] * MANY,
        *["again"] * MANY,
        *["transfer_id_reused"] * MANY,
        *["posted"] * MANY,
        *["hold_released", "hold_settled"] * (MANY // 2),
    ]
    assert expected == [code_of(answer) for answer in answers]
    report = await check_ledger(db)
    assert report.holds_true
    assert (MANY, MANY // 2, MANY // 2, 0) == (report.bought, report.available, report.used, report.held)


async def test_a_batch_of_thousands_reads_a_few_rows_for_each(db: Database) -> None:
    """Counted by PostgreSQL itself, with plans that were made when the tables were empty and known to be so.

    A plan that goes through a table, or through the batch, once for each transfer would read millions.
    """
    await settle_in_empty_tables(db)
    ledger = Ledger(db)
    bought = [a_credit() for _ in range(MANY)]
    holds = [hold_of(credit) for credit in bought]
    ends = [end_of(hold, Kind.SETTLE) for hold in holds]
    second = [end_of(hold, Kind.RELEASE) for hold in holds]
    async with db.connection() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await post_and_count(connection, ledger, [a_credit()])
        for batch in (bought, holds, ends, second, holds):
            read = await post_and_count(connection, ledger, batch)
            assert MANY <= read <= READS_EACH_MAX * MANY


async def settle_in_empty_tables(db: Database) -> None:
    """The statistics say that nothing is there."""
    for table in ("transfers", "balances", "holds"):
        async with db.connection() as connection:
            await connection.execute(f"VACUUM ANALYZE ledger.{table}")


async def post_and_count(connection: Any, ledger: Ledger, batch: list[Transfer]) -> int:
    """Post on this connection; answers how many rows of the ledger's tables it made PostgreSQL read."""
    accounts = [transfer.account for transfer in batch if transfer.account is not None]
    async with connection.transaction():
        before = await connection.fetchval(_ROWS_READ)
        book = await ledger.open_book(connection, accounts, opening=batch[0].kind is Kind.CREDIT)
        assert len(batch) == len(await book.post(batch))
        read: int = await connection.fetchval(_ROWS_READ) - before
        return read


_ROWS_READ = """
    SELECT coalesce(sum(seq_tup_read) + sum(idx_tup_fetch), 0)::bigint
    FROM pg_stat_xact_user_tables WHERE schemaname = 'ledger'
"""


@pytest.mark.parametrize("name", ["_BALANCES", "_LOCKED", "_EARLIER", "_ENDINGS", "_WRITE"])
async def test_no_plan_compares_each_row_with_the_whole_batch(db: Database, name: str) -> None:
    """Kept plans on tables that are known to be empty: nothing is read from its start, and no filter holds an array."""
    await settle_in_empty_tables(db)
    statement: str = getattr(store, name)
    async with db.connection() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE asked AS {statement}")
        nulls = ", ".join(["NULL"] * highest_parameter(statement))
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE asked({nulls})"))
    assert "Seq Scan on" not in plan
    assert "Join Filter:" not in plan
    assert [] == [line for line in plan.splitlines() if "Filter:" in line and ("ANY (" in line or "ALL (" in line)]


def highest_parameter(statement: str) -> int:
    """How many parameters a statement has."""
    return max(number for number in range(1, 30) if f"${number}" in statement)


async def test_a_batch_and_its_transfers_one_by_one_lead_to_the_same_books(db: Database) -> None:
    """Two accounts, the same movements: once in one batch, once each alone."""
    ledger, answers = Ledger(db), []
    for at_once in (True, False):
        credit = a_credit(3)
        holds = [hold_of(credit) for _ in range(4)]
        movements = [credit, *holds, end_of(holds[0], Kind.SETTLE), end_of(holds[1], Kind.RELEASE), hold_of(credit)]
        if at_once:
            posted = await ledger.post(movements)
        else:
            posted = [answer for movement in movements for answer in await ledger.post([movement])]
        answers.append([code_of(answer) for answer in posted])
        assert Balance(bought=3, held=2, used=1) == await ledger.balance(credit.account or new_id())
    assert answers[0] == answers[1]
    assert isinstance(posted[-1], Posted)
