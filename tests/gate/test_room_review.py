"""The waiting room under people who want more than their place: laundering, hoarding, sharing, other people's lanes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY
from room_app import create_room_app
from waiting_people import NOT_DRAWN, OPEN, SECRET, changed, publish

from emeterai.core.refusal import Refused
from emeterai.gate import call_store, room_store
from emeterai.gate.calls import Calls
from emeterai.gate.lanes import DEFAULTS, LANE_UNUSABLE
from emeterai.gate.now import NowFiles, NowServing
from emeterai.gate.operator import fields_of, lane_from
from emeterai.gate.receipts import Receipts
from emeterai.gate.reception import Reception
from emeterai.gate.room_page import living_page
from emeterai.gate.room_routes import Gate
from emeterai.gate.tickets import Ticket, number_subject
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

SITI, BUDI = new_id(), new_id()
BUSY: set[UUID] = set()


async def in_flight(account_id: UUID) -> bool:
    """Who has money or a unit under way."""
    return account_id in BUSY


@pytest.fixture
async def gate(db: Database, tmp_path: Path) -> AsyncIterator[Gate]:
    """A waiting room where turn 100 of 500 is served, and one of the partners' lane."""
    BUSY.clear()
    for lane in ("retail", "partners"):
        publish(tmp_path, changed(OPEN, lane=lane))
        await db.fetch("INSERT INTO gate.rooms (lane, next_number) VALUES ($1, 501)", lane)
    desk = Reception(db, tmp_path, SECRET, in_flight=in_flight)
    yield Gate(db, desk, Receipts(b"r" * 32, "https://meterai.example"), https=True, inside="/beli")
    await desk.close()


@pytest.fixture
async def browser(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of somebody who is not signed in; with the header `x-account` somebody is."""
    transport = httpx.ASGITransport(create_room_app(gate), client=("203.0.113.7", 4711))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="https://meterai.example") as client:
        yield client


def stand(gate: Gate, now: NowServing) -> None:
    """The lane in another state, at once."""
    publish(gate.reception.now.folder.parent, now)
    gate.reception.now._known.clear()


async def test_a_withdrawn_number_is_not_washed_by_its_code_and_an_account(db: Database, gate: Gate) -> None:
    """Who bought it cannot make it an account's and come in with it."""
    desk = gate.reception
    sold = await desk.ticket("retail", account_id=None)
    await room_store.add_revocation(db, "retail", number_subject(sold.ticket.number), "sold")
    await desk._look()
    for account_id in (None, SITI):
        with pytest.raises(Refused) as said:
            await desk.ticket("retail", account_id=account_id, code=sold.code)
        assert "pass_revoked" == said.value.code


async def test_a_number_that_was_withdrawn_after_it_became_an_accounts_is_withdrawn(db: Database, gate: Gate) -> None:
    """Whoever withdraws a number need not know whose it has become."""
    desk = gate.reception
    sold = await desk.ticket("retail", account_id=None)
    bound = await desk.ticket("retail", account_id=SITI, shown=sold.text)
    stand(gate, changed(OPEN, now_serving=600))
    await room_store.add_revocation(db, "retail", number_subject(sold.ticket.number), "sold")
    await desk._look()
    with pytest.raises(Refused) as said:
        await desk.enter("retail", account_id=SITI, shown=bound.text)
    assert "pass_revoked" == said.value.code


async def test_an_account_has_one_lot_in_the_draw(gate: Gate) -> None:
    """Leaving before the draw and coming again gives no second one."""
    stand(gate, changed(OPEN, state="before_opening", draw=NOT_DRAWN, now_serving=0, grace_from=1))
    first = await gate.reception.ticket("retail", account_id=SITI)
    await gate.reception.leave("retail", account_id=SITI, shown=first.text)
    assert first.ticket.number == (await gate.reception.ticket("retail", account_id=SITI)).ticket.number


async def test_a_receipt_says_when_somebody_came_not_when_they_came_in(gate: Gate) -> None:
    """Waiting without an account, signing in at one's turn: the place keeps the moment in which it was taken."""
    desk = gate.reception
    came_ms = int(utc_now().timestamp() * 1000) - 3_600_000
    text = desk.press.sign(Ticket("retail", 90, came_ms))
    entered = await desk.enter("retail", account_id=None, shown=text)
    await desk.tie(entered.granted, SITI)
    for shown in (text, ""):
        given = await desk.ticket("retail", account_id=SITI, shown=shown)
        assert (90, came_ms) == (given.ticket.number, given.ticket.issued_ms)


async def test_on_a_shared_phone_the_next_person_gets_a_number_of_their_own(gate: Gate) -> None:
    """The ticket that the browser kept is somebody else's by now; a code that somebody types is another matter."""
    desk = gate.reception
    text = desk.press.sign(Ticket("retail", 90, int(utc_now().timestamp() * 1000)))
    await desk.enter("retail", account_id=SITI, shown=text)
    budi = await desk.ticket("retail", account_id=BUDI, shown=text)
    assert (501, desk.press.holder_of(BUDI)) == (budi.ticket.number, budi.ticket.holder)


async def test_who_walked_straight_in_is_no_proof_of_good_estimates(db: Database, gate: Gate) -> None:
    """Nobody promised them a wait; those who were promised one are judged."""
    desk, now_ms = gate.reception, int(utc_now().timestamp() * 1000)
    broken = REGISTRY.get_sample_value("emeterai_gate_promises_total", {"outcome": "broken"}) or 0
    for number in range(91, 100):
        await desk.enter("retail", account_id=None, shown=desk.press.sign(_promised(number, now_ms, 0, 0)))
    late = desk.press.sign(_promised(100, now_ms - 60_000, 5, 9))
    await desk.enter("retail", account_id=None, shown=late)
    await desk._look()
    assert 1 == (REGISTRY.get_sample_value("emeterai_gate_promises_total", {"outcome": "broken"}) or 0) - broken
    counts = (await room_store.read_counts(db))["retail"]
    assert (10, 1, 0) == (counts.came, counts.promised, counts.kept)


def _promised(number: int, issued_ms: int, low_s: int, high_s: int) -> Ticket:
    return Ticket("retail", number, issued_ms, low_s=low_s, high_s=high_s)


async def test_a_pass_to_finish_lasts_as_long_as_there_is_something_to_finish(gate: Gate) -> None:
    """Not for ever because there once was."""
    desk, now_s = gate.reception, int(utc_now().timestamp())
    old = desk.passes.to_finish("retail", SITI, now_s - 1_500)
    text = desk.passes.sign(old)
    BUSY.add(SITI)
    assert (await desk.enter("retail", account_id=SITI, held=text)).granted.until_s > old.until_s
    BUSY.clear()
    assert old == (await desk.enter("retail", account_id=SITI, held=text)).granted
    assert old == (await desk.enter("retail", account_id=None, held=text)).granted


async def test_a_lane_of_members_gives_strangers_no_number(
    db: Database, gate: Gate, browser: httpx.AsyncClient
) -> None:
    """The crowd cannot queue for the share that is kept for partners, also not with money under way."""
    await db.fetch("INSERT INTO gate.lane_accounts (account_id, lane) VALUES ($1, 'partners')", BUDI)
    BUSY.add(SITI)
    anonymous = gate.reception.press.sign(Ticket("partners", 1, 0))
    for path, body in (("tickets", {}), ("passes", {}), ("passes", {"ticket": anonymous})):
        for headers in ({}, {"x-account": str(SITI)}):
            answer = await browser.post(f"/gate/partners/{path}", json=body, headers=headers)
            assert 403 == answer.status_code, (path, headers, answer.text)
    budi = await browser.post("/gate/partners/tickets", json={}, headers={"x-account": str(BUDI)})
    assert 501 == budi.raise_for_status().json()["number"]
    stand(gate, changed(OPEN, lane="partners", now_serving=501))
    entered = await browser.post("/gate/partners/passes", json={}, headers={"x-account": str(BUDI)})
    assert entered.raise_for_status().json()["bound"]


POISON = ("=?utf-8?q??=@x.id", "=?utf-8?q?a=0Abcc=3Ab=40x.id?=@x.id", "\0@x.id", "(a@x.id", "a(b)@x.id", "\udcff@x.id")


@pytest.mark.parametrize("address", POISON)
async def test_an_address_that_is_none_is_refused(browser: httpx.AsyncClient, address: str) -> None:
    """No second recipient, no header, no letter that cannot be written."""
    await browser.post("/gate/retail/tickets", json={})
    body = b'{"email": "%s"}' % "".join(f"\\u{ord(sign):04x}" for sign in address).encode()
    answer = await browser.post("/gate/retail/calls", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text
    good = await browser.post("/gate/retail/calls", json={"email": "siti.aminah+meterai@surel.example.id"})
    assert 202 == good.status_code


class Choosy:
    """A way to call that breaks on one address."""

    channels = ("email",)

    def __init__(self) -> None:
        self.called: list[str] = []

    async def call(self, now: NowServing, number: int, turn: int, email: str) -> None:
        """Call, or break."""
        if email == "broken@x.id":
            raise IndexError(email)
        self.called.append(email)


async def test_one_letter_that_cannot_be_written_stops_no_other(db: Database, gate: Gate) -> None:
    """It fails for itself."""
    for number, email in ((101, "broken@x.id"), (102, "siti@x.id")):
        await call_store.add_call(db, "retail", number, number, email)
    way = Choosy()
    assert 1 == await Calls(db, NowFiles(gate.reception.now.folder), [way]).call_due()
    assert ["siti@x.id"] == way.called


async def test_whoever_was_called_is_not_called_again_and_again(db: Database, gate: Gate) -> None:
    """One ticket is one letter: nobody is buried in letters that they never asked for."""
    await call_store.add_call(db, "retail", 101, 101, "siti@x.id")
    way = Choosy()
    desk = Calls(db, NowFiles(gate.reception.now.folder), [way])
    await desk.call_due()
    await call_store.add_call(db, "retail", 101, 101, "siti@x.id")
    await db.fetch("UPDATE gate.calls SET again_at = '-infinity'")
    await desk.call_due()
    assert ["siti@x.id"] == way.called


async def test_one_address_asks_for_few_calls(gate: Gate, browser: httpx.AsyncClient) -> None:
    """A program with many numbers cannot have hundreds of letters sent to people who never came."""
    codes = []
    for number in range(101, 201):
        body = {"email": "korban@x.id", "ticket": gate.reception.press.sign(Ticket("retail", number, 0))}
        codes.append((await browser.post("/gate/retail/calls", json=body)).status_code)
    assert {202, 429} == set(codes)
    assert codes.count(202) < 30


@pytest.mark.parametrize(
    ("lever", "text"), [("opens_at", "0001-01-01T00:00"), ("title", "a\0b"), ("message_id", "\0"), ("message_en", "\0")]
)
def test_a_lever_that_cannot_stand_there_is_refused(lever: str, text: str) -> None:
    """In words, not with an error of ours."""
    retail = DEFAULTS["retail"]
    with pytest.raises(Refused) as said:
        lane_from(retail, {**fields_of(retail), lever: text})
    assert LANE_UNUSABLE.code == said.value.code


def test_a_lever_that_nobody_touched_stays() -> None:
    """However many digits it has."""
    lane = changed(DEFAULTS["retail"], share=0.1234567, floor_per_s=1234.5678, ceiling_per_s=123_456.7)  # type: ignore[type-var]
    found = lane_from(lane, fields_of(lane))
    assert (lane.floor_per_s, lane.ceiling_per_s) == (found.floor_per_s, found.ceiling_per_s)


@pytest.mark.parametrize(("colour", "readable"), [("#9c1458", True), ("#ffff00", False), ("#ffffff", False)])
def test_a_campaigns_colour_never_hides_the_button(colour: str, readable: bool) -> None:
    """White on a light colour could not be read: then the words are dark (WCAG 2.2, 1.4.3)."""
    page = living_page(changed(OPEN, colour=colour), inside="/beli").content.decode()
    on, link = re.search(r"--on:(#\w+)", page), re.search(r"--l:(#\w+)", page)
    assert on is not None
    assert link is not None
    assert (("#fff", colour) if readable else ("#231a23", "#231a23")) == (on[1], link[1])
