"""The application as far as vouchers go, on a real database, and browsers and programs of people who have accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from litestar import Litestar
from shops import refuse

from emeterai.accounts.callers import SignInFirst, redirect_to_sign_in
from emeterai.accounts.groups import Groups
from emeterai.accounts.service import Accounts
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase import voucher_pages, voucher_routes
from emeterai.purchase.vouchers import Vouchers
from emeterai.web.credentials import SESSION_COOKIE
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles
from voucher_desk import Desk, desk_of, person_of


@dataclass(frozen=True)
class VoucherShop:
    """It is in the application's state, where routes and pages look for services."""

    db: Database
    ledger: Ledger
    accounts: Accounts
    groups: Groups
    vouchers: Vouchers
    settings: Settings
    pages: Pages
    csrf: Csrf
    desk: Desk

    @classmethod
    async def open(cls, db: Database) -> VoucherShop:
        """A shop whose seller is called `penjual@contoh.id`."""
        accounts, ledger, csrf = Accounts(db, session_life_s=3600), Ledger(db), Csrf(b"x" * 32, https=False)
        seller = await accounts.register(name="Penjual", password="kopi-hangat-di-teras", email="penjual@contoh.id")
        desk = await Desk.open(db)
        desk.seller = person_of(seller.id)
        desk.vouchers = desk_of(db, desk.seller, desk.stock)
        pages = Pages(csrf, specimen=True, static=StaticFiles())
        settings = Settings(public_url="http://shop")
        return cls(db, ledger, accounts, Groups(db, ledger), desk.vouchers, settings, pages, csrf, desk)

    @asynccontextmanager
    async def program(self, email: str) -> AsyncIterator[httpx.AsyncClient]:
        """A program with the token of this person."""
        async with self._client(headers={"authorization": f"Bearer {await self._token(email)}"}) as client:
            yield client

    @asynccontextmanager
    async def browser(self, email: str) -> AsyncIterator[httpx.AsyncClient]:
        """A browser whose person is signed in; nobody is with an empty address."""
        cookies = {SESSION_COOKIE: await self._token(email)} if email else {}
        async with self._client(cookies=cookies) as client:
            yield client

    def _client(
        self, *, headers: dict[str, str] | None = None, cookies: dict[str, str] | None = None
    ) -> httpx.AsyncClient:
        app = Litestar(
            [*voucher_routes.controllers, *voucher_pages.controllers],
            exception_handlers={SignInFirst: redirect_to_sign_in, Exception: refuse},
        )
        app.state["services"] = self
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(transport=transport, base_url="http://shop", headers=headers, cookies=cookies)

    async def _token(self, email: str) -> str:
        if email == "penjual@contoh.id":
            found = await self.db.fetchval("SELECT id FROM accounts.accounts WHERE email = $1", email)
            account = await self.accounts.account(found)
        else:
            unique = f"{new_id().hex}-{email}"
            account = await self.accounts.register(name="Warga", password="kopi-hangat-di-teras", email=unique)
        return (await self.accounts.open_session(account)).token
