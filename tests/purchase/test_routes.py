"""Buying over HTTP, as a program does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from shops import Shop, token_of, until


@pytest.fixture
async def http(open_shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    """A program of somebody who has an account."""
    headers = {"authorization": f"Bearer {await token_of(open_shop, 'siti@contoh.id')}"}
    async with httpx.AsyncClient(base_url=open_shop.settings.base_url, headers=headers, trust_env=False) as client:
        yield client


def code(answer: httpx.Response) -> tuple[int, str]:
    """The status and the refusal's code."""
    return answer.status_code, answer.json()["code"]


async def test_an_order_is_made_paid_and_seen_as_paid(open_shop: Shop, http: httpx.AsyncClient) -> None:
    """Create, pay at the provider, and read until it is paid."""
    made = await http.post("/v1/orders", json={"quantity": 2}, headers={"idempotency-key": "one"})
    order = made.json()
    assert (201, f"/v1/orders/{order['id']}") == (made.status_code, made.headers["location"])
    assert ("awaiting_payment", 2, 20_000, 5_000, 25_000) == tuple(
        order[name] for name in ("state", "quantity", "duty_idr", "fee_idr", "total_idr")
    )
    await open_shop.provider.pay(order["pay_url"].rpartition("/")[2])

    async def read() -> Mapping[str, Any]:
        answer: Mapping[str, Any] = (await http.get(f"/v1/orders/{order['id']}")).json()
        return answer

    paid = await until(read, lambda order: order["state"] == "paid")
    assert None is paid["pay_url"]
    assert None is not paid["paid_at"]
    again = await http.post("/v1/orders", json={"quantity": 2}, headers={"idempotency-key": "one"})
    assert paid == again.json()


async def test_bad_requests_are_refused_by_name(http: httpx.AsyncClient) -> None:
    """Each with its code, and no order is made."""
    keyed = {"idempotency-key": "one"}
    assert (422, "order_quantity_invalid") == code(await http.post("/v1/orders", json={"quantity": 0}))
    assert (400, "idempotency_key_bad") == code(
        await http.post("/v1/orders", json={"quantity": 1}, headers={"idempotency-key": "a b"})
    )
    for body in ({}, {"quantity": "two"}, {"quantity": 1.5}, {"quantity": 1, "colour": "pink"}, [], {"quantity": True}):
        assert 400 == (await http.post("/v1/orders", json=body)).status_code
    assert 400 == (await http.post("/v1/orders", content=b"{")).status_code
    assert [] == (await http.get("/v1/orders")).json()["items"]
    assert 201 == (await http.post("/v1/orders", json={"quantity": 1}, headers=keyed)).status_code
    assert (422, "idempotency_key_reused") == code(await http.post("/v1/orders", json={"quantity": 2}, headers=keyed))


async def test_without_a_token_nothing_is_told(open_shop: Shop, http: httpx.AsyncClient) -> None:
    """No token: 401 everywhere. Somebody else's token: 404."""
    order = (await http.post("/v1/orders", json={"quantity": 1})).json()
    other = {"authorization": f"Bearer {await token_of(open_shop, 'budi@contoh.id')}"}
    async with httpx.AsyncClient(base_url=open_shop.settings.base_url, trust_env=False) as stranger:
        for method, path in (("GET", ""), ("POST", ""), ("GET", f"/{order['id']}"), ("POST", f"/{order['id']}/cancel")):
            body = {"quantity": 1} if not path else None
            assert (401, "sign_in_needed") == code(await stranger.request(method, f"/v1/orders{path}", json=body))
        for method, path in (("GET", ""), ("POST", "/cancel")):
            answer = await stranger.request(method, f"/v1/orders/{order['id']}{path}", headers=other)
            assert (404, "order_unknown") == code(answer)
        assert [] == (await stranger.get("/v1/orders", headers=other)).json()["items"]


async def test_orders_are_listed_with_a_cursor(http: httpx.AsyncClient) -> None:
    """Pages of two, newest first, until the cursor is null."""
    made = [(await http.post("/v1/orders", json={"quantity": n})).json()["id"] for n in (1, 2, 3)]
    first = (await http.get("/v1/orders", params={"limit": 2})).json()
    second = (await http.get("/v1/orders", params={"limit": 2, "cursor": first["next"]})).json()
    assert made[::-1] == [order["id"] for order in (*first["items"], *second["items"])]
    assert None is second["next"]
    assert (400, "cursor_bad") == code(await http.get("/v1/orders", params={"cursor": "nonsense"}))
    for limit in (0, 101, "all"):
        assert 400 == (await http.get("/v1/orders", params={"limit": limit})).status_code


async def test_an_order_is_given_up(http: httpx.AsyncClient) -> None:
    """Cancelled, and no longer payable."""
    order = (await http.post("/v1/orders", json={"quantity": 1})).json()
    cancelled = (await http.post(f"/v1/orders/{order['id']}/cancel")).json()
    assert ("cancelled", None) == (cancelled["state"], cancelled["pay_url"])
    assert 404 == (await http.get("/v1/orders/not-an-order")).status_code
