"""Partners over HTTP: `/v1/partners/me` by an API key."""

from __future__ import annotations

import pytest
from shop_floor import Floor, fresh_key

from emeterai.core.refusal import Refused
from emeterai.infra.database import BUSY
from market import Market


async def test_a_partner_sees_its_stock_and_sells_from_it(floor: Floor, market: Market) -> None:
    """By an API key; the answer to the same key is the same, and the list turns its pages."""
    partner, (account, address) = await market.partner(stock=10), await market.buyer()
    api = (await floor.visitor(of=partner)).program
    before = (await api.get("/v1/partners/me")).json()
    assert (10, None, False, True) == (
        before["available"],
        before["empty_in_s"],
        before["is_sold_out"],
        before["is_low"],
    )
    assert ("mitra@contoh.id", "active", "distributor") == (before["contact"], before["state"], before["kind"])
    assert 1 == len(before["serial_blocks"])
    body = {"quantity": 2, "to": f" {address} ", "reference": "Struk 1"}
    headers = fresh_key()
    first = await api.post("/v1/partners/me/sales", json=body, headers=headers)
    again = await api.post("/v1/partners/me/sales", json=body, headers=headers)
    assert (201, 201, first.json()) == (first.status_code, again.status_code, again.json())
    assert {"id", "quantity", "reference", "to_retailer", "sold_at"} == set(first.json())
    assert (
        201 == (await api.post("/v1/partners/me/sales", json={**body, "quantity": 1}, headers=fresh_key())).status_code
    )
    assert (3, 7) == (await market.available(account), (await api.get("/v1/partners/me")).json()["available"])
    newest = (await api.get("/v1/partners/me/sales", params={"limit": 1})).json()
    older = (await api.get("/v1/partners/me/sales", params={"limit": 1, "cursor": newest["next"]})).json()
    assert [1, 2] == [newest["items"][0]["quantity"], older["items"][0]["quantity"]]
    assert None is older["next"]
    (deposit,) = (await api.get("/v1/partners/me/deposits")).json()["items"]
    assert ("approved", 100_000, 10) == (deposit["state"], deposit["amount_idr"], deposit["quantity"])


async def test_sold_out_and_down_are_different_answers(
    floor: Floor, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 without `Retry-After` and with other sellers, against 503 with it: codes, words and headers differ."""
    partner, (_, address) = await market.partner(stock=1), await market.buyer()
    api, body = (await floor.visitor(of=partner)).program, {"quantity": 2, "to": address}
    empty = await api.post("/v1/partners/me/sales", json=body, headers=fresh_key())
    assert (409, "sold_out", 1) == (empty.status_code, empty.json()["code"], empty.json()["available"])
    assert "retry-after" not in empty.headers
    assert "/beli" in empty.json()["alternatives"]

    async def busy(*_: object) -> Refused:
        raise BUSY(retry_after_s=1)

    monkeypatch.setattr(floor.app.state["services"].sales, "sell", busy)
    down = await api.post("/v1/partners/me/sales", json=body, headers=fresh_key())
    assert (503, "service_busy") == (down.status_code, down.json()["code"])
    assert down.headers["retry-after"] == str(down.json()["retry_after_s"]) in {"1", "2"}


async def test_who_is_no_partner_sells_nothing(floor: Floor, market: Market) -> None:
    """And what cannot be sold is refused by name."""
    (_, address), partner = await market.buyer(), await market.partner(stock=1)
    stranger, api = (await floor.visitor()).program, (await floor.visitor(of=partner)).program
    body = {"quantity": 1, "to": address}
    for path in ("", "/sales", "/deposits"):
        assert "partner_only" == (await stranger.get(f"/v1/partners/me{path}")).json()["code"]
    answer = await stranger.post("/v1/partners/me/sales", json=body, headers=fresh_key())
    assert (403, "partner_only") == (answer.status_code, answer.json()["code"])
    for changed, status, code in (
        ({"quantity": 0}, 422, "sale_unusable"),
        ({"quantity": 10**7}, 422, "sale_unusable"),
        ({"reference": "x" * 81}, 422, "sale_unusable"),
        ({"reference": "a\x00b"}, 422, "sale_unusable"),
        ({"to": "siapa@contoh.id"}, 404, "recipient_unknown"),
        ({"quantity": "1"}, 400, "request_malformed"),
        ({"price": 1}, 400, "request_malformed"),
    ):
        answer = await api.post("/v1/partners/me/sales", json={**body, **changed}, headers=fresh_key())
        assert (status, code) == (answer.status_code, answer.json()["code"])
    without_key = await api.post("/v1/partners/me/sales", json=body)
    assert (400, "request_malformed") == (without_key.status_code, without_key.json()["code"])
    assert 1 == await market.available(partner.id)


async def test_a_program_sets_when_to_be_warned(floor: Floor, market: Market) -> None:
    """The answer says whether that is now; nonsense is refused."""
    api = (await floor.visitor(of=await market.partner(stock=10))).program
    for warn_below, is_low in ((10, False), (11, True)):
        answer = await api.patch("/v1/partners/me", json={"warn_below": warn_below})
        assert (200, warn_below, is_low) == (answer.status_code, answer.json()["warn_below"], answer.json()["is_low"])
    wrong = await api.patch("/v1/partners/me", json={"warn_below": -1})
    assert (422, "warning_invalid") == (wrong.status_code, wrong.json()["code"])
