"""The fixtures of buying."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from shops import SandboxProcess, Shop, listening, make_shop

from emeterai.infra.database import Database
from emeterai.infra.settings import Settings
from emeterai.ledger.check import check_ledger
from running import free_port


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """A running sandbox provider."""
    process = SandboxProcess(tmp_path_factory.mktemp("sandbox"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
async def shop(db: Database, sandbox: SandboxProcess) -> AsyncIterator[Shop]:
    """A shop that nobody can reach: notifications are lost unless a test delivers them. The audit ends the test."""
    settings = Settings(
        fee_idr=2_500,
        public_url=f"http://127.0.0.1:{free_port()}",
        person_open_orders_max=100,
        person_orders_an_hour_max=100,
    )
    shop = await make_shop(db, sandbox, settings)
    yield shop
    await shop.provider.close()
    report = await check_ledger(db)
    assert report.holds_true, report.rules


@pytest.fixture
async def open_shop(shop: Shop) -> AsyncIterator[Shop]:
    """The same shop, listening at its address."""
    port = int(shop.settings.base_url.rpartition(":")[2])
    async with listening(shop.app(), port):
        yield shop
