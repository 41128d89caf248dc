"""Everything that can happen to money, in any order, with death between any two steps: every rupiah is accounted for.

At the end all that the providers ever took is quota that was paid for, or money that went back, or money of a return
that is in a named open state; and they have returned exactly what the books say.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import pytest
from counters import Till, midtrans, till, xendit
from returning import audit, books, write

from emeterai.core.refusal import Refused
from emeterai.core.returning import ReturnState, SecondPayment
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id
from emeterai.purchase.jobs import sweep_orders, sweep_returns
from emeterai.purchase.model import Channel, Order, Wishes
from emeterai.purchase.returns_model import Action
from twins.midtrans_twin import MidtransTwin
from twins.payment_twin import BadDay
from twins.xendit_twin import XenditTwin

EACH_IDR = 12_500
STEPS = 60
OPEN = {ReturnState.UNDECIDED, ReturnState.OWED, ReturnState.ASKED, ReturnState.NEEDS_CARE}
ANI, BUDI = new_id(), new_id()


class Died(BaseException):
    """A process that ends here."""


class MortalDatabase:
    """The database as a process sees it that may die before or after any of its commits."""

    def __init__(self, db: Database, chance: random.Random, *, deadly: float) -> None:
        self._db = db
        self._chance = chance
        self.deadly = deadly

    def __getattr__(self, name: str) -> Any:
        """Reads are as they are."""
        return getattr(self._db, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction in which, or after which, everything may end."""
        drawn = self._chance.random()
        async with self._db.transaction() as tx:
            yield tx
            if drawn < self.deadly:
                raise Died
        if drawn > 1 - self.deadly:
            raise Died


class World:
    """Two providers, some buyers, and chance."""

    def __init__(self, db: Database, seed: int) -> None:
        self.db, self.chance = db, random.Random(seed)
        self.first, self.second = MidtransTwin(), XenditTwin()
        self.providers = [midtrans(self.first), xendit(self.second)]
        self.mortal = MortalDatabase(db, self.chance, deadly=0)
        self.shop: Till[Any] = till(self.mortal, self.first, [*self.providers])  # type: ignore[arg-type]
        self.second.now = utc_now()
        self.buyers = [new_id(), new_id()]
        self.orders: list[Order] = []
        self.paid_in: dict[tuple[str, UUID], int] = {}
        self.reversed: dict[tuple[str, UUID], int] = {}

    async def hear(self, name: str, headers: dict[str, str], body: bytes) -> int:
        """What one of them tells us; whoever dies meanwhile gives no answer."""
        self.shop.name = name
        try:
            return await self.shop.hear(headers, body)
        except Died:
            raise TimeoutError from None

    async def deliver(self) -> None:
        """Both deliver what is due."""
        await self.first.deliver(lambda headers, body: self.hear("midtrans", headers, body))
        await self.second.deliver(lambda headers, body: self.hear("xendit", headers, body))

    async def order(self) -> None:
        """Somebody orders; sometimes the first provider opens a charge that nobody sees."""
        self.first.day.fails_after_doing = self.chance.choice([0, 0, 3])
        wishes = Wishes(self.chance.choice([None, *Channel]), self.chance.choice(list(SecondPayment)))
        order = await self.shop.purchase.place_order(
            self.chance.choice(self.buyers), self.chance.randint(1, 4), wishes=wishes
        )
        self.orders.append(order)
        await self.shop.purchase.open_charge(order.account_id, order.id)

    async def pay(self) -> None:
        """Somebody pays somewhere: exactly, or something else."""
        order = self.chance.choice(self.orders)
        off = self.chance.choice([0, 0, 0, -1, EACH_IDR])
        name = str(order.id)
        charge, request = self.first.charges.get(name), self.second.requests.get(name)
        if charge is not None and charge.status == "pending" and self.chance.random() < 0.6:
            self.first.day.pays = order.total_idr + off
            self.first.pay(name)
            self.first.day.pays = None
            self.paid_in["midtrans", order.id] = order.total_idr + off
        elif request is not None and request.status == "REQUIRES_ACTION":
            self.second.day.pays = order.total_idr + off
            self.second.pay(name)
            self.second.day.pays = None
            self.paid_in["xendit", order.id] = order.total_idr + off

    async def reverse(self) -> None:
        """A bank takes back what nobody has returned."""
        known = [key for key in self.paid_in if key not in self.reversed]
        if not known or self.chance.random() < 0.6:
            return
        name, order_id = self.chance.choice(known)
        if name == "midtrans" and not self.first.charges[str(order_id)].refunds:
            self.first.move(str(order_id), "chargeback")
        elif name == "xendit" and not self.second.requests[str(order_id)].refunds:
            self.second.move(str(order_id), "REVERSED", "payment.failure")
        else:
            return
        self.reversed[name, order_id] = self.paid_in[name, order_id]

    async def weather(self) -> None:
        """Another day, for one of them."""
        kinds: list[dict[str, Any]] = [
            {}, {}, {"down": True}, {"loses": True}, {"doubles": True}, {"reorders": True}, {"garbage": True},
            {"declines_refunds": True}, {"refunds_slowly": True}, {"fails_after_doing": 2},
        ]  # fmt: skip
        self.chance.choice([self.first, self.second]).day = BadDay(**self.chance.choice(kinds))

    async def hand_back(self) -> None:
        """An owner hands quota back."""
        order = self.chance.choice(self.orders)
        await self.shop.purchase.returns.hand_back(order.account_id, order.id, self.chance.randint(1, 3))

    async def give_up(self) -> None:
        """A buyer cancels, or the time of an order is over."""
        order = self.chance.choice(self.orders)
        if self.chance.random() < 0.5:
            await self.shop.end_time(order)
        else:
            await self.shop.purchase.cancel(order.account_id, order.id)

    async def staff(self) -> None:
        """Two people decide something that waits, sensible or not."""
        cases = self.shop.purchase.cases
        waiting = await cases.waiting()
        found = [*waiting.returns, *waiting.cases]
        if not found:
            return
        subject = self.chance.choice(found)
        action = self.chance.choice([it for it in Action if it is not Action.PAID_OUT])
        proposal = await cases.propose(subject.id, action, note="uji", by=ANI, quantity=1)
        await cases.decide(proposal.id, by=BUDI, approved=self.chance.random() < 0.8)

    async def steward(self) -> None:
        """The steward comes by; sometimes everything is due."""
        if self.chance.random() < 0.5:
            await self.all_is_due(clock=self.chance.random() < 0.3)
        self.second.finish_refunds()
        self.first.finish_refunds()
        await sweep_orders(self.shop.purchase)
        await sweep_returns(self.shop.purchase)

    async def all_is_due(self, *, clock: bool) -> None:
        """Time has passed for everything."""
        await write(self.db, "UPDATE purchase.orders SET next_check_at = now() WHERE next_check_at IS NOT NULL")
        await write(self.db, "UPDATE purchase.returns SET next_try_at = now() WHERE next_try_at IS NOT NULL")
        await write(self.db, "UPDATE purchase.notifications SET received_at = now() - interval '1 minute'")
        if clock:
            await write(self.db, "UPDATE purchase.returns SET due_at = now() WHERE due_at IS NOT NULL")

    async def come_to_rest(self) -> None:
        """Good weather, nobody dies, everything is told once more, and the steward works until there is no work."""
        self.mortal.deadly = 0
        self.first.day, self.second.day = BadDay(), BadDay()
        for name, order_id in self.paid_in:
            if name == "midtrans":
                self.first.move(str(order_id), self.first.charges[str(order_id)].status)
            else:
                self.second.tell(str(order_id), "payment.capture")
        for _ in range(4):
            self.first.pass_time(days=2)
            self.second.pass_time(days=2)
            await self.deliver()
            await self.all_is_due(clock=True)
            await self.steward()


@pytest.mark.parametrize("seed", range(16))
async def test_every_rupiah_is_quota_or_went_back_or_is_in_a_named_open_state(db: Database, seed: int) -> None:
    """Sixty things that happen by chance, then rest, then the books against the providers' own."""
    world = World(db, seed)
    await world.order()
    world.mortal.deadly = 0.08
    happenings: list[Callable[[], Awaitable[None]]] = [
        world.order, world.pay, world.pay, world.deliver, world.deliver, world.steward, world.steward, world.weather,
        world.hand_back, world.give_up, world.staff, world.reverse,
    ]  # fmt: skip
    for _ in range(STEPS):
        with suppress(Refused, Died):
            await world.chance.choice(happenings)()
    await world.come_to_rest()
    await judge(world)
    for provider in world.providers:
        await provider.close()


async def judge(world: World) -> None:
    """The books against what the providers know."""
    db, found = world.db, await books(world.db)
    await audit(db)
    seen, taken = found.get("seen", 0), found.get("taken", 0)
    returns = await world.shop.purchase.returns.of_orders([order.id for order in world.orders])
    balances = [await world.shop.ledger.balance(buyer) for buyer in world.buyers]
    gross = sum(world.paid_in.values())
    cases = await world.shop.purchase.cases.of_orders([order.id for order in world.orders])
    known_lost = sum(case.amount_idr or 0 for case in cases)
    assert gross - never_seen(world, returns, await orders_now(world)) == seen + known_lost
    assert sum(back.amount_idr or 0 for back in returns if back.state in OPEN) == found.get("owed", 0)
    assert EACH_IDR * sum(it.bought - it.refunded for it in balances) == found.get("duty", 0) + found.get("fee", 0)
    refunds = sum(sum(charge.refunds.values()) for charge in world.first.charges.values())
    told = [one for it in world.second.requests.values() for one in it.refunds.values()]
    refunds += sum(one["amount"] for one in told if one["status"] == "SUCCEEDED")
    reversed_idr = sum(world.reversed.values()) - never_seen(world, returns, await orders_now(world))
    assert refunds + reversed_idr - known_lost == found.get("returned", 0)
    assert taken <= known_lost
    for order in await orders_now(world):
        if ("midtrans", order.id) in world.paid_in or ("xendit", order.id) in world.paid_in:
            assert order.has_money or order.id in {order_id for _, order_id in world.reversed}


async def orders_now(world: World) -> list[Order]:
    """The orders as they are."""
    return [await world.shop.purchase.order(order.account_id, order.id) for order in world.orders]


def never_seen(world: World, returns: list[Any], orders: list[Order]) -> int:
    """Money that its bank had taken back before anybody told us of it: there was never anything to do."""
    unseen = 0
    for (name, order_id), amount in world.paid_in.items():
        order = next(one for one in orders if one.id == order_id)
        is_order_s = order.paid_provider == name and order.has_money
        if not is_order_s and not any(back.order_id == order_id and back.provider == name for back in returns):
            assert (name, order_id) in world.reversed
            unseen += amount
    return unseen
