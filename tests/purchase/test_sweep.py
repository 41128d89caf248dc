"""The sweep: lost notifications, deadlines, and a provider that is down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from shops import SandboxProcess, Shop, listening, make_shop, until

from emeterai.core.ordering import ChargeState
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.check import check_ledger
from emeterai.purchase.jobs import sweep_orders
from emeterai.purchase.model import Order
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.sandbox_words import Payment
from emeterai.purchase.service import Purchase
from running import free_port


async def bought_and_paid(shop: Shop, payment: Payment | None = None) -> Order:
    """An order paid at the provider whose notification never arrives."""
    order = await shop.purchase.create_order(new_id(), 2)
    assert order.provider_reference is not None
    await shop.provider.pay(order.provider_reference, payment)
    await shop.check_is_due(order)
    return order


async def test_a_lost_notification_is_made_good_by_the_sweep(shop: Shop) -> None:
    """Paid, never notified: the sweep asks the provider, and the quota is there; then it asks no more."""
    order = await bought_and_paid(shop)
    assert [1, 0] == [await sweep_orders(shop.purchase), await sweep_orders(shop.purchase)]
    assert "paid" == await shop.state_of(order)
    assert 2 == await shop.bought(order.account_id)


async def test_the_sweep_puts_money_that_differs_aside(shop: Shop) -> None:
    """A payer who sent another amount is not guessed at by the sweep either."""
    order = await bought_and_paid(shop, Payment(amount=None, currency="USD"))
    await sweep_orders(shop.purchase)
    assert "quarantined" == await shop.state_of(order)
    assert 0 == await shop.bought(order.account_id)


async def test_an_order_paid_in_its_last_second_is_credited_and_not_expired(shop: Shop) -> None:
    """At the deadline the provider is asked first, and settled money beats the clock."""
    order = await bought_and_paid(shop)
    await shop.end_time(order)
    await sweep_orders(shop.purchase)
    assert "paid" == await shop.state_of(order)
    assert 2 == await shop.bought(order.account_id)


async def test_an_order_that_expired_here_is_asked_about_for_days(shop: Shop) -> None:
    """The provider was down at the deadline; when it is back, the money that it had taken becomes quota."""
    order = await bought_and_paid(shop)
    await shop.end_time(order)
    deaf = SandboxProvider("http://127.0.0.1:9", shop.secret)
    await sweep_orders(Purchase(shop.db, shop.ledger, shop.settings, providers=[deaf]))
    await deaf.close()
    assert "expired" == await shop.state_of(order)
    await shop.check_is_due(order)
    await sweep_orders(shop.purchase)
    assert "paid" == await shop.state_of(order)
    assert 2 == await shop.bought(order.account_id)


async def test_a_provider_that_is_down_changes_nothing_before_the_deadline(shop: Shop) -> None:
    """The order waits, and is asked about again later."""
    order = await bought_and_paid(shop)
    deaf = SandboxProvider("http://127.0.0.1:9", shop.secret)
    assert 1 == await sweep_orders(Purchase(shop.db, shop.ledger, shop.settings, providers=[deaf]))
    await deaf.close()
    assert "awaiting_payment" == await shop.state_of(order)
    row = await shop.db.fetchrow(
        "SELECT checks, next_check_at > now() AS later, next_check_at <= expires_at AS in_time FROM purchase.orders"
    )
    assert row is not None
    assert (1, True, True) == tuple(row)


async def watched_to_the_end(shop: Shop, order: Order) -> None:
    """The order has expired, its watch is over, and its last check is due."""
    async with shop.db.transaction() as tx:
        await tx.execute("UPDATE purchase.orders SET expires_at = now() - interval '73 hours', next_check_at = now()")
    await sweep_orders(shop.purchase)
    assert "expired" == await shop.state_of(order)
    await shop.check_is_due(order)


async def is_watched(shop: Shop) -> bool:
    """Whether the only order will be asked about again."""
    return bool(await shop.db.fetchval("SELECT next_check_at > now() FROM purchase.orders"))


@pytest.mark.parametrize("has_charge", [True, False])
async def test_watching_a_closed_order_ends(shop: Shop, has_charge: bool) -> None:
    """Three days after its deadline an unpaid order is asked about a last time, if there is somebody to ask."""
    order = await (shop.purchase.create_order if has_charge else shop.purchase.place_order)(new_id(), 1)
    await watched_to_the_end(shop, order)
    await sweep_orders(shop.purchase)
    assert None is await shop.db.fetchval("SELECT next_check_at FROM purchase.orders")
    assert 0 == await sweep_orders(shop.purchase)


async def test_a_watch_ends_with_an_answer(shop: Shop) -> None:
    """A provider that is away when the last check is due is asked again, and the money that it had taken is quota."""
    order = await bought_and_paid(shop)
    deaf = SandboxProvider("http://127.0.0.1:9", shop.secret)
    unheard = replace(shop, purchase=Purchase(shop.db, shop.ledger, shop.settings, providers=[deaf]))
    await watched_to_the_end(unheard, order)
    await sweep_orders(unheard.purchase)
    await deaf.close()
    assert await is_watched(shop)
    await shop.check_is_due(order)
    await sweep_orders(shop.purchase)
    assert "paid" == await shop.state_of(order)
    assert 2 == await shop.bought(order.account_id)


async def test_a_steward_that_dies_before_it_asks_leaves_the_watch(shop: Shop) -> None:
    """It had claimed the last check and nothing more: somebody asks again."""
    order = await shop.purchase.create_order(new_id(), 1)
    await watched_to_the_end(shop, order)
    assert await shop.purchase._claim_check(await shop.purchase.order(order.account_id, order.id))
    assert await is_watched(shop)


async def test_two_sweeps_at_once_ask_about_an_order_once(shop: Shop) -> None:
    """The check is claimed before the provider is asked: a second steward goes on to other orders."""
    order = await bought_and_paid(shop)
    await sweep_orders(shop.purchase)
    assert None is await shop.purchase._claim_check(order)
    assert 1 == await shop.db.fetchval("SELECT checks FROM purchase.orders")


async def test_a_killed_provider_keeps_its_charges_and_its_news(db: Database, tmp_path: Path) -> None:
    """Killed before any notification arrived: once back, the charge is settled and it tells the shop by itself."""
    sandbox = SandboxProcess(tmp_path)
    sandbox.start()
    port = free_port()
    shop = await make_shop(db, sandbox, Settings(public_url=f"http://127.0.0.1:{port}"))
    order = await shop.purchase.create_order(new_id(), 1)
    assert order.provider_reference is not None
    await shop.provider.pay(order.provider_reference)
    sandbox.kill()
    sandbox.start()
    assert ChargeState.SETTLED is (await shop.provider.status(order.id, order.provider_reference)).state
    async with listening(shop.app(), port):
        assert "paid" == await until(lambda: shop.state_of(order), lambda state: state == "paid")
    sandbox.kill()
    await shop.provider.close()
    assert 1 == await shop.bought(order.account_id)
    assert (await check_ledger(db)).holds_true
