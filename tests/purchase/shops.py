"""What the tests of buying are made of: a sandbox provider in a process of its own, and a shop on a real database."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response

from emeterai.accounts.callers import SignInFirst, redirect_to_sign_in
from emeterai.accounts.service import Accounts
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.http import problem_response, refusal_of
from emeterai.infra.process import dying_with_me
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase import pages, routes
from emeterai.purchase.provider_http import Chance, Patience
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.sandbox_words import SIGNATURE_HEADER, TIMESTAMP_HEADER, sandbox_secret, sign
from emeterai.purchase.service import Order, Purchase
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles
from running import free_port
from twins.payment_twin import PaymentTwin

WAIT_S = 15.0
_T = TypeVar("_T")


async def until(ask: Callable[[], Awaitable[_T]], wanted: Callable[[_T], bool]) -> _T:
    """Ask until the answer is as wanted, and give it."""
    async with asyncio.timeout(WAIT_S):
        while not wanted(answer := await ask()):
            await asyncio.sleep(0.02)
        return answer


@asynccontextmanager
async def listening(app: Litestar | PaymentTwin, port: int) -> AsyncIterator[None]:
    """Serve an application at a port of this machine, in this process."""
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
    serving = asyncio.create_task(server.serve())

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(answers, bool)
    try:
        yield
    finally:
        server.stop()
        await serving


class SandboxProcess:
    """The sandbox provider as a process that can be killed and started again with the same memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.secret = sandbox_secret(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        script = Path(__file__).with_name("serve_sandbox.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(self.folder), str(self.port)],
            preexec_fn=dying_with_me(),  # noqa: PLW1509 - it only asks the kernel for a signal
        )
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                httpx.get(f"{self.url}/healthz", trust_env=False).raise_for_status()
            except httpx.HTTPError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kill it at once (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stand_still(self) -> None:
        """Do nothing from now on (SIGSTOP): the kernel still takes connections for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Go on after standing still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def refuse(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A refusal, as the application tells it."""
    refused = refusal_of(error)
    if refused is None:
        raise error
    return problem_response(refused)


@dataclass(frozen=True)
class Shop:
    """A shop on a database of its own. It is in the application's state, where routes and pages look for services."""

    db: Database
    ledger: Ledger
    accounts: Accounts
    purchase: Purchase
    provider: SandboxProvider
    settings: Settings
    pages: Pages
    csrf: Csrf
    secret: bytes

    def app(self) -> Litestar:
        """The shop's application."""
        app = Litestar(
            [*routes.controllers, *pages.controllers],
            exception_handlers={SignInFirst: redirect_to_sign_in, Exception: refuse},
        )
        app.state["services"] = self
        return app

    async def notify(self, order: Order, state: str = "settlement", **changes: Any) -> str:
        """Deliver a signed notification about the order and work it; gives its outcome."""
        headers, body = self.notification(order, state, **changes)
        notification_id = await self.purchase.receive_notification("sandbox", headers, body, now=utc_now())
        assert notification_id is not None
        await self.purchase.work_notification(notification_id)
        outcome: str = await self.db.fetchval(
            "SELECT outcome FROM purchase.notifications WHERE id = $1", notification_id
        )
        return outcome

    def notification(
        self, order: Order, state: str = "settlement", *, at_s: float = 0, **changes: Any
    ) -> tuple[dict[str, str], bytes]:
        """The headers and the body of a notification, signed `at_s` seconds from now."""
        event = {
            "event_id": uuid4().hex,
            "charge_id": order.provider_reference or "c",
            "order_id": str(order.id),
            "state": state,
            "amount": str(order.total_idr),
            "currency": "IDR",
            "occurred_at": utc_now(),
        }
        body = msgspec.json.encode(event | changes)
        timestamp = str(int(utc_now().timestamp() + at_s))
        return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: sign(self.secret, timestamp, body)}, body

    async def state_of(self, order: Order) -> str:
        """Where the order is now."""
        return (await self.purchase.order(order.account_id, order.id)).state.value

    async def bought(self, account: UUID) -> int:
        """How many stamps the account was ever credited."""
        return (await self.ledger.balance(account)).bought

    async def end_time(self, order: Order) -> None:
        """Let the order's time be over, by the database's clock."""
        async with self.db.transaction() as tx:
            await tx.execute(
                "UPDATE purchase.orders SET expires_at = now() - interval '1 second' WHERE id = $1", order.id
            )

    async def check_is_due(self, order: Order) -> None:
        """Let the order be one that the sweep asks about now."""
        async with self.db.transaction() as tx:
            await tx.execute("UPDATE purchase.orders SET next_check_at = now() WHERE id = $1", order.id)


async def make_shop(
    db: Database,
    sandbox: SandboxProcess,
    settings: Settings,
    *,
    patience: Patience | None = None,
    chance: Chance | None = None,
) -> Shop:
    """A shop that sells through this sandbox provider."""
    ledger = Ledger(db)
    provider = SandboxProvider(sandbox.url, sandbox.secret, patience=patience, chance=chance)
    csrf = Csrf(b"x" * 32, https=False)
    return Shop(
        db=db,
        ledger=ledger,
        accounts=Accounts(db, session_life_s=3600),
        purchase=Purchase(db, ledger, settings, providers=[provider]),
        provider=provider,
        settings=settings,
        pages=Pages(csrf, specimen=True, static=StaticFiles()),
        csrf=csrf,
        secret=sandbox.secret,
    )


async def token_of(shop: Shop, email: str) -> str:
    """The token of a session of somebody new."""
    account = await shop.accounts.register(name="Siti Rahayu", password="kopi-hangat-di-teras", email=email)
    return (await shop.accounts.open_session(account)).token
