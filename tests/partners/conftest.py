"""What the tests of partners share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from litestar import Litestar
from shop_floor import Floor

from emeterai.app import create_app, open_services
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles
from market import Market


@pytest.fixture
async def market(db: Database) -> Market:
    """A market on this test's database."""
    return await Market.open(db)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of keys for all tests of a module: making keys takes a second."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def partners_app(data_dir: Path) -> Litestar:
    """One web application for all tests here: each gives it the services of its own database."""
    return create_app(Settings(data_dir=str(data_dir)))


@pytest.fixture
async def floor(market: Market, database_url: str, data_dir: Path, partners_app: Litestar) -> AsyncIterator[Floor]:
    """The web application, with people who press its buttons."""
    settings = Settings(data_dir=str(data_dir), database_url=database_url)
    csrf, app = Csrf(b"x" * 32, https=False), partners_app
    async with open_services(settings, Pages(csrf, specimen=True, static=StaticFiles()), csrf) as services:
        app.state["services"] = services
        yield Floor(app, services.accounts, services.staff, market)
