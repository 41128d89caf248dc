"""The whole service beside two providers whose clock is ours: time passes there only when a test says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from granian.constants import Interfaces
from granian.server.embed import Server

from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase.midtrans import MidtransProvider
from emeterai.purchase.provider import PaymentProvider
from emeterai.purchase.service import Order, Purchase
from emeterai.purchase.xendit import XenditProvider
from processes import family_of, kill_all
from running import RunningService, free_port
from twins.midtrans_twin import MidtransTwin, signature
from twins.payment_twin import Headers, PaymentTwin
from twins.xendit_twin import XenditTwin

PATIENCE_S = {"midtrans": 5.0, "xendit": 30.0}
"""How long a provider waits for our answer; here it waits for WAIT_S, as a machine may be slow that runs all of it."""
FIRST_RETRY_S = {"midtrans": 120, "xendit": 900}
WAIT_S = 90.0


@dataclass
class PayDesk:
    """A running service, its providers, and a desk where orders are made on its database."""

    service: RunningService
    twins: dict[str, PaymentTwin]
    purchases: dict[str, Purchase]
    db: Database
    http: httpx.AsyncClient

    async def order(self, provider: str) -> Order:
        """An order of two stamps with a charge at this provider."""
        return await self.purchases[provider].create_order(new_id(), 2)

    def pay(self, order: Order) -> None:
        """The payer pays; the provider's notifications leave when they are delivered."""
        twin = self.twins[order.provider]
        assert isinstance(twin, MidtransTwin | XenditTwin)
        twin.pay(str(order.id))

    async def deliver(self, provider: str) -> list[int]:
        """What is due at the provider goes to the service, over HTTP."""
        address = self.address(provider)

        async def receive(headers: Headers, body: bytes) -> int:
            try:
                return (await self.http.post(address, content=body, headers=headers, timeout=WAIT_S)).status_code
            except httpx.HTTPError as error:
                raise TimeoutError from error

        return await self.twins[provider].deliver(receive)

    def address(self, provider: str) -> str:
        """Where the provider reports."""
        return f"{self.service.base_url}/v1/payments/{provider}/notifications"

    async def until_paid(self, order: Order) -> None:
        """Wait until the order is paid, and see that it was credited once."""
        async with asyncio.timeout(WAIT_S):
            while await self.state_of(order) != "paid":
                await asyncio.sleep(0.1)
        balance = await Ledger(self.db).balance(order.account_id)
        assert 2 == balance.bought

    async def state_of(self, order: Order) -> str:
        """Where the order is."""
        return (await self.purchases[order.provider].order(order.account_id, order.id)).state.value

    @contextmanager
    def database_hangs(self) -> Iterator[None]:
        """PostgreSQL takes what it is sent and says nothing."""
        server = self.service.pids()["postgres"]
        _signal_all([server], signal.SIGSTOP)  # first: whom it makes in this moment would go on
        family = family_of(server)
        _signal_all(family, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal_all(family, signal.SIGCONT)

    @contextmanager
    def database_gone(self) -> Iterator[None]:
        """PostgreSQL was killed, and nobody starts it again yet."""
        assert self.service.process is not None
        supervisor = [self.service.process.pid]
        _signal_all(supervisor, signal.SIGSTOP)
        try:
            kill_all(family_of(self.service.pids()["postgres"]))
            yield
        finally:
            _signal_all(supervisor, signal.SIGCONT)


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[PayDesk]:
    """Everything, running."""
    folder.mkdir(parents=True)
    service = RunningService(folder / "service")
    twins: dict[str, PaymentTwin] = {"midtrans": MidtransTwin(now=utc_now()), "xendit": XenditTwin(now=utc_now())}
    ports = {name: free_port() for name in twins}
    async with _served(twins, ports), httpx.AsyncClient(trust_env=False) as http:
        service.environment |= _environment(folder, ports)
        try:
            await service.start()
            db = await Database.connect(service.database_url, connections_max=4, wait_s=WAIT_S)
            providers = _providers(twins, ports)
            settings = Settings(public_url=service.base_url)
            desks = {
                one.name: Purchase(
                    db, Ledger(db), settings, providers=sorted(providers, key=lambda each: each.name != one.name)
                )
                for one in providers
            }
            yield PayDesk(service, twins, desks, db, http)
            for provider in providers:
                await provider.close()
            await db.close()
            assert 0 == await service.stop(), service.last_words()
        finally:
            service.kill_rest()


def news_of(twin: MidtransTwin, order: Order, *, count: int) -> list[bytes]:
    """So many notifications about an order: its own, and signed ones of no importance, each of them different."""
    words = twin.words(twin.charges[str(order.id)])
    signed = signature(words["order_id"], "201", words["gross_amount"], twin.key)
    idle = {**words, "status_code": "201", "transaction_status": "pending", "signature_key": signed}
    different = [idle | {"refund_amount": f"{number}.00"} for number in range(1, count)]
    return [json.dumps(one).encode() for one in (words, *different)]


def _providers(twins: dict[str, PaymentTwin], ports: dict[str, int]) -> list[PaymentProvider]:
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    xendit = twins["xendit"]
    assert isinstance(xendit, XenditTwin)
    return [
        MidtransProvider(urls["midtrans"], twins["midtrans"].key),
        XenditProvider(urls["xendit"], xendit.key, callback_token=xendit.token),
    ]


def _environment(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    twin = XenditTwin()
    for name, secret in (("key", twin.key), ("token", twin.token)):
        (folder / name).write_text(secret, encoding="utf-8")
    return {
        "EMETERAI_PAYMENT_PROVIDERS": "midtrans,xendit,sandbox",
        "EMETERAI_MIDTRANS_URL": f"http://127.0.0.1:{ports['midtrans']}",
        "EMETERAI_XENDIT_URL": f"http://127.0.0.1:{ports['xendit']}",
        "EMETERAI_MIDTRANS_SERVER_KEY_FILE": str(folder / "key"),
        "EMETERAI_XENDIT_SECRET_KEY_FILE": str(folder / "key"),
        "EMETERAI_XENDIT_CALLBACK_TOKEN_FILE": str(folder / "token"),
    }


@asynccontextmanager
async def _served(twins: dict[str, PaymentTwin], ports: dict[str, int]) -> AsyncIterator[None]:
    """The providers' own addresses."""
    servers = [
        Server(twin, address="127.0.0.1", port=ports[name], interface=Interfaces.ASGI, log_enabled=False)
        for name, twin in twins.items()
    ]
    serving: list[asyncio.Task[Any]] = [asyncio.create_task(server.serve()) for server in servers]
    try:
        yield
    finally:
        for server in servers:
            server.stop()
        await asyncio.gather(*serving)


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
