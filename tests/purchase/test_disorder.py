"""Everything at once and in any order: orders stay true to the money whatever the weather."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from shops import Shop

from emeterai.core.refusal import Refused
from emeterai.infra.ids import new_id
from emeterai.purchase.model import Order

Action = Callable[[Shop, Order], Awaitable[object]]


async def cancel(shop: Shop, order: Order) -> None:
    """Give the order up, if it can be."""
    with suppress(Refused):
        await shop.purchase.cancel(order.account_id, order.id)


NEWS: dict[str, Action] = {
    "settled": lambda shop, order: shop.notify(order),
    "pending": lambda shop, order: shop.notify(order, "pending"),
    "expired": lambda shop, order: shop.notify(order, "expire"),
    "cancelled": lambda shop, order: shop.notify(order, "cancel"),
    "given up": cancel,
    "time over": lambda shop, order: shop.end_time(order),
    "swept": lambda shop, order: shop.purchase.settle_from_status(order),
}


@pytest.mark.parametrize("seed", range(4))
async def test_an_order_is_credited_once_if_its_money_came_and_never_otherwise(shop: Shop, seed: int) -> None:
    """Two buyers with four orders each, a dozen pieces of news about every order, all concurrent and shuffled."""
    chance = random.Random(seed)
    buyers = [new_id(), new_id()]
    orders = [await shop.purchase.place_order(buyer, chance.randint(1, 9)) for buyer in buyers * 4]
    news = [(order, name) for order in orders for name in chance.choices(list(NEWS), k=12)]
    unpaid = set(chance.sample(orders, 2))
    news = [(order, name) for order, name in news if name != "settled" or order not in unpaid]
    chance.shuffle(news)
    await asyncio.gather(*(NEWS[name](shop, order) for order, name in news))
    paid = {order.id for order, name in news if name == "settled"}
    for order in orders:
        assert (order.id in paid) == (await shop.state_of(order) == "paid")
    for buyer in buyers:
        expected = sum(order.quantity for order in orders if order.account_id == buyer and order.id in paid)
        assert expected == await shop.bought(buyer)
