"""The sandbox provider, seen from outside: its API, its pay page, its notifications, its memory."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, Request, Response, post
from shops import SandboxProcess, listening, until

from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.sandbox_charges import SandboxCharges
from emeterai.purchase.sandbox_delivery import Postman
from emeterai.purchase.sandbox_words import ChargeOrder, sandbox_api_key, sandbox_secret
from running import free_port


@dataclass
class Ear:
    """A shop that only listens. It answers 503 until `deaf` reaches 0."""

    url: str
    deaf: int = 0
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def states(self) -> list[str]:
        """What it has heard, in order."""
        return [msgspec.json.decode(body)["state"] for _, body in self.heard]


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    """A shop that only listens, at an address of its own."""
    port = free_port()
    ear = Ear(f"http://127.0.0.1:{port}/notify")

    @post("/notify")
    async def notify(request: Request[Any, Any, Any]) -> Response[None]:
        ear.heard.append((dict(request.headers), await request.body()))
        ear.deaf -= 1
        return Response(None, status_code=503 if ear.deaf >= 0 else 200)

    async with listening(Litestar([notify], openapi_config=None), port):
        yield ear


@pytest.fixture
async def http(sandbox: SandboxProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A shop's program that holds the API key."""
    key = sandbox_api_key(sandbox.secret)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=sandbox.url, headers=headers, trust_env=False) as client:
        yield client


def asked(ear: Ear, **changes: Any) -> dict[str, Any]:
    """A request for a charge."""
    expires_at = (utc_now() + timedelta(hours=1)).isoformat()
    return {
        "order_id": str(new_id()),
        "amount_idr": 10_000,
        "notify_url": ear.url,
        "return_url": "http://shop.example/pesanan/1",
        "expires_at": expires_at,
    } | changes


async def test_the_api_wants_its_key(sandbox: SandboxProcess, ear: Ear) -> None:
    """Without the key nothing is opened, read or paid."""
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as stranger:
        answers = [
            await stranger.post("/charges", json=asked(ear)),
            await stranger.get("/charges/x"),
            await stranger.post("/charges/x/pay", json={}),
            await stranger.get("/charges/x", headers={"authorization": "Bearer wrong"}),
        ]
    assert [401] * 4 == [answer.status_code for answer in answers]


async def test_one_order_has_one_charge(http: httpx.AsyncClient, ear: Ear) -> None:
    """The same words again: the same charge; other words: 409."""
    order = asked(ear)
    first = (await http.post("/charges", json=order)).json()
    assert first == (await http.post("/charges", json=order)).json()
    assert 409 == (await http.post("/charges", json=order | {"amount_idr": 1})).status_code
    assert 404 == (await http.get("/charges/unknown")).status_code


@pytest.mark.parametrize(
    "nonsense", [{"amount_idr": 0}, {"amount_idr": -1}, {"expires_at": "2026-01-01T00:00:00"}, {"colour": "pink"}]
)
async def test_a_charge_that_makes_no_sense_is_refused(
    http: httpx.AsyncClient, ear: Ear, nonsense: dict[str, Any]
) -> None:
    """No amount, a time without a zone, a field that nobody knows: 400."""
    assert 400 == (await http.post("/charges", json=asked(ear, **nonsense))).status_code


async def test_notifications_are_signed_and_repeated_until_confirmed(
    http: httpx.AsyncClient, sandbox: SandboxProcess, ear: Ear
) -> None:
    """A shop that fails twice hears the same event again, signed anew each time, and then no more."""
    ear.deaf = 2
    await http.post("/charges", json=asked(ear))
    await until(ear.states, lambda states: len(states) == 3)
    provider = SandboxProvider(sandbox.url, sandbox.secret)
    notices = [provider.parse_notification(headers, body, now=utc_now()) for headers, body in ear.heard]
    await provider.close()
    assert 1 == len({notice.event_id for notice in notices})
    assert ["pending"] * 3 == await ear.states()


async def test_an_address_that_cannot_be_reached_keeps_no_other_shop_waiting(http: httpx.AsyncClient, ear: Ear) -> None:
    """Whatever stands there: the others are told all the same."""
    for address in ("http://127.0.0.1:99999/", "http://xn--a.example/", "ftp://x/", "nowhere"):
        assert 201 == (await http.post("/charges", json=asked(ear, notify_url=address))).status_code
    await http.post("/charges", json=asked(ear))
    assert ["pending"] == await until(ear.states, lambda states: len(states) == 1)


async def test_the_postman_goes_on_after_its_file_failed(ear: Ear, tmp_path: Path) -> None:
    """What could not be read is delivered when it can be."""
    charges = SandboxCharges(tmp_path / "sandbox.sqlite3")
    charges.open(msgspec.convert(asked(ear), ChargeOrder), now=utc_now())
    with closing(sqlite3.connect(tmp_path / "sandbox.sqlite3", isolation_level=None)) as other:
        other.execute("ALTER TABLE deliveries RENAME TO gone")
        delivering = asyncio.create_task(Postman(charges, b"s" * 32).run())
        await asyncio.sleep(0.1)
        other.execute("ALTER TABLE gone RENAME TO deliveries")
    try:
        assert ["pending"] == await until(ear.states, lambda states: len(states) == 1)
    finally:
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        charges.close()


async def test_a_charge_ends_once(http: httpx.AsyncClient, ear: Ear) -> None:
    """Paid twice and then cancelled: it was settled, and one settlement was announced."""
    charge = (await http.post("/charges", json=asked(ear))).json()
    for _ in range(2):
        assert "settlement" == (await http.post(f"/charges/{charge['id']}/pay", json={})).json()["state"]
    await http.post(f"/pay/{charge['id']}", data={"action": "cancel"})
    assert "settlement" == (await http.get(f"/charges/{charge['id']}")).json()["state"]
    assert ["pending", "settlement"] == sorted(await until(ear.states, lambda states: len(states) == 2))


async def test_a_charge_whose_time_is_over_expires(http: httpx.AsyncClient, ear: Ear) -> None:
    """It cannot be paid any more, and the shop is told."""
    charge = (await http.post("/charges", json=asked(ear, expires_at=utc_now().isoformat()))).json()
    assert "expire" == (await http.post(f"/charges/{charge['id']}/pay", json={})).json()["state"]
    assert "expire" in await until(ear.states, lambda states: len(states) == 2)


@pytest.mark.parametrize(("action", "state"), [("pay", "settlement"), ("cancel", "cancel"), ("expire", "expire")])
async def test_the_pay_page_ends_the_charge_and_sends_the_person_back(
    http: httpx.AsyncClient, ear: Ear, action: str, state: str
) -> None:
    """The page shows the amount, needs no key and no script, and may lead only back to the shop."""
    charge = (await http.post("/charges", json=asked(ear))).json()
    async with httpx.AsyncClient(trust_env=False) as person:
        page = await person.get(charge["pay_url"])
        answer = await person.post(charge["pay_url"], data={"action": action})
        after = await person.get(charge["pay_url"])
    assert "Rp10.000" in page.text
    assert "form-action 'self' http://shop.example;" in page.headers["content-security-policy"]
    assert "nosniff" == page.headers["x-content-type-options"]
    assert (303, "http://shop.example/pesanan/1") == (answer.status_code, answer.headers["location"])
    assert "<button" not in after.text
    assert state == (await http.get(f"/charges/{charge['id']}")).json()["state"]


async def test_an_unknown_action_and_an_unknown_charge_are_refused(http: httpx.AsyncClient, ear: Ear) -> None:
    """400 and 404; the charge stays as it is."""
    charge = (await http.post("/charges", json=asked(ear))).json()
    assert 400 == (await http.post(f"/pay/{charge['id']}", data={"action": "steal"})).status_code
    assert 404 == (await http.get("/pay/unknown")).status_code
    assert "pending" == (await http.get(f"/charges/{charge['id']}")).json()["state"]


def test_the_secret_is_made_once_and_is_for_the_owner_only(tmp_path: Path) -> None:
    """The second call finds what the first one made: 32 bytes in a file of mode 0600."""
    secret = sandbox_secret(tmp_path)
    assert secret == sandbox_secret(tmp_path)
    assert 32 == len(secret)
    (file,) = tmp_path.iterdir()
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
