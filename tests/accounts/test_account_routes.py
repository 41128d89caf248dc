"""Accounts over HTTP for programs: bearer tokens, typed answers, and a named refusal for everything else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

PASSWORD = "kopi-hangat-di-teras"
SITI = {"name": "Siti Rahayu", "email": "siti@contoh.id", "password": PASSWORD, "timezone": "WITA"}


async def test_register_sign_in_look_and_sign_out(client: httpx.AsyncClient) -> None:
    """The life of a session; afterwards its token opens nothing."""
    registered = await client.post("/v1/accounts", json=SITI)
    assert 201 == registered.status_code
    account = registered.json()
    assert {"id", "name", "email", "phone", "timezone", "created_at"} == set(account)
    assert ("Siti Rahayu", "Asia/Makassar", None) == (account["name"], account["timezone"], account["phone"])
    answer = await client.post("/v1/sessions", json={"contact": "SITI@contoh.id", "password": PASSWORD})
    assert 201 == answer.status_code
    assert {"token", "expires_at", "account"} == set(answer.json())
    assert "no-store" == answer.headers["cache-control"]
    assert "set-cookie" not in answer.headers
    headers = {"authorization": f"Bearer {answer.json()['token']}"}
    assert account == (await client.get("/v1/accounts/me", headers=headers)).json()
    assert 204 == (await client.delete("/v1/sessions/current", headers=headers)).status_code
    gone = await client.get("/v1/accounts/me", headers=headers)
    assert (401, "sign_in_needed") == (gone.status_code, gone.json()["code"])


async def test_keys_over_http(client: httpx.AsyncClient) -> None:
    """A key is made, used, listed without its token, and revoked."""
    headers = await _headers(client)
    made = await client.post("/v1/api-keys", json={"label": "Server"}, headers=headers)
    assert 201 == made.status_code
    key = made.json()
    program = {"authorization": f"bearer {key['token']}"}
    assert "Siti Rahayu" == (await client.get("/v1/accounts/me", headers=program)).json()["name"]
    (listed,) = (await client.get("/v1/api-keys", headers=headers)).json()["items"]
    assert {"id", "label", "prefix", "created_at", "last_used_on", "revoked_at", "group_id"} == set(listed)
    for method, path in (("POST", "/v1/api-keys"), ("DELETE", "/v1/sessions/current")):
        body = {"label": "Successor"} if method == "POST" else None
        refused = await client.request(method, path, json=body, headers=program)
        assert (403, "session_needed") == (refused.status_code, refused.json()["code"])
    path = f"/v1/api-keys/{key['id']}"
    assert 204 == (await client.delete(path, headers=headers)).status_code
    assert 404 == (await client.delete(path, headers=headers)).status_code
    assert 404 == (await client.delete("/v1/api-keys/not-an-id", headers=headers)).status_code
    assert 401 == (await client.get("/v1/accounts/me", headers=program)).status_code


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic c2l0aTprb3Bp", "Bearer ems_x", "ems_x", "Bearer \xff"],
)
async def test_without_a_good_token_there_is_nobody(client: httpx.AsyncClient, authorization: str | None) -> None:
    """No header, another scheme and a broken token are all answered with `sign_in_needed`."""
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    for method, path in (("GET", "/v1/accounts/me"), ("GET", "/v1/api-keys"), ("DELETE", "/v1/sessions/current")):
        answer = await client.request(method, path, headers=headers)
        assert (401, "sign_in_needed") == (answer.status_code, answer.json()["code"])


async def test_a_cookie_opens_nothing_for_programs(client: httpx.AsyncClient) -> None:
    """The session cookie of a browser is no credential on `/v1`, so no other site can use it there."""
    headers = await _headers(client)
    client.cookies.set("emeterai_session", headers["authorization"].removeprefix("Bearer "))
    assert 401 == (await client.get("/v1/accounts/me")).status_code
    assert "nobody" == (await client.get("/v1/for-anyone")).text


async def test_a_token_that_is_shown_must_be_good(client: httpx.AsyncClient) -> None:
    """Where anyone may look, a program with a bad token still learns that it is bad."""
    assert "Siti Rahayu" == (await client.get("/v1/for-anyone", headers=await _headers(client))).text
    assert 401 == (await client.get("/v1/for-anyone", headers={"authorization": "Bearer ems_x"})).status_code


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("name_unusable", {"name": ""}),
        ("name_unusable", {"name": "Siti\x00"}),
        ("name_is_number", {"name": "3201123456780001"}),
        ("contact_needed", {"email": None}),
        ("email_unusable", {"email": "siti@"}),
        ("email_unusable", {"email": "siti\x00@contoh.id"}),
        ("phone_unusable", {"phone": "08\x00"}),
        ("timezone_unknown", {"timezone": "UTC"}),
        ("password_unusable", {"password": "short"}),
        ("password_guessable", {"password": "password123"}),
    ],
)
async def test_a_bad_registration_is_refused_by_name(
    client: httpx.AsyncClient, code: str, change: dict[str, Any]
) -> None:
    """Every field has its own refusal, and nothing is stored."""
    answer = await client.post("/v1/accounts", json=SITI | change)
    assert (422, code) == (answer.status_code, answer.json()["code"])
    assert 201 == (await client.post("/v1/accounts", json=SITI)).status_code


async def test_an_address_twice_is_a_conflict(client: httpx.AsyncClient) -> None:
    """The refusal says to sign in, and says no more about who has the address."""
    await client.post("/v1/accounts", json=SITI)
    answer = await client.post("/v1/accounts", json=SITI | {"name": "Budi", "phone": "081234567890"})
    assert (409, "account_exists") == (answer.status_code, answer.json()["code"])
    assert {"code", "id", "en"} == set(answer.json())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"contact": "a", "password": "b", "admin": true}',
        b'{"contact": 1, "password": "b"}',
        b'{"contact": "a"}',
        b'{"contact": "\\ud800", "password": "b"}',
    ],
)
async def test_a_malformed_body_is_the_callers_mistake(client: httpx.AsyncClient, body: bytes) -> None:
    """Malformed JSON, other types and unknown fields are a 4xx, never a crash."""
    for path in ("/v1/sessions", "/v1/accounts"):
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500


async def test_guessing_over_http_is_told_when_to_come_back(client: httpx.AsyncClient) -> None:
    """The eleventh wrong password from one address is a 429 with the seconds to wait."""
    guess = {"contact": "siti@contoh.id", "password": "wrong-password"}
    answers = [await client.post("/v1/sessions", json=guess) for _ in range(11)]
    assert [401] * 10 + [429] == [answer.status_code for answer in answers]
    assert answers[-1].json()["retry_after_s"] >= 1


async def test_the_description_names_the_refusals(client: httpx.AsyncClient) -> None:
    """OpenAPI has every operation with its bounds and its refusals, and no page."""
    document = (await client.get("/schema/openapi.json")).json()
    described = {path: set(operations) for path, operations in document["paths"].items() if "anyone" not in path}
    described.pop("/only-for-people")
    assert {
        "/v1/accounts": {"post"},
        "/v1/accounts/me": {"get"},
        "/v1/sessions": {"post"},
        "/v1/sessions/current": {"delete"},
        "/v1/api-keys": {"get", "post"},
        "/v1/api-keys/{key_id}": {"delete"},
    } == described
    responses = document["paths"]["/v1/sessions"]["post"]["responses"]
    assert {"201", "400", "401", "413", "429", "500", "503"} == set(responses)
    assert "sign_in_paused" in responses["429"]["description"]
    registration = document["components"]["schemas"]["Registration"]
    assert 120 == registration["properties"]["name"]["maxLength"]


async def _headers(client: httpx.AsyncClient) -> dict[str, str]:
    await client.post("/v1/accounts", json=SITI)
    answer = await client.post("/v1/sessions", json={"contact": "siti@contoh.id", "password": PASSWORD})
    return {"authorization": f"Bearer {answer.json()['token']}"}
