"""Migrations are applied once, in order, by whoever comes first, and never quietly changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from emeterai.infra.ids import new_id
from emeterai.infra.migrate import MigrationError, default_folder, migrate, read_migrations
from emeterai.infra.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
async def cluster(open_session_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """One throwaway server for the tests of this module."""
    postgres = EmbeddedPostgres(open_session_folder / "migrate", durable=False)
    await postgres.start()
    yield postgres
    await postgres.stop()
    postgres.remove()


@pytest.fixture
async def url(cluster: EmbeddedPostgres) -> str:
    """An empty database of its own."""
    name = f"t{new_id().hex}"
    connection = await asyncpg.connect(cluster.admin_url())
    await connection.execute(f"create database {name} owner emeterai")
    await connection.close()
    return cluster.url().replace("@/emeterai?", f"@/{name}?")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good migrations."""
    (tmp_path / "0001_first.sql").write_text("create table first (number int);\ninsert into first values (1);\n")
    (tmp_path / "0002_second.sql").write_text("create table second (number int);\n")
    return tmp_path


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows that `query` gives."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_each_is_applied_once_and_in_order(url: str, folder: Path) -> None:
    """The first run applies both, the second none, a third only the new one."""
    assert await migrate(url, folder) == ["0001_first.sql", "0002_second.sql"]
    assert await migrate(url, folder) == []
    (folder / "0003_third.sql").write_text("insert into second values (3);")
    assert await migrate(url, folder) == ["0003_third.sql"]
    assert await rows(url, "select number, name from infra.migrations order by number") == [
        (1, "first"),
        (2, "second"),
        (3, "third"),
    ]


async def test_starters_at_the_same_time_apply_each_once(url: str, folder: Path) -> None:
    """Of eight starters one does the work and nobody fails."""
    done = await asyncio.gather(*(migrate(url, folder) for _ in range(8)))
    assert sorted(name for names in done for name in names) == ["0001_first.sql", "0002_second.sql"]
    assert await rows(url, "select number from first") == [(1,)]


async def test_a_changed_file_is_refused(url: str, folder: Path) -> None:
    """A file that was applied and then edited stops everything, by name."""
    await migrate(url, folder)
    (folder / "0001_first.sql").write_text("create table first (number bigint);")
    (folder / "0003_third.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match=r"0001_first\.sql was changed"):
        await migrate(url, folder)
    assert await rows(url, "select count(*) from infra.migrations") == [(2,)]


async def test_an_older_version_does_not_touch_a_newer_database(url: str, folder: Path) -> None:
    """A database that knows more migrations than the folder is refused."""
    await migrate(url, folder)
    (folder / "0002_second.sql").unlink()
    with pytest.raises(MigrationError, match="0002_second, which this version does not know"):
        await migrate(url, folder)


async def test_a_failing_migration_leaves_nothing_of_itself(url: str, folder: Path) -> None:
    """Those before it stay, its own first half does not; the text names file and cause."""
    (folder / "0003_third.sql").write_text("create table third (number int);\nselect 1 / 0;")
    with pytest.raises(MigrationError, match=r"0003_third\.sql failed: division by zero"):
        await migrate(url, folder)
    assert await rows(url, "select to_regclass('third') is null, to_regclass('second') is null") == [(True, False)]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("0002_again.sql", r"the number of 0002_second\.sql is used twice"),
        ("0004_late.sql", r"migration 0003 is missing before 0004_late\.sql"),
        ("third.sql", r"third\.sql is not named NNNN_name\.sql"),
    ],
)
def test_gaps_doubles_and_bad_names_are_refused(folder: Path, name: str, complaint: str) -> None:
    """Numbers run from 1 without a gap, each once."""
    (folder / name).write_text("select 1;")
    with pytest.raises(MigrationError, match=complaint):
        read_migrations(folder)


def test_the_default_folder_is_the_repositorys() -> None:
    """An editable installation finds its migrations wherever it is started."""
    assert (default_folder().parent / "pyproject.toml").is_file()
