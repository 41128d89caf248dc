"""Who may wish to be called, and where: by e-mail or by phone, before and after a draw, and nobody else's phone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from room_app import create_room_app
from waiting_people import DRAWN, NOT_DRAWN, OPEN, SECRET, changed, publish

from emeterai.gate.addresses import CALLS_OF_ONE
from emeterai.gate.now import NowServing
from emeterai.gate.receipts import Receipts
from emeterai.gate.reception import Reception
from emeterai.gate.room_page import living_page
from emeterai.gate.room_routes import Gate
from emeterai.gate.tickets import Ticket
from emeterai.gate.wishes import ways_of
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database

BOTH = changed(OPEN, call_by=("email", "whatsapp", "sms"))
BY_PHONE = changed(OPEN, call_by=("whatsapp",))
BEFORE = changed(BOTH, state="before_opening", draw=NOT_DRAWN, now_serving=0, grace_from=1)
PHONE = "+6281234567890"


class Process:
    """A web process with a waiting room, and what a program that holds tickets asks of it."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.gate = Gate(
            db, Reception(db, folder, SECRET), Receipts(b"r" * 32, "http://test"), https=True, inside="/beli"
        )
        transport = httpx.ASGITransport(create_room_app(self.gate), client=("203.0.113.7", 4711))  # type: ignore[arg-type]
        self.http = httpx.AsyncClient(transport=transport, base_url="https://meterai.example")
        self.folder = folder

    def stand(self, now: NowServing) -> None:
        """The lane in this state."""
        publish(self.folder, now)
        self.gate.reception.now._known.clear()

    def ticket(self, number: int) -> str:
        """The ticket of a number."""
        return self.gate.reception.press.sign(Ticket("retail", number, int(OPEN.updated_at.timestamp() * 1000)))

    async def wish(self, number: int, **contact: str) -> httpx.Response:
        """Wish to be called."""
        return await self.http.post("/gate/retail/calls", json={"ticket": self.ticket(number), **contact})

    async def form(self, number: int, to: str) -> httpx.Response:
        """The same with the page's form, as a browser without a script does."""
        self.http.cookies.set(
            "emeterai_ticket_retail", self.ticket(number), domain="meterai.example", path="/gate/retail"
        )
        return await self.http.post("/gate/retail/giliran", data={"do": "panggil", "to": to}, follow_redirects=True)


@pytest.fixture
async def process(db: Database, tmp_path: Path) -> AsyncIterator[Process]:
    """A web process where people are called by e-mail, WhatsApp and SMS."""
    found = Process(db, tmp_path)
    found.stand(BOTH)
    yield found
    await found.http.aclose()
    await found.gate.reception.close()


async def kept(db: Database) -> list[tuple[int, int | None, str | None, str | None]]:
    """Who wants to be called."""
    return [tuple(row) for row in await db.fetch("SELECT number, turn, email, phone FROM gate.calls ORDER BY number")]


@pytest.mark.parametrize("typed", ["081234567890", "+62 812-3456-7890", "0062 (812) 3456 7890", "62 0812 3456 7890"])
async def test_a_phone_number_is_kept_in_one_form(process: Process, db: Database, typed: str) -> None:
    """However it was typed, by a program or into the page's form; a second wish takes the place of the first."""
    assert 202 == (await process.wish(300, phone=typed)).status_code
    assert [(300, 300, None, PHONE)] == await kept(db)
    assert 202 == (await process.wish(300, email="siti@contoh.id")).status_code
    assert [(300, 300, "siti@contoh.id", None)] == await kept(db)
    page = await process.form(300, typed)
    assert "akan kami panggil" in page.text
    assert [(300, 300, None, PHONE)] == await kept(db)


@pytest.mark.parametrize(
    ("contact", "code"),
    [
        ({"phone": "021-5551234"}, "call_phone_unusable"),
        ({"phone": "+6591234567"}, "call_phone_unusable"),
        ({"phone": "0812345"}, "call_phone_unusable"),
        ({"phone": "0812345678901234"}, "call_phone_unusable"),
        ({"phone": "\u0660\u0668\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669"}, "call_phone_unusable"),
        ({"phone": "siti"}, "call_phone_unusable"),
        ({"phone": "+6281234567890\r\nx: y"}, "call_phone_unusable"),
        ({"email": "siti"}, "call_email_unusable"),
        ({}, "call_channel_not_offered"),
        ({"email": "siti@contoh.id", "phone": PHONE}, "request_malformed"),
    ],
)
async def test_what_is_no_mobile_number_is_refused(
    process: Process, db: Database, contact: dict[str, str], code: str
) -> None:
    """In both languages, and nothing is kept."""
    answer = await process.wish(300, **contact)
    assert code == answer.json()["code"]
    assert answer.json()["id"] != answer.json()["en"]
    assert [] == await kept(db)


async def test_people_are_called_only_as_the_lane_offers(process: Process, db: Database) -> None:
    """The refusal says where it stands: at the label of the page, with a script and without."""
    for now, contact, ways in (
        (BY_PHONE, {"email": "siti@contoh.id"}, ("WhatsApp", "WhatsApp")),
        (OPEN, {"phone": PHONE}, ("surel", "e-mail")),
    ):
        process.stand(now)
        answer = await process.wish(300, **contact)
        assert "call_channel_not_offered" == answer.json()["code"]
        assert "/gate/retail" in answer.json()["id"]
        page = await process.form(300, contact.get("phone", "siti@contoh.id"))
        for text in (page.text, living_page(now, inside="/beli").content.decode()):
            assert f"dipanggil lewat {ways[0]} <" in text
            assert f"be called by {ways[1]}<" in text
    assert [] == await kept(db)
    assert ("surel, WhatsApp atau SMS", "e-mail, WhatsApp or SMS") == ways_of(BOTH.call_by)


@pytest.mark.parametrize(("now", "keyboard"), [(OPEN, "email"), (BY_PHONE, "tel"), (BOTH, None)])
async def test_a_phone_shows_the_keyboard_that_fits(now: NowServing, keyboard: str | None) -> None:
    """Where either may be typed it is the usual one."""
    page = living_page(now, inside="/beli").content.decode()
    field = page.partition("<input id=to")[2].partition(">")[0]
    assert (f" name=to required type={keyboard} autocomplete={keyboard}" if keyboard else " name=to required") == field


def test_the_page_is_small_with_every_way_to_be_called() -> None:
    """Under 10 kB, with the longest names."""
    longest = changed(BOTH, lane="x" * 40, title="W" * 80, draw=DRAWN)
    assert len(living_page(longest, inside="/masuk").content) < 10_000


async def test_nobody_can_have_a_strangers_phone_ring_again_and_again(
    process: Process, db: Database, tmp_path: Path
) -> None:
    """Few wait for one number in all lanes, whichever process is asked; their own wish may be made again."""
    codes = [(await process.wish(number, phone="0812 3456 7890")).status_code for number in range(300, 310)]
    assert [202] * CALLS_OF_ONE + [429] * (10 - CALLS_OF_ONE) == codes
    for number in range(300, 310):
        other = Process(db, tmp_path)
        answer = await other.wish(number, phone="+62 812 3456 7890")
        assert (202 if number < 300 + CALLS_OF_ONE else 429) == answer.status_code
        assert answer.status_code == 202 or int(answer.headers["retry-after"]) > 0
        await other.http.aclose()
    assert CALLS_OF_ONE == len(await kept(db))


async def test_before_the_draw_too(process: Process, db: Database) -> None:
    """By the lot, whose turn nobody knows yet; the page offers it, and the wish is kept."""
    process.stand(BEFORE)
    assert 202 == (await process.wish(7, phone=PHONE)).status_code
    page = await process.form(8, "siti@contoh.id")
    assert "akan kami panggil" in page.text
    assert "dipanggil lewat" in page.text
    assert [(7, None, None, PHONE), (8, None, "siti@contoh.id", None)] == await kept(db)


async def test_nobody_is_promised_a_call_that_cannot_come(process: Process, db: Database) -> None:
    """When the turn has come, when the lane is closed, or when nobody calls."""
    closed = changed(BEFORE, state="closed", closes_at=utc_now() - timedelta(minutes=1))
    for now, number in (
        (BOTH, 100),
        (closed, 7),
        (changed(BOTH, state="closed"), 300),
        (changed(BOTH, calls=False), 300),
    ):
        process.stand(now)
        assert "calls_not_offered" == (await process.wish(number, phone=PHONE)).json()["code"]
    assert [] == await kept(db)


async def test_an_address_that_is_too_long_is_refused(process: Process, db: Database) -> None:
    """Also in the form, whose fields have no length."""
    address = f"{'a' * 60}@{'.'.join(['b' * 60] * 4)}.id"
    answer = await process.form(300, address)
    assert 422 == answer.status_code
    assert "Alamat surel ini tidak dapat dipakai" in answer.text
    assert [] == await kept(db)


async def test_whoever_was_called_is_promised_no_other_call(process: Process, db: Database) -> None:
    """Neither a program nor a page says that they will be; they are told to stay, as their turn is near."""
    assert 202 == (await process.wish(300, email="salah@contoh.id")).status_code
    await db.fetch("UPDATE gate.calls SET state = 'called', email = NULL")
    answer = await process.wish(300, email="siti@contoh.id")
    assert (409, "call_made_already") == (answer.status_code, answer.json()["code"])
    assert "/gate/retail" in answer.json()["id"]
    assert "/gate/retail" in answer.json()["en"]
    page = await process.form(300, PHONE)
    assert "Anda sudah dipanggil" in page.text
    assert "Anda akan kami panggil" not in page.text
    assert [(300, 300, None, None)] == await kept(db)
