"""What a lot in the draw costs: an account, or one of the few that an address has; and who is told what to do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from room_app import create_room_app
from waiting_people import AT, NOT_DRAWN, OPEN, SECRET, Room, changed, publish

from emeterai.core.brownout import Step
from emeterai.core.refusal import Refused
from emeterai.gate import lots as lots_of_the_gate
from emeterai.gate import numbers, room_store
from emeterai.gate.addresses import BLOCK_TIMES
from emeterai.gate.door import WALK_IN_PER_S, Door
from emeterai.gate.keeper import Keeper
from emeterai.gate.lanes import Lane
from emeterai.gate.lots import LOTS_MAX, Lots
from emeterai.gate.quick_numbers import RUSH_PER_S, QuickNumbers
from emeterai.gate.receipts import Receipts
from emeterai.gate.reception import Reception
from emeterai.gate.room_crowd import Numbers
from emeterai.gate.room_routes import Gate
from emeterai.gate.shedding import Shedding
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

HOME, OTHER_HOME = "198.51.100.7", "203.0.113.9"
BEFORE = changed(OPEN, state="before_opening", draw=NOT_DRAWN, now_serving=0, grace_from=1)


@pytest.fixture
async def reception(db: Database, tmp_path: Path) -> AsyncIterator[Reception]:
    """A reception of a lane that opens later."""
    publish(tmp_path, BEFORE)
    desk = Reception(db, tmp_path, SECRET)
    yield desk
    await desk.close()


async def lots(reception: Reception, wanted: int, address: str) -> list[int]:
    """The numbers that somebody without an account gets from an address who asks for so many."""
    found: list[int] = []
    why: set[tuple[str, object]] = set()
    for _ in range(wanted):
        try:
            found.append((await reception.ticket("retail", account_id=None, address=address)).ticket.number)
        except Refused as refused:
            why.add((refused.code, refused.facts["sign_in"]))
    assert why <= {("lots_too_many", "/masuk")}
    return found


@pytest.mark.parametrize("address", [HOME, "127.0.0.1", "10.2.3.4", "2001:db8::7"])
async def test_an_address_has_few_lots_and_everybody_who_signs_in_has_one(reception: Reception, address: str) -> None:
    """A thousand phones behind one address are a thousand lots, of accounts; a program without them has a handful."""
    first = await reception.ticket("retail", account_id=None, address=address)
    assert LOTS_MAX - 1 == len(await lots(reception, 50, address))
    signed_in = [await reception.ticket("retail", account_id=new_id(), address=address) for _ in range(50)]
    assert 50 == len({given.ticket.number for given in signed_in})
    assert first.ticket == (await reception.ticket("retail", account_id=None, shown=first.text, address=address)).ticket
    assert LOTS_MAX == len(await lots(reception, 50, OTHER_HOME))


async def test_a_block_of_addresses_has_few_lots_for_each_of_them(reception: Reception) -> None:
    """256 addresses of one network, or all of one customer's IPv6, are no 256 households."""
    for pattern in ("198.51.100.{}", "2001:db8:0:{:x}::1"):
        found = [await lots(reception, LOTS_MAX, pattern.format(host)) for host in range(2 * BLOCK_TIMES)]
        assert LOTS_MAX * BLOCK_TIMES == sum(len(some) for some in found)


async def test_web_processes_count_the_same_lots(db: Database, reception: Reception, tmp_path: Path) -> None:
    """However many there are, and after a restart; and no address is on record."""
    other = Reception(db, tmp_path, SECRET)
    found = [*await lots(reception, 2, HOME), *await lots(other, 50, HOME), *await lots(reception, 50, HOME)]
    assert LOTS_MAX == len(found) == len(set(found))
    await other.close()
    networks = await db.fetch("SELECT network FROM gate.lots")
    assert not any(b"198" in row["network"] for row in networks)


async def test_with_the_database_away_a_process_counts_for_itself(db: Database, reception: Reception) -> None:
    """So an outage is no feast."""
    await reception.ticket("retail", account_id=None, address=OTHER_HOME)
    await db.close()
    assert LOTS_MAX == len(await lots(reception, 50, HOME))
    assert LOTS_MAX - 1 == len(await lots(reception, 50, OTHER_HOME))


def away(*_: object, **__: object) -> None:
    """The database, or one of its statements, while it is away."""
    raise OSError("away")


async def lots_on_record(db: Database) -> list[int]:
    """How many lots an address, and the block that it is of, have taken; nothing when there is neither."""
    return [row["taken"] for row in await db.fetch("SELECT taken FROM gate.lots ORDER BY network")]


@pytest.mark.parametrize("is_all_away", [True, False])
async def test_who_gets_no_number_has_taken_no_lot(
    db: Database, reception: Reception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_all_away: bool
) -> None:
    """However often a page asks while there are none: afterwards its home has all its lots, in every web process."""
    monkeypatch.setattr(numbers, "_REFILL_S", 0.0)
    with monkeypatch.context() as outage:
        if is_all_away:
            outage.setattr(db, "connection", away)
        else:
            outage.setattr(room_store, "lease", away)
        for _ in range(2 * LOTS_MAX):
            with pytest.raises(Refused) as said:
                await reception.ticket("retail", account_id=None, address=HOME)
            assert "numbers_paused" == said.value.code
    here = await lots(reception, 1, HOME)
    await reception._look()
    other = Reception(db, tmp_path, SECRET)
    found = [*here, *await lots(other, 1, HOME), *await lots(reception, 50, HOME)]
    assert LOTS_MAX == len(found) == len(set(found))
    assert [LOTS_MAX] * 2 == await lots_on_record(db)
    await other.close()


async def test_lots_come_back_once_however_late(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the database goes away in between; and an address that has none left is forgotten."""
    monkeypatch.setattr(lots_of_the_gate, "FULL_S", 0.0)
    some, others = Lots(db, SECRET), Lots(db, SECRET)
    taken = [await some.take("retail", HOME, draw="") for _ in range(LOTS_MAX)]
    assert await others.take("retail", HOME, draw="") is None
    for lot in taken:
        assert lot is not None
        some.give_back(lot)
    with monkeypatch.context() as outage:
        outage.setattr(db, "connection", away)
        with pytest.raises(OSError, match="away"):
            await some.settle()
    kept = await some.take("retail", HOME, draw="")
    await some.settle()
    await some.settle()
    assert [1, 1] == await lots_on_record(db)
    assert [True, True, False] == [await others.take("retail", HOME, draw="") is not None for _ in range(LOTS_MAX)]
    assert kept is not None
    some.give_back(kept)
    await some.settle()
    assert [2, 2] == await lots_on_record(db)
    monkeypatch.undo()
    await db.fetch("UPDATE gate.lots SET taken = 1")
    mine = await some.take("retail", OTHER_HOME, draw="")
    assert mine is not None
    some.give_back(mine)
    await some.settle()
    assert [1, 1] == await lots_on_record(db)


async def test_a_block_that_has_no_lots_left_costs_an_address_none(db: Database) -> None:
    """Its own lots are there when one of the block's comes back."""
    desk = Lots(db, SECRET)
    for host in range(BLOCK_TIMES):
        for _ in range(LOTS_MAX):
            assert await Lots(db, SECRET).take("retail", f"198.51.100.{host}", draw="")
    assert await desk.take("retail", "198.51.100.200", draw="") is None
    await desk.settle()
    assert [LOTS_MAX] * BLOCK_TIMES + [LOTS_MAX * BLOCK_TIMES] == sorted(await lots_on_record(db))


async def test_once_it_is_drawn_numbers_are_given_again_and_nobody_is_remembered(db: Database, tmp_path: Path) -> None:
    """Behind the draw, first come, first served."""
    room = Room(db, tmp_path)
    room.lanes = {"retail": Lane(name="retail", title="Umum", opens_at=utc_now() + timedelta(hours=1))}
    await room.conductor.move()
    assert LOTS_MAX == len(await lots(room.reception, 50, HOME))
    room.lanes = {"retail": Lane(name="retail", title="Umum", opens_at=AT - timedelta(days=1))}
    await room.conductor.move()
    assert 0 == await db.fetchval("SELECT count(*) FROM gate.lots")
    room.reception.now._known.clear()
    after = await lots(room.reception, 50, HOME)
    assert 50 == len(after)
    assert min(after) > LOTS_MAX
    await room.reception.close()


async def test_a_lot_that_comes_in_after_the_draw_is_not_remembered_either(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one whose steward died after the draw; many go share by share, and lanes that wait for theirs keep theirs."""
    monkeypatch.setattr(room_store, "_LOTS_FORGOTTEN", 2)
    room, tomorrow = Room(db, tmp_path), utc_now() + timedelta(hours=1)
    room.lanes |= {name: Lane(name=name, title="Umum", opens_at=tomorrow) for name in ("retail", "cpns-2026")}
    await room.conductor.move()
    room.lanes["retail"] = Lane(name="retail", title="Umum", opens_at=AT)
    await room.conductor.move()
    for lane in ("retail", "cpns-2026"):
        for network in (b"a", b"b", b"c"):
            await db.fetch("INSERT INTO gate.lots VALUES ($1, $2, 1)", lane, network * 12)
    await room.conductor.move()
    assert 1 == await db.fetchval("SELECT count(*) FROM gate.lots WHERE lane = 'retail'")
    await room.conductor.move()
    assert ["cpns-2026"] * 3 == [row["lane"] for row in await db.fetch("SELECT lane FROM gate.lots")]
    await room.reception.close()


async def test_a_lane_that_is_drawn_again_begins_anew(db: Database, reception: Reception, tmp_path: Path) -> None:
    """What a process remembers of the draw before keeps nobody out of this one."""
    assert LOTS_MAX == len(await lots(reception, 50, HOME))
    await db.fetch("DELETE FROM gate.lots")
    assert [] == await lots(reception, 1, HOME)
    publish(tmp_path, changed(BEFORE, draw=changed(NOT_DRAWN, commitment="0" * 64)))
    reception.now._known.clear()
    assert LOTS_MAX == len(await lots(reception, 50, HOME))


def gate_of(db: Database, reception: Reception) -> Gate:
    """A waiting room over HTTP."""
    return Gate(db, reception, Receipts(b"r" * 32, "https://meterai.example"), https=True, inside="/beli")


def browser_of(app: Any) -> httpx.AsyncClient:
    """A browser at home."""
    transport = httpx.ASGITransport(app, client=(HOME, 4711))
    return httpx.AsyncClient(transport=transport, base_url="https://meterai.example")


async def test_the_page_says_what_to_do(db: Database, reception: Reception) -> None:
    """One sentence, with the way to sign in, and when to ask again; for programs the same."""
    await lots(reception, LOTS_MAX, HOME)
    async with browser_of(create_room_app(gate_of(db, reception))) as browser:
        page = await browser.post("/gate/retail/giliran", data={"do": "ambil"})
        told = await browser.post("/gate/retail/tickets", json={})
        other = await browser.post("/gate/retail/giliran", data={"do": "ambil", "code": "SALAH"})
    assert 429 == page.status_code == told.status_code
    assert "masuk dengan akun Anda di /masuk untuk ikut" in page.text
    assert 'href="/masuk?next=/gate/retail/giliran"' in page.text, "who has signed in comes back"
    assert ("/masuk", "60") == (told.json()["sign_in"], told.headers["retry-after"])
    assert "/masuk" not in other.text


async def test_in_a_rush_an_account_has_one_lot_too(db: Database, reception: Reception) -> None:
    """It is not taken for somebody without one, and costs its address none of the few."""
    door = Door(clock=time.monotonic)
    door.passes_needed = frozenset({"retail"})
    app = create_room_app(gate_of(db, reception))
    quick = QuickNumbers(reception, https=True)
    siti, found = new_id(), set()
    async with browser_of(Shedding(app, door, pass_of=lambda _: None, numbers=Numbers(quick.answer))) as browser:
        for session in ({"cookie": "emeterai_session=ems_siti"}, {"authorization": "Bearer ems_siti"}):
            for _ in range(2 * RUSH_PER_S):
                browser.cookies.clear()
                headers = {"x-account": str(siti), **session}
                answer = await browser.post("/gate/retail/tickets", json={}, headers=headers)
                found.add((answer.raise_for_status().json()["number"], answer.json()["recovery_code"]))
    assert [(min(found)[0], "")] == sorted(found)
    assert LOTS_MAX == len(await lots(reception, 50, HOME))


class PathsAsked:
    """An application that remembers what it was asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Any, _: Any, send: Any) -> None:
        """Answer one request."""
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("is_soon", [True, False])
async def test_before_a_draw_everybody_may_sign_in(*, is_soon: bool) -> None:
    """Whoever does so has no pass and is in the lane of everybody, and whoever is signed in has a lot in the campaign's
    draw. Buying waits for the opening all the same.
    """
    keeper, asked = Keeper(SECRET), PathsAsked()
    keeper.door.passes_needed, keeper.door.before_opening = frozenset({"retail"}), frozenset({"cpns-2026"})
    keeper.door.lots_are_given = is_soon
    async with browser_of(keeper.wrapped(asked)) as browser:
        for path in ("/v1/sessions", "/v1/accounts", "/masuk", "/daftar", "/v1/orders", "/v1/uploads"):
            await browser.post(path)
    by_the_side = ["/v1/sessions", "/masuk"]
    assert (["/v1/sessions", "/v1/accounts", "/masuk", "/daftar"] if is_soon else by_the_side) == asked.paths


async def test_a_crowd_that_signs_in_before_a_draw_is_no_rush_in_everybodys_lane() -> None:
    """More in one second than may walk in: nobody is sent to the line of retail, nobody who comes to buy is kept out by
    them, and none of them has come in, whatever session they show.
    """
    keeper, asked, many = Keeper(SECRET), PathsAsked(), 2 * int(WALK_IN_PER_S)
    keeper.door.before_opening, keeper.door.lots_are_given = frozenset({"cpns-2026"}), True
    async with browser_of(keeper.wrapped(asked)) as browser:
        for one in range(many):
            browser.cookies.set("emeterai_session", f"ems_{one:040}")
            assert 200 == (await browser.post("/masuk")).status_code
        assert not keeper.door.inside()
        assert 200 == (await browser.post("/v1/orders")).status_code
    keeper.door.second()
    assert (many + 1, 0, 1) == (len(asked.paths), keeper.door.turned_away["retail"], keeper.door.walked_in["retail"])


async def test_while_signing_in_rests_nobody_signs_in_for_a_lot() -> None:
    """Then a password costs what those inside need."""
    keeper, asked = Keeper(SECRET), PathsAsked()
    keeper.door.lots_are_given, keeper.door.lane_steps = True, {"retail": Step.ENTERING}
    async with browser_of(keeper.wrapped(asked)) as browser:
        assert 503 == (await browser.post("/masuk")).status_code
    assert [] == asked.paths
