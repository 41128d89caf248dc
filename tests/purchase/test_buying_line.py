"""The whole line over real sockets: order, pay at the provider, be notified, have quota."""

from __future__ import annotations

from shops import Shop, until

from emeterai.infra.ids import new_id


async def test_a_paid_order_becomes_quota(open_shop: Shop) -> None:
    """The provider's own notification, over HTTP, credits what was paid for."""
    account = new_id()
    order = await open_shop.purchase.create_order(account, 3)
    assert order.provider_reference is not None
    await open_shop.provider.pay(order.provider_reference)
    assert "paid" == await until(lambda: open_shop.state_of(order), lambda state: state != "awaiting_payment")
    assert 3 == await open_shop.bought(account)
