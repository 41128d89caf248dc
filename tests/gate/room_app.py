"""An application of the waiting room alone, for its tests: a module, because Litestar looks names up by module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar import Litestar, Request, Response, Router
from litestar.di import Provide

from emeterai.core.refusal import Refused
from emeterai.gate import receipt_routes, room_pages, room_routes
from emeterai.gate.room_routes import Gate
from emeterai.infra.http import StrictRequest, problem_response
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles


@dataclass(frozen=True)
class Services:
    """The part of the application's services that pages of refusals need."""

    pages: Pages


@dataclass(frozen=True)
class Someone:
    """Who is signed in: for themselves, so that both are one account."""

    account_id: UUID
    actor: UUID
    only_by: UUID | None = None


async def visitor(request: Request[Any, Any, Any]) -> Someone | None:
    """The account that the test names in a header."""
    name = request.headers.get("x-account")
    return Someone(UUID(name), UUID(name)) if name else None


def refuse(_: Request[Any, Any, Any], refused: Refused) -> Response[bytes]:
    """A refusal as the service says it."""
    return problem_response(refused)


def create_room_app(gate: Gate | None, *, extra: Sequence[Any] = (), lifespan: Sequence[Any] = ()) -> Litestar:
    """The application; without a `gate` its `lifespan` puts one into the state."""
    handlers = [*room_routes.controllers, *receipt_routes.controllers, *room_pages.controllers, *extra]
    application = Litestar(
        [Router("/", route_handlers=handlers, dependencies={"visitor": Provide(visitor)})],
        exception_handlers={Refused: refuse},
        request_class=StrictRequest,
        lifespan=lifespan,
    )
    application.state["room"] = gate
    application.state["services"] = Services(Pages(Csrf(b"c" * 32, https=False), specimen=True, static=StaticFiles()))
    return application
