"""Whoever is in line gets a proof of it on a page, without a script: to show, to copy, to keep."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from room_app import create_room_app
from waiting_people import OPEN, SECRET, publish

from emeterai.gate import receipt_pages
from emeterai.gate.passes import PASS_REVOKED
from emeterai.gate.receipts import Moment, Receipts, read_receipt
from emeterai.gate.reception import Reception
from emeterai.gate.room_routes import Gate
from emeterai.gate.tickets import Ticket, number_subject
from emeterai.infra.database import Database

CAME_MS = 1_795_000_000_000
KEY = b"r" * 32


@pytest.fixture
async def gate(db: Database, tmp_path: Path) -> AsyncIterator[Gate]:
    """A waiting room where turn 100 of 500 is served."""
    publish(tmp_path, OPEN)
    reception = Reception(db, tmp_path, SECRET)
    yield Gate(db, reception, Receipts(KEY, "https://meterai.example"), https=True, inside="/beli")
    await reception.close()


@pytest.fixture
async def browser(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    """A browser whose script, if it has one, cannot see its ticket."""
    app = create_room_app(gate, extra=receipt_pages.controllers)
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 4711))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="https://meterai.example") as client:
        text = gate.reception.press.sign(Ticket("retail", 300, CAME_MS))
        client.cookies.set("emeterai_ticket_retail", text, domain="meterai.example", path="/gate/retail")
        yield client


async def test_whoever_is_in_line_is_shown_the_proof(browser: httpx.AsyncClient, gate: Gate) -> None:
    """Both pages of the room lead there; no cache keeps it; what it shows an agency can check."""
    for page in ("/gate/retail", "/gate/retail/giliran"):
        assert "href=/gate/retail/bukti>" in (await browser.get(page)).text
    shown = await browser.get("/gate/retail/bukti")
    assert (200, "no-store") == (shown.status_code, shown.headers["cache-control"])
    found = re.search(r'<code class="copy">(r1\.[^<]+)</code>', shown.text)
    assert found is not None
    says = read_receipt(html.unescape(found[1]), gate.receipts.public_key)
    assert ("in_line", "retail", "300", "number_taken") == (says.what, says.lane, says.reference, says.moment)
    assert CAME_MS // 1000 == says.at.timestamp()
    check = f"/v1/receipts-in-time/{found[1]}"
    assert f'href="https://meterai.example{check}"' in shown.text
    assert 200 == (await browser.get(check)).status_code
    kept = await browser.get("/gate/retail/bukti.txt")
    assert found[1] in kept.text
    assert kept.headers["content-disposition"].startswith("attachment")
    assert kept.headers["content-type"].startswith("text/plain")


async def test_without_a_number_there_is_nothing_to_prove(browser: httpx.AsyncClient) -> None:
    """It is said on a page, with the way to a number; another lane's ticket is none here."""
    browser.cookies.clear()
    for path in ("/gate/retail/bukti", "/gate/retail/bukti.txt", "/gate/partners/bukti"):
        refused = await browser.get(path)
        assert 403 == refused.status_code
        assert refused.headers["content-type"].startswith("text/html")
        assert "ticket_unknown" in refused.text


async def test_a_number_that_is_withdrawn_proves_nothing(browser: httpx.AsyncClient, gate: Gate) -> None:
    """Neither on the page nor over the API; nor does one of nobody in a lane that is its members'."""
    text = browser.cookies["emeterai_ticket_retail"]
    of_nobody = gate.reception.press.sign(Ticket("partners", 5, CAME_MS))
    wish = {"what": "in_line", "ticket": text}
    assert 201 == (await browser.post("/v1/receipts-in-time", json=wish)).status_code
    gate.reception.revoked = frozenset({("retail", number_subject(300))})
    for path in ("/gate/retail/bukti", "/gate/retail/bukti.txt"):
        page = await browser.get(path)
        assert (403, True) == (page.status_code, PASS_REVOKED.id in html.unescape(page.text))
    for ticket, code in ((text, "pass_revoked"), (of_nobody, "lane_of_members"), ("t1.x", "ticket_unknown")):
        told = await browser.post("/v1/receipts-in-time", json={**wish, "ticket": ticket})
        assert (403, code) == (told.status_code, told.json()["code"])


def test_a_receipt_from_before_is_good_for_ever() -> None:
    """It does not say which moment it tells; by then it was so."""
    says = {
        "what": "paid",
        "at": "2026-11-20T23:59:58Z",
        "lane": "",
        "reference": "7F3Q-29XK",
        "issuer": "https://e.id",
    }
    signed = "r1." + base64.urlsafe_b64encode(msgspec.json.encode(says)).decode().rstrip("=")
    signature = base64.urlsafe_b64encode(Ed25519PrivateKey.from_private_bytes(KEY).sign(signed.encode()))
    receipts = Receipts(KEY, "https://meterai.example")
    assert Moment.UNSAID is receipts.read(f"{signed}.{signature.decode().rstrip('=')}").moment
    assert set(Moment) == set(receipt_pages.MOMENTS)
