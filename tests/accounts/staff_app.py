"""An application of accounts, one page and one operation of the treasury: for the tests of staff.

A module of its own because Litestar looks handlers' annotations up by module name.
"""

from __future__ import annotations

from dataclasses import dataclass

from account_app import refuse
from litestar import Litestar, get
from litestar.di import NamedDependency, Provide

from emeterai.accounts import routes
from emeterai.accounts.callers import SignInFirst, redirect_to_sign_in
from emeterai.accounts.service import Accounts, Caller
from emeterai.accounts.staff import Role, Staff, staff_of
from emeterai.core.refusal import Refused


@dataclass(frozen=True)
class Services:
    """The part of the application's services that staff need."""

    accounts: Accounts
    staff: Staff


@get(
    ["/for-treasury", "/v1/for-treasury"],
    dependencies={"caller": Provide(staff_of(Role.TREASURY))},
    media_type="text/plain",
)
async def for_treasury(caller: NamedDependency[Caller]) -> str:
    """A page and an operation that only the treasury's staff may use."""
    return caller.name


def create_staff_app(accounts: Accounts, staff: Staff) -> Litestar:
    """The application."""
    application = Litestar(
        [*routes.controllers, for_treasury],
        exception_handlers={Refused: refuse, SignInFirst: redirect_to_sign_in},
    )
    application.state["services"] = Services(accounts, staff)
    return application
