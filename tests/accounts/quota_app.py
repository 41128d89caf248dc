"""An application of quota and its history alone, and people who look at it: for the tests of quota."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from litestar import Litestar, Request, Response

from emeterai.accounts import quota_pages, quota_routes
from emeterai.accounts.callers import SignInFirst, redirect_to_sign_in
from emeterai.accounts.quota_news import QuotaNews
from emeterai.accounts.service import Accounts
from emeterai.infra.http import problem_response, refusal_of
from emeterai.ledger.service import Ledger
from emeterai.web.credentials import SESSION_COOKIE
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles, static_route


class NoGrants:
    """Grants are an agency's: here nobody has any."""

    async def grants(self, account_id: UUID, *, only_open: bool = False) -> list[Any]:
        """None."""
        return []


class Till:
    """Orders are a shop's: here somebody awaits a payment or nobody does."""

    paying: UUID | None = None

    async def has_charge_to_pay(self, account_id: UUID) -> bool:
        """Of who pays now."""
        return account_id == self.paying


@dataclass(frozen=True)
class QuotaServices:
    """The part of the application's services that quota needs."""

    accounts: Accounts
    ledger: Ledger
    pages: Pages
    claims: NoGrants
    purchase: Till
    news: QuotaNews | None


@dataclass(frozen=True)
class Person:
    """Somebody with an account and a session."""

    account_id: UUID
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header of a program."""
        return {"authorization": f"Bearer {self.token}"}

    @property
    def cookie(self) -> dict[str, str]:
        """The header of a browser."""
        return {"cookie": f"{SESSION_COOKIE}={self.token}"}


def tell(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A refusal as the application tells it; anything else is a bug and fails the test."""
    refused = refusal_of(error)
    if refused is None:
        raise error
    return problem_response(refused)


def create_quota_app(accounts: Accounts, ledger: Ledger, till: Till, news: QuotaNews | None = None) -> Litestar:
    """The application, with the static files of its pages."""
    static = StaticFiles()
    app = Litestar(
        [*quota_routes.controllers, *quota_pages.controllers, static_route(static)],
        exception_handlers={SignInFirst: redirect_to_sign_in, Exception: tell},
    )
    pages = Pages(Csrf(b"x" * 32, https=True), specimen=True, static=static)
    app.state["services"] = QuotaServices(accounts, ledger, pages, NoGrants(), till, news)
    return app


@asynccontextmanager
async def browsing(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A browser or a program in front of the application."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://meterai.example") as client:
        yield client


async def person_of(accounts: Accounts, email: str) -> Person:
    """Somebody who has signed up and in."""
    account = await accounts.register(name="Siti Rahayu", password="kopi-hangat-di-teras", email=email)
    return Person(account.id, (await accounts.open_session(account)).token)
