"""Whoever works in a browser is not sent to the line: their pass is renewed by the door, theirs and no other's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from rush import HOME, Clock, Rush, crowded, send, shown
from waiting_people import OPEN, SECRET, publish

from emeterai.gate.carrying import COOKIE_OUTLIVES_S, PASS_HEADER, pass_set_cookie
from emeterai.gate.keeper import Keeper
from emeterai.gate.passes import PASS_LIFE_S, STAY_S, Pass, Passes
from emeterai.gate.reception import Reception
from emeterai.gate.tickets import Ticket
from emeterai.gate.tokens import NOBODY
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

PASSES = Passes(SECRET)
SITI = new_id()


@pytest.fixture
async def rush(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service."""
    async with crowded(database_url, tmp_path) as found:
        yield found


def entered(rush: Rush, holder: bytes, *, lane: str = "retail") -> Pass:
    """The pass of somebody who comes in now."""
    return rush.reception.passes.of_ticket(Ticket(lane, 40, 0, holder), int(rush.clock()))


async def test_who_works_in_a_browser_stays_for_two_hours_and_loses_no_form(rush: Rush) -> None:
    """A pass of ten minutes: pages looked at and forms sent from time to time go on until its stay is over."""
    account_id, _ = await rush.person()
    async with rush.browser() as siti:
        await rush.signed_in(siti, account_id)
        rush.hold(siti, entered(rush, rush.reception.passes.holder_of(account_id)))
        for minute in (1, 4):
            rush.clock.minute(minute)
            assert shown(rush, await siti.get("/kuota")) is None
        rush.clock.minute(6)
        renewed = shown(rush, await siti.get("/kuota"))
        assert renewed is not None
        assert 16 * 60 == renewed.until_s - rush.clock.start_s
        for minute in range(11, 120, 4):
            rush.clock.minute(minute)
            answer = await send(siti, "/beli", quantity="0")
            assert "/gate/retail" != answer.headers.get("location"), minute
            assert 400 <= answer.status_code < 500, minute
        rush.clock.minute(119)
        assert "/gate/retail" != (await siti.post("/unggah")).headers.get("location")
        last = rush.reception.passes.read(siti.cookies["emeterai_pass"])
        assert last is not None
        assert STAY_S == last.until_s - rush.clock.start_s
        rush.clock.minute(121)
        assert (303, "/gate/retail") == ((over := await siti.post("/unggah")).status_code, over.headers["location"])


async def test_who_does_nothing_for_ten_minutes_has_no_pass_any_more(rush: Rush) -> None:
    """Work that has come in before is no reason to let them in again."""
    account_id, _ = await rush.person()
    async with rush.browser() as siti:
        await rush.signed_in(siti, account_id)
        rush.hold(siti, entered(rush, rush.reception.passes.holder_of(account_id)))
        rush.clock.minute(11)
        assert (303, "/gate/retail") == ((over := await siti.post("/beli")).status_code, over.headers["location"])


async def test_a_pass_is_renewed_for_its_holder_only(rush: Rush) -> None:
    """Not for another account in the same browser, not for nobody, not by a refusal, and not when it is withdrawn."""
    (siti_id, _), (budi_id, _) = await rush.person(), await rush.person()
    own = entered(rush, rush.reception.passes.holder_of(siti_id))
    rush.clock.minute(7)
    async with rush.browser() as siti, rush.browser() as budi, rush.browser() as nobody:
        for browser, account_id in ((siti, siti_id), (budi, budi_id)):
            await rush.signed_in(browser, account_id)
        for browser in (siti, budi, nobody):
            rush.hold(browser, own)
        assert shown(rush, await budi.get("/kuota")) is None
        assert shown(rush, await nobody.get("/beli")) is None
        assert shown(rush, await siti.get("/tidak-ada")) is None
        rush.reception.revoked = frozenset({("retail", own.subject)})
        assert shown(rush, await siti.get("/kuota")) is None
        assert await rush.reception.renewed(own, siti_id) is None
        rush.reception.revoked = frozenset()
        assert shown(rush, await siti.get("/kuota")) is not None


async def test_a_pass_of_another_lane_stays_of_that_lane(rush: Rush) -> None:
    """And one that names nobody yet is renewed as well, in its place, and names nobody still."""
    account_id, _ = await rush.person()
    rush.clock.minute(-7)
    partner = entered(rush, rush.reception.passes.holder_of(account_id), lane="partners")
    unbound = entered(rush, NOBODY)
    rush.clock.minute(0)
    async with rush.browser() as siti, rush.browser() as other:
        await rush.signed_in(siti, account_id)
        rush.hold(siti, partner)
        found = shown(rush, await siti.get("/kuota"))
        assert found is not None
        assert ("partners", partner.holder, partner.entered_s) == (found.lane, found.holder, found.entered_s)
        rush.hold(other, unbound)
        found = shown(rush, await other.get("/verifikasi"))
    assert found is not None
    assert (NOBODY, unbound.number) == (found.holder, found.number)
    ends_s = await rush.services.db.fetchval("SELECT ends_s FROM gate.bearers WHERE lane = 'retail' AND number = 40")
    assert [found.until_s] == ends_s


async def test_a_pass_to_finish_is_renewed_while_something_is_under_way(rush: Rush) -> None:
    """Whoever pays slowly is never sent away; who has finished is."""
    (siti_id, _), (budi_id, _) = await rush.person(), await rush.person()
    await rush.to_pay(siti_id)
    finish = {one: rush.reception.passes.to_finish("retail", one, int(rush.clock())) for one in (siti_id, budi_id)}
    rush.clock.minute(20)
    for account_id, is_under_way in ((siti_id, True), (budi_id, False)):
        async with rush.browser() as browser:
            await rush.signed_in(browser, account_id)
            rush.hold(browser, finish[account_id])
            assert is_under_way is (shown(rush, await browser.get("/kuota")) is not None)


async def test_a_database_that_is_away_sends_nobody_off(rush: Rush, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it cannot say who is signed in a pass is its holder's own, for as long as its stay lasts."""
    account_id, _ = await rush.person()
    rush.clock.minute(-7)
    own = entered(rush, rush.reception.passes.holder_of(account_id))
    rush.clock.minute(0)
    await rush.services.db.close()
    cookie = await rush.keeper.by_use.renew(own, {b"cookie": b"emeterai_session=ems_" + b"a" * 43})
    found = rush.reception.passes.read(SimpleCookie(cookie)["emeterai_pass"].value)
    assert found is not None
    assert found.until_s > own.until_s


async def test_nobody_comes_in_with_the_pass_of_one_and_the_cookie_of_another(rush: Rush) -> None:
    """The pass that opens the door is the pass whose holder may buy."""
    (siti_id, _), (budi_id, _) = await rush.person(), await rush.person()
    sitis, budis = (entered(rush, rush.reception.passes.holder_of(one)) for one in (siti_id, budi_id))
    async with rush.browser() as budi:
        await rush.signed_in(budi, budi_id)
        rush.hold(budi, budis)
        rush.clock.minute(2)
        headers = {PASS_HEADER.decode(): rush.reception.passes.sign(sitis)}
        assert 403 != (await send(budi, "/beli", quantity="0")).status_code
        page = await budi.post("/beli", headers=headers)
        assert 403 == page.status_code
        assert "milik akun lain" in page.text


class Answering:
    """An application that answers with one header."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = list(headers)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"x"})


async def renewed_by(answering: Answering, path: str = "/kuota", **headers: str) -> list[str]:
    """The cookies of the answers, all alike, to the holder of a pass past half its life."""
    clock, asked = Clock(), []
    keeper = Keeper(SECRET, clock_s=clock)

    async def renew(used: Pass, _: object) -> str:
        asked.append(used)
        longer = PASSES.renewed(used, int(clock()))
        assert longer is not None
        return pass_set_cookie(longer, PASSES.sign(longer), now_s=clock(), https=True).to_header(header="")

    keeper.by_use.renew = renew
    text = PASSES.sign(PASSES.of_ticket(Ticket("retail", 40, 0, PASSES.holder_of(SITI)), int(clock()) - 400))
    transport = httpx.ASGITransport(keeper.wrapped(answering))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=HOME, cookies={"emeterai_pass": text}) as client:
        found = [(await client.get(path, headers=headers)).headers.get_list("set-cookie") for _ in range(3)]
    assert len(asked) <= 1
    assert found[0] == found[1] == found[2]
    return found[0]


async def test_a_renewed_pass_is_carried_as_the_room_gives_it() -> None:
    """With the same attributes, for ten minutes and a day; who shows the old one again gets the same, made once."""
    (cookie,) = await renewed_by(Answering((b"cache-control", b"no-store")))
    morsel = SimpleCookie(cookie)["emeterai_pass"]
    assert (str(PASS_LIFE_S + COOKIE_OUTLIVES_S), "/", "lax", True, True) == tuple(
        morsel[name] for name in ("max-age", "path", "samesite", "httponly", "secure")
    )


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"cache-control", b"public, max-age=10")],
        [(b"cache-control", b"max-age=10")],
        [(b"cache-control", b"no-cache")],
        [(b"cache-control", b"max-age=0, no-cache, must-revalidate")],
        [(b"cache-control", b"public, no-store")],
        [(b"cache-control", b"x-private")],
        [(b"etag", b'"x"')],
    ],
)
async def test_what_a_cache_may_keep_carries_no_pass(headers: list[tuple[bytes, bytes]]) -> None:
    """Another one's pass would come out of it: one of `no-cache` is kept as well, and asked about."""
    assert [] == await renewed_by(Answering(*headers))


@pytest.mark.parametrize(
    "headers",
    [
        [(b"cache-control", b"private, no-cache")],
        [(b"Cache-Control", b"No-Store")],
        [(b"cache-control", b"no-cache"), (b"cache-control", b"private")],
    ],
)
async def test_what_is_for_one_carries_it(headers: list[tuple[bytes, bytes]]) -> None:
    """However it says so."""
    assert 1 == len(await renewed_by(Answering(*headers)))


async def test_a_page_that_is_left_open_is_no_use() -> None:
    """What it asks for by itself, waiting for news, renews nothing."""
    assert [] == await renewed_by(Answering((b"cache-control", b"no-store")), "/kuota/riwayat/kabar")


async def test_a_program_asks_for_its_renewal() -> None:
    """A pass in the header comes back in no cookie."""
    shown_pass = PASSES.sign(PASSES.of_ticket(Ticket("retail", 40, 0, PASSES.holder_of(SITI)), Clock().start_s - 400))
    assert [] == await renewed_by(Answering((b"cache-control", b"no-store")), **{PASS_HEADER.decode(): shown_pass})


MINUTES_APART = 4
"""How far the clocks of two machines are from each other: each two minutes from the right time."""


@pytest.fixture
async def desks(db: Database, tmp_path: Path) -> AsyncIterator[tuple[Clock, list[Reception]]]:
    """The right time, and the receptions of two web processes of which one is two minutes behind and one before it."""
    publish(tmp_path, OPEN)
    right = Clock()
    found = [
        Reception(db, tmp_path, SECRET, clock_s=lambda apart_s=apart_s: right() + apart_s)  # type: ignore[misc]
        for apart_s in (-MINUTES_APART * 30, MINUTES_APART * 30)
    ]
    yield right, found
    for desk in found:
        await desk.close()


async def come_in(desk: Reception, *, ticket_of: Reception) -> Pass:
    """Come in at a web process with a ticket from another."""
    holder = ticket_of.press.holder_of(SITI)
    ticket = ticket_of.press.sign(Ticket("retail", 40, int(ticket_of.clock_s() * 1000), holder, 2, 9))
    return (await desk.enter("retail", account_id=SITI, shown=ticket)).granted


@pytest.mark.parametrize("first", [0, 1])
async def test_clocks_that_differ_send_nobody_off(desks: tuple[Clock, list[Reception]], first: int) -> None:
    """A ticket from one web process lets in at the other; a pass is good at both, and is renewed by turns."""
    right, both = desks
    used = await come_in(both[first], ticket_of=both[1 - first])
    for minute in range(0, 112, 2):
        right.minute(minute)
        desk = both[(first + minute // 2 + 1) % 2]
        assert desk.clock_s() < used.until_s, minute
        longer = await desk.renewed(used, SITI)
        used = used if longer is None else longer.granted
    assert used.until_s > right() + PASS_LIFE_S / 2


@pytest.mark.parametrize("first", [0, 1])
async def test_clocks_that_differ_give_nobody_more_than_they_differ(
    desks: tuple[Clock, list[Reception]], first: int
) -> None:
    """Neither with a pass that is not used nor with one that is shown each minute wherever that brings most."""
    right, both = desks
    used = await come_in(both[first], ticket_of=both[first])
    begun_s, behind = right(), both[0]
    assert used.until_s - (behind.clock_s() - right()) <= begun_s + PASS_LIFE_S + MINUTES_APART * 60
    for minute in range(300):
        right.minute(minute)
        for desk in both:
            longer = await desk.renewed(used, SITI) if desk.clock_s() < used.until_s else None
            used = used if longer is None else longer.granted
    over_s = used.until_s - (behind.clock_s() - right())
    assert begun_s + STAY_S <= over_s + MINUTES_APART * 60 <= begun_s + STAY_S + 2 * MINUTES_APART * 60
