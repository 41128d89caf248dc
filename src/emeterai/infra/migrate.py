"""Migrations: plain SQL files `NNNN_name.sql`, numbered without gaps from 1, forward only, each in its own transaction.

Safe with any number of starters at once: one holds the advisory lock, the others wait and then find nothing to do.
Every migration must be quick and must not wait for locks: `lock_timeout` 4 s and `statement_timeout` 5 s hold for each.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import asyncpg

_NAME = re.compile(r"(?P<number>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql")
_LOCK_KEY = 0x6D6967726174  # "migrat": the same for all starters on one database
_LOCK_WAIT_S = 60.0
_REGISTER = """
create schema if not exists infra;
create table if not exists infra.migrations (
    number int primary key,
    name text not null,
    sha256 bytea not null,
    applied_at timestamptz not null default now()
);
"""


class MigrationError(Exception):
    """The folder and the database do not fit, or a migration failed; the text names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def file_name(self) -> str:
        """`NNNN_name.sql`."""
        return f"{self.number:04d}_{self.name}.sql"

    @property
    def sha256(self) -> bytes:
        """The digest that the register keeps, to notice a later change."""
        return hashlib.sha256(self.sql.encode()).digest()


def default_folder() -> Path:
    """The repository's `migrations` folder, for an editable installation."""
    return Path(__file__).resolve().parents[3] / "migrations"


def read_migrations(folder: Path) -> list[Migration]:
    """The folder's migrations in order. Raises MigrationError for a bad name, a gap or a number used twice."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        parts = _NAME.fullmatch(path.name)
        if parts is None:
            raise MigrationError(f"{path.name} is not named NNNN_name.sql")
        found.append(Migration(int(parts["number"]), parts["name"], path.read_text(encoding="utf-8")))
    for expected, migration in enumerate(found, start=1):
        if migration.number < expected:
            raise MigrationError(f"the number of {migration.file_name} is used twice; give the later one another")
        if migration.number > expected:
            raise MigrationError(f"migration {expected:04d} is missing before {migration.file_name}")
    if not found:
        raise MigrationError(f"there are no migrations in {folder}")
    return found


async def migrate(url: str, folder: Path | None = None) -> list[str]:
    """Bring the database at `url` up to date; gives the names of the files applied now, in order.

    Raises MigrationError when an applied file was changed or is missing, when one fails (it leaves nothing behind,
    those before it stay), or when another starter holds the lock for a minute.
    """
    migrations = read_migrations(folder or default_folder())
    connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "emeterai migrate"})
    try:
        await _take_lock(connection)
        await connection.execute(_REGISTER)
        waiting = _not_yet_applied(migrations, await connection.fetch("select * from infra.migrations order by number"))
        for migration in waiting:
            await _apply(connection, migration)
        return [migration.file_name for migration in waiting]
    finally:
        await connection.close()


async def _take_lock(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """The session's advisory lock; asked for again and again: waiting inside would block concurrent index builds."""
    try:
        async with asyncio.timeout(_LOCK_WAIT_S):
            while not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK_KEY):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise MigrationError(f"another process has been migrating this database for {_LOCK_WAIT_S:g} s") from error


def _not_yet_applied(migrations: list[Migration], applied: list[asyncpg.Record]) -> list[Migration]:
    for row, migration in zip(applied, migrations, strict=False):
        if row["sha256"] != migration.sha256 or row["name"] != migration.name:
            raise MigrationError(
                f"{migration.file_name} was changed after it was applied; restore it and write a new migration instead"
            )
    if len(applied) > len(migrations):
        first = applied[len(migrations)]
        raise MigrationError(
            f"the database has migration {first['number']:04d}_{first['name']}, which this version does not know; "
            "run the version that made it, or a later one"
        )
    return migrations[len(applied) :]


async def _apply(connection: asyncpg.Connection[asyncpg.Record], migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '4s'; set local statement_timeout = '5s'")
            await connection.execute(migration.sql)
            await connection.execute(
                "insert into infra.migrations (number, name, sha256) values ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.sha256,
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.file_name} failed: {error}") from error
