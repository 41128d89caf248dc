"""An application of the operator's room alone, for its tests: a module, because Litestar looks names up by module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from litestar import Litestar, Router
from litestar.di import Provide
from room_app import refuse
from waiting_people import SECRET

from emeterai.core.refusal import Refused
from emeterai.gate import operator_pages
from emeterai.gate.controller import Paces
from emeterai.gate.keeper import Kept
from emeterai.gate.lanes import Lanes
from emeterai.gate.receipts import Receipts
from emeterai.gate.reception import Reception
from emeterai.gate.room_routes import Gate
from emeterai.infra.database import Database
from emeterai.infra.http import StrictRequest
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles


@dataclass(frozen=True)
class OperatorServices:
    """The part of the application's services that the operator's pages need."""

    pages: Pages
    csrf: Csrf


@dataclass(frozen=True)
class OnDuty:
    """The operator."""

    name: str
    account_id: UUID


async def on_duty() -> OnDuty:
    """The application's door of staff lets the operator in."""
    return OnDuty("Warga Uji", UUID(int=7))


def create_operator_app(db: Database, lanes: Lanes, paces: Paces, folder: Path) -> Litestar:
    """The application. In `folder` are the now-serving files."""
    application = Litestar(
        [Router("/", route_handlers=[*operator_pages.controllers], dependencies={"staff": Provide(on_duty)})],
        exception_handlers={Refused: refuse},
        request_class=StrictRequest,
    )
    csrf, receipts = Csrf(b"c" * 32, https=False), Receipts(b"r" * 32, "http://test")
    application.state["gate"] = Kept(lanes, paces)
    application.state["room"] = Gate(db, Reception(db, folder, SECRET), receipts, https=False, inside="/beli")
    application.state["services"] = OperatorServices(Pages(csrf, specimen=True, static=StaticFiles()), csrf)
    return application
