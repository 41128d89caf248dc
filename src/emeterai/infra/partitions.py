"""Tables partitioned by month: months are made ahead of need, and months that are old enough leave as a whole.

A table's key is a UUIDv7, and a month (UTC) is a range of keys. A row that no month takes goes to the default
partition, so that writing never fails because a month is missing. docs/decisions/0013 says which tables, and
docs/runbooks/partitions.md what to do when the alarm rings.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import structlog

from emeterai.infra import metrics
from emeterai.infra.database import Connection, Database

MONTHS_AHEAD = 3
"""So many months after the current one are there beforehand: a steward may be away for as long."""
_LOCK_KEY = 0x6D6F6E746873  # "months": stewards at work at the same time take turns
_RANGE = re.compile(r"FROM \('?(?P<first>[^')]+)'?\) TO \('?(?P<end>[^')]+)'?\)")
_COUNTED_MAX = 10_000
_PARTITIONS = """
    SELECT relname AS name, pg_get_expr(relpartbound, pg_class.oid) AS bound
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = $1::text::regclass ORDER BY relname
"""
_log = structlog.get_logger(__name__)
_ahead = metrics.gauge_latest("emeterai_partitions_ahead", "Months made beyond the current one", ["table"])
_stray = metrics.gauge_latest("emeterai_partitions_default_rows", "Rows that no month took, at most 10,000", ["table"])


@dataclass(frozen=True, slots=True)
class MonthlyTable:
    """A table partitioned by month. Months that ended `months_kept` months ago are detached; None keeps all."""

    schema: str
    name: str
    months_kept: int | None = None

    @property
    def full_name(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class _Partition:
    """The keys from `first` up to, but not with, `end`."""

    name: str
    first: UUID
    end: UUID


_Work = Callable[[Connection, MonthlyTable, datetime], Awaitable[int]]


async def keep_partitions(db: Database, tables: Sequence[MonthlyTable]) -> int:
    """Make the months that are missing and detach those that are over; answers how many of both.

    A step that would have to wait for others, or that the data forbid, is left for the next time and logged. Any number
    of stewards may do this at once.
    """
    moved = 0
    for table in tables:
        month = month_of(await db.fetchval("SELECT now()"))
        for ahead in range(MONTHS_AHEAD + 1):
            moved += await _step(db, table, _make, months_after(month, ahead))
        if table.months_kept is not None:
            moved += await _step(db, table, _detach_before, months_after(month, -table.months_kept))
        await _measure(db, table, month)
    return moved


def month_of(moment: datetime) -> datetime:
    """The beginning (UTC) of the month of `moment`."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def months_after(month: datetime, count: int) -> datetime:
    """The beginning of the month `count` months after `month`; a negative count goes back."""
    years, index = divmod(month.year * 12 + month.month - 1 + count, 12)
    return month.replace(year=years, month=index + 1)


def first_id_of(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment (RFC 9562 section 5.7: 48 bits of milliseconds come first)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


async def _step(db: Database, table: MonthlyTable, work: _Work, month: datetime) -> int:
    """One change in a transaction of its own, which waits for nobody longer than a request may."""
    try:
        async with db.transaction() as tx:
            await tx.execute("SET LOCAL lock_timeout = '200ms'")
            await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
            return await work(tx, table, month)
    except asyncpg.LockNotAvailableError:
        _log.warning("partition_step_postponed", table=table.full_name, month=f"{month:%Y-%m}")
    except asyncpg.CheckViolationError:
        _log.error("partition_month_has_stray_rows", table=table.full_name, month=f"{month:%Y-%m}")
    return 0


async def _make(tx: Connection, table: MonthlyTable, month: datetime) -> int:
    first = first_id_of(month)
    if any(one.first <= first < one.end for one in await _partitions(tx, table)):
        return 0
    await tx.execute("SELECT infra.add_month($1, $2, $3)", table.schema, table.name, month.date())
    _log.info("partition_made", table=table.full_name, month=f"{month:%Y-%m}")
    return 1


async def _detach_before(tx: Connection, table: MonthlyTable, month: datetime) -> int:
    over = [one for one in await _partitions(tx, table) if one.end <= first_id_of(month)]
    for one in over:
        await tx.execute(f'ALTER TABLE {table.full_name} DETACH PARTITION {table.schema}."{one.name}"')
        _log.info("partition_detached", table=table.full_name, partition=f"{table.schema}.{one.name}")
    return len(over)


async def _partitions(connection: Connection | Database, table: MonthlyTable) -> list[_Partition]:
    """The partitions that have a range; the default one has none."""
    rows = await connection.fetch(_PARTITIONS, table.full_name)
    ranges = [(row["name"], _RANGE.search(row["bound"])) for row in rows]
    return [_Partition(name, _bound(found["first"]), _bound(found["end"])) for name, found in ranges if found]


def _bound(text: str) -> UUID:
    return {"MINVALUE": UUID(int=0), "MAXVALUE": UUID(int=2**128 - 1)}.get(text) or UUID(text)


async def _measure(db: Database, table: MonthlyTable, month: datetime) -> None:
    ends = [one.end for one in await _partitions(db, table)]
    ahead = sum(first_id_of(months_after(month, count + 1)) in ends for count in range(1, MONTHS_AHEAD + 1))
    stray = await db.fetchval(
        f"SELECT count(*) FROM (SELECT FROM {table.full_name}_default LIMIT $1) AS stray", _COUNTED_MAX
    )
    _ahead.labels(table.full_name).set(ahead)
    _stray.labels(table.full_name).set(stray)
