"""Whose money is in flight: what was paid or seen, and for a while what is to be paid; an order alone is no money."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from returning import cases_of, returns_of, write
from shops import Shop

from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id
from emeterai.purchase.model import Order
from emeterai.purchase.money_in_flight import UNPAID_APART_S, UNPAID_S
from emeterai.purchase.returns_model import Action

PAID_WITHIN_S = 1_800.0
ANI, BUDI = new_id(), new_id()


async def in_flight(shop: Shop, account_id: UUID) -> bool:
    """Whether money of an account is in flight."""
    return await shop.purchase.has_money_in_flight(account_id, paid_within_s=PAID_WITHIN_S)


async def placed(shop: Shop, account_id: UUID, *, ago_s: float = 0, quantity: int = 1) -> Order:
    """An order that was placed so long ago and has a charge to pay, for a day."""
    order = await shop.purchase.place_order(account_id, quantity)
    await write(
        shop.db,
        """
        UPDATE purchase.orders SET provider_reference = id::text, pay_url = 'http://x',
            created_at = created_at - make_interval(secs => $2)
        WHERE id = $1
        """,
        order.id,
        float(ago_s),
    )
    return await shop.purchase.order(account_id, order.id)


async def noted(shop: Shop, order: Order, state: str = "settlement", **changes: Any) -> UUID:
    """News of an order on record; nobody has come to it."""
    headers, body = shop.notification(order, state, **changes)
    notification_id = await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now())
    assert notification_id is not None
    return notification_id


async def test_an_order_that_is_not_paid_counts_for_half_an_hour(shop: Shop) -> None:
    """Its charge is open for a day; whoever has none yet, or none any more, has nothing to pay."""
    siti, budi, wati, dewi = (new_id() for _ in range(4))
    await placed(shop, siti, ago_s=UNPAID_S - 60)
    await placed(shop, budi, ago_s=UNPAID_S + 60)
    await shop.purchase.place_order(wati, 1)
    cancelled = await placed(shop, dewi)
    await shop.purchase.cancel(dewi, cancelled.id)
    assert [True, False, False, False] == [await in_flight(shop, one) for one in (siti, budi, wati, dewi)]
    assert (await shop.purchase.order(budi, (await shop.purchase.orders(budi))[0].id)).is_payable


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_who_orders_again_and_again_has_no_more_of_it(shop: Shop, is_cancelled: bool) -> None:
    """Of several that are not paid the first counts; who came in by the line hours later begins anew."""
    siti, budi = new_id(), new_id()
    first = await placed(shop, siti, ago_s=UNPAID_S + 60)
    if is_cancelled:
        await shop.purchase.cancel(siti, first.id)
    await placed(shop, siti, ago_s=60)
    assert not await in_flight(shop, siti)
    await placed(shop, budi, ago_s=UNPAID_APART_S + 120)
    await placed(shop, budi, ago_s=60)
    assert await in_flight(shop, budi)


async def test_what_was_paid_before_keeps_no_order_from_counting(shop: Shop) -> None:
    """Whoever buys twice pays twice; nor does one whose charge could not be opened."""
    siti, budi = new_id(), new_id()
    paid = await placed(shop, siti, ago_s=UNPAID_S + 60)
    await shop.notify(paid)
    await write(shop.db, "UPDATE purchase.orders SET paid_at = now() - interval '1 hour' WHERE id = $1", paid.id)
    assert not await in_flight(shop, siti)
    await placed(shop, siti)
    await shop.purchase.place_order(budi, 1)
    await placed(shop, budi)
    assert [True, True] == [await in_flight(shop, one) for one in (siti, budi)]


@pytest.mark.parametrize("state", ["awaiting_payment", "cancelled", "expired"])
async def test_as_soon_as_money_is_seen_it_counts_until_it_is_quota(shop: Shop, state: str) -> None:
    """However old the order is, and whatever we believe of it; then for as long as anything that was paid."""
    siti = new_id()
    order = await placed(shop, siti, ago_s=80_000)
    await write(shop.db, "UPDATE purchase.orders SET state = $2, next_check_at = NULL WHERE id = $1", order.id, state)
    await noted(shop, order, "pending")
    assert not await in_flight(shop, siti)
    news = await noted(shop, order)
    await write(shop.db, "UPDATE purchase.notifications SET received_at = now() - interval '2 days'")
    assert await in_flight(shop, siti)
    await shop.purchase.work_notification(news)
    assert ("paid", True) == (await shop.state_of(order), await in_flight(shop, siti))
    await write(shop.db, "UPDATE purchase.orders SET paid_at = now() - interval '31 minutes' WHERE id = $1", order.id)
    assert not await in_flight(shop, siti)


async def test_money_that_is_put_aside_counts_until_it_is_quota_or_back(shop: Shop) -> None:
    """Days later too. Quota that somebody hands back was no money in flight, and is none on its way."""
    siti = new_id()
    order = await placed(shop, siti, ago_s=80_000, quantity=2)
    await shop.notify(order, amount="37500")
    (back,) = await returns_of(shop.purchase, order)
    await write(shop.db, "UPDATE purchase.returns SET changed_at = now() - interval '3 days'")
    assert ("undecided", True) == (back.state.value, await in_flight(shop, siti))
    proposal = await shop.purchase.cases.propose(back.id, Action.CREDIT, note="mutasi bank 22/11", by=ANI)
    await shop.purchase.cases.decide(proposal.id, by=BUDI, approved=True)
    assert not await in_flight(shop, siti)
    paid = await placed(shop, siti, quantity=2)
    await shop.notify(paid)
    await write(shop.db, "UPDATE purchase.orders SET paid_at = now() - interval '1 hour' WHERE id = $1", paid.id)
    assert await shop.purchase.returns.hand_back(siti, paid.id, 1) is not None
    assert not await in_flight(shop, siti)


async def test_news_that_its_provider_never_confirms_counts_until_staff_has_looked(shop: Shop) -> None:
    """It is a case then, and somebody may have paid."""
    siti = new_id()
    order = await placed(shop, siti, ago_s=80_000)
    news = await noted(shop, order)
    await write(
        shop.db,
        "UPDATE purchase.notifications SET outcome = 'no_answer', worked_at = now() WHERE id = $1",
        news,
    )
    assert not await in_flight(shop, siti)
    await write(
        shop.db,
        "INSERT INTO purchase.cases (id, kind, order_id, provider, loss_transfer, quota_transfer, duty_transfer,"
        " fee_transfer) VALUES ($1, 'no_answer', $2, 'sandbox', $1, $1, $1, $1)",
        new_id(),
        order.id,
    )
    assert await in_flight(shop, siti)
    (case,) = await cases_of(shop.purchase, order)
    await write(shop.db, "UPDATE purchase.cases SET closed_at = now() WHERE id = $1", case.id)
    assert not await in_flight(shop, siti)


async def test_money_of_others_is_not_ours(shop: Shop) -> None:
    """Each account for itself."""
    siti = new_id()
    await placed(shop, siti)
    assert [True, False] == [await in_flight(shop, one) for one in (siti, new_id())]
