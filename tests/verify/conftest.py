"""Fixtures of verification: a real engine, a real reader and a register on a real database."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from litestar import Litestar
from verify_desk import SIZE_BYTES_MAX, Desk, application

from emeterai.accounts.service import Accounts
from emeterai.infra.database import Database
from emeterai.ledger.serials import SerialRegister
from emeterai.seal.reader import FileReader
from emeterai.seal.service import SealEngine, Signer, load_signer
from emeterai.verify.service import Verification


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The issuer's signer, with a local test authority."""
    return load_signer(folder=tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
async def engine(signer: Signer) -> AsyncIterator[SealEngine]:
    """The issuer's engine."""
    engine = await SealEngine.start(signer=signer, size_bytes_max=25_000_000)
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
async def reader(signer: Signer) -> AsyncIterator[FileReader]:
    """The reader of a web process, which has no key."""
    reader = await FileReader.open(signer.roots, size_bytes_max=SIZE_BYTES_MAX)
    yield reader
    await reader.close()


@pytest.fixture
def serials(db: Database) -> SerialRegister:
    """The register of serials."""
    return SerialRegister(db)


@pytest.fixture
def desk(db: Database, serials: SerialRegister, engine: SealEngine, tmp_path: Path) -> Desk:
    """Where stamps are made."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(db, serials, engine, folder)


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def verification(reader: FileReader, serials: SerialRegister, temporary_folder: Path) -> Verification:
    """The service of this test."""
    return Verification(reader, serials)


@pytest.fixture
def app(db: Database, verification: Verification) -> Litestar:
    """An application of verification alone."""
    return application(Accounts(db, session_life_s=60), verification)


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """Anyone: a browser or a program."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://meterai.example") as client:
        yield client
