"""Prices and limits by channel: shown before ordering, fixed with the order, to the rupiah in books and receipt."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest
from counters import FAST, Till, midtrans, no_pause, till
from returning import audit, books, paid_order, work_returns, write
from shops import Shop, token_of

from emeterai.core.refusal import Refused
from emeterai.core.returning import SecondPayment
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.purchase.model import Channel, Order, Wishes
from emeterai.purchase.pricing import Pricing
from emeterai.purchase.provider_http import Chance
from emeterai.purchase.receipts import receipt_of
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.service import Purchase
from emeterai.web.credentials import SESSION_COOKIE
from running import free_port
from twins.midtrans_twin import MidtransTwin

QRIS, ACCOUNT = Channel.QRIS, Channel.VIRTUAL_ACCOUNT
DEAR = Settings(
    fee_idr=2_500,
    qris_fee_bps=70,
    virtual_account_fee_idr=4_000,
    qris_amount_idr_max=100_000,
    virtual_account_amount_idr_max=200_000,
    public_url="https://shop.example",
)
"""One stamp is Rp12.500 before a channel adds its fee."""


@pytest.fixture
async def counter(db: Database) -> AsyncIterator[Till[MidtransTwin]]:
    """A shop whose channels cost something and have limits. The audit ends every test."""
    twin = MidtransTwin()
    provider = midtrans(twin)
    yield till(db, twin, [provider], settings=DEAR)
    await provider.close()
    await audit(db)


def lines(order: Order) -> tuple[int, int, int]:
    """Tax, fee and total."""
    return order.duty_idr, order.fee_idr, order.total_idr


def with_settings(counter: Till[MidtransTwin], settings: Settings) -> Purchase:
    """The same counter after its operator has changed something."""
    return Purchase(counter.db, counter.ledger, settings, providers=[counter.purchase._providers.preferred])


@pytest.mark.parametrize(("channel", "fee_idr", "total_idr"), [(QRIS, 5_175, 25_175), (ACCOUNT, 9_000, 29_000)])
async def test_a_channel_s_fee_is_in_the_fee_line_of_order_charge_books_and_receipt(
    counter: Till[MidtransTwin], channel: Channel, fee_idr: int, total_idr: int
) -> None:
    """QRIS a percentage, a virtual account a flat sum for the order; the tax is never touched."""
    order = await paid_order(counter, 2, channel=channel)
    assert (20_000, fee_idr, total_idr) == lines(order)
    assert total_idr == counter.twin.charges[str(order.id)].amount
    assert {"seen": total_idr, "duty": 20_000, "fee": fee_idr} == await books(counter.db)
    receipt = receipt_of(order, base_url="https://shop.example")
    assert (20_000, fee_idr, total_idr) == (receipt.duty_idr, receipt.fee_idr, receipt.total_idr)
    assert receipt.channel.startswith(channel.label)


@pytest.mark.parametrize(("quantity", "channel", "total_idr"), [(7, QRIS, 88_113), (8, ACCOUNT, 104_000)])
async def test_an_order_without_a_wish_gets_the_channel_that_carries_its_price(
    counter: Till[MidtransTwin], quantity: int, channel: Channel, total_idr: int
) -> None:
    """Eight stamps are the limit of QRIS exactly, and beyond it with its fee: price and code are the account's."""
    order = await counter.order(quantity)
    assert (channel, total_idr) == (order.wanted_channel, order.total_idr)
    assert order.code is not None
    assert channel is order.code.channel


@pytest.mark.parametrize(
    ("quantity", "wanted", "label", "limit"),
    [
        (8, QRIS, "QRIS", 100_000),
        (16, ACCOUNT, "Virtual account", 200_000),
        (16, None, "Virtual account", 200_000),
    ],
)
async def test_an_amount_beyond_a_channel_s_limit_is_refused_by_its_name(
    counter: Till[MidtransTwin], quantity: int, wanted: Channel | None, label: str, limit: int
) -> None:
    """Which channel, how much it carries, and that no order was made."""
    with pytest.raises(Refused, match="order_channel_invalid") as refused:
        await counter.order(quantity, channel=wanted)
    assert {"channel": label, "amount_max": limit} == dict(refused.value.facts)
    assert f"{label} (paling banyak Rp{limit})" in refused.value.id
    assert 0 == await counter.db.fetchval("SELECT count(*) FROM purchase.orders")


def changed(**changes: Any) -> Settings:
    """The settings with some changed."""
    return msgspec.structs.replace(DEAR, **changes)


async def test_up_to_its_limit_a_channel_carries_it(counter: Till[MidtransTwin]) -> None:
    """To the rupiah; nought is no limit."""
    to_the_rupiah = with_settings(counter, changed(qris_amount_idr_max=100_700, virtual_account_amount_idr_max=0))
    assert 100_700 == (await to_the_rupiah.place_order(new_id(), 8)).total_idr
    assert ACCOUNT is (await to_the_rupiah.place_order(new_id(), 1_000)).wanted_channel


async def test_an_order_keeps_its_price_whatever_becomes_of_the_settings(counter: Till[MidtransTwin]) -> None:
    """The same key after dearer fees and lower limits: the same order, the same price, and it can be paid."""
    account = new_id()
    placed = await counter.purchase.place_order(account, 7, idempotency_key="k")
    later = with_settings(
        counter, changed(qris_fee_bps=500, qris_amount_idr_max=50_000, virtual_account_amount_idr_max=1)
    )
    again = await later.create_order(account, 7, idempotency_key="k")
    assert (placed.id, lines(placed), QRIS) == (again.id, lines(again), again.wanted_channel)
    assert 88_113 == counter.twin.charges[str(placed.id)].amount
    with pytest.raises(Refused, match="idempotency_key_reused"):
        await later.create_order(account, 6, idempotency_key="k")


async def test_the_key_of_a_request_without_a_wish_is_still_that_of_earlier_versions(
    counter: Till[MidtransTwin],
) -> None:
    """What was asked is digested, not what it was given."""
    order = await counter.purchase.place_order(new_id(), 2, idempotency_key="k")
    assert hashlib.sha256(b'{"quantity":2}').digest() == order.request_digest


async def test_an_order_that_was_placed_without_a_channel_is_charged_by_its_amount(counter: Till[MidtransTwin]) -> None:
    """Those of earlier versions, which left it open until the charge."""
    channels = []
    for quantity in (1, 15):
        order = await counter.purchase.place_order(new_id(), quantity)
        await write(counter.db, "UPDATE purchase.orders SET wanted_channel = NULL")
        charged = await counter.purchase.open_charge(order.account_id, order.id)
        channels.append(charged.code.channel if charged.code else None)
    assert [QRIS, ACCOUNT] == channels


async def test_a_fee_that_cannot_be_divided_goes_back_in_full(counter: Till[MidtransTwin]) -> None:
    """Three stamps with Rp263 for QRIS, handed back one by one: all of it, and nothing stays in any line."""
    order = await paid_order(counter, 3, channel=QRIS)
    assert 263 == order.fee_idr - 7_500
    for _ in range(3):
        assert await counter.purchase.returns.hand_back(order.account_id, order.id, 1)
        await work_returns(counter.purchase, counter.db)
        await counter.twin.deliver(counter.hear)
    assert {"seen": 37_763, "returned": 37_763} == await books(counter.db)
    assert [37_763] == [sum(charge.refunds.values()) for charge in counter.twin.charges.values()]


async def test_a_second_payment_of_such_an_order_is_the_same_stamps_again(counter: Till[MidtransTwin]) -> None:
    """It pays for whole stamps although the price of one is no whole number."""
    order = await paid_order(counter, 3, channel=QRIS, second_payment=SecondPayment.CREDIT)
    counter.twin.charges[str(order.id)].amount *= 2
    counter.twin.move(str(order.id), "settlement")
    await counter.twin.deliver(counter.hear)
    assert {"seen": 75_526, "duty": 60_000, "fee": 15_526} == await books(counter.db)
    assert ("paid", 6) == await counter.state_of(order)


async def test_at_a_provider_that_knows_no_channel_an_order_costs_the_plain_price(shop: Shop) -> None:
    """The sandbox: its orders have no fee of a channel."""
    purchase = Purchase(shop.db, shop.ledger, DEAR, providers=[shop.provider])
    for channel in (None, *Channel):
        order = await purchase.create_order(new_id(), 2, wishes=Wishes(channel))
        assert (20_000, 5_000, 25_000) == lines(order)
    assert [25_000, 25_000] == [quote.price.total_idr for quote in purchase.quotes(2)]


async def test_in_a_list_with_the_sandbox_an_order_has_its_channel_s_price_whoever_is_asked(
    counter: Till[MidtransTwin], shop: Shop
) -> None:
    """Shown as it is ordered, whichever is first; and what the one that steps in collects is that price."""
    real = counter.purchase._providers.preferred
    away = SandboxProvider(f"http://127.0.0.1:{free_port()}", shop.secret, patience=FAST, chance=Chance(sleep=no_pause))
    for providers in ([shop.provider, real], [real, shop.provider], [away, real]):
        purchase = Purchase(shop.db, shop.ledger, DEAR, providers=providers)
        assert [25_175, 29_000] == [quote.price.total_idr for quote in purchase.quotes(2)]
        for channel, total_idr in ((QRIS, 25_175), (ACCOUNT, 29_000)):
            order = await purchase.create_order(new_id(), 2, wishes=Wishes(channel))
            assert total_idr == order.total_idr
    assert ("midtrans", 29_000) == (order.provider, counter.twin.charges[str(order.id)].amount)
    await away.close()


def test_without_settings_prices_and_limits_are_those_of_before() -> None:
    """No channel adds anything, QRIS carries ten million rupiah, a virtual account anything."""
    pricing = Pricing(Settings())
    for quantity, fits in ((1_000, [True, True]), (1_001, [False, True]), (10**6, [False, True])):
        quotes = pricing.quotes(quantity, has_channels=True)
        assert fits == [quote.fits for quote in quotes]
        assert {pricing.plain(quantity)} == {quote.price for quote in quotes}


@pytest.fixture
async def browser(shop: Shop, counter: Till[MidtransTwin]) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, signed in, at a shop with these channels."""
    dear = replace(shop, settings=DEAR, purchase=counter.purchase)
    token = await token_of(dear, "siti@contoh.id")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(dear.app()),
        base_url="https://shop.example",
        cookies={SESSION_COOKIE: token},
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        yield client


async def test_the_buying_page_shows_each_channel_s_fee_total_and_limit(browser: httpx.AsyncClient) -> None:
    """Before ordering; what a channel cannot carry is not offered, and the page says why."""
    both = (await browser.get("/beli", params={"quantity": 2})).text
    for shown in ("Biaya QRIS", "Rp175", "Rp25.175", "Biaya Virtual account", "Rp4.000", "Rp29.000", "Rp20.000"):
        assert shown in both
    one = (await browser.get("/beli", params={"quantity": 8})).text
    assert "QRIS: paling banyak Rp100.000" in one
    assert 'value="virtual_account" checked' in one
    assert 'value="qris"' not in one
    none = (await browser.get("/beli", params={"quantity": 16})).text
    assert "Pesan lebih sedikit" in none
    assert 'name="channel"' not in none


async def test_the_order_s_page_and_the_api_tell_the_channel_and_its_price(
    browser: httpx.AsyncClient, counter: Till[MidtransTwin]
) -> None:
    """The quote before, the lines after; a quantity that cannot be ordered has no quote."""
    asked = (await browser.get("/v1/orders/quote", params={"quantity": 2})).json()
    assert 2 == asked["quantity"]
    assert [("qris", 5_175, 175, 25_175, 100_000), ("virtual_account", 9_000, 4_000, 29_000, 200_000)] == [
        tuple(quote[name] for name in ("channel", "fee_idr", "channel_fee_idr", "total_idr", "amount_idr_max"))
        for quote in asked["quotes"]
    ]
    wished = {"quantity": 2, "channel": "virtual_account"}
    made = (await browser.post("/v1/orders", json=wished)).json()
    assert ("virtual_account", 20_000, 9_000, 29_000) == tuple(
        made[name] for name in ("channel", "duty_idr", "fee_idr", "total_idr")
    )
    page = (await browser.get(f"/pesanan/{made['id']}")).text
    for shown in ("Cara membayar", "Virtual account", "Rp20.000", "Rp9.000", "Rp29.000"):
        assert shown in page
    refused = [(await browser.get("/v1/orders/quote", params={"quantity": it})).json()["code"] for it in (0, 1_001)]
    assert ["order_quantity_invalid"] * 2 == refused
    too_much = await browser.post("/v1/orders", json={"quantity": 8, "channel": "qris"})
    assert (422, "QRIS", 100_000) == (too_much.status_code, too_much.json()["channel"], too_much.json()["amount_max"])
    assert {} == await books(counter.db)
