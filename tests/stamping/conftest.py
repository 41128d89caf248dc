"""The real application, PostgreSQL and sealing engine, and people with browsers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from litestar import Litestar
from stamping_people import SIZE_BYTES_MAX, Person, Site, Working

from emeterai.app import create_app, open_services
from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.infra.worker_loop import work_on
from emeterai.seal.service import SealEngine, load_signer
from emeterai.stamping.documents import INSPECT
from emeterai.stamping.endings import Endings
from emeterai.stamping.jobs import sealer_work
from emeterai.stamping.journey import Journey
from emeterai.stamping.service import SEAL
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of blobs and keys for all tests here: making keys takes a second."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def stamping_app(data_dir: Path) -> Litestar:
    """One web application for all tests here: each gives it the services of its own database."""
    return create_app(Settings(data_dir=str(data_dir), document_size_bytes_max=SIZE_BYTES_MAX))


@pytest.fixture
async def site(database_url: str, data_dir: Path, stamping_app: Litestar) -> AsyncIterator[Site]:
    """The web application; nobody inspects or seals yet."""
    settings = Settings(data_dir=str(data_dir), database_url=database_url, document_size_bytes_max=SIZE_BYTES_MAX)
    csrf, app = Csrf(b"x" * 32, https=False), stamping_app
    async with open_services(settings, Pages(csrf, specimen=True, static=StaticFiles()), csrf) as services:
        app.state["services"] = services
        yield Site(app, services)


@pytest.fixture
def working(site: Site, data_dir: Path) -> Working:
    """Work on the named kinds of job as a sealer does, as long as the block lasts."""

    @asynccontextmanager
    async def work(*kinds: str) -> AsyncIterator[None]:
        services = site.services
        engine = await SealEngine.start(signer=load_signer(folder=data_dir / "keys"), size_bytes_max=SIZE_BYTES_MAX)
        endings = Endings(services.db, services.bus, services.ledger, services.serials)
        journey = Journey(
            services.db,
            services.blobs,
            services.bus,
            endings,
            engine,
            passwords=services.passwords,
            base_url=services.settings.base_url,
            attempts_max=3,
            clock=utc_now,
        )
        chosen = {kind: function for kind, function in sealer_work(journey).items() if kind in kinds}
        task = asyncio.create_task(work_on(services.db, services.bus, chosen, worker=new_id(), batch_max=8, lease_s=8))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await engine.close()

    return work


@pytest.fixture
async def sealer(working: Working) -> AsyncIterator[None]:
    """A sealer at work."""
    async with working(INSPECT, SEAL):
        yield


@pytest.fixture
async def people(site: Site) -> AsyncIterator[Callable[[], Awaitable[Person]]]:
    """Makes persons who have just signed up."""
    browsers: list[httpx.AsyncClient] = []

    async def sign_up() -> Person:
        browser = site.browser()
        browsers.append(browser)
        person = Person(site, browser, UUID(int=0))
        contact = f"siti{len(browsers)}@surat.example"
        values = {"name": "Siti", "contact": contact, "password": "kopi-hangat-di-teras", "zone": "Asia/Jakarta"}
        assert 303 == (await person.submit("/daftar", values)).status_code
        caller = await site.services.accounts.identify(browser.cookies["emeterai_session"])
        return Person(site, browser, caller.account_id)

    yield sign_up
    for browser in browsers:
        await browser.aclose()


@pytest.fixture
async def siti(people: Callable[[], Awaitable[Person]]) -> Person:
    """A person."""
    return await people()
