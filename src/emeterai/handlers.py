"""Every handler of the web application, in one list."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router
from litestar.di import Provide

from emeterai.accounts import groups_office_pages, groups_pages, groups_routes, quota_pages, quota_routes
from emeterai.accounts import pages as account_pages
from emeterai.accounts import routes as account_routes
from emeterai.accounts.callers import accounts_of, bearer_token, caller, optional_caller
from emeterai.accounts.staff import Role, staff_of
from emeterai.care import pages as care_pages
from emeterai.care import routes as care_routes
from emeterai.care import settlement_pages
from emeterai.core.refusal import Refused
from emeterai.gate import operator_pages, room_pages, room_routes
from emeterai.gate import receipt_pages as receipt_in_time_pages
from emeterai.gate import receipt_routes as receipt_in_time_routes
from emeterai.gate.public_lanes import lanes_shown
from emeterai.infra.interruption import INTERRUPTIONS, is_lost
from emeterai.partners import office_pages as partner_office_pages
from emeterai.partners import pages as partner_pages
from emeterai.partners import programme_pages, programme_routes
from emeterai.partners import routes as partner_routes
from emeterai.purchase import cases_pages, receipt_routes, returns_routes, voucher_pages, voucher_routes
from emeterai.purchase import pages as purchase_pages
from emeterai.purchase import routes as purchase_routes
from emeterai.stamping import pages as stamping_pages
from emeterai.stamping import routes as stamping_routes
from emeterai.stamping import tus
from emeterai.status import pages as status_pages
from emeterai.status import routes as status_routes
from emeterai.verify import pages as verify_pages
from emeterai.verify import routes as verify_routes
from emeterai.verify import seller_pages
from emeterai.web import front
from emeterai.web.static_files import StaticFiles, static_route


def handlers_of(static: StaticFiles, *, has_gate: bool) -> list[Any]:
    """What the application mounts; the operator's room only where there is a gate to operate."""
    return [
        Router(
            "/",
            route_handlers=front.handlers,
            dependencies={"viewer": Provide(optional_caller), "lanes": Provide(lanes_shown)},
        ),
        *account_routes.controllers,
        *groups_routes.controllers,
        *quota_routes.controllers,
        *purchase_routes.controllers,
        *returns_routes.controllers,
        *voucher_routes.controllers,
        *receipt_routes.controllers,
        *partner_routes.controllers,
        *partner_pages.controllers,
        *partner_office_pages.controllers,
        *care_routes.controllers,
        *care_pages.controllers,
        *settlement_pages.controllers,
        *seller_pages.controllers,
        *programme_routes.controllers,
        *tus.controllers,
        *stamping_routes.controllers,
        *verify_routes.controllers,
        *status_routes.controllers,
        *account_pages.controllers,
        *groups_pages.controllers,
        *groups_office_pages.controllers,
        *quota_pages.controllers,
        *purchase_pages.controllers,
        *cases_pages.controllers,
        *voucher_pages.controllers,
        *programme_pages.controllers,
        *stamping_pages.controllers,
        *verify_pages.controllers,
        *status_pages.controllers,
        Router(
            "/",
            route_handlers=[*room_routes.controllers, *receipt_in_time_routes.controllers, *room_pages.controllers],
            dependencies={"visitor": Provide(_visitor)},
        ),
        *receipt_in_time_pages.controllers,
        Router("/", route_handlers=receipt_in_time_pages.own_controllers, dependencies={"caller": Provide(caller)}),
        Router(
            "/",
            route_handlers=operator_pages.controllers if has_gate else (),
            dependencies={"staff": Provide(staff_of(Role.OPERATOR))},
        ),
        static_route(static),
    ]


async def _visitor(request: Request[Any, Any, Any]) -> Any:
    """Who waits, browser or program, as far as anybody can say: with the database away a ticket serves as a name.

    While it is merely busy a program is told so: asked again it knows them.
    """
    token = bearer_token(request)
    try:
        return await (optional_caller(request) if token is None else accounts_of(request).identify(token))
    except INTERRUPTIONS:
        return None
    except Refused as refused:
        if is_lost(refused.__cause__):
            return None
        raise
