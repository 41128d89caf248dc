"""The waiting room over HTTP: with and without a script, for people, programs and agencies."""

from __future__ import annotations

import base64
import html
import re
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from room_app import create_room_app
from waiting_people import DRAWN, NOT_DRAWN, OPEN, SECRET, changed, publish

from emeterai.gate.controller import WHY
from emeterai.gate.now import Sentence
from emeterai.gate.receipts import Fact, InTime, Moment, Receipts, read_receipt
from emeterai.gate.reception import Reception
from emeterai.gate.room_page import living_page, span_of
from emeterai.gate.room_routes import Gate
from emeterai.gate.tickets import Ticket
from emeterai.infra.database import Database
from programs import need_program

SITI, ORDER = uuid4(), uuid4()
PAID_AT = datetime(2026, 11, 20, 23, 59, 58, tzinfo=UTC)


async def paid(account_id: UUID, order_id: UUID, _only_by: UUID | None) -> Fact | None:
    """One order of one account is paid."""
    is_paid = (account_id, order_id) == (SITI, ORDER)
    return Fact(PAID_AT, str(order_id), Moment.PROVIDER_TOLD) if is_paid else None


@pytest.fixture
async def gate(db: Database, tmp_path: Path) -> AsyncIterator[Gate]:
    """A waiting room where turn 100 of 500 is served."""
    publish(tmp_path, OPEN)
    await db.fetch("INSERT INTO gate.rooms (lane, next_number) VALUES ('retail', 501)")
    reception = Reception(db, tmp_path, SECRET)
    receipts = Receipts(b"r" * 32, "https://meterai.example", paid=paid)
    yield Gate(db, reception, receipts, https=True, inside="/beli")
    await reception.close()


@pytest.fixture
async def browser(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, without a script."""
    transport = httpx.ASGITransport(create_room_app(gate), client=("203.0.113.7", 4711))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="https://meterai.example") as client:
        yield client


def hold(browser: httpx.AsyncClient, gate: Gate, number: int) -> None:
    """Give the browser a ticket."""
    text = gate.reception.press.sign(Ticket("retail", number, int(OPEN.updated_at.timestamp() * 1000)))
    browser.cookies.set("emeterai_ticket_retail", text, domain="meterai.example", path="/gate/retail")


async def test_a_program_takes_a_number_and_comes_in(browser: httpx.AsyncClient, gate: Gate) -> None:
    """Refused while the turn has not come, with the time to come back; a pass when it has."""
    taken = (await browser.post("/gate/retail/tickets", json={})).raise_for_status().json()
    assert (501, 501, 100, "/gate/retail") == tuple(taken[name] for name in ("number", "turn", "now_serving", "room"))
    assert 30 <= taken["wait"]["low_s"] <= taken["wait"]["high_s"] <= 60
    early = await browser.post("/gate/retail/passes", json={"ticket": taken["ticket"]})
    assert (409, "turn_not_reached") == (early.status_code, early.json()["code"])
    assert 2 <= int(early.headers["retry-after"]) <= 60
    publish(gate.reception.now.folder.parent, changed(OPEN, now_serving=501))
    gate.reception.now._known.clear()
    entered = await browser.post("/gate/retail/passes", json={"ticket": taken["ticket"]})
    found = entered.raise_for_status().json()
    assert gate.reception.passes.read(found["granted"]) is not None
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "Secure" in entered.headers["set-cookie"]


async def test_a_program_inside_shows_its_pass_in_the_header(browser: httpx.AsyncClient, gate: Gate) -> None:
    """As to every other address: it has it renewed without naming it again, whatever a cookie says."""
    desk, now_s = gate.reception, int(gate.reception.clock_s())
    ticket = Ticket("retail", 50, now_s * 1_000, desk.press.holder_of(SITI))
    used, other = desk.passes.of_ticket(ticket, now_s - 400), desk.passes.to_finish("retail", uuid4(), now_s)
    shown = {
        "x-account": str(SITI),
        "emeterai-pass": desk.passes.sign(used),
        "cookie": f"emeterai_pass={desk.passes.sign(other)}",
    }
    found = (await browser.post("/gate/retail/passes", json={}, headers=shown)).raise_for_status().json()
    longer = desk.passes.read(found["granted"])
    assert longer is not None
    assert (used.number, used.entered_s, True) == (longer.number, longer.entered_s, longer.until_s > used.until_s)


async def test_without_a_script_the_page_says_the_same(browser: httpx.AsyncClient, gate: Gate) -> None:
    """Take a number, wait, come in, leave: forms only, each page refreshing itself, which can be stopped."""
    first = await browser.get("/gate/retail/giliran")
    assert "Ambil nomor" in first.text
    page = await browser.post("/gate/retail/giliran", data={"do": "ambil"}, follow_redirects=True)
    for text in ("501", "Tunggu kurang dari 1 menit", "?refresh=0", "Berhenti memuat ulang"):
        assert text in page.text
    refresh = re.search(r"http-equiv=refresh content=(\d+)", page.text)
    assert refresh is not None
    assert 5 <= int(refresh[1]) <= 80
    assert 'http-equiv="refresh"' not in (await browser.get("/gate/retail/giliran?refresh=0")).text
    hold(browser, gate, 90)
    turn = await browser.get("/gate/retail/giliran")
    assert "Giliran Anda!" in turn.text
    inside = await browser.post("/gate/retail/giliran", data={"do": "masuk"})
    assert (303, "/beli") == (inside.status_code, inside.headers["location"])
    assert "emeterai_pass=p1.retail." in inside.headers["set-cookie"]
    left = await browser.post("/gate/retail/giliran", data={"do": "keluar"})
    assert (303, "/") == (left.status_code, left.headers["location"])


async def test_a_refusal_is_said_on_the_page(browser: httpx.AsyncClient, gate: Gate) -> None:
    """With its status, and the number is still there."""
    hold(browser, gate, 400)
    page = await browser.post("/gate/retail/giliran", data={"do": "masuk"})
    assert 409 == page.status_code
    assert "Belum giliran Anda" in page.text
    assert "400" in page.text
    wrong = await browser.post("/gate/retail/giliran", data={"do": "ambil", "code": "SALAH"})
    assert (404, True) == (wrong.status_code, "Kode ini tidak cocok" in wrong.text)


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
async def test_another_site_cannot_make_somebody_lose_their_number(
    browser: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """Its form is refused and sets nothing."""
    answer = await browser.post("/gate/retail/giliran", data={"do": "ambil"}, headers=headers)
    assert 403 == answer.status_code
    assert "set-cookie" not in answer.headers


async def test_a_recovery_code_works_in_another_browser(browser: httpx.AsyncClient) -> None:
    """By form and by API; the same number and code."""
    taken = (await browser.post("/gate/retail/tickets", json={})).json()
    browser.cookies.clear()
    again = (await browser.post("/gate/retail/tickets", json={"code": taken["recovery_code"]})).json()
    assert (taken["number"], taken["recovery_code"]) == (again["number"], again["recovery_code"])
    browser.cookies.clear()
    form = {"do": "ambil", "code": taken["recovery_code"].lower()}
    page = await browser.post("/gate/retail/giliran", data=form, follow_redirects=True)
    assert taken["recovery_code"] in page.text


async def test_a_browser_keeps_its_ticket_until_the_lane_opens(browser: httpx.AsyncClient) -> None:
    """Also when that is months away: for as long as browsers keep any cookie, which is 400 days."""
    for taken in (
        await browser.post("/gate/retail/tickets", json={}),
        await browser.post("/gate/retail/giliran", data={"do": "ambil"}),
    ):
        assert "Max-Age=34560000" in taken.headers["set-cookie"]


async def test_states_and_messages_are_shown(browser: httpx.AsyncClient, gate: Gate) -> None:
    """Before opening, paused, closed, an old file, a message of the operator: hostile text stays text."""
    hold(browser, gate, 40)
    message = {"id": "<script>x</script>", "en": "& more"}
    for state, words in (("before_opening", "ikut undian"), ("paused", "Dihentikan"), ("closed", "Sudah ditutup")):
        now = changed(OPEN, state=state, message=message, draw=NOT_DRAWN, opens_at=OPEN.updated_at)
        publish(gate.reception.now.folder.parent, now)
        gate.reception.now._known.clear()
        page = await browser.get("/gate/retail/giliran")
        assert words in page.text
        assert "&lt;script&gt;" in page.text
        assert "<script" not in page.text
        assert "Kabar ini sudah" in page.text
        assert ("Dibuka 21 Nov 2026 19.00 WIB" in page.text) == (state == "before_opening")


async def test_the_draw_has_a_page(browser: httpx.AsyncClient, gate: Gate) -> None:
    """The commitment before, the seed after; the turn of any number; none where nothing is drawn."""
    assert 404 == (await browser.get("/gate/retail/undian")).status_code
    for draw, shown in ((NOT_DRAWN, False), (DRAWN, True)):
        publish(gate.reception.now.folder.parent, changed(OPEN, draw=draw))
        gate.reception.now._known.clear()
        page = (await browser.get("/gate/retail/undian?nomor=7")).raise_for_status().text
        assert draw.commitment in page
        assert (str(DRAWN.seed) in page) == shown
        assert (f"giliran {changed(OPEN, draw=DRAWN).turn_of(7)}" in page) == shown


async def test_an_unknown_lane_is_a_page_for_people_and_a_problem_for_programs(browser: httpx.AsyncClient) -> None:
    """Each in its own form."""
    page = await browser.get("/gate/nowhere")
    assert (404, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    for answer in (
        await browser.get("/gate/nowhere.json"),
        await browser.post("/gate/nowhere/tickets", json={}),
        await browser.post("/gate/nowhere/passes", json={}),
        await browser.post("/gate/nowhere/leave", json={}),
        await browser.post("/gate/nowhere/calls", json={"email": "a@b.id"}),
    ):
        assert (404, "lane_unknown") == (answer.status_code, answer.json()["code"])


async def test_whoever_leaves_may_ask_to_be_called(browser: httpx.AsyncClient, gate: Gate) -> None:
    """With an address that can be used, while calls are offered and the turn is ahead."""
    hold(browser, gate, 300)
    answers = [(await browser.post("/gate/retail/calls", json={"email": email})) for email in ("siti@contoh.id", "x")]
    assert [202, 422] == [answer.status_code for answer in answers]
    assert "siti@contoh.id" == await gate.db.fetchval("SELECT email FROM gate.calls WHERE number = 300")
    page = await browser.post(
        "/gate/retail/giliran", data={"do": "panggil", "to": "budi@contoh.id"}, follow_redirects=True
    )
    assert "akan kami panggil" in page.text
    assert "budi@contoh.id" == await gate.db.fetchval("SELECT email FROM gate.calls WHERE number = 300")
    hold(browser, gate, 50)
    late = await browser.post("/gate/retail/calls", json={"email": "siti@contoh.id"})
    assert "calls_not_offered" == late.json()["code"]


async def test_the_page_is_small_and_may_be_kept_by_caches(browser: httpx.AsyncClient) -> None:
    """Under 10 kB with style and script, unpacked; it holds nobody's number and lets no other script through."""
    page = await browser.get("/gate/retail")
    assert len(page.content) < 10_000
    longest = changed(OPEN, lane="x" * 40, title="W" * 80, draw=DRAWN)
    assert len(living_page(longest, inside="/masuk").content) < 10_000
    assert len(living_page(OPEN, inside="/beli").packed()) < 5_000
    assert page.headers["cache-control"].startswith("public, max-age=60")
    assert "set-cookie" not in page.headers
    assert "unsafe" not in page.headers["content-security-policy"]


async def test_the_page_without_a_script_is_small_too(browser: httpx.AsyncClient, gate: Gate) -> None:
    """Under 10 kB, unpacked, with all that it can say, as long as it may be and of signs that HTML writes at length."""
    why = max(WHY.values(), key=lambda reason: len(reason.id + reason.en))
    message = Sentence("&" * 400, '"' * 400)
    told = {"title": "W" * 80, "message": message, "why": why, "call_by": ("email", "whatsapp", "sms")}
    now = changed(OPEN, draw=changed(DRAWN, count=2**30 - 2), grace_from=1, now_serving=0, **told)
    publish(gate.reception.now.folder.parent, now)
    hold(browser, gate, 2**30 - 1)
    page = (await browser.get("/gate/retail/giliran?dipanggil=1")).raise_for_status()
    shown = ("1.073.741.823", "Catat kodenya", message.id, message.en, why.id, why.en, "/gate/retail/undian")
    for text in (*shown, "surel, WhatsApp atau SMS", "akan kami panggil", "Kabar ini sudah", "http-equiv=refresh"):
        assert text in html.unescape(page.text), text
    assert len(page.content) < 10_000
    wrong = await browser.post("/gate/retail/giliran", data={"do": "masuk"})
    assert (409, True) == (wrong.status_code, message.id in html.unescape(wrong.text))
    assert len(wrong.content) < 10_000


async def test_a_receipt_proves_a_moment_to_anybody(browser: httpx.AsyncClient, gate: Gate, tmp_path: Path) -> None:
    """By API, offline with the published key, and by openssl; it names nobody."""
    ticket = (await browser.post("/gate/retail/tickets", json={})).json()["ticket"]
    made = await browser.post("/v1/receipts-in-time", json={"what": "in_line", "ticket": ticket})
    assert 201 == made.status_code
    receipt = made.json()["receipt"]
    checked = (await browser.get(f"/v1/receipts-in-time/{receipt}")).raise_for_status().json()
    assert ("in_line", "retail", "501") == (checked["what"], checked["lane"], checked["reference"])
    assert InTime.IN_LINE is read_receipt(receipt, gate.receipts.public_key).what
    body = {"what": "paid", "id": str(ORDER)}
    proof = await browser.post("/v1/receipts-in-time", json=body, headers={"x-account": str(SITI)})
    says = {"at": "2026-11-20T23:59:58Z", "reference": str(ORDER), "moment": "provider_told"}
    assert says.items() <= proof.json()["says"].items()
    for who in ({}, {"x-account": str(uuid4())}):
        assert 404 == (await browser.post("/v1/receipts-in-time", json=body, headers=who)).status_code
    openssl = need_program("openssl", "openssl")
    (tmp_path / "key.pem").write_bytes((await browser.get("/v1/receipts-in-time/key.pem")).content)
    signed, _, signature = receipt.rpartition(".")
    (tmp_path / "text").write_text(signed)
    (tmp_path / "signature").write_bytes(base64.urlsafe_b64decode(f"{signature}=="))
    command = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "text", "-sigfile", "signature"]
    judged = subprocess.run([openssl, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in judged.stdout, judged.stderr


async def test_a_changed_receipt_is_none(browser: httpx.AsyncClient, gate: Gate) -> None:
    """Any other letter, another key, another form."""
    receipt = gate.receipts.of_ticket(Ticket("retail", 7, 1_795_000_000_000))
    for place in (5, 40, len(receipt) - 20, len(receipt) - 1):
        # The last letter holds four bits that mean nothing: another one says the same, and is none of ours.
        letter = "B" if receipt[place] == "A" else chr(ord(receipt[place]) + 1) if place == len(receipt) - 1 else "A"
        wrong = receipt[:place] + letter + receipt[place + 1 :]
        assert "receipt_unknown" == (await browser.get(f"/v1/receipts-in-time/{wrong}")).json()["code"]
    other = Receipts(b"o" * 32, "https://meterai.example").of_ticket(Ticket("retail", 7, 1_795_000_000_000))
    assert 404 == (await browser.get(f"/v1/receipts-in-time/{other}")).status_code
    assert 404 == (await browser.get("/v1/receipts-in-time/r1.e30.e30")).status_code


@pytest.mark.parametrize(
    ("low_s", "high_s", "said"),
    [
        (0, 59, "Tunggu kurang dari 1 menit"),
        (61, 119, "Tunggu sekitar 1\N{EN DASH}2 menit"),
        (3_600, 7_200, "Tunggu sekitar 1\N{EN DASH}2 jam"),
        (0, None, "Belum dapat diperkirakan"),
    ],
)
def test_a_wait_is_said_in_words(low_s: float, high_s: float | None, said: str) -> None:
    """As people say it."""
    assert said == span_of(low_s, high_s)[0]
