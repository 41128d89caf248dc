"""Making, reading, listing and giving up orders."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import Any

import pytest
from shops import Shop

from emeterai.core.refusal import Refused
from emeterai.infra.ids import new_id
from emeterai.infra.lane import COMMON, deadline, work_for
from emeterai.purchase.model import Channel, Charge, ChargeRequest
from emeterai.purchase.providers import Providers
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.service import Order, OrderState, Purchase


async def test_an_order_tells_the_price_and_where_to_pay(shop: Shop) -> None:
    """Tax and fee are separate; the charge is open at the provider for exactly the total."""
    order = await shop.purchase.create_order(new_id(), 2)
    assert (20_000, 5_000, 25_000) == (order.duty_idr, order.fee_idr, order.total_idr)
    assert OrderState.AWAITING_PAYMENT is order.state
    assert order.provider_reference is not None
    assert order.pay_url is not None
    assert 25_000 == (await shop.provider.status(order.id, order.provider_reference)).amount


@pytest.mark.parametrize("quantity", [0, -1, 1_001, 2**63])
async def test_a_quantity_out_of_bounds_is_refused_and_makes_no_order(shop: Shop, quantity: int) -> None:
    """From 1 to the configured maximum, nothing else."""
    with pytest.raises(Refused, match="order_quantity_invalid"):
        await shop.purchase.create_order(new_id(), quantity)
    assert 0 == await shop.db.fetchval("SELECT count(*) FROM purchase.orders")


async def test_the_same_key_gives_the_same_order_and_another_request_is_refused(shop: Shop) -> None:
    """Keys belong to an account: somebody else's same key is another order."""
    account = new_id()
    first = await shop.purchase.create_order(account, 2, idempotency_key="k")
    assert first == await shop.purchase.create_order(account, 2, idempotency_key="k")
    with pytest.raises(Refused, match="idempotency_key_reused"):
        await shop.purchase.create_order(account, 3, idempotency_key="k")
    assert first.id != (await shop.purchase.create_order(new_id(), 3, idempotency_key="k")).id


async def test_the_same_key_ten_times_at_once_is_one_order_with_one_charge(shop: Shop) -> None:
    """A nervous double click does not buy twice."""
    account = new_id()
    orders = await asyncio.gather(*(shop.purchase.create_order(account, 1, idempotency_key="k") for _ in range(10)))
    assert 1 == len({(order.id, order.provider_reference, order.pay_url) for order in orders})


async def test_when_the_provider_is_down_nothing_is_owed_and_the_same_key_goes_on(shop: Shop) -> None:
    """The refusal says when to try again; then the same order gets its charge."""
    account = new_id()
    deaf = SandboxProvider("http://127.0.0.1:9", shop.secret)
    purchase = Purchase(shop.db, shop.ledger, shop.settings, providers=[deaf])
    with pytest.raises(Refused, match="provider_unavailable") as refused:
        await purchase.create_order(account, 1, idempotency_key="k")
    await deaf.close()
    assert 10 == refused.value.facts["retry_after_s"]
    (waiting,) = await shop.purchase.orders(account)
    assert None is waiting.pay_url
    order = await shop.purchase.create_order(account, 1, idempotency_key="k")
    assert waiting.id == order.id
    assert order.pay_url is not None


async def test_a_charge_whose_answer_was_lost_is_found_again(shop: Shop) -> None:
    """The provider opened the charge, the answer never came: asking again gives the same charge, not a second."""
    order = await shop.purchase.place_order(new_id(), 1)
    base = shop.settings.base_url
    lost: Charge = await shop.provider.create_charge(
        ChargeRequest(
            order_id=order.id,
            amount_idr=order.total_idr,
            expires_at=order.expires_at,
            notify_url=f"{base}/v1/payments/sandbox/notifications",
            return_url=f"{base}/pesanan/{order.id}?kembali=1",
            channel=Channel.QRIS,
        )
    )
    assert lost.reference == (await shop.purchase.open_charge(order.account_id, order.id)).provider_reference


async def test_a_charge_that_the_provider_opened_is_written_down_for_whoever_waits_no_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His deadline passes while the provider answers; the charge is there, so it is on record and watched."""
    order, charge = await shop.purchase.place_order(new_id(), 1), Providers.charge

    async def slowly(providers: Providers, charged: Order, **how: Any) -> Any:
        opened = await charge(providers, charged, **how)
        if deadline().until_s < inf:
            deadline().until_s = time.monotonic()
        return opened

    monkeypatch.setattr(Providers, "charge", slowly)

    async def pays_in_a_hurry() -> Order:
        work_for(COMMON, 0, until_s=time.monotonic() + 60)
        return await shop.purchase.open_charge(order.account_id, order.id)

    assert (await asyncio.create_task(pays_in_a_hurry())).provider_reference
    assert await shop.db.fetchval("SELECT provider_reference FROM purchase.orders")


async def test_other_peoples_orders_are_unknown(shop: Shop) -> None:
    """Reading, paying and giving up somebody else's order all say that there is no such order."""
    order = await shop.purchase.place_order(new_id(), 1)
    stranger = new_id()
    for attempt in (shop.purchase.order, shop.purchase.open_charge, shop.purchase.cancel):
        with pytest.raises(Refused, match="order_unknown"):
            await attempt(stranger, order.id)
    assert "awaiting_payment" == await shop.state_of(order)


async def test_orders_are_listed_newest_first_a_page_at_a_time(shop: Shop) -> None:
    """Every order once, whatever the size of the pages."""
    account = new_id()
    made = [(await shop.purchase.place_order(account, quantity)).id for quantity in range(1, 6)]
    await shop.purchase.place_order(new_id(), 9)
    first = await shop.purchase.orders(account, limit=2)
    second = await shop.purchase.orders(account, before=first[-1].id, limit=2)
    third = await shop.purchase.orders(account, before=second[-1].id, limit=2)
    assert made[::-1] == [order.id for order in (*first, *second, *third)]


async def test_an_order_is_given_up_once_and_a_paid_one_never(shop: Shop) -> None:
    """Giving up twice is no error; a paid order is not open."""
    account = new_id()
    order = await shop.purchase.place_order(account, 1)
    assert OrderState.CANCELLED is (await shop.purchase.cancel(account, order.id)).state
    assert OrderState.CANCELLED is (await shop.purchase.cancel(account, order.id)).state
    with pytest.raises(Refused, match="order_not_open"):
        await shop.purchase.open_charge(account, order.id)
    await shop.notify(order)
    with pytest.raises(Refused, match="order_not_open"):
        await shop.purchase.cancel(account, order.id)
