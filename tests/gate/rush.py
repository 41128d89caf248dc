"""The whole web application behind its door in this process, while retail asks for passes; its clock can be moved."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from litestar.routes import BaseRoute
from litestar.types import ASGIApp
from waiting_people import OPEN, changed, publish

from emeterai.app import Services, create_app, open_services
from emeterai.door_facts import DoorFacts, PassesInUse
from emeterai.gate.at_turn import AtTurn
from emeterai.gate.controller import Paces
from emeterai.gate.keeper import Keeper, Kept
from emeterai.gate.lanes import Lanes
from emeterai.gate.passes import Pass
from emeterai.gate.receipts import Receipts
from emeterai.gate.reception import Reception
from emeterai.gate.room_routes import Gate, gate_folder
from emeterai.infra.secrets import local_secret
from emeterai.infra.settings import Settings
from emeterai.purchase.paid_moments import PaidMoments
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles

PASSWORD = "kopi-hangat-di-teras"
HOME = "http://meterai.example"
PAGE = {"accept": "text/html"}
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


@dataclass
class Clock:
    """Seconds since 1970, of the machine of one web process."""

    moved_s: float = 0.0
    start_s: int = field(default_factory=lambda: int(time.time()))

    def __call__(self) -> float:
        """The time there."""
        return self.start_s + self.moved_s

    def minute(self, minutes: float) -> None:
        """So many minutes after the beginning."""
        self.moved_s = minutes * 60


@dataclass
class Rush:
    """One web process of a service that is crowded."""

    app: ASGIApp
    services: Services
    keeper: Keeper
    reception: Reception
    clock: Clock
    routes: Sequence[BaseRoute]
    """All addresses of the application."""

    async def person(self) -> tuple[UUID, str]:
        """Somebody with an account and its e-mail address, signed in nowhere."""
        contact = f"warga-{time.monotonic_ns()}@contoh.id"
        account = await self.services.accounts.register(
            name="Warga Uji", password=PASSWORD, timezone="WIB", email=contact
        )
        return account.id, contact

    def browser(self, address: str = "203.0.113.7") -> httpx.AsyncClient:
        """A browser at an address."""
        transport = httpx.ASGITransport(self.app, client=(address, 4711))  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=transport, base_url=HOME, headers=PAGE)

    async def signed_in(self, browser: httpx.AsyncClient, account_id: UUID) -> None:
        """Give a browser the session of an account."""
        account = await self.services.accounts.account(account_id)
        browser.cookies.set("emeterai_session", (await self.services.accounts.open_session(account)).token)

    def hold(self, browser: httpx.AsyncClient, granted: Pass) -> None:
        """Give a browser a pass, as the room does."""
        browser.cookies.set("emeterai_pass", self.reception.passes.sign(granted), domain="meterai.example", path="/")

    async def to_pay(self, account_id: UUID) -> None:
        """Have an account owe the money of an order that is at its payment provider."""
        order = await self.services.purchase.place_order(account_id, 1)
        await self.services.db.fetch(
            """
            UPDATE purchase.orders SET provider_reference = 'x', pay_url = 'http://x',
                expires_at = now() + interval '1 hour'
            WHERE id = $1
            """,
            order.id,
        )

    async def has_password_looked_at(self, address: str) -> bool:
        """Whether the password of a stranger at an address was looked at."""
        async with self.browser(address) as stranger:
            answer = await stranger.post("/v1/sessions", json={"contact": "x@contoh.id", "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) in {(401, "sign_in_wrong"), (429, "pass_needed")}
        return answer.status_code == 401

    def publish(self, lane: str) -> None:
        """Have another lane stand as retail does."""
        publish(self.reception.now.folder.parent, changed(OPEN, lane=lane))


def shown(rush: Rush, answer: httpx.Response) -> Pass | None:
    """The pass that an answer carries."""
    cookies = [SimpleCookie(value) for value in answer.headers.get_list("set-cookie")]
    texts = [cookie["emeterai_pass"].value for cookie in cookies if "emeterai_pass" in cookie]
    return rush.reception.passes.read(texts[0]) if texts else None


async def send(browser: httpx.AsyncClient, path: str, *, form_at: str = "", **fields: str) -> httpx.Response:
    """Fill in the form of a page, of another one where the form has no page of its own, and send it."""
    found = _CSRF.search((await browser.get(form_at or path)).text)
    assert found is not None
    return await browser.post(path, data={"csrf": found[1], **fields})


@asynccontextmanager
async def crowded(database_url: str, folder: Path, clock: Clock | None = None) -> AsyncIterator[Rush]:
    """A service in a rush inside the block."""
    clock, settings = clock or Clock(), Settings(data_dir=str(folder), database_url=database_url, public_url=HOME)
    secret, csrf = local_secret(settings.data_path / "secrets", "gate"), Csrf(b"x" * 32, https=False)
    keeper = Keeper(secret, clock_s=clock)
    keeper.door.passes_needed = frozenset({"retail"})
    app = create_app(settings, keeper)
    publish(gate_folder(settings), OPEN)
    async with open_services(settings, Pages(csrf, specimen=True, static=StaticFiles()), csrf) as services:
        facts = DoorFacts(services.db, services.ledger, services.purchase, services.documents, PaidMoments(services.db))
        reception = Reception(services.db, gate_folder(settings), secret, in_flight=facts.in_flight, clock_s=clock)
        room = Gate(services.db, reception, Receipts(b"r" * 32, HOME), https=False, inside="/beli")
        lanes = Lanes(services.db, services.bus)
        state: dict[str, Any] = {"services": services, "room": room, "gate": Kept(lanes, Paces(services.db, lanes))}
        for name, value in state.items():
            app.state[name] = value
        in_use = PassesInUse(room, services.accounts)
        keeper.revoked = lambda: reception.revoked
        keeper.numbers.is_called = AtTurn(reception)
        keeper.by_use.renew, keeper.side.finish = in_use.renewed, in_use.to_finish
        keeper.welcome.give = in_use.of_walk_in
        yield Rush(keeper.wrapped(app), services, keeper, reception, clock, app.routes)
        await reception.close()
