"""Fixtures of death: a spine to die on, and a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emeterai.infra.database import Database
from emeterai.seal.service import SealEngine, load_signer
from spine import SIZE_BYTES_MAX, Spine


@pytest.fixture(scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SealEngine]:
    """A running engine with a local test authority."""
    signer = load_signer(folder=tmp_path_factory.mktemp("authority"))
    engine = await SealEngine.start(signer=signer, size_bytes_max=SIZE_BYTES_MAX)
    yield engine
    await engine.close()


@pytest.fixture
def spine(db: Database, tmp_path: Path) -> Spine:
    """The spine on this test's own database."""
    return Spine(db, tmp_path / "blobs")
