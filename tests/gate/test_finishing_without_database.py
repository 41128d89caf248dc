"""With the database away nobody is sent off who had something under way when it last answered; nor for ever."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from rush import Clock, Rush, crowded
from waiting_people import OPEN, SECRET, publish

from emeterai.core.refusal import Refused
from emeterai.gate.passes import FINISH_LIFE_S, STAY_S, Pass
from emeterai.gate.reception import Reception
from emeterai.gate.renewing import RenewedByUse
from emeterai.gate.sorting import sort_of
from emeterai.gate.tickets import Ticket
from emeterai.infra.database import BUSY, Database
from emeterai.infra.ids import new_id
from emeterai.infra.interruption import INTERRUPTIONS

SITI = new_id()


@dataclass
class Line:
    """The way to this test's database, which can be cut: `folder` leads to the server's socket."""

    database_url: str
    folder: Path

    @property
    def url(self) -> str:
        """The database's URL by this way."""
        return re.sub(r"host=[^&]+", f"host={self.folder}", self.database_url)

    def open(self) -> None:
        """Let people through."""
        server = re.search(r"host=([^&]+)", self.database_url)
        assert server is not None
        self.folder.symlink_to(server[1])

    async def cut(self) -> None:
        """Nobody gets through any more, and all connections end."""
        self.folder.unlink()
        other = await asyncpg.connect(self.database_url)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await other.close()


@pytest.fixture
def line(database_url: str, short_folder: Path) -> Iterator[Line]:
    """The way to the database, open."""
    found = Line(database_url, short_folder / new_id().hex[-8:])
    found.open()
    yield found
    found.folder.unlink(missing_ok=True)


@pytest.fixture
async def rush(line: Line, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service."""
    async with crowded(line.url, tmp_path) as found:
        yield found


@asynccontextmanager
async def busy(db: Database, _: Line) -> AsyncIterator[None]:
    """Every connection is taken."""
    wait_s, db.wait_s = db.wait_s, 0.05
    async with AsyncExitStack() as stack:
        while True:
            try:
                await stack.enter_async_context(db.connection())
            except Refused:
                break
        yield
    db.wait_s = wait_s


@asynccontextmanager
async def lost(db: Database, _: Line) -> AsyncIterator[None]:
    """There are no connections, and none are made."""
    await db.close()
    yield


@asynccontextmanager
async def gone(db: Database, line: Line) -> AsyncIterator[None]:
    """The server cannot be reached, as everybody here has noticed."""
    await line.cut()
    while True:
        try:
            await db.fetchval("SELECT true")
        except Refused:
            break
        except INTERRUPTIONS:
            await asyncio.sleep(0)
    yield
    line.open()


Away = Callable[[Database, Line], AbstractAsyncContextManager[None]]


async def token_of(rush: Rush, account_id: UUID) -> str:
    """The token of a session of an account."""
    account = await rush.services.accounts.account(account_id)
    return (await rush.services.accounts.open_session(account)).token


async def finishing(rush: Rush) -> tuple[UUID, Pass]:
    """Somebody who has an order to pay, and their pass to finish, past half its life."""
    account_id, _ = await rush.person()
    await rush.to_pay(account_id)
    rush.clock.minute(-20)
    used = (await rush.reception.enter("retail", account_id=account_id)).granted
    rush.clock.minute(0)
    assert used.finish
    return account_id, used


@pytest.mark.parametrize("away", [lost, gone])
async def test_a_program_has_its_pass_for_longer(rush: Rush, line: Line, away: Away) -> None:
    """It asks as ever; who it is cannot be found out."""
    account_id, used = await finishing(rush)
    token = await token_of(rush, account_id)
    async with rush.browser() as program, away(rush.services.db, line):
        program.headers["authorization"] = f"Bearer {token}"
        answer = await program.post("/gate/retail/passes", json={"held": rush.reception.passes.sign(used)})
        longer = rush.reception.passes.read(answer.raise_for_status().json()["granted"])
    assert longer is not None
    assert (used.entered_s, int(rush.clock()) + FINISH_LIFE_S) == (longer.entered_s, longer.until_s)


async def test_while_the_database_is_busy_a_program_is_told_so(rush: Rush, line: Line) -> None:
    """Not that it has no ticket: asked again a moment later it is known."""
    account_id, _ = await finishing(rush)
    token = await token_of(rush, account_id)
    async with rush.browser() as program:
        program.headers["authorization"] = f"Bearer {token}"
        async with busy(rush.services.db, line):
            answer = await program.post("/gate/retail/passes", json={})
            assert (503, "service_busy") == (answer.status_code, answer.json()["code"])
        assert (await program.post("/gate/retail/passes", json={})).raise_for_status().json()["finish"]


@pytest.mark.parametrize("away", [busy, gone])
async def test_a_browser_has_its_pass_for_longer(rush: Rush, line: Line, away: Away) -> None:
    """With the answer to a page that is there without a database."""
    account_id, used = await finishing(rush)
    async with rush.browser() as siti:
        await rush.signed_in(siti, account_id)
        rush.hold(siti, used)
        async with away(rush.services.db, line):
            answer = await siti.get("/verifikasi")
        assert 200 == answer.status_code
        longer = rush.reception.passes.read(siti.cookies["emeterai_pass"])
    assert longer is not None
    assert (used.entered_s, int(rush.clock()) + FINISH_LIFE_S) == (longer.entered_s, longer.until_s)


@pytest.mark.parametrize("away", [busy, lost, gone])
@pytest.mark.parametrize("is_known", [True, False])
async def test_the_door_lengthens_it_whether_or_not_it_is_known_who_is_signed_in(
    rush: Rush, line: Line, away: Away, is_known: bool
) -> None:
    """An account that was seen a moment ago is remembered; what it has under way is not."""
    account_id, used = await finishing(rush)
    token = await token_of(rush, account_id)
    if is_known:
        await rush.services.accounts.identify(token)
    async with away(rush.services.db, line):
        cookie = await rush.keeper.by_use.renew(used, {b"cookie": b"emeterai_session=" + token.encode()})
    longer = rush.reception.passes.read(SimpleCookie(cookie)["emeterai_pass"].value)
    assert longer is not None
    assert longer.until_s > used.until_s


@pytest.mark.parametrize("is_known", [True, False])
async def test_it_is_no_pass_for_ever(rush: Rush, line: Line, is_known: bool) -> None:
    """Two hours after the database last said that something is under way; when it is back it says so again."""
    account_id, used = await finishing(rush)
    confirmed_s, who = used.entered_s, account_id if is_known else None
    async with gone(rush.services.db, line):
        for minute in range(0, 200, 5):
            rush.clock.minute(minute)
            longer = await rush.reception.renewed(used, who, is_told=is_known)
            used = used if longer is None else longer.granted
    assert (confirmed_s, confirmed_s + STAY_S) == (used.entered_s, used.until_s)
    rush.clock.minute(99)
    back = await rush.reception.renewed(used, account_id)
    assert back is not None
    assert int(rush.clock()) == back.granted.entered_s
    assert int(rush.clock()) + FINISH_LIFE_S == back.granted.until_s


async def test_whoever_has_finished_has_it_no_longer(rush: Rush) -> None:
    """Nor nobody, while the database answers."""
    account_id, used = await finishing(rush)
    assert await rush.reception.renewed(used, None, is_told=False) is None
    await rush.services.db.fetch("UPDATE purchase.orders SET expires_at = now()")
    assert await rush.reception.renewed(used, account_id) is None


async def test_a_database_that_does_not_answer_is_away(db: Database, tmp_path: Path) -> None:
    """The pass comes with this answer all the same, which is not kept waiting for long."""

    async def never(_account_id: UUID) -> bool:
        await asyncio.Event().wait()
        return False

    publish(tmp_path, OPEN)
    clock = Clock()
    desk = Reception(db, tmp_path, SECRET, in_flight=never, clock_s=clock)
    by_use, sent = RenewedByUse(desk.passes, now_s=clock), list[Any]()
    used = desk.passes.to_finish("retail", SITI, int(clock()) - 1_200)

    async def renew(held: Pass, _headers: object) -> str:
        longer = await desk.renewed(held, SITI)
        return "" if longer is None else f"emeterai_pass={longer.text}"

    async def send(message: Any) -> None:
        sent.append(message)

    by_use.renew = renew
    looking = sort_of("GET", "/kuota")
    assert looking is not None
    answered: Callable[[Any], Awaitable[None]] = by_use.watched(used, looking, {}, send)
    await answered({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-store")]})
    assert b"set-cookie" in dict(sent[0]["headers"])
    await desk.close()


@pytest.mark.parametrize("lost", ["not", "plainly", "behind a refusal"])
async def test_only_a_database_that_is_away_leaves_it_to_the_line(
    db: Database, database_url: str, tmp_path: Path, lost: str
) -> None:
    """While it is busy whoever has paid hears that, not that it is not their turn, and comes in a moment later."""
    publish(tmp_path, OPEN)
    tight = await Database.connect(database_url, connections_max=1, wait_s=0.05)

    async def in_flight(_account_id: UUID) -> bool:
        if lost == "plainly":
            raise ConnectionResetError
        if lost == "behind a refusal":
            raise BUSY() from ConnectionResetError()
        return bool(await tight.fetchval("SELECT true"))

    desk = Reception(db, tmp_path, SECRET, in_flight=in_flight)
    late = desk.press.sign(Ticket("retail", 400, int(OPEN.updated_at.timestamp() * 1000), desk.press.holder_of(SITI)))
    async with tight.transaction():
        with pytest.raises(Refused) as said:
            await desk.enter("retail", account_id=SITI, shown=late)
    assert ("service_busy" if lost == "not" else "turn_not_reached") == said.value.code
    if lost == "not":
        assert (await desk.enter("retail", account_id=SITI, shown=late)).granted.finish
    await desk.close()
    await tight.close()
