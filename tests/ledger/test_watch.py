"""The watch checks only what is new, misses nothing that commits late, and finds what the whole audit finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from broken_looks import BREAKS
from msgspec import structs

from emeterai.core.ledger import Counter, Kind, Posted, Reason, Transfer, accounts_of
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.ledger import check
from emeterai.ledger.check import Rule, check_ledger
from emeterai.ledger.service import Ledger
from emeterai.ledger.watch import ADDS_UP, LedgerWatch, Look
from emeterai.ledger.watch_queries import OPEN_HOLDS, RULES


async def no_more(_: Connection, __: Sequence[UUID]) -> list[Rule]:
    """The ledger alone."""
    return []


async def start_over(watch: LedgerWatch, broken: Sequence[str]) -> None:
    """As after a whole audit that took no time."""
    await watch.start_over(await watch.begin_audit(), broken)


@pytest.fixture
def ledger(db: Database) -> Ledger:
    """The ledger on this test's database."""
    return Ledger(db)


@pytest.fixture
async def watch(db: Database) -> LedgerWatch:
    """A watch that has started from an empty ledger and looks whenever it is asked."""
    watch = LedgerWatch(db, every_s=0)
    await start_over(watch, [])
    return watch


@pytest.fixture
async def intruder(postgres: EmbeddedPostgres, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser for whom no trigger fires."""
    connection = await asyncpg.connect(postgres.admin_url(urlsplit(database_url).path.removeprefix("/")))
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


def credit(account: UUID, amount: int = 1) -> Transfer:
    """Quota from nowhere in particular."""
    return Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, amount, account=account)


def hold(account: UUID) -> Transfer:
    """One unit set aside."""
    return Transfer(new_id(), Kind.HOLD, Reason.CANCELLED, 1, account=account, life_s=60)


async def looked(watch: LedgerWatch) -> Look:
    """One look."""
    look = await watch.look(no_more)
    assert look is not None
    return look


def sums(look: Look) -> tuple[int, int, int, int, int]:
    """What the look counted."""
    return (look.bought, look.available, look.held, look.used, look.refunded)


async def post_in(tx: Connection, ledger: Ledger, transfers: Sequence[Transfer]) -> None:
    """Post in a transaction that somebody else ends."""
    book = await ledger.open_book(tx, accounts_of(transfers), opening=True)
    assert all(isinstance(answer, Posted) for answer in await book.post(transfers))


async def some_movements(ledger: Ledger, account: UUID) -> None:
    """Five bought; one refunded, one held, one used, one given back."""
    holds = [hold(account) for _ in range(3)]
    ends = [(Kind.SETTLE, Reason.SEALED), (Kind.RELEASE, Reason.CANCELLED)]
    await ledger.post(
        [
            credit(account, 5),
            Transfer(new_id(), Kind.REFUND, Reason.RETURNED, 1, account=account),
            *holds,
            *(
                Transfer(new_id(), kind, reason, 1, account=account, hold_id=one.id)
                for (kind, reason), one in zip(ends, holds, strict=False)
            ),
        ]
    )


async def test_nothing_is_told_before_the_first_audit(db: Database) -> None:
    """Without sums to start from there is nothing to tell, and the audit is asked for."""
    watch = LedgerWatch(db, every_s=0)
    assert await watch.look(no_more) is None
    assert await watch.wants_audit(3_600)
    await start_over(watch, [])
    assert (0, 0, 0, 0, 0) == sums(await looked(watch))
    assert not await watch.wants_audit(3_600)
    assert await watch.wants_audit(0)


async def test_the_sums_are_those_of_the_whole_audit(db: Database, ledger: Ledger, watch: LedgerWatch) -> None:
    """Look by look, with many accounts and every kind of movement."""
    for _ in range(3):
        for account in [new_id() for _ in range(4)]:
            await some_movements(ledger, account)
        report, look = await check_ledger(db), await looked(watch)
        assert (report.bought, report.available, report.held, report.used, report.refunded) == sums(look)
        assert [] == look.broken


async def test_a_look_reads_only_what_is_new(ledger: Ledger, watch: LedgerWatch) -> None:
    """What was verified is not read again."""
    account = new_id()
    await some_movements(ledger, account)
    assert [7, 0] == [(await looked(watch)).fresh for _ in range(2)]
    await ledger.post([credit(account)])
    assert [1, 0] == [(await looked(watch)).fresh for _ in range(2)]


async def test_a_transfer_that_commits_late_is_not_missed(db: Database, ledger: Ledger, watch: LedgerWatch) -> None:
    """It was posted before others that have been verified meanwhile; its id and its time are older than theirs."""
    slow, quick = new_id(), new_id()
    async with db.transaction() as tx:
        await post_in(tx, ledger, [credit(slow, 7)])
        for bought in (1, 2, 3):
            await ledger.post([credit(quick)])
            assert bought == (await looked(watch)).bought
    assert (10, 10, 0, 0, 0) == sums(await looked(watch))
    assert [] == (await looked(watch)).broken
    assert 0 == (await looked(watch)).fresh


async def test_a_transaction_that_waits_long_before_its_first_write_is_not_missed(db: Database, ledger: Ledger) -> None:
    """It gets its number when it writes, above the horizon, and posts with the time of its start, however long ago."""
    watch = LedgerWatch(db, every_s=0, margin_s=0)
    await start_over(watch, [])
    async with db.transaction() as tx:
        await tx.fetchval("SELECT now()")
        for bought in (1, 2):
            await ledger.post([credit(new_id())])
            assert bought == (await looked(watch)).bought
        await post_in(tx, ledger, [credit(new_id(), 7)])
    assert 9 == (await looked(watch)).bought


async def test_what_is_verified_twice_is_counted_once(ledger: Ledger, watch: LedgerWatch, db: Database) -> None:
    """While a transaction stays open the horizon stands still, and each look counts the same new transfers afresh."""
    account = new_id()
    async with db.transaction() as tx:
        await post_in(tx, ledger, [credit(new_id())])
        await some_movements(ledger, account)
        assert [7, 7, 7] == [(await looked(watch)).fresh for _ in range(3)]
    assert (6, 3, 1, 1, 1) == sums(await looked(watch))
    assert (6, 3, 1, 1, 1) == sums(await looked(watch))


async def test_a_rolled_back_transfer_never_counts(ledger: Ledger, watch: LedgerWatch, db: Database) -> None:
    """It was under way during one look and is gone at the next."""
    with suppress(ZeroDivisionError):
        async with db.transaction() as tx:
            await post_in(tx, ledger, [credit(new_id(), 7)])
            assert 0 == (await looked(watch)).bought
            raise ZeroDivisionError
    assert 0 == (await looked(watch)).bought


async def test_stewards_take_turns(db: Database, ledger: Ledger) -> None:
    """Of several that look at once one sees; until it is time again nobody does."""
    stewards = [LedgerWatch(db, every_s=600) for _ in range(4)]
    await start_over(stewards[0], [])
    looks = await asyncio.gather(*(steward.look(no_more) for steward in stewards))
    assert 1 == sum(look is not None for look in looks)
    assert await stewards[1].look(no_more) is None


async def test_looks_at_once_count_everything_once(db: Database, ledger: Ledger, watch: LedgerWatch) -> None:
    """While many post and many look, the sums stay those of the audit."""
    accounts = [new_id() for _ in range(8)]

    async def keep_looking() -> None:
        for _ in range(10):
            look = await watch.look(no_more)
            assert look is None or [] == look.broken

    await asyncio.gather(*(some_movements(ledger, account) for account in accounts), keep_looking(), keep_looking())
    report, look = await check_ledger(db), await looked(watch)
    assert (report.bought, report.available, report.held, report.used, report.refunded) == sums(look)


_TOO = {"the open holds are exactly the holds without an ending", OPEN_HOLDS[0], "a hold ends at most once"}
"""Breaking these also breaks the sum over all accounts, or a neighbour."""


def test_every_rule_of_a_look_is_broken_below() -> None:
    """And each is a rule of the whole audit, in its words."""
    assert set(BREAKS) == {*RULES, OPEN_HOLDS[0]}
    assert set(RULES) <= set(check._RULES)


@pytest.mark.parametrize("name", BREAKS)
async def test_a_look_finds_the_broken_rule_and_asks_for_the_audit(
    db: Database, ledger: Ledger, watch: LedgerWatch, intruder: asyncpg.Connection, name: str
) -> None:
    """It says so at every look until the whole audit has taken over; what is broken is never counted as verified."""
    account = new_id()
    await some_movements(ledger, account)
    counters = {key: value for key, value in vars(Counter).items() if isinstance(value, UUID)}
    await intruder.execute(BREAKS[name].format(account=account, new=new_id(), **counters))
    for _ in range(2):
        look = await looked(watch)
        assert name in look.broken
        assert set(look.broken) - {name} <= _TOO | {ADDS_UP}
        assert await watch.wants_audit(3_600)
    assert 0 == await db.fetchval("SELECT bought FROM ledger.watch")


async def test_what_only_the_audit_found_stays_told(db: Database, ledger: Ledger, watch: LedgerWatch) -> None:
    """Every look repeats it, until an audit finds it mended; and that audit comes long before its day."""
    await start_over(watch, ["a rule"])
    assert ["a rule"] == (await looked(watch)).broken
    assert not await watch.wants_audit(3_600)
    async with db.transaction() as tx:
        await tx.execute("UPDATE ledger.watch SET audited_at = now() - interval '11 minutes'")
    assert await watch.wants_audit(3_600)
    await start_over(watch, [])
    assert [] == (await looked(watch)).broken


async def test_a_lost_unit_makes_the_sums_disagree(
    ledger: Ledger, watch: LedgerWatch, intruder: asyncpg.Connection
) -> None:
    """Each part has a source of its own: what the balances lost is not what the transfers say."""
    account = new_id()
    await ledger.post([credit(account, 5)])
    await intruder.execute("UPDATE ledger.balances SET bought = 4")
    look = await looked(watch)
    assert (5, 4) == (look.bought, look.available)
    assert {ADDS_UP, "every balance equals the sum of its transfers"} == set(look.broken)


async def test_starting_over_remakes_the_sums(db: Database, ledger: Ledger, watch: LedgerWatch) -> None:
    """Also from wrong ones, also while a transaction is under way."""
    account = new_id()
    await some_movements(ledger, account)
    await looked(watch)
    async with db.transaction() as tx:
        await tx.execute("UPDATE ledger.watched SET used = 100")
        await tx.execute("UPDATE ledger.watch SET used = 100")
    async with db.transaction() as tx:
        await post_in(tx, ledger, [credit(new_id(), 7)])
        await start_over(watch, [])
    assert (12, 9, 1, 1, 1) == sums(await looked(watch))
    assert [] == (await looked(watch)).broken


@pytest.mark.parametrize("is_posted_before", [True, False])
async def test_what_a_look_finds_during_an_audit_is_not_forgotten(
    ledger: Ledger, watch: LedgerWatch, intruder: asyncpg.Connection, is_posted_before: bool
) -> None:
    """The audit did not see it: one more is wanted, and what was posted since the audit began is left to looks."""
    begun = None if is_posted_before else await watch.begin_audit()
    await ledger.post([credit(new_id(), 5)])
    begun = begun or await watch.begin_audit()
    await intruder.execute("UPDATE ledger.balances SET bought = 4")
    assert ADDS_UP in (await looked(watch)).broken
    await watch.start_over(begun, [])
    assert await watch.wants_audit(3_600)
    look = await looked(watch)
    assert (is_posted_before, 5) == (look.broken == [], look.bought)


async def test_an_audit_that_did_not_end_stays_wanted(db: Database, ledger: Ledger, watch: LedgerWatch) -> None:
    """Also what a look wanted meanwhile, when another steward's audit began before that and ends after it."""
    other = await watch.begin_audit()
    assert await watch.wants_audit(3_600)
    async with db.transaction() as tx:
        await tx.execute("UPDATE ledger.watch SET audit_wanted = true")
    await watch.begin_audit()
    await watch.start_over(other, [])
    assert await watch.wants_audit(3_600)
    await start_over(watch, [])
    assert not await watch.wants_audit(3_600)


async def test_what_was_wanted_is_answered_by_an_audit_that_began_later(db: Database, watch: LedgerWatch) -> None:
    """Of three that are under way at once the last took it upon itself: that the others end is no answer."""
    first, second = await watch.begin_audit(), await watch.begin_audit()
    async with db.transaction() as tx:
        await tx.execute("UPDATE ledger.watch SET audit_wanted = true")
    await watch.start_over(first, [])
    third = await watch.begin_audit()
    await watch.start_over(second, [])
    assert await watch.wants_audit(3_600)
    await watch.start_over(third, [])
    assert not await watch.wants_audit(3_600)


@pytest.mark.parametrize("is_first_last", [True, False])
async def test_what_either_of_two_audits_found_is_told(watch: LedgerWatch, is_first_last: bool) -> None:
    """Whichever began or ended first; an audit that nobody overtakes tells what is mended."""
    begun = [await watch.begin_audit(), await watch.begin_audit()]
    for one, broken in zip(reversed(begun) if is_first_last else begun, (["a rule"], []), strict=True):
        await watch.start_over(one, broken)
    assert ["a rule"] == (await looked(watch)).broken
    assert not await watch.wants_audit(3_600)
    await start_over(watch, [])
    assert [] == (await looked(watch)).broken


@pytest.mark.parametrize("is_audited", [True, False])
async def test_what_was_posted_before_the_oldest_open_transaction_began_is_not_lost(
    db: Database, ledger: Ledger, is_audited: bool
) -> None:
    """It has ended, with an earlier time and a later number than a transaction that holds the horizon down."""
    watch = LedgerWatch(db, every_s=0, margin_s=0)
    await start_over(watch, [])
    async with db.connection() as early:
        beginning = early.transaction()
        await beginning.start()
        async with db.transaction() as slow:
            await post_in(slow, ledger, [credit(new_id())])
            await post_in(early, ledger, [credit(new_id(), 7)])
            await beginning.commit()
            await (start_over(watch, []) if is_audited else looked(watch))
            assert 7 == (await looked(watch)).bought
    assert [8, 8] == [(await looked(watch)).bought for _ in range(2)]


@pytest.mark.parametrize("mark", ["looked_at", "posted_from", "audited_at"])
async def test_after_the_clock_was_set_back_an_audit_comes_first(
    db: Database, ledger: Ledger, watch: LedgerWatch, intruder: asyncpg.Connection, mark: str
) -> None:
    """Until it has ended nobody looks, even when the clock has passed the old time; then nothing is missing."""
    await ledger.post([credit(new_id())])
    await looked(watch)
    await intruder.execute(f"UPDATE ledger.watch SET {mark} = now() + interval '1 hour'")
    await ledger.post([credit(new_id(), 2)])
    assert await watch.look(no_more) is None
    assert await watch.wants_audit(3_600)
    begun = await watch.begin_audit()
    await intruder.execute("UPDATE ledger.watch SET posted_from = now() - interval '1 second'")
    assert await watch.look(no_more) is None
    await ledger.post([credit(new_id(), 4)])
    await intruder.execute("UPDATE ledger.transfers SET posted_at = now() - interval '1 hour' WHERE amount = 4")
    await watch.start_over(begun, [])
    assert not await watch.wants_audit(3_600)
    looks = [await looked(watch) for _ in range(2)]
    assert [(1, 7, []), (0, 7, [])] == [(look.fresh, look.bought, look.broken) for look in looks]


async def test_the_clock_may_be_set_back_during_an_audit(ledger: Ledger, watch: LedgerWatch) -> None:
    """The next look reads from the time that rules when the sums are remade."""
    begun = await watch.begin_audit()
    await watch.start_over(structs.replace(begun, posted_from=begun.posted_from + timedelta(hours=1)), [])
    await ledger.post([credit(new_id())])
    assert 1 == (await looked(watch)).bought


@pytest.mark.parametrize(
    ("written_by", "horizon", "expected"),
    [
        (99, 100, False),
        (100, 100, True),
        (101, 100, True),
        (2, 1, False),
        (5, 2**32 - 10, True),
        (2**32 - 20, 2**32 - 10, False),
        (2**32 - 20, 2**32 + 10, False),
        (50, 2**32 + 10, True),
        (3, 5 * 2**32 + 10, False),
    ],
)
async def test_transaction_ids_go_round(db: Database, written_by: int, horizon: int, expected: bool) -> None:
    """The ids of rows have 32 bits, the horizon has all; older and newer is told across the turn."""
    found = await db.fetchval("SELECT ledger.written_since($1::bigint::text::xid, $2)", written_by, horizon)
    assert expected is found
