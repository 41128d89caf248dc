"""Fixtures of the sealing engine's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from seal_orders import SERIAL, SealBytes, order_of

from emeterai.seal.service import SealedTail, SealEngine, Signer, load_signer


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """A signer with the local test authority."""
    return load_signer(folder=tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
async def engine(signer: Signer) -> AsyncIterator[SealEngine]:
    """A running engine for files up to 25 MB."""
    engine = await SealEngine.start(signer=signer, size_bytes_max=25_000_000)
    yield engine
    await engine.close()


@pytest.fixture
def seal(engine: SealEngine, tmp_path: Path) -> SealBytes:
    """Seal bytes: the sealed file and the facts of its tail, read back before they are handed out."""

    async def seal_bytes(content: bytes, serial: str = SERIAL, **changes: object) -> tuple[bytes, SealedTail]:
        original, tail = tmp_path / "original.pdf", tmp_path / "tail"
        original.write_bytes(content)
        sealed = await engine.seal(original, order_of(serial, **changes))
        tail.write_bytes(sealed.tail)
        await engine.read_back(original, tail, sealed)
        return content + sealed.tail, sealed

    return seal_bytes
