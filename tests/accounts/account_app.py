"""An application of accounts alone, and of two pages that use them: for the tests of accounts.

It is a module of its own because Litestar looks handlers' annotations up by module name, and every folder's `conftest`
has the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Request, Response, get
from litestar.di import NamedDependency, Provide

from emeterai.accounts import pages, routes
from emeterai.accounts.callers import SignInFirst, caller, optional_caller, redirect_to_sign_in
from emeterai.accounts.service import Accounts, Caller
from emeterai.core.refusal import Refused
from emeterai.infra.settings import Settings
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles


@dataclass(frozen=True)
class Services:
    """The part of the application's services that accounts need."""

    accounts: Accounts
    pages: Pages
    csrf: Csrf
    settings: Settings


@get("/only-for-people", dependencies={"caller": Provide(caller)}, media_type="text/plain")
async def only_for_people(caller: NamedDependency[Caller]) -> str:
    """A page of some other capability that needs a person."""
    return caller.name


@get(["/for-anyone", "/v1/for-anyone"], dependencies={"caller": Provide(optional_caller)}, media_type="text/plain")
async def for_anyone(caller: NamedDependency[Caller | None]) -> str:
    """A page and an operation of some other capability that anyone may see."""
    return caller.name if caller else "nobody"


def refuse(_: Request[Any, Any, Any], refused: Refused) -> Response[dict[str, str | int]]:
    """A refusal, told as plainly as can be."""
    return Response(refused.as_dict(), status_code=refused.kind.status)


def create_account_app(accounts: Accounts) -> Litestar:
    """The application, answering as `https://meterai.example`."""
    settings = Settings(public_url="https://meterai.example")
    csrf = Csrf(b"x" * 32, https=True)
    application = Litestar(
        [*routes.controllers, *pages.controllers, only_for_people, for_anyone],
        exception_handlers={Refused: refuse, SignInFirst: redirect_to_sign_in},
    )
    services = Services(accounts, Pages(csrf, specimen=True, static=StaticFiles()), csrf, settings)
    application.state["services"] = services
    return application
