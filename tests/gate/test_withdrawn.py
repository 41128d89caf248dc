"""Who is withdrawn hears so, by whatever road they come; what they have paid for they finish, and buy nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import pytest
from rush import PASSWORD, Rush, crowded, send
from waiting_people import OPEN, SECRET, publish

from emeterai.cli import main
from emeterai.core.refusal import Refused
from emeterai.gate import room_store
from emeterai.gate.keeper import pass_reader
from emeterai.gate.passes import FINISH_LIFE_S, Pass
from emeterai.gate.reception import Reception
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
async def desk(db: Database, tmp_path: Path) -> AsyncIterator[Reception]:
    """A reception in front of a retail lane where turn 100 is served and 500 numbers are out."""
    BUSY.clear()
    publish(tmp_path / "gate", OPEN)
    await db.fetch("INSERT INTO gate.rooms (lane, next_number) VALUES ('retail', 501)")
    found = Reception(db, tmp_path / "gate", SECRET, in_flight=in_flight)
    yield found
    await found.close()


@pytest.fixture
async def rush(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service."""
    async with crowded(database_url, tmp_path) as found:
        yield found


@pytest.fixture
def console(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work on this installation."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "gate").write_bytes(SECRET)
    monkeypatch.setenv("EMETERAI_DATABASE_URL", database_url)
    monkeypatch.setenv("EMETERAI_DATA_DIR", str(tmp_path))


def ticket_of(desk: Reception, number: int, account_id: UUID | None = None) -> str:
    """A ticket as somebody has it."""
    holder = desk.press.holder_of(account_id) if account_id else bytes(12)
    return desk.press.sign(Ticket("retail", number, int(utc_now().timestamp() * 1000) - 5_000, holder))


def withdraw(desk: Reception, account_id: UUID) -> None:
    """Withdraw an account, as every web process knows it a second later."""
    desk.revoked = frozenset({("retail", desk.press.holder_of(account_id))})


async def why_not(desk: Reception, shown: str = "", *, held: str = "", account_id: UUID | None = SITI) -> str:
    """Why somebody is not let in."""
    with pytest.raises(Refused) as said:
        await desk.enter("retail", account_id=account_id, shown=shown, held=held)
    return said.value.code


async def test_who_is_withdrawn_hears_so_on_every_road(desk: Reception) -> None:
    """With their ticket, with one of nobody, with a pass, with nothing; and before they wait for a turn in vain."""
    entered = await desk.enter("retail", account_id=SITI, shown=ticket_of(desk, 50, SITI))
    finish = desk.passes.sign(desk.passes.to_finish("retail", SITI, int(desk.clock_s())))
    withdraw(desk, SITI)
    for shown in (ticket_of(desk, 50, SITI), ticket_of(desk, 51), ticket_of(desk, 400), "", "t1.retail.forged"):
        assert "pass_revoked" == await why_not(desk, shown)
    for held in (entered.text, finish):
        assert "pass_revoked" == await why_not(desk, held=held)
    with pytest.raises(Refused) as said:
        await desk.ticket("retail", account_id=SITI)
    assert "pass_revoked" == said.value.code
    assert (await desk.enter("retail", account_id=BUDI, shown=ticket_of(desk, 52, BUDI))).granted.is_bound


async def test_an_account_whose_number_was_withdrawn_gets_it_no_more(db: Database, desk: Reception) -> None:
    """It does not wait for a turn that will be refused."""
    given = await desk.ticket("retail", account_id=SITI)
    await room_store.add_revocation(db, "retail", number_subject(given.ticket.number), "sold")
    await desk._look()
    with pytest.raises(Refused) as said:
        await desk.ticket("retail", account_id=SITI)
    assert "pass_revoked" == said.value.code


async def test_who_is_withdrawn_finishes_what_is_paid_for(desk: Reception) -> None:
    """Whatever they show they get a pass to finish, for as long as something is under way."""
    entered = await desk.enter("retail", account_id=SITI, shown=ticket_of(desk, 50, SITI))
    withdraw(desk, SITI)
    BUSY.add(SITI)
    for shown, held in ((ticket_of(desk, 50, SITI), ""), ("", entered.text), ("", "")):
        found = (await desk.enter("retail", account_id=SITI, shown=shown, held=held)).granted
        assert (True, desk.passes.holder_of(SITI)) == (found.finish, found.holder)
    pass_at = pass_reader(desk.passes, lambda: desk.revoked)
    assert pass_at({b"emeterai-pass": desk.passes.sign(found).encode()}) == found
    assert pass_at({b"emeterai-pass": entered.text.encode()}) is None
    old = desk.passes.to_finish("retail", SITI, int(desk.clock_s()) - FINISH_LIFE_S + 60)
    assert await desk.renewed(old, SITI) is not None
    assert await desk.renewed(entered.granted, SITI) is None


async def test_another_ones_ticket_keeps_nobody_from_finishing(desk: Reception) -> None:
    """On a phone that two people share: their own money is under way."""
    shared = ticket_of(desk, 60)
    await desk.enter("retail", account_id=BUDI, shown=shared)
    assert "ticket_of_another" == await why_not(desk, shared)
    BUSY.add(SITI)
    assert (await desk.enter("retail", account_id=SITI, shown=shared)).granted.finish


@pytest.mark.usefixtures("console")
@pytest.mark.parametrize("named", ["--number", "--account"])
@pytest.mark.parametrize("how", ["came_in", "took", "left"])
async def test_withdrawing_a_number_reaches_the_account_that_it_has_become(
    db: Database, desk: Reception, capsys: pytest.CaptureFixture[str], how: str, named: str
) -> None:
    """Also a pass to finish, which has no number; so does withdrawing the account itself. Nobody else is touched."""
    number = 40
    if how == "took":
        number = (await desk.ticket("retail", account_id=SITI)).ticket.number
        await db.fetch("DELETE FROM gate.bearers")
    else:
        await desk.enter("retail", account_id=SITI, shown=ticket_of(desk, number))
    if how == "left":
        await desk.leave("retail", account_id=SITI, shown=ticket_of(desk, number, SITI))
    finish = desk.passes.to_finish("retail", SITI, int(desk.clock_s()))
    whom, subjects = {
        "--number": (str(number), {number_subject(number), finish.holder}),
        "--account": (str(SITI), {finish.holder}),
    }[named]
    words = ["gate", "revoke", "retail", named, whom, "--reason", "sold", "--json"]
    assert 0 == await asyncio.to_thread(main, words)
    assert {"revoked": True, "account": str(SITI)} == msgspec.json.decode(capsys.readouterr().out)
    await desk._look()
    assert {("retail", subject) for subject in subjects} == desk.revoked
    for shown, held in (("", ""), (ticket_of(desk, number, SITI), ""), ("", desk.passes.sign(finish))):
        assert "pass_revoked" == await why_not(desk, shown, held=held)
    assert 0 == await asyncio.to_thread(main, [*words[:3], "--number", "499", *words[5:]])
    assert {"revoked": True, "account": None} == msgspec.json.decode(capsys.readouterr().out)


@pytest.mark.usefixtures("console")
@pytest.mark.parametrize("whom", [["--number", "40"], ["--account", str(SITI)]])
async def test_nobody_is_withdrawn_from_a_lane_that_there_is_not(
    db: Database, capsys: pytest.CaptureFixture[str], whom: list[str]
) -> None:
    """Whoever mistypes it would believe that the place is withdrawn."""
    words = ["gate", "revoke", "retial", *whom, "--reason", "sold", "--json"]
    assert 3 == await asyncio.to_thread(main, words)
    assert "lane_unknown" == msgspec.json.decode(capsys.readouterr().out)["code"]
    assert [] == await room_store.read_revocations(db)


def place(answer: httpx.Response) -> tuple[int, str]:
    """Where an answer leads."""
    return answer.status_code, answer.headers.get("location", "")


async def test_in_a_browser_who_is_withdrawn_uploads_and_buys_nothing(rush: Rush) -> None:
    """The pass to finish comes with the session; what it does not open it says."""
    account_id, contact = await rush.person()
    await rush.to_pay(account_id)
    withdraw(rush.reception, account_id)
    async with rush.browser() as browser:
        assert 303 == (await send(browser, "/masuk", contact=contact, password=PASSWORD)).status_code
        granted = rush.reception.passes.read(browser.cookies["emeterai_pass"])
        assert granted is not None
        assert granted.finish
        assert "/gate/retail" != place(await browser.post("/unggah"))[1]
        refused = await send(browser, "/beli", quantity="1")
        assert 403 == refused.status_code
        assert "telah dicabut petugas" in refused.text
        token = {"authorization": f"Bearer {browser.cookies['emeterai_session']}"}
        for path in ("/v1/orders", "/v1/orders/"):
            answer = await browser.post(path, json={"quantity": 1}, headers=token)
            assert (403, "pass_revoked") == (answer.status_code, answer.json()["code"])
        (order,) = await rush.services.purchase.orders(account_id)
        cancelled = await browser.post(f"/v1/orders/{order.id}/cancel", headers=token)
        assert cancelled.is_success, cancelled.text


async def test_in_a_browser_who_is_withdrawn_with_nothing_under_way_hears_so(rush: Rush) -> None:
    """The door sends them to the room, and the room says it."""
    account_id, _ = await rush.person()
    withdraw(rush.reception, account_id)
    async with rush.browser() as browser:
        await rush.signed_in(browser, account_id)
        assert (303, "/gate/retail") == place(await browser.post("/beli"))
        taken = await browser.post("/gate/retail/tickets", json={})
        assert (403, "pass_revoked") == (taken.status_code, taken.json()["code"])
        page = await browser.post("/gate/retail/giliran", data={"do": "masuk"})
        assert 403 == page.status_code
        assert "telah dicabut petugas" in page.text


def hold_a_pass_of_nobody(rush: Rush, browser: httpx.AsyncClient, number: int) -> Pass:
    """Give a browser the pass of somebody who came in without an account, and say which."""
    now_s = int(rush.clock())
    granted = rush.reception.passes.of_ticket(Ticket("retail", number, now_s * 1_000), now_s)
    rush.hold(browser, granted)
    return granted


async def test_a_pass_that_names_nobody_opens_nothing_to_an_account_that_is_withdrawn(rush: Rush) -> None:
    """Who takes a new number signed out, comes in and signs in neither buys, uploads nor stamps with it. The number
    stays whose it was.
    """
    (account_id, _), (honest_id, _) = await rush.person(), await rush.person()
    withdraw(rush.reception, account_id)
    async with rush.browser() as browser:
        await rush.signed_in(browser, account_id)
        granted = hold_a_pass_of_nobody(rush, browser, 40)
        token = {"authorization": f"Bearer {browser.cookies['emeterai_session']}"}
        for path in ("/v1/orders", "/v1/uploads", "/v1/stamps"):
            answer = await browser.post(path, json={"quantity": 1}, headers=token)
            assert (403, "pass_revoked") == (answer.status_code, answer.json()["code"]), path
        for path in ("/beli", "/unggah", f"/dokumen/{new_id()}/bubuhkan"):
            answer = await browser.post(path)
            assert 403 == answer.status_code, path
            assert "telah dicabut petugas" in answer.text, path
        assert [] == await rush.services.purchase.orders(account_id)
    await rush.reception.tie(granted, honest_id)


async def test_a_pass_that_names_nobody_is_not_renewed_for_an_account_that_is_withdrawn(rush: Rush) -> None:
    """Nor does it get another for it at the room; for whoever else shows it, it goes on."""
    account_id, _ = await rush.person()
    withdraw(rush.reception, account_id)
    async with rush.browser() as browser:
        await rush.signed_in(browser, account_id)
        granted = hold_a_pass_of_nobody(rush, browser, 41)
        rush.clock.minute(6)
        asked = await browser.post("/gate/retail/passes", json={})
        assert (403, "pass_revoked") == (asked.status_code, asked.json()["code"])
    assert await rush.reception.renewed(granted, account_id) is None
    assert await rush.reception.renewed(granted, None) is not None


async def test_who_is_withdrawn_and_holds_a_pass_of_nobody_takes_one_to_finish(rush: Rush) -> None:
    """With the one of nobody they finish nothing; with theirs they do, and buy nothing more."""
    account_id, _ = await rush.person()
    await rush.to_pay(account_id)
    withdraw(rush.reception, account_id)
    async with rush.browser() as browser:
        await rush.signed_in(browser, account_id)
        hold_a_pass_of_nobody(rush, browser, 42)
        assert "telah dicabut petugas" in (await browser.post("/unggah")).text
        taken = (await browser.post("/gate/retail/passes", json={})).raise_for_status().json()
        assert taken["finish"]
        held = {
            "emeterai-pass": taken["granted"],
            "authorization": f"Bearer {browser.cookies['emeterai_session']}",
        }
        (order,) = await rush.services.purchase.orders(account_id)
        assert (await browser.post(f"/v1/orders/{order.id}/cancel", headers=held)).is_success
        refused = await browser.post("/v1/orders", json={"quantity": 1}, headers=held)
        assert (403, "pass_revoked") == (refused.status_code, refused.json()["code"])
