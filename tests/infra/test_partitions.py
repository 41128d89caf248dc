"""Months of a growing table are there before they are needed, leave when they are over, and never stop a writer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import REGISTRY

from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.partitions import MonthlyTable, first_id_of, keep_partitions, month_of, months_after

THINGS = MonthlyTable("public", "things")
THIS_AND_THREE = 4


@pytest.fixture
async def things(db: Database) -> Database:
    """A partitioned table of this test's own, with a default partition and no month yet."""
    async with db.transaction() as tx:
        await tx.execute(
            """
            CREATE TABLE things (id uuid PRIMARY KEY, name text CHECK (name <> '')) PARTITION BY RANGE (id);
            CREATE INDEX things_name ON things (name);
            CREATE TABLE things_default PARTITION OF things DEFAULT;
            CREATE UNIQUE INDEX things_default_once ON things_default (name) WHERE name <> 'many';
            CREATE TRIGGER things_not_truncated BEFORE TRUNCATE ON things_default
                FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
            """
        )
    return db


async def this_month(db: Database) -> datetime:
    """The month of the database's clock."""
    return month_of(await db.fetchval("SELECT now()"))


async def add_month(db: Database, month: datetime) -> None:
    """A month as the steward makes it."""
    async with db.transaction() as tx:
        await tx.execute("SELECT infra.add_month('public', 'things', $1)", month.date())


async def put(db: Database, thing: UUID, name: str = "many") -> str:
    """Insert a thing and answer the partition that took it."""
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO things VALUES ($1, $2)", thing, name)
        return str(await tx.fetchval("SELECT tableoid::regclass::text FROM things WHERE id = $1", thing))


async def parts(db: Database) -> set[str]:
    """The partitions of the table, the default one left out."""
    rows = await db.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'things'::regclass"
    )
    return {row["name"] for row in rows} - {"things_default"}


def name_of(month: datetime) -> str:
    """What the steward calls the partition of a month."""
    return f"things_{month:%Y_%m}"


def id_in(month: datetime) -> UUID:
    """An id as it is made somewhere in the first days of a month."""
    return UUID(int=first_id_of(month).int + (new_id().int & (2**80 - 1)))


async def test_this_month_and_three_more_are_made_and_then_nothing(things: Database) -> None:
    """The first look makes four months, the second finds nothing to do; what is written now goes to its month."""
    month = await this_month(things)
    assert THIS_AND_THREE == await keep_partitions(things, [THINGS])
    assert {name_of(months_after(month, ahead)) for ahead in range(THIS_AND_THREE)} == await parts(things)
    assert 0 == await keep_partitions(things, [THINGS])
    assert name_of(month) == await put(things, new_id())
    assert name_of(months_after(month, 3)) == await put(things, first_id_of(months_after(month, 3)))
    assert (3, 0) == (gauge("emeterai_partitions_ahead"), gauge("emeterai_partitions_default_rows"))


async def test_stewards_at_the_same_time_make_each_month_once(things: Database) -> None:
    """Five look at once; nobody fails, and what one of them left for the next time is made then."""
    made = await asyncio.gather(*(keep_partitions(things, [THINGS]) for _ in range(5)))
    assert THIS_AND_THREE == sum(made) + await keep_partitions(things, [THINGS])
    assert THIS_AND_THREE == len(await parts(things))


async def test_a_month_is_like_the_default_partition(things: Database) -> None:
    """It has the checks, the indexes that only partitions have, and the guard against TRUNCATE."""
    await keep_partitions(things, [THINGS])
    part = await put(things, new_id(), "one")
    with pytest.raises(asyncpg.UniqueViolationError):
        await put(things, new_id(), "one")
    with pytest.raises(asyncpg.CheckViolationError):
        await put(things, new_id(), "")
    with pytest.raises(asyncpg.RaiseError):
        await things.fetch(f"TRUNCATE {part}")


async def test_a_missing_month_stops_no_writer_and_shows(things: Database) -> None:
    """Its rows go to the default partition and stay there; the other months are made, and the alarm has its number."""
    month = await this_month(things)
    assert "things_default" == await put(things, new_id())
    assert THIS_AND_THREE - 1 == await keep_partitions(things, [THINGS])
    assert name_of(month) not in await parts(things)
    assert "things_default" == await put(things, new_id())
    assert 0 == await keep_partitions(things, [THINGS])
    assert (3, 2) == (gauge("emeterai_partitions_ahead"), gauge("emeterai_partitions_default_rows"))


async def test_months_that_are_over_are_detached_with_their_rows(things: Database) -> None:
    """Two months are kept: the one before leaves, its rows untouched in a table of its own; the others stay."""
    month = await this_month(things)
    for back in range(4):
        await add_month(things, months_after(month, -back))
        await put(things, id_in(months_after(month, -back)))
    kept = MonthlyTable("public", "things", months_kept=2)
    assert 3 + 1 == await keep_partitions(things, [kept])
    assert name_of(months_after(month, -3)) not in await parts(things)
    assert name_of(months_after(month, -2)) in await parts(things)
    assert 1 == await things.fetchval(f"SELECT count(*) FROM {name_of(months_after(month, -3))}")
    assert 3 == await things.fetchval("SELECT count(*) FROM things")
    assert 0 == await keep_partitions(things, [kept])


async def test_without_a_retention_nothing_leaves(things: Database) -> None:
    """However old it is."""
    await add_month(things, datetime(2001, 1, 1, tzinfo=UTC))
    await keep_partitions(things, [THINGS])
    assert "things_2001_01" in await parts(things)


async def test_a_long_read_postpones_the_steward_and_nobody_waits_for_him(things: Database) -> None:
    """While somebody reads everything the months are not made; who writes meanwhile is served; later they are made."""
    async with things.transaction() as reader:
        await reader.fetch("SELECT * FROM things")
        steward = asyncio.create_task(keep_partitions(things, [THINGS]))
        assert "things_default" == await asyncio.wait_for(put(things, UUID(int=2**128 - 1)), 5)
        assert 0 == await asyncio.wait_for(steward, 10)
    assert THIS_AND_THREE == await keep_partitions(things, [THINGS])


async def test_database_and_steward_agree_on_the_first_id_of_a_moment(db: Database) -> None:
    """Both take the milliseconds since 1970 as the first 48 bits; an id made in a month is not below its first."""
    moment = datetime(2026, 12, 1, tzinfo=UTC)
    assert UUID("01a22ee6-b000-0000-0000-000000000000") == first_id_of(moment)
    assert first_id_of(moment) == await db.fetchval("SELECT infra.first_id_of($1)", moment)
    now = await this_month(db)
    assert first_id_of(now) <= new_id() < first_id_of(months_after(now, 1))


@pytest.mark.parametrize(("count", "expected"), [(0, "2026-11"), (1, "2026-12"), (2, "2027-01"), (-11, "2025-12")])
def test_months_are_counted_over_the_turn_of_the_year(count: int, expected: str) -> None:
    """In both directions."""
    assert expected == f"{months_after(datetime(2026, 11, 1, tzinfo=UTC), count):%Y-%m}"


def gauge(name: str) -> float | None:
    """What the metric of the things says."""
    return REGISTRY.get_sample_value(name, {"table": THINGS.full_name})
