"""The web process: wires the capabilities together and serves pages and API. Nothing is decided here."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Request, Response
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from emeterai import __version__
from emeterai.accounts.callers import SignInFirst, redirect_to_sign_in
from emeterai.accounts.groups import Groups
from emeterai.accounts.groups_approval import GroupApprovals
from emeterai.accounts.quota_news import QuotaNews
from emeterai.accounts.service import Accounts
from emeterai.accounts.sign_ups import bounds_of
from emeterai.accounts.staff import Staff
from emeterai.care.service import Tracker
from emeterai.door_facts import DoorFacts, PassesInUse, own_pass
from emeterai.gate.at_turn import AtTurn
from emeterai.gate.forwarded import Forwarded, proxies_of
from emeterai.gate.keeper import Keeper
from emeterai.gate.quick_numbers import QuickNumbers
from emeterai.gate.room_routes import open_gate
from emeterai.gate.watch import watching
from emeterai.handlers import handlers_of
from emeterai.infra import roster
from emeterai.infra.blobs import BlobStore
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.draining import DrainedRequests
from emeterai.infra.garbage import collect_seldom
from emeterai.infra.http import INTERNAL_ERROR, StrictRequest, problem_response, refusal_headers, refusal_of, spread
from emeterai.infra.logs import configure_logging
from emeterai.infra.measured import MeasuredRequests
from emeterai.infra.methods import TrueMethods
from emeterai.infra.one_path import OnePath
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.infra.process import die_with_parent
from emeterai.infra.secrets import local_secret
from emeterai.infra.settings import Settings, load_settings
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.service import Ledger
from emeterai.partners.deposits import Deposits
from emeterai.partners.moves import Moves
from emeterai.partners.organisations import enrol_group, is_active_partner, partners_among
from emeterai.partners.programme_claims import Claims, owed_to_agencies
from emeterai.partners.programme_secrets import ProgrammeSecrets
from emeterai.partners.programmes import Programmes
from emeterai.partners.sales import Sales
from emeterai.partners.service import Partners
from emeterai.partners.voucher_stocks import voucher_stocks
from emeterai.purchase.choosing import pay_page_urls, payment_providers
from emeterai.purchase.paid_moments import PaidMoments
from emeterai.purchase.sandbox_server import create_sandbox_app
from emeterai.purchase.service import Purchase
from emeterai.purchase.tracking import OrderLives
from emeterai.purchase.units_received import UnitsReceived
from emeterai.purchase.vouchers import Vouchers
from emeterai.seal.reader import FileReader
from emeterai.sealing import open_reader
from emeterai.stamping import tus
from emeterai.stamping.asking import StampDesk
from emeterai.stamping.documents import Documents
from emeterai.stamping.passwords import Passwords
from emeterai.stamping.service import Stamping
from emeterai.status.service import PublicLines
from emeterai.verify.sellers import Sellers
from emeterai.verify.service import Verification
from emeterai.web import front
from emeterai.web.csrf import Csrf
from emeterai.web.headers import SecurityHeaders
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles

_TRACKER_CONNECTIONS = 2
_ROOM_CONNECTIONS = 4
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
    serials: SerialChannels
    news: QuotaNews
    accounts: Accounts
    groups: Groups
    approvals: GroupApprovals
    staff: Staff
    partners: Partners
    deposits: Deposits
    moves: Moves
    sales: Sales
    purchase: Purchase
    programmes: Programmes
    claims: Claims
    vouchers: Vouchers
    passwords: Passwords
    documents: Documents
    stamping: Stamping
    desk: StampDesk
    reader: FileReader
    verification: Verification
    tracker: Tracker
    sellers: Sellers
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


def _voucher_secret(settings: Settings) -> bytes:
    """What the codes of vouchers are hashed with: every web process has the same."""
    return local_secret(settings.data_path / "secrets", "vouchers")


def programme_secrets(settings: Settings) -> ProgrammeSecrets:
    """What keeps applicants of programmes private, the same in every process of this installation."""
    return ProgrammeSecrets(local_secret(settings.data_path / "secrets", "programmes"))


@asynccontextmanager
async def open_services(settings: Settings, pages: Pages, csrf: Csrf) -> AsyncIterator[Services]:
    """Everything a web process works with, opened in order and closed in reverse."""
    async with AsyncExitStack() as stack:
        url = database_url(settings)
        db = await _opened_database(url, settings)
        stack.push_async_callback(db.close)
        bus = Bus(url)
        await bus.start()
        stack.push_async_callback(bus.close)
        providers = payment_providers(settings)
        for provider in providers:
            stack.push_async_callback(provider.close)
        reader = await open_reader(settings)
        stack.push_async_callback(reader.close)
        blobs, ledger, serials = blob_store(settings), Ledger(db, bus.publish), SerialChannels(db)
        accounts = Accounts(db, session_life_s=settings.session_life_s, sign_up_bounds=bounds_of(settings))
        received = UnitsReceived(settings, is_partner=is_active_partner, partners_among=partners_among)
        partners = Partners(db, ledger, serials)
        passwords, grant_keys = kept_passwords(db, settings), programme_secrets(settings)
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
            news=QuotaNews(ledger, bus),
            accounts=accounts,
            groups=Groups(db, ledger),
            approvals=GroupApprovals(db, ledger, enrol=enrol_group),
            staff=Staff(db),
            partners=partners,
            deposits=Deposits(db, ledger, partners, duty_idr=settings.duty_idr),
            moves=Moves(db, ledger, partners),
            sales=Sales(db, ledger, accounts, base_url=settings.base_url, left=received.left),
            purchase=Purchase(
                db, ledger, settings, providers=providers, owed=owed_to_agencies, is_partner=is_active_partner
            ),
            vouchers=Vouchers(
                db,
                ledger,
                secret=_voucher_secret(settings),
                stocks_of=voucher_stocks(partners),
                check=received.check_voucher,
            ),
            programmes=Programmes(db, ledger, grant_keys),
            claims=Claims(db, ledger, grant_keys),
            passwords=passwords,
            documents=documents,
            stamping=stamping,
            desk=StampDesk(documents, stamping, blobs, reader, passwords),
            reader=reader,
            verification=Verification(reader, serials),
            tracker=await _opened_tracker(stack, url, settings),
            sellers=Sellers(partners),
            lines=PublicLines(db),
            pages=pages,
            csrf=csrf,
        )


async def _opened_database(url: str, settings: Settings) -> Database:
    """The connections that the lanes share; guarantees of all but the one that has borrowed all come on top."""
    count = settings.database_connections
    lent_max = count if settings.gate == "on" else 0
    return await Database.connect(url, connections_max=count, lent_max=lent_max, wait_s=settings.database_wait_s)


async def _opened_tracker(stack: AsyncExitStack, url: str, settings: Settings) -> Tracker:
    """The tracker, with connections of its own: it answers while everybody who signs in holds all the others."""
    db = await Database.connect(url, connections_max=_TRACKER_CONNECTIONS, wait_s=settings.database_wait_s)
    stack.push_async_callback(db.close)
    return Tracker(db, Accounts(db, session_life_s=settings.session_life_s), OrderLives(db))


def create_served_app() -> ASGIApp:
    """The application inside a server's worker process, which must not outlive the server."""
    return _served(load_settings(), "web")


def create_served_room() -> ASGIApp:
    """The same for those outside (docs/decisions/0024): it answers everything, but needs few connections for them."""
    settings = load_settings()
    connections = min(_ROOM_CONNECTIONS, settings.database_connections)
    return _served(msgspec.structs.replace(settings, database_connections=connections), "room")


def create_served_counter() -> ASGIApp:
    """The same for programs with keys (docs/decisions/0025): they wait behind no crowd's turns of the event loop."""
    return _served(load_settings(), "counter")


def _served(settings: Settings, role: str) -> ASGIApp:
    die_with_parent(parent_pid=os.getppid())
    roster.here(role)
    roster.expect(
        {
            "web": settings.web_processes,
            "room": int(settings.room_port > 0),
            "counter": int(settings.counter_port > 0),
            "sealer": settings.sealer_processes,
            "steward": 1,
        }
    )
    application = create_asgi(settings, role)
    collect_seldom()
    return application


def create_served_sandbox() -> ASGIApp:
    """The sandbox provider inside a server's worker process."""
    die_with_parent(parent_pid=os.getppid())
    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    return create_sandbox_app(settings.data_path, public_url=settings.sandbox_page_url)


def create_asgi(settings: Settings, role: str = "web") -> ASGIApp:
    """The web application in its wrappers, which also see what no route answers; `role` is what its process is."""
    https = settings.base_url.startswith("https://")
    keeper = _keeper(settings, role) if settings.gate == "on" else None
    guarded = SecurityHeaders(create_app(settings, keeper), form_targets=pay_page_urls(settings), https=https)
    drained = DrainedRequests(guarded, size_bytes_max=_DRAINED_DOCUMENTS * settings.document_size_bytes_max)
    measured = MeasuredRequests(TrueMethods(drained, own_path=tus.Uploads.path))
    behind = OnePath(keeper.wrapped(measured, headers=guarded.headers) if keeper else measured)
    proxies = proxies_of(settings.trusted_proxies)
    return Forwarded(behind, proxies) if proxies else behind


def _keeper(settings: Settings, role: str) -> Keeper:
    secret = local_secret(settings.data_path / "secrets", "gate")
    return Keeper(secret, link_bytes_per_s=settings.link_bytes_per_s, role=role)


def create_app(settings: Settings, keeper: Keeper | None = None) -> Litestar:
    """The web application. Raises OSError when the data folder cannot be used."""
    configure_logging(settings.log_format, settings.log_level)
    https = settings.base_url.startswith("https://")
    csrf = Csrf(local_secret(settings.data_path / "secrets", "forms"), https=https)
    static = StaticFiles()
    pages = Pages(csrf, specimen=settings.is_specimen, static=static)

    @asynccontextmanager
    async def run(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(open_services(settings, pages, csrf))
            app.state["services"] = services
            if keeper is not None:
                keys_of = services.accounts.api_key_digests
                app.state["gate"] = await stack.enter_async_context(
                    keeper.keeping(services.db, services.bus, keys_of=keys_of)
                )
            facts = DoorFacts(
                services.db, services.ledger, services.purchase, services.documents, PaidMoments(services.db)
            )
            opened = open_gate(
                services.db, settings, in_flight=facts.in_flight, paid=facts.paid, uploaded=facts.uploaded
            )
            app.state["room"] = room = await stack.enter_async_context(opened)
            if keeper is not None:
                keeper.revoked = lambda: room.reception.revoked
                in_use = PassesInUse(room, services.accounts)
                keeper.by_use.renew, keeper.side.finish = in_use.renewed, in_use.to_finish
                keeper.welcome.give = in_use.of_walk_in
                quick = QuickNumbers(room.reception, https=https, headers=keeper.headers)
                keeper.numbers.give, keeper.numbers.refuse = quick.answer, quick.refuse
                keeper.numbers.is_called = AtTurn(room.reception)
                lanes = app.state["gate"].lanes
                await stack.enter_async_context(watching(room.reception.now, lambda: lanes.now))
            yield

    return Litestar(
        route_handlers=handlers_of(static, has_gate=keeper is not None),
        lifespan=[run],
        guards=[own_pass],
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


def _path_shown(request: Request[Any, Any, Any]) -> str:
    """The path as a log may have it: a text in it may be a secret, such as the code of an invitation."""
    has_text = any(isinstance(value, str) for value in request.scope.get("path_params", {}).values())
    return str(request.scope["path_template"] if has_text else request.scope["path"])


def _answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A refusal as it is; anything else is a bug, which gets a case number and is logged whole."""
    refused, case = refusal_of(error), None
    if refused is None:
        case = secrets.token_hex(4).upper()
        _log.error("bug", case=case, path=_path_shown(request), exc_info=error)
        refused = INTERNAL_ERROR(case=case)
    if front.is_api(request.scope["path"]):
        return problem_response(refused)
    services: Services = request.app.state["services"]
    refused = spread(refused)
    return services.pages.refusal(request, refused, case_number=case, headers=refusal_headers(refused))
