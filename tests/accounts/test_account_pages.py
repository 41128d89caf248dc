"""Accounts in a browser without JavaScript: sign up, sign in, keys, sign out; every form protected."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from litestar import Litestar

from emeterai.accounts.callers import local_path
from emeterai.accounts.service import Accounts
from emeterai.infra.database import Database

PASSWORD = "kopi-hangat-di-teras"
SITI = {"name": "Siti Rahayu", "contact": "0812 3456 7890", "password": PASSWORD, "zone": "Asia/Makassar"}


async def test_a_person_signs_up_and_is_signed_in(client: httpx.AsyncClient) -> None:
    """One form leads to a session whose cookie no script, no other site and no plain connection gets."""
    answer = await _submit(client, "/daftar", SITI)
    assert (303, "/kuota") == (answer.status_code, answer.headers["location"])
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("emeterai_session=ems_")
    for attribute in ("httponly", "samesite=lax", "secure", "path=/", "max-age=3600"):
        assert attribute in cookie
    assert "Siti Rahayu" == (await client.get("/only-for-people")).text


async def test_a_person_without_a_session_comes_back_to_the_page(client: httpx.AsyncClient) -> None:
    """The page asks to sign in first, and signing in leads back to it with its query."""
    await _submit(client, "/daftar", SITI)
    client.cookies.delete("emeterai_session")
    asked = await client.get("/only-for-people?a=1&b=%2F")
    assert 303 == asked.status_code
    location = urlsplit(asked.headers["location"])
    assert ("/masuk", {"next": ["/only-for-people?a=1&b=%2F"]}) == (location.path, parse_qs(location.query))
    answer = await _submit(
        client, asked.headers["location"], {"contact": "081234567890", "password": PASSWORD}, action="/masuk"
    )
    assert (303, "/only-for-people?a=1&b=%2F") == (answer.status_code, answer.headers["location"])
    assert "Siti Rahayu" == (await client.get(answer.headers["location"])).text


async def test_an_ended_session_is_told_gently(client: httpx.AsyncClient, db: Database) -> None:
    """Whoever comes back after the session's end is sent to sign in with a word that nothing is lost."""
    await _submit(client, "/daftar", SITI)
    async with db.transaction() as tx:
        await tx.execute("UPDATE accounts.sessions SET expires_at = now()")
    asked = await client.get("/only-for-people")
    assert "Sesi Anda telah berakhir" in (await client.get(asked.headers["location"])).text
    assert "nobody" == (await client.get("/for-anyone")).text


async def test_mistakes_are_shown_at_their_fields_and_nothing_is_typed_twice(client: httpx.AsyncClient) -> None:
    """The form comes back with what was typed, save the password."""
    for field, change in {
        "name": {"name": "3201123456780001"},
        "contact": {"contact": "siti"},
        "zone": {"zone": "UTC"},
        "password": {"password": "password123"},
    }.items():
        answer = await _submit(client, "/daftar", SITI | change)
        assert 422 == answer.status_code
        assert f'href="#{field}"' in answer.text
        assert (SITI | change)["name"] in answer.text
        assert (SITI | change)["password"] not in answer.text


async def test_a_wrong_password_is_answered_on_the_form(client: httpx.AsyncClient) -> None:
    """The status is 401, the contact stays, and the way on is kept."""
    values = {"contact": "siti@contoh.id", "password": "wrong-password", "next": "/kuota"}
    answer = await _submit(client, "/masuk", values)
    assert 401 == answer.status_code
    assert 'value="siti@contoh.id"' in answer.text
    assert 'value="/kuota"' in answer.text
    assert "wrong-password" not in answer.text


async def test_guessing_on_the_form_is_told_when_to_come_back(client: httpx.AsyncClient) -> None:
    """The pause of guesses is a 429 with Retry-After on the page too."""
    values = {"contact": "siti@contoh.id", "password": "wrong-password"}
    answers = [await _submit(client, "/masuk", values) for _ in range(11)]
    assert 429 == answers[-1].status_code
    assert int(answers[-1].headers["retry-after"]) >= 1


async def test_a_form_that_we_did_not_show_is_refused(client: httpx.AsyncClient) -> None:
    """Without the hidden field, or from another site, no form does anything."""
    for path in ("/daftar", "/masuk", "/keluar"):
        answer = await client.post(path, data=SITI)
        assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])
    page = await client.get("/daftar")
    body = SITI | {"csrf": _token(page.text)}
    answer = await client.post("/daftar", data=body, headers={"sec-fetch-site": "cross-site"})
    assert 403 == answer.status_code


@pytest.mark.parametrize("body", [b"", b"csrf=%ff&name=%ff", b"a&b&=&&", b"csrf=1&csrf=2&name=%00", b"\xff\xfe"])
async def test_a_malformed_form_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    """Whatever bytes come as a form, the answer is a refusal."""
    await client.get("/daftar")
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x"):
        answer = await client.post("/daftar", content=body, headers={"content-type": kind})
        assert 400 <= answer.status_code < 500


async def test_keys_are_made_shown_once_and_revoked(client: httpx.AsyncClient) -> None:
    """The token is on the page that answers the form, and on no page after it."""
    await _submit(client, "/daftar", SITI)
    made = await _submit(client, "/kunci-api", {"label": "Server <b>kantor</b>"})
    assert 200 == made.status_code
    (token,) = re.findall(r"emk_[A-Za-z0-9_-]{43}", made.text)
    assert (
        "Siti Rahayu"
        == (await client.get("/v1/accounts/me", headers={"authorization": f"Bearer {token}"})).json()["name"]
    )
    listed = (await client.get("/kunci-api")).text
    assert token not in listed
    assert "Server &lt;b&gt;kantor" in listed
    (path,) = re.findall(r'action="(/kunci-api/[^"]+/cabut)"', listed)
    revoked = await _submit(client, "/kunci-api", {}, action=path)
    assert (303, "/kunci-api") == (revoked.status_code, revoked.headers["location"])
    assert 401 == (await client.get("/v1/accounts/me", headers={"authorization": f"Bearer {token}"})).status_code
    refused = await _submit(client, "/kunci-api", {"label": ""})
    assert 422 == refused.status_code
    assert 'href="#label"' in refused.text


async def test_signing_out_ends_the_session_and_the_cookie(client: httpx.AsyncClient) -> None:
    """After signing out the old cookie opens nothing, even if somebody kept it."""
    await _submit(client, "/daftar", SITI)
    kept = client.cookies["emeterai_session"]
    answer = await _submit(client, "/kunci-api", {}, action="/keluar")
    assert (303, "/") == (answer.status_code, answer.headers["location"])
    assert "emeterai_session" not in client.cookies
    client.cookies.set("emeterai_session", kept)
    assert 303 == (await client.get("/only-for-people")).status_code


async def test_what_anyone_may_see_is_shown_while_the_database_is_away(
    client: httpx.AsyncClient, app: Litestar, database_url: str
) -> None:
    """A database that does not answer hides no public page from a person with a session, and is named elsewhere."""
    await _submit(client, "/daftar", SITI)
    busy = await Database.connect(database_url, connections_max=1, wait_s=0.05)
    async with busy.connection():
        accounts = Accounts(busy, session_life_s=60)
        app.state["services"] = dataclasses.replace(app.state["services"], accounts=accounts)
        assert "nobody" == (await client.get("/for-anyone")).text
        assert "service_busy" == (await client.get("/only-for-people")).json()["code"]
    await busy.close()


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "\\\\evil.example",
        "",
        None,
        "kuota",
        "/" + "x" * 600,
        "/\r\nset-cookie: a=b",
        "/\u2028",
    ],
)
def test_nobody_is_sent_to_another_site(path: str | None) -> None:
    """Only a path on this site may follow signing in."""
    assert "/" == local_path(path)


@pytest.mark.parametrize("path", ["/", "/kuota", "/v/7K2M?x=//y", "/kunci-api#atas"])
def test_our_own_paths_pass(path: str) -> None:
    """A path of ours, with its query, is kept."""
    assert path == local_path(path)


def _token(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


async def _submit(
    client: httpx.AsyncClient, page: str, values: dict[str, str], *, action: str | None = None
) -> httpx.Response:
    """Open a page as a browser does, fill its form in and send it."""
    shown = await client.get(page)
    hidden = re.search(r'name="next" value="([^"]*)"', shown.text)
    kept = {"next": hidden[1].replace("&amp;", "&")} if hidden else {}
    return await client.post(action or page, data=kept | values | {"csrf": _token(shown.text)})
