"""Money becomes quota once, whatever the order, number and lateness of the news. The audit ends every test."""

from __future__ import annotations

import asyncio

import pytest
from shops import Shop

from emeterai.core.ledger import Counter
from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id


async def money(shop: Shop, counter: object) -> int:
    """What is on one counter-account in rupiah: credits less debits."""
    return int(
        await shop.db.fetchval(
            """
            SELECT coalesce(sum(CASE WHEN credit = $1 THEN amount ELSE -amount END), 0)
            FROM ledger.transfers WHERE kind = 'money' AND (credit = $1 OR debit = $1)
            """,
            counter,
        )
    )


async def test_a_paid_order_posts_tax_fee_and_quota_in_rupiah_and_stamps(shop: Shop) -> None:
    """Two stamps: Rp20,000 to the treasury, Rp5,000 of fee, nothing left owed, two stamps credited."""
    account = new_id()
    order = await shop.purchase.place_order(account, 2)
    assert "paid" == await shop.notify(order)
    assert 2 == await shop.bought(account)
    assert -25_000 == await money(shop, Counter.PROVIDER_RECEIVABLE)
    assert 0 == await money(shop, Counter.ORDER_LIABILITY)
    assert 20_000 == await money(shop, Counter.TREASURY_DUTY)
    assert 5_000 == await money(shop, Counter.SERVICE_FEE)
    assert (await shop.purchase.order(account, order.id)).paid_at is not None


async def test_twenty_notifications_at_once_credit_once(shop: Shop) -> None:
    """Twenty different events about the same payment, delivered together, are one credit."""
    account = new_id()
    order = await shop.purchase.place_order(account, 4)
    outcomes = await asyncio.gather(*(shop.notify(order) for _ in range(20)))
    assert ["paid"] + ["unchanged"] * 19 == sorted(outcomes)
    assert 4 == await shop.bought(account)


async def test_one_event_delivered_twenty_times_at_once_credits_once(shop: Shop) -> None:
    """A doubled delivery is known by its event id, and is on record once."""
    account = new_id()
    order = await shop.purchase.place_order(account, 4)
    headers, body = shop.notification(order)

    async def deliver() -> None:
        notification_id = await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now())
        if notification_id is not None:
            await shop.purchase.work_notification(notification_id)

    await asyncio.gather(*(deliver() for _ in range(20)))
    assert 4 == await shop.bought(account)
    assert 1 == await shop.db.fetchval("SELECT count(*) FROM purchase.notifications")


async def test_the_notification_and_the_sweep_at_once_credit_once(shop: Shop) -> None:
    """Whoever sees the money first settles the order, and the other finds it settled."""
    account = new_id()
    order = await shop.purchase.create_order(account, 1)
    assert order.provider_reference is not None
    await shop.provider.pay(order.provider_reference)
    await asyncio.gather(shop.notify(order), shop.purchase.settle_from_status(order), shop.notify(order))
    assert 1 == await shop.bought(account)
    assert "paid" == await shop.state_of(order)


async def test_orders_of_one_buyer_paid_at_once_are_all_credited(shop: Shop) -> None:
    """Ten orders of one account, each notified twice, all at once: the sum of what was bought."""
    account = new_id()
    orders = [await shop.purchase.place_order(account, quantity) for quantity in range(1, 11)]
    await asyncio.gather(*(shop.notify(order) for order in orders for _ in range(2)))
    assert 55 == await shop.bought(account)


async def test_pending_never_overwrites_settled(shop: Shop) -> None:
    """Settlement before pending, expire and cancel: the order is paid and stays paid."""
    account = new_id()
    order = await shop.purchase.place_order(account, 1)
    assert "paid" == await shop.notify(order)
    for state in ("pending", "expire", "cancel"):
        assert "unchanged" == await shop.notify(order, state)
    assert "paid" == await shop.state_of(order)
    assert 1 == await shop.bought(account)


async def test_money_that_comes_after_expiry_is_credited(shop: Shop) -> None:
    """An order whose time was over is paid all the same when its money is seen."""
    account = new_id()
    order = await shop.purchase.place_order(account, 1)
    await shop.end_time(order)
    await shop.check_is_due(order)
    await shop.purchase.check_orders()
    assert "expired" == await shop.state_of(order)
    assert "paid" == await shop.notify(order)
    assert 1 == await shop.bought(account)


async def test_money_that_comes_after_cancelling_is_credited(shop: Shop) -> None:
    """Giving an order up does not give up the money that was on its way."""
    account = new_id()
    order = await shop.purchase.place_order(account, 1)
    await shop.purchase.cancel(account, order.id)
    assert "paid" == await shop.notify(order)
    assert 1 == await shop.bought(account)


@pytest.mark.parametrize("lie", [{"amount": "1"}, {"amount": "12500.5"}, {"amount": "999999999"}, {"currency": "USD"}])
async def test_money_that_differs_is_quarantined_and_credits_nothing(shop: Shop, lie: dict[str, str]) -> None:
    """Another amount or currency: the order is put aside with what was seen, and whole rupiah are owed to the payer."""
    account = new_id()
    order = await shop.purchase.place_order(account, 1)
    assert "quarantined" == await shop.notify(order, **lie)
    assert 0 == await shop.bought(account)
    owed_idr = int(lie["amount"]) if lie.get("amount", "").isdecimal() else 0
    assert owed_idr == await money(shop, Counter.ORDER_LIABILITY)
    put_aside = await shop.purchase.order(account, order.id)
    assert lie.get("amount", "12500") == str(put_aside.seen_amount)
    assert await shop.notify(order) in {"unchanged", "contradicted"}
    assert "quarantined" == await shop.state_of(order)
    assert owed_idr == await money(shop, Counter.ORDER_LIABILITY)


async def test_a_paid_order_that_is_contradicted_stays_paid_and_is_noted(shop: Shop) -> None:
    """A later settlement of another amount changes nothing, and its notification says so for staff."""
    account = new_id()
    order = await shop.purchase.place_order(account, 1)
    await shop.notify(order)
    assert "contradicted" == await shop.notify(order, amount="7")
    assert "paid" == await shop.state_of(order)
    assert 1 == await shop.bought(account)


async def test_a_payment_for_an_unknown_order_is_on_record(shop: Shop) -> None:
    """A notification about an order that is not ours, or no order at all, is stored and answered."""
    order = await shop.purchase.place_order(new_id(), 1)
    assert "unknown_order" == await shop.notify(order, order_id=str(new_id()))
    assert "unknown_order" == await shop.notify(order, order_id="not an order")
    assert "awaiting_payment" == await shop.state_of(order)
