"""Requests that are wrong in every way that can be thought of: each is refused by name, and nothing moves."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from emeterai.purchase.sandbox_words import SIGNATURE_HEADER, TIMESTAMP_HEADER, sandbox_secret, sign
from papers import letter
from running import Person, RunningService

LEAKS = re.compile(
    r"traceback|File \"|\.py\b|asyncpg|litestar|msgspec|postgres|/tmp/|/root/|site-packages", re.IGNORECASE
)
NOTIFICATIONS = "/v1/payments/sandbox/notifications"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
async def anyone(service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has no account."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(autouse=True)
async def nothing_moves(person: Person) -> AsyncIterator[None]:
    """Whatever a test here asks for, the quota and the orders of the person stay as they were."""
    before = await person.quota(), len((await person.api.get("/v1/orders")).json()["items"])
    yield
    assert before == (await person.quota(), len((await person.api.get("/v1/orders")).json()["items"]))


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal that says its reason in both languages and nothing about our inside."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    problem = answer.json()
    assert answer.status_code == problem["status"]
    assert {"type", "title", "status", "detail", "code", "id", "en"} <= set(problem)
    assert not LEAKS.search(answer.text), answer.text
    return answer.status_code, problem["code"]


MALFORMED = (400, "request_malformed")
ODD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "half a document": b'{"quantity": ',
    "no document": b"quantity=1",
    "text behind it": b'{"quantity":1} x',
    "a list": b"[1]",
    "null": b"null",
    "a string": b'"1"',
    "an empty object": b"{}",
    "a number in a string": b'{"quantity":"1"}',
    "a truth": b'{"quantity":true}',
    "a fraction": b'{"quantity":1.5}',
    "a whole fraction": b'{"quantity":1e0}',
    "nothing in it": b'{"quantity":null}',
    "an object in it": b'{"quantity":{"quantity":1}}',
    "an unknown field": b'{"quantity":1,"price":0}',
    "not UTF-8": b'{"quantity":1,"\xff":0}',
    "half a surrogate": b'{"\\ud800":1}',
    "a NUL byte": b'{"quantity":1\x00}',
    "UTF-16": '{"quantity":1}'.encode("utf-16"),
    "nested deeply": b'{"quantity":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "objects nested deeply": b'{"quantity":' * 5_000 + b"1" + b"}" * 5_000,
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/stamps", "/v1/accounts", "/v1/sessions", "/v1/api-keys"])
async def test_a_body_that_cannot_be_read_is_refused(person: Person, path: str, body: bytes) -> None:
    """Not JSON, of other types, with unknown fields, or too deep: 400 wherever a body is taken."""
    assert MALFORMED == refusal(await person.api.post(path, content=body, headers=JSON))


@pytest.mark.parametrize("quantity", [0, -1, 1001, 2**31, 2**63, 10**30])
async def test_a_quantity_that_cannot_be_bought_is_refused(person: Person, quantity: int) -> None:
    """422 names the bound."""
    answer = await person.api.post("/v1/orders", json={"quantity": quantity})
    assert refusal(answer) in {(422, "order_quantity_invalid"), MALFORMED}


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "nonsense", "multipart/form-data", ""])
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/stamps", "/v1/accounts"])
async def test_a_body_of_another_kind_is_refused(person: Person, path: str, content_type: str) -> None:
    """415, or 400 where the body is what is wrong; never taken for what it is not."""
    answer = await person.api.post(path, content=b"<quantity>1</quantity>", headers={"Content-Type": content_type})
    assert refusal(answer)[0] in {400, 415}


@pytest.mark.parametrize("field", ["name", "email", "phone", "password", "timezone", "contact", "label", "place"])
async def test_text_with_nul_bytes_or_of_any_length_is_a_refusal(person: Person, field: str) -> None:
    """What the database cannot keep is refused before it gets there."""
    account = {"name": "Siti", "password": secrets.token_urlsafe(12), "email": f"x{secrets.token_hex(4)}@contoh.id"}
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "contact": ("/v1/sessions", {"contact": "x", "password": "x"}),
        "label": ("/v1/api-keys", {"label": "x"}),
        "place": ("/v1/stamps", {"document_id": "00000000-0000-7000-8000-000000000000"}),
    }
    path, body = bodies.get(field, ("/v1/accounts", account))
    for text in ("a\x00b@contoh.id", "\x00", "x" * 1_000_000, "\u202e\u0000", "😀" * 70_000):
        refusal(await person.api.post(path, json={**body, field: text}))


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/stamps/x", "/v1/orders/1", "/v1/documents/%00"])
async def test_an_unknown_address_is_not_found(person: Person, path: str) -> None:
    """404 as a problem document."""
    assert (404, "not_found") == refusal(await person.api.get(path))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/orders"),
        ("DELETE", "/v1/stamps"),
        ("PATCH", "/v1/quota"),
        ("POST", "/v1/quota"),
        ("GET", "/v1/sessions"),
        ("GET", "/v1/uploads"),
        ("GET", NOTIFICATIONS),
        ("BREW", "/v1/orders"),
    ],
)
async def test_a_method_that_an_address_does_not_take_is_refused(person: Person, method: str, path: str) -> None:
    """405 names those that it takes (RFC 9110, 15.5.6)."""
    answer = await person.api.request(method, path)
    assert (405, "method_not_allowed") == refusal(answer)
    assert answer.headers["allow"]


GUARDED = [
    "/v1/quota",
    "/v1/quota/history",
    "/v1/orders",
    "/v1/stamps",
    "/v1/documents",
    "/v1/api-keys",
    "/v1/accounts/me",
]


@pytest.mark.parametrize("path", GUARDED)
async def test_without_a_good_token_there_is_nothing_to_see(anyone: httpx.AsyncClient, path: str) -> None:
    """Missing, garbage, of another scheme, or of a session that never was: 401 says how to sign in."""
    tokens = [
        b"",
        b"Bearer",
        b"Bearer x",
        b"Bearer " + b"A" * 43,
        b"Basic eDp4",
        b"Bearer \xff",
        b"Bearer " + b"x" * 5000,
        b"Bearer a b c",
    ]
    for token in (None, *tokens):
        answer = await anyone.get(path, headers=[] if token is None else [(b"Authorization", token)])
        assert (401, "sign_in_needed") == refusal(answer)
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_expired_session_is_told_apart(service: RunningService) -> None:
    """`session_expired` says that nothing is lost; a session that was ended is unknown."""
    someone = await Person.sign_up(service)
    connection = await asyncpg.connect(service.database_url)
    await connection.execute(
        """
        UPDATE accounts.sessions SET expires_at = now() - interval '1 minute'
        WHERE account_id = (SELECT id FROM accounts.accounts WHERE email = $1)
        """,
        someone.contact,
    )
    await connection.close()
    assert (401, "session_expired") == refusal(await someone.api.get("/v1/quota"))
    await someone.close()


async def test_a_session_that_was_ended_is_over(service: RunningService) -> None:
    """Signing out ends the token at once."""
    someone = await Person.sign_up(service)
    assert 204 == (await someone.api.delete("/v1/sessions/current")).status_code
    assert (401, "sign_in_needed") == refusal(await someone.api.get("/v1/quota"))
    await someone.close()


@pytest.mark.parametrize("key", [b"", b"x" * 201, b"a b", "é".encode(), b"\xff"])
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/stamps"])
async def test_an_idempotency_key_that_is_garbage_is_refused(person: Person, path: str, key: bytes) -> None:
    """1 to 200 visible characters, or none at all."""
    answer = await person.api.post(path, json={}, headers=[(b"Idempotency-Key", key)])
    assert refusal(answer) in {(400, "idempotency_key_bad"), MALFORMED}
    bodies = {"/v1/orders": {"quantity": 1}, "/v1/stamps": {"document_id": "00000000-0000-7000-8000-000000000000"}}
    answer = await person.api.post(path, json=bodies[path], headers=[(b"Idempotency-Key", key)])
    assert (400, "idempotency_key_bad") == refusal(answer)


async def test_an_order_key_with_another_body_is_refused(service: RunningService) -> None:
    """The same key and quantity: the same order. The same key and another quantity: 422."""
    someone = await Person.sign_up(service)
    key = {"Idempotency-Key": "pesanan-1"}
    first = await someone.api.post("/v1/orders", json={"quantity": 1}, headers=key)
    again = await someone.api.post("/v1/orders", json={"quantity": 1}, headers=key)
    other = await someone.api.post("/v1/orders", json={"quantity": 2}, headers=key)
    assert first.json()["id"] == again.json()["id"]
    assert 422 == refusal(other)[0]
    assert 1 == len((await someone.api.get("/v1/orders")).json()["items"])
    await someone.close()


async def test_huge_headers_are_refused_and_the_next_request_is_served(service: RunningService, person: Person) -> None:
    """By the server or by us, never by a crash: one header of a megabyte, and ten thousand small ones."""
    for headers in (f"X-Huge: {'x' * 1_000_000}\r\n", "".join(f"X-{number}: x\r\n" for number in range(10_000))):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(f"GET /v1/quota HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        try:
            await writer.drain()
            status = (await asyncio.wait_for(reader.readline(), 10)).split()[1:2]
        except ConnectionError:
            status = []
        writer.close()
        assert status in ([], [b"400"], [b"431"]), status
    assert (await person.api.get("/v1/quota")).is_success


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/quota HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/quota\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/quota?cursor=%ff%fe&limit=%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(service: RunningService, person: Person, line: bytes) -> None:
    """The server closes or says 4xx, and goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(line)
    try:
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(200), 10)
    except (ConnectionError, OSError):
        answer = b""
    writer.close()
    assert not answer or answer.split()[1].startswith(b"4"), answer
    assert (await person.api.get("/v1/quota")).is_success


async def test_a_form_that_is_broken_is_refused(person: Person, anyone: httpx.AsyncClient) -> None:
    """No boundary, another boundary, no end, a field that is no text: 4xx, on pages too."""
    kinds = ["multipart/form-data", "multipart/form-data; boundary=x", 'multipart/form-data; boundary=""']
    kinds += ["multipart/form-data; boundary=" + "x" * 500, "multipart/form-data; boundary=x; charset=nonsense"]
    bodies = [
        b"",
        b"--y\r\n\r\n",
        b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nabc",
        b"--x\r\nContent-Disposition: form-data; name=page\r\n\r\n\xff\xfe\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="\x00"; filename="\xff"\r\n\r\nabc\r\n--x--\r\n',
        b"--x\r\n" * 5000,
    ]
    for kind in kinds:
        for body in bodies:
            headers = {"Content-Type": kind}
            refusal(await person.api.post("/v1/stamps", content=body, headers=headers))
            for path in ("/masuk", "/daftar", "/verifikasi/berkas"):
                page = await anyone.post(path, content=body, headers=headers)
                assert 400 <= page.status_code < 500, (path, kind, body[:80], page.text[:300])


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=%ff%00&csrf=%ff", b"&" * 10_000, b"=" * 10_000, b"%"])
async def test_an_encoded_form_that_is_broken_is_refused(anyone: httpx.AsyncClient, body: bytes) -> None:
    """On every page that takes a form, 4xx."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": "csrf=x"}
    for path in ("/masuk", "/daftar", "/keluar", "/verifikasi/berkas"):
        page = await anyone.post(path, content=body, headers=headers)
        assert 400 <= page.status_code < 500, page.text[:300]


def event(order: dict[str, Any], **changes: Any) -> bytes:
    """A notification as the sandbox words it: the order is paid."""
    said = {
        "event_id": secrets.token_hex(8),
        "charge_id": secrets.token_hex(8),
        "order_id": order["id"],
        "state": "settlement",
        "amount": str(order["total_idr"]),
        "currency": "IDR",
        "occurred_at": "2026-11-21T00:00:00Z",
    }
    return msgspec.json.encode({**said, **changes})


async def test_a_forged_notification_buys_nothing(service: RunningService, anyone: httpx.AsyncClient) -> None:
    """No signature, another secret, another body, another time, an old one: 401, and no quota."""
    someone = await Person.sign_up(service)
    order = (await someone.api.post("/v1/orders", json={"quantity": 1000})).json()
    secret, body, now = sandbox_secret(service.data_path), event(order), str(int(time.time()))
    old = str(int(time.time()) - 86_400)
    forged = [
        {},
        {TIMESTAMP_HEADER: now},
        {TIMESTAMP_HEADER: now, SIGNATURE_HEADER: ""},
        {TIMESTAMP_HEADER: now, SIGNATURE_HEADER: "é".encode().decode("latin-1")},
        {TIMESTAMP_HEADER: now, SIGNATURE_HEADER: sign(b"x" * 32, now, body)},
        {TIMESTAMP_HEADER: now, SIGNATURE_HEADER: sign(secret, now, body + b" ")},
        {TIMESTAMP_HEADER: old, SIGNATURE_HEADER: sign(secret, now, body)},
        {TIMESTAMP_HEADER: old, SIGNATURE_HEADER: sign(secret, old, body)},
        {TIMESTAMP_HEADER: "x", SIGNATURE_HEADER: sign(secret, "x", body)},
    ]
    for headers in forged:
        sent = [(name.encode(), value.encode("latin-1")) for name, value in {**JSON, **headers}.items()]
        answer = await anyone.post(NOTIFICATIONS, content=body, headers=sent)
        assert refusal(answer) in {(401, "notification_forged"), (401, "notification_stale")}
    unreadable = await anyone.post(
        NOTIFICATIONS, content=b"{}", headers={TIMESTAMP_HEADER: now, SIGNATURE_HEADER: sign(secret, now, b"{}")}
    )
    assert (400, "notification_unreadable") == refusal(unreadable)
    assert 404 == refusal(await anyone.post("/v1/payments/nobody/notifications", content=body))[0]
    assert 413 == refusal(await anyone.post(NOTIFICATIONS, content=b"x" * 2_000_000))[0]
    assert 0 == (await someone.quota())["bought"]
    await someone.close()


async def test_a_replayed_notification_credits_once(service: RunningService, anyone: httpx.AsyncClient) -> None:
    """The same signed bytes ten times, and the payment's own notification beside them: one unit."""
    someone = await Person.sign_up(service)
    order = (await someone.api.post("/v1/orders", json={"quantity": 1})).json()
    await service.pay(order["pay_url"])
    secret, body, now = sandbox_secret(service.data_path), event(order), str(int(time.time()))
    headers = {**JSON, TIMESTAMP_HEADER: now, SIGNATURE_HEADER: sign(secret, now, body)}
    answers = await asyncio.gather(*(anyone.post(NOTIFICATIONS, content=body, headers=headers) for _ in range(10)))
    assert {200} == {answer.status_code for answer in answers}
    async with asyncio.timeout(20):
        while (await someone.quota())["bought"] == 0:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    assert {"bought": 1, "available": 1, "held": 0, "used": 0, "refunded": 0} == await someone.quota()
    await someone.close()


async def test_a_refusal_arrives_although_the_body_was_not_wanted(person: Person, anyone: httpx.AsyncClient) -> None:
    """Far too large, or from nobody: the sender gets the reason and not a line that was cut."""
    much = b"%PDF-1.7\n" + b"\x00" * 40_000_000
    refused = await person.api.post("/v1/stamps", files={"file": ("much.pdf", much, "application/pdf")})
    assert (413, "body_too_large") == refusal(refused)
    unknown = await anyone.post("/v1/stamps", files={"file": ("much.pdf", much, "application/pdf")})
    assert (401, "sign_in_needed") == refusal(unknown)
    page = await anyone.post("/unggah", files={"file": ("much.pdf", much, "application/pdf")})
    assert 303 == page.status_code


async def test_somebody_elses_order_does_not_exist(person: Person, stranger: Person) -> None:
    """404 for looking and for giving it up."""
    order = (await stranger.api.post("/v1/orders", json={"quantity": 1})).json()
    assert 404 == refusal(await person.api.get(f"/v1/orders/{order['id']}"))[0]
    assert 404 == refusal(await person.api.post(f"/v1/orders/{order['id']}/cancel"))[0]


async def test_preferences_that_make_no_sense_are_ignored(person: Person) -> None:
    """RFC 7240, section 2: a preference that is not understood is as good as none."""
    for prefer in ("wait", "wait=", "wait=-1", "wait=x", "respond-async", ",,,", "wait=99999999999999999999"):
        answer = await person.stamp(letter(), wait_s=0)
        assert (402, "quota_not_enough") == refusal(answer)
        assert (await person.api.get("/v1/documents", headers={"Prefer": prefer})).is_success
