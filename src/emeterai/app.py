"""The web process: wires the capabilities together and serves pages and API. Nothing is decided here."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from litestar import Litestar, Request, Response, Router
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from emeterai import __version__
from emeterai.accounts import pages as account_pages
from emeterai.accounts import quota_pages, quota_routes
from emeterai.accounts import routes as account_routes
from emeterai.accounts.callers import SignInFirst, optional_caller, redirect_to_sign_in
from emeterai.accounts.service import Accounts
from emeterai.infra.blobs import BlobStore
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.draining import DrainedRequests
from emeterai.infra.http import INTERNAL_ERROR, StrictRequest, problem_response, refusal_headers, refusal_of
from emeterai.infra.logs import configure_logging
from emeterai.infra.measured import MeasuredRequests
from emeterai.infra.methods import TrueMethods
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.infra.process import die_with_parent
from emeterai.infra.secrets import local_secret
from emeterai.infra.settings import Settings, load_settings
from emeterai.ledger.serials import SerialRegister
from emeterai.ledger.service import Ledger
from emeterai.purchase import pages as purchase_pages
from emeterai.purchase import routes as purchase_routes
from emeterai.purchase.choosing import pay_page_urls, payment_providers
from emeterai.purchase.sandbox_server import create_sandbox_app
from emeterai.purchase.service import Purchase
from emeterai.seal.reader import FileReader
from emeterai.sealing import open_reader
from emeterai.stamping import pages as stamping_pages
from emeterai.stamping import routes as stamping_routes
from emeterai.stamping import tus
from emeterai.stamping.asking import StampDesk
from emeterai.stamping.documents import Documents
from emeterai.stamping.passwords import Passwords
from emeterai.stamping.service import Stamping
from emeterai.status import pages as status_pages
from emeterai.status import routes as status_routes
from emeterai.status.service import PublicLines
from emeterai.verify import pages as verify_pages
from emeterai.verify import routes as verify_routes
from emeterai.verify.service import Verification
from emeterai.web import front
from emeterai.web.csrf import Csrf
from emeterai.web.headers import SecurityHeaders
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles, static_route

_FORM_BYTES_MAX = 64 * 1024
_DRAINED_DOCUMENTS = 4
"""A file that is up to so many times too large still gets its refusal, where a closed line would be all there is."""
"""What a request may hold besides its file."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers find in `app.state["services"]`."""

    settings: Settings
    db: Database
    bus: Bus
    blobs: BlobStore
    ledger: Ledger
    serials: SerialRegister
    accounts: Accounts
    purchase: Purchase
    passwords: Passwords
    documents: Documents
    stamping: Stamping
    desk: StampDesk
    reader: FileReader
    verification: Verification
    lines: PublicLines
    pages: Pages
    csrf: Csrf


def database_url(settings: Settings) -> str:
    """The database that the settings name, or the embedded one of the data folder."""
    return settings.database_url or EmbeddedPostgres.of(settings).url()


def blob_store(settings: Settings) -> BlobStore:
    """The blob store that the settings name, or a folder in the data folder."""
    return BlobStore.at_url(settings.blob_url) if settings.blob_url else BlobStore.local(settings.data_path / "blobs")


def kept_passwords(db: Database, settings: Settings) -> Passwords:
    """The passwords of locked files, which web and sealer encipher with one secret of this installation."""
    return Passwords(db, local_secret(settings.data_path / "secrets", "passwords"))


@asynccontextmanager
async def open_services(settings: Settings, pages: Pages, csrf: Csrf) -> AsyncIterator[Services]:
    """Everything a web process works with, opened in order and closed in reverse."""
    async with AsyncExitStack() as stack:
        url = database_url(settings)
        db = await Database.connect(url, connections_max=settings.database_connections, wait_s=settings.database_wait_s)
        stack.push_async_callback(db.close)
        bus = Bus(url)
        await bus.start()
        stack.push_async_callback(bus.close)
        providers = payment_providers(settings)
        for provider in providers:
            stack.push_async_callback(provider.close)
        reader = await open_reader(settings)
        stack.push_async_callback(reader.close)
        blobs, ledger, serials = blob_store(settings), Ledger(db), SerialRegister(db)
        passwords = kept_passwords(db, settings)
        documents = Documents(
            db,
            blobs,
            bus,
            passwords,
            size_bytes_max=settings.document_size_bytes_max,
            upload_life_s=settings.upload_life_s,
        )
        stamping = Stamping(db, bus, ledger, serials, hold_life_s=settings.hold_life_s)
        yield Services(
            settings=settings,
            db=db,
            bus=bus,
            blobs=blobs,
            ledger=ledger,
            serials=serials,
            accounts=Accounts(db, session_life_s=settings.session_life_s),
            purchase=Purchase(db, ledger, settings, providers=providers),
            passwords=passwords,
            documents=documents,
            stamping=stamping,
            desk=StampDesk(documents, stamping, blobs, reader, passwords),
            reader=reader,
            verification=Verification(reader, serials),
            lines=PublicLines(db),
            pages=pages,
            csrf=csrf,
        )


def create_served_app() -> ASGIApp:
    """The application inside a server's worker process, which must not outlive the server."""
    die_with_parent(parent_pid=os.getppid())
    return create_asgi(load_settings())


def create_served_sandbox() -> ASGIApp:
    """The sandbox provider inside a server's worker process."""
    die_with_parent(parent_pid=os.getppid())
    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    return create_sandbox_app(settings.data_path, public_url=settings.sandbox_page_url)


def create_asgi(settings: Settings) -> ASGIApp:
    """The web application in its wrappers, which also see what no route answers."""
    https = settings.base_url.startswith("https://")
    guarded = SecurityHeaders(create_app(settings), form_targets=pay_page_urls(settings), https=https)
    drained = DrainedRequests(guarded, size_bytes_max=_DRAINED_DOCUMENTS * settings.document_size_bytes_max)
    return MeasuredRequests(TrueMethods(drained, own_path=tus.Uploads.path))


def create_app(settings: Settings) -> Litestar:
    """The web application. Raises OSError when the data folder cannot be used."""
    configure_logging(settings.log_format, settings.log_level)
    https = settings.base_url.startswith("https://")
    csrf = Csrf(local_secret(settings.data_path / "secrets", "forms"), https=https)
    static = StaticFiles()
    pages = Pages(
        csrf, specimen=not (settings.mark_file and (settings.certificate_file or settings.pkcs11_module)), static=static
    )

    @asynccontextmanager
    async def run(app: Litestar) -> AsyncIterator[None]:
        async with open_services(settings, pages, csrf) as services:
            app.state["services"] = services
            yield

    return Litestar(
        route_handlers=[
            Router("/", route_handlers=front.handlers, dependencies={"viewer": Provide(optional_caller)}),
            *account_routes.controllers,
            *quota_routes.controllers,
            *purchase_routes.controllers,
            *tus.controllers,
            *stamping_routes.controllers,
            *verify_routes.controllers,
            *status_routes.controllers,
            *account_pages.controllers,
            *quota_pages.controllers,
            *purchase_pages.controllers,
            *stamping_pages.controllers,
            *verify_pages.controllers,
            *status_pages.controllers,
            static_route(static),
        ],
        lifespan=[run],
        exception_handlers={SignInFirst: redirect_to_sign_in, Exception: _answer_error},
        openapi_config=_openapi(settings),
        request_class=StrictRequest,
        request_max_body_size=settings.document_size_bytes_max + _FORM_BYTES_MAX,
        logging_config=None,
    )


def _openapi(settings: Settings) -> OpenAPIConfig:
    return OpenAPIConfig(
        title="emeterai",
        version=__version__,
        description="Buy quota, upload documents, affix electronic revenue stamps, verify them.",
        servers=[front.server_of(settings)],
        components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"bearer": []}],
        path=front.OPENAPI_PATH,
        render_plugins=[JsonRenderPlugin(path="/")],
    )


def _answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A refusal as it is; anything else is a bug, which gets a case number and is logged whole."""
    refused, case = refusal_of(error), None
    if refused is None:
        case = secrets.token_hex(4).upper()
        _log.error("bug", case=case, path=request.scope["path"], exc_info=error)
        refused = INTERNAL_ERROR(case=case)
    if front.is_api(request.scope["path"]):
        return problem_response(refused)
    services: Services = request.app.state["services"]
    return services.pages.refusal(request, refused, case_number=case, headers=refusal_headers(refused))
