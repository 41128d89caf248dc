"""An order was paid when its provider said so, however late we came to it; and nothing that was not true counts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import pytest
from shops import Shop

from emeterai.core.ordering import ChargeState, Seen
from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id
from emeterai.purchase.model import Order, Source
from emeterai.purchase.paid_moments import PaidMoment, PaidMoments


async def told(shop: Shop, order: Order) -> tuple[UUID, datetime]:
    """The provider's news of settled money is on record; nobody has come to it. Its id, and when it came."""
    headers, body = shop.notification(order)
    notification_id = await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now())
    assert notification_id is not None
    at = await shop.db.fetchval("SELECT received_at FROM purchase.notifications WHERE id = $1", notification_id)
    return notification_id, at


async def credited(shop: Shop, order: Order) -> Order:
    """We have seen the money by asking."""
    seen = Seen(ChargeState.SETTLED, Decimal(order.total_idr), "IDR")
    after, _ = await shop.purchase.apply_seen(order.id, seen, Source("sandbox", "c"))
    return after


async def moment(shop: Shop, order: Order) -> PaidMoment | None:
    """When the order was paid, as far as is known now."""
    return await PaidMoments(shop.db).of(await shop.purchase.order(order.account_id, order.id))


@pytest.fixture
async def order(shop: Shop) -> Order:
    """An order that awaits payment."""
    return await shop.purchase.place_order(new_id(), 1)


async def test_an_order_that_is_credited_late_was_paid_when_the_provider_said_so(shop: Shop, order: Order) -> None:
    """Its news waited on record for whoever works it; a second piece of the same news changes nothing."""
    notification_id, told_at = await told(shop, order)
    assert await moment(shop, order) is None
    await shop.purchase.work_notification(notification_id)
    after = await shop.purchase.order(order.account_id, order.id)
    assert after.paid_at is not None
    assert after.paid_at > told_at
    again, _ = await told(shop, order)
    await shop.purchase.work_notification(again)
    assert PaidMoment(told_at, is_told=True) == await moment(shop, order)


async def test_news_that_waits_still_proves_it(shop: Shop, order: Order) -> None:
    """We have asked meanwhile, and credited by the answer."""
    _, told_at = await told(shop, order)
    await credited(shop, order)
    assert PaidMoment(told_at, is_told=True) == await moment(shop, order)


async def test_without_news_it_is_the_moment_of_the_credit(shop: Shop, order: Order) -> None:
    """And news that comes later says nothing earlier."""
    after = await credited(shop, order)
    assert after.paid_at is not None
    await told(shop, order)
    assert PaidMoment(after.paid_at, is_told=False) == await moment(shop, order)


@pytest.mark.parametrize(
    "other",
    [
        {"state": "pending"},
        {"amount": Decimal(1)},
        {"currency": "USD"},
        {"provider": "other"},
        {"reference": "c-2"},
        {"order_id": None},
        {"is_worked": True},
    ],
    ids=str,
)
async def test_other_news_proves_nothing(shop: Shop, order: Order, other: dict[str, object]) -> None:
    """Not settled, of other money or another transaction, or looked into before the money came and found untrue."""
    news: dict[str, object] = {
        "provider": "sandbox",
        "order_id": order.id,
        "state": "settled",
        "amount": Decimal(order.total_idr),
        "currency": "IDR",
        "reference": "c",
        "is_worked": False,
        **other,
    }
    async with shop.db.transaction() as tx:
        await tx.execute(
            """
            INSERT INTO purchase.notifications (id, event_id, provider, order_id, state, amount, currency, reference,
                                                outcome, worked_at)
            VALUES ($1, 'e-1', $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN 'unchanged' END, CASE WHEN $8 THEN now() END)
            """,
            new_id(),
            *news.values(),
        )
    after = await credited(shop, order)
    assert after.paid_at is not None
    assert PaidMoment(after.paid_at, is_told=False) == await moment(shop, order)
