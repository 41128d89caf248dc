"""A storm of payments: buyers order, pay, pay wrongly, give up; staff decide; and every step is repeated until it is
answered, while somebody kills the service around them. Who does what is decided by a seed.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
import msgspec
from storm_twins import KEY, TOKEN, TwinProcess

from emeterai.core.refusal import Refused
from emeterai.core.returning import ReturnState, SecondPayment, units_for
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase.midtrans import MidtransProvider
from emeterai.purchase.provider import PaymentProvider
from emeterai.purchase.returns_model import Action, Return
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.sandbox_words import Event, Payment, sandbox_secret
from emeterai.purchase.service import Channel, Order, OrderState, Purchase, Wishes
from emeterai.purchase.xendit import XenditProvider
from running import RunningService

WRONG, GIVEN_UP, BY_ACCOUNT = 0.05, 0.02, 0.15
"""The shares of orders that are paid with another amount, given up before they are paid, paid by virtual account."""
PREFERRED = {"midtrans": 45, "xendit": 45, "sandbox": 10}
THINKS_S = 2.0
FEE_IDR = 2_500
DECIDES_EVERY_S = 0.5
PAUSE_S = 0.3
ACCOUNTS_SHARE = 0.04
"""So many accounts an order: each buys about 25 times."""
AT_ONCE_MAX = 400
_MANY = 10**9
_T = TypeVar("_T")


@dataclass(frozen=True)
class Wish:
    """What one buyer does, decided before anything happens. `pays` is a share of the price, None for what is asked."""

    account: UUID
    quantity: int
    preferred: str
    wishes: Wishes
    pays: float | None
    gives_up: bool
    walks_away: bool
    """Whether who gives up does not pay all the same."""
    thinks_s: float


@dataclass
class Bought:
    """An order as its buyer knows it."""

    wish: Wish
    order: Order
    paid_with: int | None = None
    """Rupiah, None for what was asked."""


@dataclass(frozen=True)
class Line:
    """A charge with money in a provider's own books: rupiah that came and that went back, seconds since 1970."""

    order: str
    reference: str
    amount: int
    at: float
    back: int


def storm_environment(folder: Path, twins: Sequence[TwinProcess], *, quota_due_s: float) -> dict[str, str]:
    """Settings of a service that sells through these twins, and the sandbox."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, secret in (("key", KEY), ("token", TOKEN)):
        (folder / name).write_text(secret, encoding="utf-8")
    urls = {f"EMETERAI_{twin.name.upper()}_URL": twin.url for twin in twins}
    return urls | {
        "EMETERAI_PAYMENT_PROVIDERS": "midtrans,xendit,sandbox",
        "EMETERAI_MIDTRANS_SERVER_KEY_FILE": str(folder / "key"),
        "EMETERAI_XENDIT_SECRET_KEY_FILE": str(folder / "key"),
        "EMETERAI_XENDIT_CALLBACK_TOKEN_FILE": str(folder / "token"),
        "EMETERAI_FEE_IDR": str(FEE_IDR),
        "EMETERAI_QUOTA_DUE_S": str(quota_due_s),
        "EMETERAI_SEALER_PROCESSES": "2",
        "EMETERAI_LOG_LEVEL": "warning",
    }


@dataclass
class Shops:
    """Order desks on the service's own database: the same verbs, with each provider as the first."""

    db: Database
    purchases: dict[str, Purchase]
    providers: list[PaymentProvider]
    sandbox: SandboxProvider

    @classmethod
    async def open(cls, service: RunningService, twins: Sequence[TwinProcess]) -> Shops:
        """Desks of a service that runs."""
        url = {twin.name: twin.url for twin in twins}
        db = await Database.connect(service.database_url, connections_max=8, wait_s=10)
        sandbox = SandboxProvider(service.sandbox_url, sandbox_secret(service.data_path))
        providers: dict[str, PaymentProvider] = {
            "midtrans": MidtransProvider(url["midtrans"], KEY),
            "xendit": XenditProvider(url["xendit"], KEY, callback_token=TOKEN),
            "sandbox": sandbox,
        }
        limits = {"person_units_a_day_max": _MANY, "person_orders_an_hour_max": _MANY, "person_open_orders_max": _MANY}
        settings = Settings(fee_idr=FEE_IDR, public_url=service.base_url, **limits)  # type: ignore[arg-type]
        purchases = {
            name: Purchase(
                db, Ledger(db), settings, providers=sorted(providers.values(), key=lambda one: one.name != name)
            )
            for name in providers
        }
        return cls(db, purchases, list(providers.values()), sandbox)

    async def close(self) -> None:
        """Give everything back."""
        for provider in self.providers:
            await provider.close()
        await self.db.close()


@dataclass
class PaymentStorm:
    """So many orders, `rate` a second as far as the machine can."""

    service: RunningService
    shops: Shops
    twins: dict[str, TwinProcess]
    seed: int
    orders: int
    rate: float
    troubled: bool = True
    bought: dict[str, Bought] = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)
    """Requests that had to be made again, and why."""
    decisions: Counter[str] = field(default_factory=Counter)
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(trust_env=False, timeout=5))
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def go_on(self) -> None:
        """Everybody orders and pays."""
        accounts = [new_id() for _ in range(max(1, round(self.orders * ACCOUNTS_SHARE)))]
        began_s, turns = time.monotonic(), asyncio.Semaphore(AT_ONCE_MAX)
        async with asyncio.TaskGroup() as buyers:
            for number in range(self.orders):
                await asyncio.sleep(max(0.0, began_s + number / self.rate - time.monotonic()))
                await turns.acquire()
                buying = buyers.create_task(self._buy(self._wish(number, accounts)))
                buying.add_done_callback(lambda _: turns.release())

    def _wish(self, number: int, accounts: list[UUID]) -> Wish:
        rng = random.Random(f"{self.seed}.{number}")
        [preferred] = rng.choices(list(PREFERRED), weights=list(PREFERRED.values()))
        channel = Channel.VIRTUAL_ACCOUNT if rng.random() < BY_ACCOUNT else Channel.QRIS
        second = rng.choice(list(SecondPayment))
        pays = rng.choice([0.5, 0.99, 1.01, 2.0]) if rng.random() < WRONG else None
        gives_up = rng.random() < GIVEN_UP
        return Wish(
            account=rng.choice(accounts),
            quantity=rng.choice([1, 2, 4]),
            preferred=preferred,
            wishes=Wishes(channel, second),
            pays=pays if self.troubled else None,
            gives_up=gives_up and self.troubled,
            walks_away=rng.random() < 0.5,
            thinks_s=rng.uniform(0, THINKS_S),
        )

    async def _buy(self, wish: Wish) -> None:
        desk, key = self.shops.purchases[wish.preferred], new_id().hex
        order = await self.insist(
            lambda: desk.create_order(wish.account, wish.quantity, idempotency_key=key, wishes=wish.wishes)
        )
        bought = self.bought[str(order.id)] = Bought(wish, order)
        await asyncio.sleep(wish.thinks_s)
        if wish.gives_up:
            with suppress(Refused):
                await self.insist(lambda: desk.cancel(wish.account, order.id))
            await asyncio.sleep(wish.thinks_s)
            if wish.walks_away:
                return
        if wish.pays is not None:
            bought.paid_with = round(order.total_idr * wish.pays)
        await self.insist(lambda: self._pay(bought))

    async def _pay(self, bought: Bought) -> None:
        order = bought.order
        if order.provider == "sandbox":
            assert order.provider_reference is not None
            amount = Decimal(bought.paid_with) if bought.paid_with is not None else None
            await self.shops.sandbox.pay(order.provider_reference, Payment(amount=amount))
            return
        await self.order(order.provider, "pay", {"order": str(order.id), "amount": bought.paid_with})

    async def order(self, twin: str, what: str, words: dict[str, Any] | None = None) -> Any:
        """Have a twin do something."""
        return (await self.http.post(f"{self.twins[twin].url}/storm/{what}", json=words)).raise_for_status().json()

    async def insist(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until there is an answer that is not "later"."""
        while True:
            try:
                return await ask()
            except Refused as refused:
                if refused.kind.status != 503:
                    raise
                self.repeats[refused.code] += 1
            except (*INTERRUPTIONS, httpx.HTTPError) as error:
                self.repeats[type(error).__name__] += 1
            await asyncio.sleep(PAUSE_S)

    async def staff(self) -> None:
        """Two people look at what waits until the storm is over: some they decide, some they leave to the clock."""
        cases, one, other = self.shops.purchases["midtrans"].cases, new_id(), new_id()
        while not self.ended.is_set():
            await asyncio.sleep(DECIDES_EVERY_S)
            waiting = await self.insist(cases.waiting)
            proposed = {proposal.return_id: proposal for proposal in waiting.proposals if proposal.decided_at is None}
            for back in waiting.returns:
                action = self._decision(back, waiting.orders[back.order_id])
                if action is None:
                    continue
                with suppress(Refused, *INTERRUPTIONS):
                    proposal = proposed.get(back.id) or await cases.propose(
                        back.id, action, note="bukti dilihat", by=one
                    )
                    await cases.decide(proposal.id, by=other, approved=True)
                    self.decisions[proposal.action.value] += 1

    def _decision(self, back: Return, order: Order) -> Action | None:
        """What they think, by the id: a third of it is left to the clock."""
        if back.state is ReturnState.NEEDS_CARE:
            return Action.PAID_OUT
        pays_whole = units_for(back.amount_idr or 0, order.price, quantity=order.quantity)
        choice = (Action.CREDIT if pays_whole else Action.RETURN, Action.RETURN, None)
        return choice[back.id.int % 3]

    async def books(self) -> dict[str, list[Line]]:
        """What every provider says of its charges with money."""
        found = {
            name: [Line(**line) for line in (await self.insist(lambda name=name: self.order(name, "books")))["charges"]]
            for name in self.twins
        }
        return found | {"sandbox": sandbox_books(self.service.data_path / "sandbox.sqlite3")}

    async def open_ends(self) -> dict[str, int]:
        """How much is still under way, by name; empty when nothing is."""
        row = await self.insist(lambda: self.shops.db.fetchrow(_OPEN_ENDS))
        return {name: count for name, count in dict(row).items() if count}

    async def until_quiet(self, patience_s: float) -> dict[str, int]:
        """Wait until nothing is under way, or in vain; gives what still is."""
        until_s = time.monotonic() + patience_s
        while (ends := await self.open_ends()) and time.monotonic() < until_s:
            await asyncio.sleep(0.5)
        return ends

    async def flush(self) -> None:
        """All that the twins still have in their post arrives at once, however late."""
        for name in self.twins:
            await self.insist(lambda name=name: self.order(name, "calm"))
            await self.insist(lambda name=name: self.order(name, "flush"))
            while (await self.insist(lambda name=name: self.order(name, "look")))["waiting"]:
                await asyncio.sleep(0.1)


_OPEN_ENDS = f"""
    SELECT (SELECT count(*) FROM purchase.orders WHERE state = '{OrderState.AWAITING_PAYMENT}') AS orders_awaiting,
        (SELECT count(*) FROM purchase.orders WHERE closing) AS charges_closing,
        (SELECT count(*) FROM purchase.notifications WHERE outcome IS NULL) AS notifications_unworked,
        (SELECT count(*) FROM purchase.returns WHERE ended_at IS NULL) AS returns_open
"""


def sandbox_books(file: Path) -> list[Line]:
    """The sandbox's charges with money, from its own file."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as books:
        backs = dict(books.execute("SELECT charge_id, sum(amount_idr) FROM refunds GROUP BY charge_id"))
        events = [msgspec.json.decode(body, type=Event) for (body,) in books.execute("SELECT body FROM deliveries")]
        paid_at = {event.charge_id: event.occurred_at for event in events if event.state == "settlement"}
        charges = books.execute("SELECT id, order_id, amount FROM charges WHERE state = 'settlement'").fetchall()
    return [
        Line(order_id, charge_id, int(Decimal(amount)), paid_at[charge_id].timestamp(), backs.get(charge_id, 0))
        for charge_id, order_id, amount in charges
    ]
