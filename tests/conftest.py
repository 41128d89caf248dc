"""What all tests share: a real PostgreSQL for the session and a fresh, migrated database for each test."""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import asyncpg
import httpx._transports.default as transports
import pytest
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.migrate import migrate
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.infra.tls import trusted
from emeterai.web import pages
from handing_out import place_of
from running import RunningService

TEMPLATE = "migrated"
MEMORY, MEMORY_BYTES_MIN = Path("/dev/shm"), 6 * 2**30  # noqa: S108 - a folder of our own is made there
"""A disk's file system is slow where many files were deleted just now, as those of a thousand databases are."""


def pytest_configure(config: pytest.Config) -> None:
    """Files are handed out in the order in which they were collected, not in that of how many tests they have."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several workers share the tests, the long files come first: nobody is left alone with one at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: place_of(item.path))


class CompiledTemplates(BytecodeCache):
    """What this process has compiled, in its memory."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """What was compiled of this very source."""
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """For the next one."""
        self._code[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def _templates_are_compiled_once() -> Iterator[None]:
    """A service compiles all its templates as it starts; nearly every test has a service of its own in this process."""
    compiled, make = CompiledTemplates(), pages._environment

    def environment() -> Environment:
        made = make()
        made.bytecode_cache = compiled
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_environment", environment)
        yield


@pytest.fixture(scope="session", autouse=True)
def _authorities_are_read_once() -> Iterator[None]:
    """Every client of a test would read the certificates of all authorities, and speaks to this machine only."""
    make = transports.create_ssl_context

    def context(verify: Any = True, cert: Any = None, *, trust_env: bool = True) -> ssl.SSLContext:
        return trusted() if verify is True and cert is None else make(verify, cert, trust_env)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transports, "create_ssl_context", context)
        yield


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A temporary folder that other users can enter: PostgreSQL runs as one of them when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="emeterai-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def quick_folder(short_folder: Path) -> Iterator[Path]:
    """The same for what may be lost with the machine: in memory, where there is much of it."""
    if not (MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN):
        yield short_folder
        return
    folder = Path(tempfile.mkdtemp(prefix="emeterai-test-", dir=MEMORY))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def postgres(quick_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A running PostgreSQL: the embedded one, or the one whose `bin` folder TEST_POSTGRES_BIN names."""
    bin_dir = os.environ.get("TEST_POSTGRES_BIN")
    server = EmbeddedPostgres(quick_folder / "data", bin_dir=Path(bin_dir) if bin_dir else None, durable=False)
    await server.start()
    await run_as_admin(server, f"CREATE DATABASE {TEMPLATE} OWNER emeterai")
    await migrate(url_of(server, TEMPLATE))
    yield server
    await server.stop()
    server.remove()


async def run_as_admin(server: EmbeddedPostgres, statement: str) -> None:
    """Run one statement as the superuser, outside any transaction."""
    connection = await asyncpg.connect(server.admin_url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def url_of(server: EmbeddedPostgres, database: str) -> str:
    """The application's URL of another database on the same server."""
    return server.url().replace("/emeterai?", f"/{database}?")


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a database of this test's own, with every migration applied."""
    name = f"test_{new_id().hex}"
    await run_as_admin(postgres, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER emeterai")
    yield url_of(postgres, name)
    await run_as_admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The application's view of this test's database."""
    database = await Database.connect(database_url, connections_max=12, wait_s=5)
    yield database
    await database.close()


@pytest.fixture
async def bus(database_url: str) -> AsyncIterator[Bus]:
    """A bus that listens, on this test's database."""
    found = Bus(database_url)
    await found.start()
    yield found
    await found.close()


@pytest.fixture(scope="session")
async def service(short_folder: Path) -> AsyncIterator[RunningService]:
    """The whole service, running, shared by the tests that do it no harm."""
    running = RunningService(short_folder / "service")
    await running.start()
    yield running
    assert 0 == await running.stop(), running.last_words()
