"""Grants for programs, over HTTP: lists as they stream in, codes as a file, and refusals that say what to do."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from emeterai.core.granting import identity_hash
from running import Person, RunningService

IDENTITY = "3201015203900001"


@pytest.fixture(scope="module")
async def agency(service: RunningService) -> AsyncIterator[Person]:
    """Someone who acts for an approved organisation that has bought ten stamps."""
    someone = await Person.sign_up(service)
    await someone.act_for_organisation("Badan Kepegawaian")
    await someone.buy(10)
    yield someone
    await someone.close()


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


async def test_a_list_streams_in_and_is_told_line_by_line(agency: Person) -> None:
    """Sent without a length, in pieces; a second time it adds nothing; another media type is refused."""
    made = await programme(agency)
    address = f"/v1/programmes/{made['id']}/list"

    async def body() -> AsyncIterator[bytes]:
        yield b"hash\r\n" + identity_hash(IDENTITY, bytes.fromhex(made["identity_salt"])).hex().encode()[:30]
        yield identity_hash(IDENTITY, bytes.fromhex(made["identity_salt"])).hex().encode()[30:] + b"\r\nsalah\r\n"

    for added in (1, 0):
        answer = await agency.api.post(address, content=body(), headers={"content-type": "text/csv; charset=utf-8"})
        report = answer.raise_for_status().json()
        assert (3, added, 1 - added, 1) == (report["lines"], report["added"], report["known"], report["bad"])
        assert [3] == [bad["line"] for bad in report["bad_lines"]]
    refused = await agency.api.post(address, json=[])
    assert (415, "media_type_unknown") == (refused.status_code, refused.json()["code"])


async def test_codes_are_a_file_and_open_one_grant_each(agency: Person, stranger: Person) -> None:
    """The same codes as often as they are fetched; the units are there at once, and the grant says when it ends."""
    made = await programme(agency)
    address = f"/v1/programmes/{made['id']}"
    assert 201 == (await post(agency, f"{address}/funding", {"units": 4}, "dana")).status_code
    assert 4 == (await post(agency, f"{address}/funding", {"units": 4}, "dana")).json()["funded"]
    batch = (await post(agency, f"{address}/codes", {"quantity": 3})).json()
    files = [await agency.api.get(f"{address}/codes/{batch['id']}") for _ in range(2)]
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
    taken = await post(agency, f"{address}/claims", {"code": lines[1]})
    assert (409, "grant_claimed_by_other") == (taken.status_code, taken.json()["code"])
    found = (await agency.api.get(address)).json()
    assert (3, 1, 2, 2) == (
        found["invited"],
        found["claimed"],
        found["figures"]["in_programme"],
        found["figures"]["in_grants"],
    )
    assert [made["id"]] == [it["id"] for it in (await agency.api.get("/v1/programmes?limit=1")).json()["items"]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "identity_unusable"),
        ({"identity": "1234"}, "identity_unusable"),
        ({"code": "AAAA-AAAA-AAAA-AAAB"}, "grant_code_unusable"),
        ({"identity": IDENTITY}, "grant_not_invited"),
    ],
)
async def test_what_cannot_be_claimed_says_why(agency: Person, stranger: Person, body: Any, code: str) -> None:
    """One stable code and a sentence for each."""
    made = await programme(agency)
    refused = await post(stranger, f"/v1/programmes/{made['id']}/claims", body)
    assert code == refused.json()["code"]
    assert 400 <= refused.status_code < 500


async def test_a_programme_ends_early_and_is_nobody_elses(agency: Person, stranger: Person) -> None:
    """Its units are back at once; to a stranger it has an address to claim at and nothing more."""
    made, before = await programme(agency), (await agency.quota())["available"]
    address = f"/v1/programmes/{made['id']}"
    await post(agency, f"{address}/funding", {"units": 1})
    for path in (address, f"{address}/codes"):
        assert "programme_unknown" == (await stranger.api.get(path)).json()["code"]
    assert "programme_unknown" == (await post(stranger, f"{address}/end", {})).json()["code"]
    assert 200 == (await post(agency, f"{address}/end", {})).status_code
    assert before == (await agency.quota())["available"]
    over = await post(agency, f"{address}/funding", {"units": 1})
    assert (409, "programme_over") == (over.status_code, over.json()["code"])


async def test_nobody_but_an_organisation_makes_one(person: Person) -> None:
    """Anybody could hand codes to strangers: he hears why not, and what to do."""
    ends_at = f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%dT%H:%M:%SZ}"
    refused = await post(person, "/v1/programmes", {"name": "Titipan", "units_each": 1, "ends_at": ends_at})
    assert (403, "organisation_needed") == (refused.status_code, refused.json()["code"])
