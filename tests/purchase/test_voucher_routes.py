"""Vouchers over HTTP, as a till and a person's program use them."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from voucher_shop import VoucherShop

from emeterai.core.voucher_code import code_of
from emeterai.infra.database import Database


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[VoucherShop]:
    """A shop with a thousand units; both audits end the test."""
    shop = await VoucherShop.open(db)
    yield shop
    await shop.desk.assert_sound()


@pytest.fixture
async def seller(shop: VoucherShop) -> AsyncIterator[httpx.AsyncClient]:
    """The seller's program."""
    async with shop.program("penjual@contoh.id") as client:
        yield client


@pytest.fixture
async def person(shop: VoucherShop) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody's program."""
    async with shop.program("siti@contoh.id") as client:
        yield client


def code(answer: httpx.Response) -> tuple[int, str]:
    """The status and the refusal's code."""
    return answer.status_code, answer.json()["code"]


async def made(seller: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    """A batch of three vouchers of five units."""
    answer = await seller.post("/v1/vouchers/batches", json={"vouchers": 3, "units": 5, **more})
    batch: dict[str, Any] = answer.raise_for_status().json()
    return batch


async def codes_of(seller: httpx.AsyncClient, batch: dict[str, Any]) -> list[dict[str, str]]:
    """The lines of its CSV."""
    answer = await seller.post(f"/v1/vouchers/batches/{batch['id']}/codes")
    assert "text/csv" in answer.headers["content-type"]
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_from_the_stock_to_the_person(seller: httpx.AsyncClient, person: httpx.AsyncClient) -> None:
    """Make, fetch the codes, activate by scan and by range, redeem, void the rest."""
    [stock] = (await seller.get("/v1/vouchers/stocks")).json()["items"]
    assert 1_000 == stock["available"]
    batch = await made(seller, label="Loket 3", stock_id=stock["id"])
    assert {"made": 3, "active": 0, "redeemed": 0, "void": 0} == batch["counts"]
    lines = await codes_of(seller, batch)
    assert [("1", "5"), ("2", "5"), ("3", "5")] == [(line["number"], line["units"]) for line in lines]
    scanned = await seller.post("/v1/vouchers/activations", json={"code": lines[0]["url"]})
    assert (1, 1, 1) == tuple(scanned.json()[name] for name in ("first", "last", "activated"))
    body = {"batch_id": batch["id"], "first": 2, "last": 3}
    assert 2 == (await seller.post("/v1/vouchers/activations", json=body)).json()["activated"]
    redeemed = await person.post("/v1/vouchers/redemptions", json={"code": lines[0]["code"].lower()})
    assert (201, 5) == (redeemed.status_code, redeemed.json()["units"])
    void = {"batch_id": batch["id"], "confirm": True}
    keyed = {"idempotency-key": "v"}
    answers = [await seller.post("/v1/vouchers/voidings", json=void, headers=keyed) for _ in range(2)]
    assert [(201, 2, 10)] * 2 == [(one.status_code, one.json()["vouchers"], one.json()["units"]) for one in answers]
    counts = (await seller.get(f"/v1/vouchers/batches/{batch['id']}")).json()["counts"]
    assert {"made": 0, "active": 0, "redeemed": 1, "void": 2} == counts
    assert 995 == (await seller.get("/v1/vouchers/stocks")).json()["items"][0]["available"]


async def test_a_repeated_request_is_answered_as_the_first(
    shop: VoucherShop, seller: httpx.AsyncClient, person: httpx.AsyncClient
) -> None:
    """With the same key: one batch, one redemption, the same words."""
    keyed = {"idempotency-key": "one"}
    wanted = {"vouchers": 2, "units": 5}
    batches = [await seller.post("/v1/vouchers/batches", json=wanted, headers=keyed) for _ in range(2)]
    assert batches[0].json() == batches[1].json()
    other = await seller.post("/v1/vouchers/batches", json={**wanted, "units": 6}, headers=keyed)
    assert (422, "idempotency_key_reused") == code(other)
    batch = batches[0].json()
    [first, _] = await codes_of(seller, batch)
    await seller.post("/v1/vouchers/activations", json={"batch_id": batch["id"]})
    wish = {"code": first["code"]}
    answers = [await person.post("/v1/vouchers/redemptions", json=wish, headers=keyed) for _ in range(2)]
    assert (201, answers[0].json()) == (answers[1].status_code, answers[1].json())
    assert (409, "voucher_yours_already") == code(await person.post("/v1/vouchers/redemptions", json=wish))
    assert 5 == await shop.desk.available(UUID(batch["id"]))


async def test_every_refusal_is_a_problem_with_its_code(seller: httpx.AsyncClient, person: httpx.AsyncClient) -> None:
    """Mistyped, unknown, not active, void, gone; and a stranger learns nothing."""
    batch = await made(seller)
    [first, second, _] = await codes_of(seller, batch)
    redemptions, activations = "/v1/vouchers/redemptions", "/v1/vouchers/activations"
    assert (422, "voucher_mistyped") == code(await person.post(redemptions, json={"code": "hello"}))
    assert (404, "voucher_unknown") == code(await person.post(redemptions, json={"code": code_of(1)}))
    assert (409, "voucher_not_active") == code(await person.post(redemptions, json={"code": first["code"]}))
    assert (404, "voucher_unknown") == code(await person.post(activations, json={"code": first["code"]}))
    assert (404, "voucher_batch_unknown") == code(await person.post(activations, json={"batch_id": batch["id"]}))
    assert (403, "voucher_stock_unknown") == code(
        await person.post("/v1/vouchers/batches", json={"vouchers": 1, "units": 1})
    )
    assert (422, "voucher_voiding_unconfirmed") == code(
        await seller.post("/v1/vouchers/voidings", json={"batch_id": batch["id"], "confirm": False})
    )
    await seller.post("/v1/vouchers/voidings", json={"batch_id": batch["id"], "confirm": True, "first": 2})
    assert (409, "voucher_void") == code(await person.post(redemptions, json={"code": second["code"]}))
    assert (409, "voucher_ended") == code(await seller.post(activations, json={"code": second["code"]}))
    for body in ({}, {"code": "x", "batch_id": batch["id"]}, {"batch_id": 1}, {"colour": "pink"}):
        assert (400, "request_malformed") == code(await seller.post(activations, json=body))
    assert None is (await seller.delete(f"/v1/vouchers/batches/{batch['id']}/codes")).json()["codes_until"]
    assert (410, "voucher_codes_gone") == code(await seller.post(f"/v1/vouchers/batches/{batch['id']}/sheet"))
    assert [] == (await person.get("/v1/vouchers/stocks")).json()["items"]


async def test_after_many_wrong_codes_the_answer_says_when_to_come_back(person: httpx.AsyncClient) -> None:
    """429 with Retry-After."""
    for number in range(10):
        await person.post("/v1/vouchers/redemptions", json={"code": code_of(number)})
    answer = await person.post("/v1/vouchers/redemptions", json={"code": code_of(10)})
    assert (429, "voucher_tries_over") == code(answer)
    assert 0 < int(answer.headers["retry-after"]) <= 900


async def test_batches_are_listed_with_a_cursor(seller: httpx.AsyncClient) -> None:
    """Pages of two, newest first, until the cursor is null."""
    ids = [(await made(seller))["id"] for _ in range(3)]
    first = (await seller.get("/v1/vouchers/batches", params={"limit": 2})).json()
    second = (await seller.get("/v1/vouchers/batches", params={"limit": 2, "cursor": first["next"]})).json()
    assert ids[::-1] == [batch["id"] for batch in (*first["items"], *second["items"])]
    assert None is second["next"]


async def test_the_sheet_is_a_pdf_to_save_and_never_stored(seller: httpx.AsyncClient) -> None:
    """Named after its batch."""
    batch = await made(seller)
    answer = await seller.post(f"/v1/vouchers/batches/{batch['id']}/sheet")
    assert (200, "application/pdf", "no-store") == (
        answer.status_code,
        answer.headers["content-type"],
        answer.headers["cache-control"],
    )
    assert f"voucer-{batch['number']}.pdf" in answer.headers["content-disposition"]
    assert answer.content.startswith(b"%PDF-")
