"""Bad days: what strangers and the past send, and a provider that is away for an hour in a rush."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from counters import Till, midtrans, till, xendit
from shops import Shop

from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.check import check_ledger
from emeterai.purchase.jobs import sweep_orders
from emeterai.purchase.model import Order
from emeterai.purchase.sandbox_words import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from twins.midtrans_twin import MidtransTwin, signature
from twins.xendit_twin import XenditTwin

RUSH = 12
LOST = 120
TOO_FAR_S = 301
YEARS = timedelta(days=3 * 365)


@dataclass
class Two:
    """A shop with Midtrans before Xendit, each with a circuit whose clock is ours."""

    shop: Till[MidtransTwin]
    first: MidtransTwin
    second: XenditTwin
    now_s: float = 0.0
    orders: list[Order] = field(default_factory=list)

    def pass_time(self, **duration: float) -> None:
        """Time passes at the providers and for our patience with them."""
        self.now_s += timedelta(**duration).total_seconds()
        self.first.pass_time(**duration)
        self.second.pass_time(**duration)

    async def buy(self) -> Order:
        """One more order, with a charge wherever one is to be had."""
        order = await self.shop.order()
        self.orders.append(order)
        return order

    def pay(self, order: Order) -> None:
        """The payer pays where the order sent him."""
        twin = self.first if order.provider == "midtrans" else self.second
        twin.pay(str(order.id))

    async def sweep(self) -> None:
        """All open orders are due, and the steward sweeps until there is nothing more to do."""
        async with self.shop.db.transaction() as tx:
            await tx.execute("UPDATE purchase.orders SET next_check_at = now() WHERE next_check_at IS NOT NULL")
        await sweep_orders(self.shop.purchase)

    async def states(self) -> set[tuple[str, int]]:
        """Where the orders are, and what their buyers were credited."""
        return {await self.shop.state_of(order) for order in self.orders}


@pytest.fixture
async def two(db: Database) -> AsyncIterator[Two]:
    """A shop with two providers. The audit ends the test."""
    first, second = MidtransTwin(), XenditTwin(now=utc_now())
    two: Two
    providers = [midtrans(first, clock=lambda: two.now_s), xendit(second, clock=lambda: two.now_s)]
    two = Two(till(db, first, [*providers]), first, second)
    yield two
    for provider in providers:
        await provider.close()
    report = await check_ledger(db)
    assert report.holds_true, report.rules


@pytest.mark.parametrize("how", ["down", "slow_s", "garbage", "refuses"])
async def test_a_provider_that_is_away_for_an_hour_in_a_rush_loses_nobody_s_money(two: Two, how: str) -> None:
    """Half of the rush is paid at Midtrans when it goes away, and its news are lost: those orders wait. The other half
    is sold by Xendit meanwhile. An hour later all of them are quota, each once, though the news come after all.
    """
    early = [await two.buy() for _ in range(RUSH)]
    assert {"midtrans"} == {order.provider for order in early}
    for order in early:
        two.pay(order)
    setattr(two.first.day, how, {"slow_s": 0.5, "refuses": 10**6}.get(how, True))
    late = [await two.buy() for _ in range(RUSH)]
    assert {"xendit"} == {order.provider for order in late}
    for order in late:
        two.pay(order)
    for _ in range(4):
        two.pass_time(minutes=15)
        await two.sweep()
    assert {("awaiting_payment", 0)} == {await two.shop.state_of(order) for order in early}
    assert {("paid", 2)} == {await two.shop.state_of(order) for order in late}
    setattr(two.first.day, how, 0)
    two.pass_time(minutes=1)
    await two.sweep()
    assert {("paid", 2)} == await two.states()
    await two.first.deliver(two.shop.hear)
    assert {("paid", 2)} == await two.states()


async def test_notices_that_wait_for_a_provider_that_is_away_hold_up_no_others(two: Two) -> None:
    """Xendit has told of more payments than one sweep takes on and cannot be asked about them; what Midtrans told
    after them, and nobody had time for, is worked all the same.
    """
    two.first.day.down = True
    xendits = [await two.buy() for _ in range(5)]
    two.second.day.down = True
    for number in range(250):
        words = two.second.requests[str(xendits[number % 5].id)]
        data = {"reference_id": words.reference_id, "status": "SUCCEEDED", "request_amount": 25_000 + number}
        await hear_only(two, "xendit", {"event": "payment.capture", "data": data})
    two.first.day.down, two.now_s = False, 60.0
    order = await two.buy()
    assert "midtrans" == order.provider
    two.pay(order)
    await hear_only(two, "midtrans", two.first.words(two.first.charges[str(order.id)]))
    async with two.shop.db.transaction() as tx:
        await tx.execute("UPDATE purchase.notifications SET received_at = received_at - interval '1 minute'")
        await tx.execute("UPDATE purchase.orders SET next_check_at = now() + interval '1 hour'")
    await sweep_orders(two.shop.purchase)
    assert ("paid", 2) == await two.shop.state_of(order)


async def test_one_sweep_goes_on_as_long_as_there_is_more_to_ask_about(two: Two) -> None:
    """A rush whose news were all lost: the steward's pace is not a number of orders in five seconds."""
    two.first.day.loses = True
    for _ in range(LOST):
        two.pay(await two.buy())
    await two.sweep()
    assert {("paid", 2)} == await two.states()


async def hear_only(two: Two, provider: str, words: dict[str, Any]) -> None:
    """A notification is on record, and its worker has died."""
    headers = {"x-callback-token": two.second.token} if provider == "xendit" else {}
    await two.shop.purchase.receive_notification(provider, headers, json.dumps(words).encode(), now=utc_now())


async def told(two: Two, provider: str, words: dict[str, Any], *, token: str = "") -> int:
    """Tell the shop, as this provider; gives the HTTP status."""
    headers = {"x-callback-token": token or two.second.token} if provider == "xendit" else {}
    two.shop.name = provider
    return await two.shop.hear(headers, json.dumps(words).encode())


def midtrans_words(two: Two, order: Order, **changes: Any) -> dict[str, Any]:
    """A settlement as Midtrans tells it, signed with its key after the changes."""
    words = two.first.words(two.first.charges[str(order.id)]) | changes
    signed = [str(words[name]) for name in ("order_id", "status_code", "gross_amount")]
    return words | {"signature_key": signature(*signed, two.first.key)}


async def test_midtrans_forged_says_nothing_and_changes_nothing(two: Two) -> None:
    """Signed with another key, unsigned, and with the signature of another amount."""
    order = await two.buy()
    settled = {"transaction_status": "settlement", "status_code": "200"}
    right = midtrans_words(two, order, **settled)
    forged = [
        right | {"signature_key": signature(str(order.id), "200", right["gross_amount"], "kunci-lain")},
        right | {"signature_key": ""},
        right | {"gross_amount": "1.00"},
    ]
    assert {401} == {await told(two, "midtrans", words) for words in forged}
    assert {("awaiting_payment", 0)} == await two.states()


async def test_midtrans_replayed_for_years_is_content_and_credits_once(two: Two) -> None:
    """The same bytes at once, and years later; nothing in them tells the time, so the event itself is remembered."""
    order = await two.buy()
    two.pay(order)
    words = two.first.words(two.first.charges[str(order.id)])
    assert [200, 200] == [await told(two, "midtrans", words) for _ in range(2)]
    two.first.now += YEARS
    assert 200 == await told(two, "midtrans", words)
    assert {("paid", 2)} == await two.states()
    assert ["paid"] == await two.shop.outcomes(order.id)


async def test_midtrans_stale_news_do_not_take_a_paid_order_back(two: Two) -> None:
    """What was said before the settlement comes after it: pending, expired, cancelled."""
    order = await two.buy()
    before = [
        midtrans_words(two, order, transaction_status=status, status_code=code)
        for status, code in (("pending", "201"), ("expire", "407"), ("cancel", "200"))
    ]
    two.pay(order)
    await two.first.deliver(two.shop.hear)
    assert {200} == {await told(two, "midtrans", words) for words in before}
    assert {("paid", 2)} == await two.states()


@pytest.mark.parametrize("years", [-3, 3])
async def test_midtrans_dates_from_another_time_change_nothing(two: Two, years: int) -> None:
    """A clock that is wrong on either side costs nobody his quota, and gives nobody two."""
    order = await two.buy()
    two.pay(order)
    at = (two.first.now + years * YEARS / 3).strftime("%Y-%m-%d %H:%M:%S")
    words = two.first.words(two.first.charges[str(order.id)])
    assert 200 == await told(two, "midtrans", words | {"transaction_time": at, "settlement_time": at})
    assert {("paid", 2)} == await two.states()


async def xendit_order(two: Two) -> Order:
    """An order at Xendit."""
    two.first.day.down = True
    order = await two.buy()
    assert "xendit" == order.provider
    return order


def xendit_words(two: Two, order: Order, **changes: Any) -> dict[str, Any]:
    """A payment as Xendit tells it."""
    request = two.second.requests[str(order.id)]
    data = {"reference_id": request.reference_id, "payment_request_id": request.id, "payment_id": request.payment_id}
    money = {"status": "SUCCEEDED", "request_amount": request.amount, "currency": "IDR"}
    return {"event": "payment.capture", "created": "2026-11-22T00:00:00Z", "data": data | money | changes}


async def test_xendit_forged_is_refused_and_with_the_token_it_is_only_a_question(two: Two) -> None:
    """Without the token: refused. With it, for money that never came: Xendit is asked, and knows of none."""
    order = await xendit_order(two)
    words = xendit_words(two, order)
    assert 401 == await told(two, "xendit", words, token="token-lain")
    assert 200 == await told(two, "xendit", words)
    assert {("awaiting_payment", 0)} == await two.states()


@pytest.mark.parametrize("created", ["2019-01-01T00:00:00Z", "2039-01-01T00:00:00Z", "", "kemarin"])
async def test_xendit_replayed_stale_and_future_dated_credits_once(two: Two, created: str) -> None:
    """Its date proves nothing, so it is not read: its answer to our question counts."""
    order = await xendit_order(two)
    two.pay(order)
    words = xendit_words(two, order) | {"created": created}
    assert [200, 200] == [await told(two, "xendit", words) for _ in range(2)]
    stale = xendit_words(two, order, status="EXPIRED")
    assert 200 == await told(two, "xendit", stale)
    assert {("paid", 2)} == await two.states()


@pytest.mark.parametrize("at_s", [-10 * TOO_FAR_S, -TOO_FAR_S, TOO_FAR_S, 10 * TOO_FAR_S])
async def test_the_sandbox_stale_or_future_dated_is_refused(shop: Shop, at_s: int) -> None:
    """Its signature covers the time, so five minutes are the most that an old one is good for."""
    order = await shop.purchase.place_order(new_id(), 1)
    headers, body = shop.notification(order, at_s=at_s)
    with pytest.raises(Refused, match="notification_stale"):
        await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now())
    assert "awaiting_payment" == await shop.state_of(order)


async def test_the_sandbox_forged_or_redated_is_refused(shop: Shop) -> None:
    """Signed with another secret, and with a fresh time beside the signature of an old one."""
    order = await shop.purchase.place_order(new_id(), 1)
    headers, body = shop.notification(order, at_s=-TOO_FAR_S)
    now = str(int(utc_now().timestamp()))
    for forged in (
        headers | {TIMESTAMP_HEADER: now},
        {TIMESTAMP_HEADER: now, SIGNATURE_HEADER: sign(b"rahasia lain", now, body)},
    ):
        with pytest.raises(Refused, match="notification_forged"):
            await shop.purchase.receive_notification("sandbox", forged, body, now=utc_now())
    assert "awaiting_payment" == await shop.state_of(order)
