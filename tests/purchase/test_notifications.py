"""Notifications from strangers, from the past, and from a provider that has lost its mind change nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from shops import Shop

from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id
from emeterai.purchase.model import Order
from emeterai.purchase.sandbox_words import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

Sent = tuple[dict[str, str], bytes]


async def deliver(shop: Shop, sent: Sent) -> str:
    """Deliver over HTTP; gives the refusal's code, or nothing."""
    transport = httpx.ASGITransport(shop.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        answer = await http.post("/v1/payments/sandbox/notifications", headers=sent[0], content=sent[1])
    return str(answer.json().get("code", "")) if answer.status_code >= 400 else ""


async def nothing_happened(shop: Shop, order: Order) -> bool:
    """No record, no quota, the order as it was."""
    stored = await shop.db.fetchval("SELECT count(*) FROM purchase.notifications")
    return stored == 0 and await shop.bought(order.account_id) == 0 and await shop.state_of(order) == "awaiting_payment"


@pytest.fixture
async def order(shop: Shop) -> Order:
    """An order that awaits payment."""
    return await shop.purchase.place_order(new_id(), 1)


async def test_a_right_notification_over_http_credits(shop: Shop, order: Order) -> None:
    """Stored, answered, then worked."""
    assert "" == await deliver(shop, shop.notification(order))
    assert 1 == await shop.bought(order.account_id)


async def test_a_replayed_notification_is_answered_and_changes_nothing(shop: Shop, order: Order) -> None:
    """The same bytes again: the provider is content, and the buyer has what was bought."""
    sent = shop.notification(order)
    assert [await deliver(shop, sent), await deliver(shop, sent)] == ["", ""]
    assert 1 == await shop.bought(order.account_id)


Forge = Callable[[Sent], Sent]
FORGERIES: dict[str, Forge] = {
    "no signature": lambda sent: ({TIMESTAMP_HEADER: sent[0][TIMESTAMP_HEADER]}, sent[1]),
    "no header at all": lambda sent: ({}, sent[1]),
    "another body": lambda sent: (sent[0], sent[1].replace(b"IDR", b"USD")),
    "the same content serialised anew": lambda sent: (sent[0], sent[1].replace(b":", b": ")),
    "another time": lambda sent: ({**sent[0], TIMESTAMP_HEADER: "1"}, sent[1]),
    "another secret": lambda sent: (
        {**sent[0], SIGNATURE_HEADER: sign(b"0" * 32, sent[0][TIMESTAMP_HEADER], sent[1])},
        sent[1],
    ),
    "not ascii": lambda sent: ({**sent[0], SIGNATURE_HEADER: "é"}, sent[1]),
    "empty body": lambda sent: (sent[0], b""),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_notification_is_refused_and_changes_nothing(shop: Shop, order: Order, forgery: str) -> None:
    """Whatever is wrong with the signature, the answer is the same."""
    headers, body = FORGERIES[forgery](shop.notification(order))
    with pytest.raises(Refused) as refused:
        await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now())
    assert "notification_forged" == refused.value.code
    assert await nothing_happened(shop, order)


@pytest.mark.parametrize("at_s", [-3600, -301, 302, 86_400])
async def test_a_notification_from_another_time_is_refused(shop: Shop, order: Order, at_s: float) -> None:
    """Signed rightly, but more than five minutes ago or ahead."""
    assert "notification_stale" == await deliver(shop, shop.notification(order, at_s=at_s))
    assert await nothing_happened(shop, order)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"state": "refunded"},
        {"amount": "NaN"},
        {"amount": "Infinity"},
        {"amount": "-12500"},
        {"amount": "1e400"},
        {"amount": "1e-400"},
        {"amount": None},
        {"currency": "rupiah"},
        {"event_id": ""},
        {"event_id": "\0"},
        {"event_id": "x" * 101},
        {"order_id": 7},
    ],
)
async def test_a_signed_notification_that_makes_no_sense_is_refused(
    shop: Shop, order: Order, nonsense: dict[str, object]
) -> None:
    """It is not on record, so the provider sends it again, and the sweep finds the truth meanwhile."""
    assert "notification_unreadable" == await deliver(shop, shop.notification(order, **nonsense))
    assert await nothing_happened(shop, order)


async def test_an_unknown_provider_and_a_huge_body_are_refused(shop: Shop, order: Order) -> None:
    """404 for a provider that we do not have; 413 beyond 64 KiB."""
    headers, _ = shop.notification(order)
    transport = httpx.ASGITransport(shop.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        unknown = await http.post("/v1/payments/nobody/notifications", headers=headers, content=b"{}")
        huge = await http.post("/v1/payments/sandbox/notifications", headers=headers, content=b"x" * 65_537)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "provider_unknown")
    assert 413 == huge.status_code
    assert await nothing_happened(shop, order)


async def test_a_notification_whose_worker_died_is_worked_by_the_sweep(shop: Shop, order: Order) -> None:
    """Stored, answered, then killed: the money is credited all the same, once."""
    headers, body = shop.notification(order)
    assert await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now()) is not None
    assert 0 == await shop.bought(order.account_id)
    async with shop.db.transaction() as tx:
        await tx.execute("UPDATE purchase.notifications SET received_at = now() - interval '1 minute'")
    sweep: Callable[[], Awaitable[int]] = shop.purchase.work_unworked
    assert [await sweep(), await sweep()] == [1, 0]
    assert 1 == await shop.bought(order.account_id)
