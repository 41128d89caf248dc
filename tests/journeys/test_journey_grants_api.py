"""Grants for programs, over HTTP: lists as they stream in, codes as a file, and refusals that say what to do."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from emeterai.core.granting import identity_hash
from running import Person

IDENTITY = "3201015203900001"


async def programme(agency: Person, **changes: Any) -> dict[str, Any]:
    """A programme of two stamps each, funded with nothing."""
    body = {
        "name": "Seleksi",
        "units_each": 2,
        "ends_at": f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%dT%H:%M:%SZ}",
    }
    answer = await post(agency, "/v1/programmes", body | changes)
    assert 201 == answer.status_code, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def post(person: Person, path: str, body: object, key: str | None = None) -> httpx.Response:
    """Send JSON with a key."""
    return await person.api.post(path, json=body, headers={"idempotency-key": key or secrets.token_hex(8)})


async def test_a_list_streams_in_and_is_told_line_by_line(buyer: Person) -> None:
    """Sent without a length, in pieces; a second time it adds nothing; another media type is refused."""
    made = await programme(buyer)
    address = f"/v1/programmes/{made['id']}/list"

    async def body() -> AsyncIterator[bytes]:
        yield b"hash\r\n" + identity_hash(IDENTITY, bytes.fromhex(made["identity_salt"])).hex().encode()[:30]
        yield identity_hash(IDENTITY, bytes.fromhex(made["identity_salt"])).hex().encode()[30:] + b"\r\nsalah\r\n"

    for added in (1, 0):
        answer = await buyer.api.post(address, content=body(), headers={"content-type": "text/csv; charset=utf-8"})
        report = answer.raise_for_status().json()
        assert (3, added, 1 - added, 1) == (report["lines"], report["added"], report["known"], report["bad"])
        assert [3] == [bad["line"] for bad in report["bad_lines"]]
    refused = await buyer.api.post(address, json=[])
    assert (415, "media_type_unknown") == (refused.status_code, refused.json()["code"])


async def test_codes_are_a_file_and_open_one_grant_each(buyer: Person, stranger: Person) -> None:
    """The same codes as often as they are fetched; the units are there at once, and the grant says when it ends."""
    made = await programme(buyer)
    address = f"/v1/programmes/{made['id']}"
    assert 201 == (await post(buyer, f"{address}/funding", {"units": 4}, "dana")).status_code
    assert 4 == (await post(buyer, f"{address}/funding", {"units": 4}, "dana")).json()["funded"]
    batch = (await post(buyer, f"{address}/codes", {"quantity": 3})).json()
    files = [await buyer.api.get(f"{address}/codes/{batch['id']}") for _ in range(2)]
    lines = files[0].text.splitlines()
    assert (4, "code", files[0].text) == (len(lines), lines[0], files[1].text)
    assert files[0].headers["content-disposition"].startswith("attachment")
    claimed = await post(stranger, f"{address}/claims", {"code": lines[1].lower()})
    assert (201, 2, made["ends_at"]) == (
        claimed.status_code,
        claimed.json()["units"],
        claimed.json()["returns_at"],
    )
    assert 200 == (await post(stranger, f"{address}/claims", {"code": lines[1]})).status_code
    assert [claimed.json()] == (await stranger.api.get("/v1/grants")).json()["items"]
    taken = await post(buyer, f"{address}/claims", {"code": lines[1]})
    assert (409, "grant_claimed_by_other") == (taken.status_code, taken.json()["code"])
    found = (await buyer.api.get(address)).json()
    assert (3, 1, 2, 2) == (
        found["invited"],
        found["claimed"],
        found["figures"]["in_programme"],
        found["figures"]["in_grants"],
    )
    assert [made["id"]] == [it["id"] for it in (await buyer.api.get("/v1/programmes?limit=1")).json()["items"]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "identity_unusable"),
        ({"identity": "1234"}, "identity_unusable"),
        ({"code": "AAAA-AAAA-AAAA-AAAB"}, "grant_code_unusable"),
        ({"identity": IDENTITY}, "grant_not_invited"),
    ],
)
async def test_what_cannot_be_claimed_says_why(buyer: Person, stranger: Person, body: Any, code: str) -> None:
    """One stable code and a sentence for each."""
    made = await programme(buyer)
    refused = await post(stranger, f"/v1/programmes/{made['id']}/claims", body)
    assert code == refused.json()["code"]
    assert 400 <= refused.status_code < 500


async def test_a_programme_ends_early_and_is_nobody_elses(buyer: Person, stranger: Person) -> None:
    """Its units are back at once; to a stranger it has an address to claim at and nothing more."""
    made, before = await programme(buyer), (await buyer.quota())["available"]
    address = f"/v1/programmes/{made['id']}"
    await post(buyer, f"{address}/funding", {"units": 1})
    for path in (address, f"{address}/codes"):
        assert "programme_unknown" == (await stranger.api.get(path)).json()["code"]
    assert "programme_unknown" == (await post(stranger, f"{address}/end", {})).json()["code"]
    assert 200 == (await post(buyer, f"{address}/end", {})).status_code
    assert before == (await buyer.quota())["available"]
    over = await post(buyer, f"{address}/funding", {"units": 1})
    assert (409, "programme_over") == (over.status_code, over.json()["code"])
