"""Database connections are shared between the lanes: lent while they are idle, there at once for their owner."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import httpx
import pytest
from litestar.types import Receive, Scope, Send

from emeterai.core.refusal import Refused
from emeterai.gate import lane_store
from emeterai.gate.connections import ConnectionTurns
from emeterai.gate.keeper import Keeper
from emeterai.gate.lanes import PARTNERS, RETAIL, Lanes, changed
from emeterai.infra.batching import Batcher
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.lane import Caller, Deadline, caller, deadline, work_for

COUNT = 4
KEY = "emk_" + "p" * 43
DIGEST = hashlib.sha256(KEY.encode()).digest()
PATIENCE_S = 30
"""Only a test that fails waits as long."""
SHARES = {RETAIL: 0.5, PARTNERS: 0.25}


@asynccontextmanager
async def opened(url: str, *, wait_s: float = 5.0) -> AsyncIterator[Database]:
    """A database with four connections to share, as a web process has it; all that it may have are open."""
    db = await Database.connect(url, connections_max=COUNT, lent_max=COUNT, wait_s=PATIENCE_S)
    try:
        await asyncio.gather(*(db.fetchval("SELECT pg_sleep(0.1)") for _ in range(2 * COUNT)))
        db.wait_s = wait_s
        yield db
    finally:
        await db.close()


@pytest.fixture
async def shared(database_url: str) -> AsyncIterator[Database]:
    """Shared by SHARES."""
    async with opened(database_url) as db:
        ConnectionTurns.of(db).share(SHARES)
        yield db


async def guaranteed(db: Database, counts: Mapping[str, int]) -> None:
    """Return when the lanes are guaranteed so many connections."""
    assert isinstance(db._turns, ConnectionTurns)
    slots = db._turns._budget.slots
    async with asyncio.timeout(PATIENCE_S):
        while counts != {lane: slots.guaranteed_to(lane) for lane in counts}:
            await asyncio.sleep(0.01)


async def known(keeper: Keeper) -> None:
    """Return when the door knows the partner's key."""
    async with asyncio.timeout(PATIENCE_S):
        while keeper._lane_of_key(DIGEST) != PARTNERS:
            await asyncio.sleep(0.01)


class Holders:
    """Work that holds a connection until it is told to end."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.may_end = asyncio.Event()
        self.holding: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def hold(self, name: str) -> None:
        """Borrow a connection and keep it."""
        async with self._db.connection() as connection:
            assert 1 == await connection.fetchval("SELECT 1")
            self.holding.append(name)
            await self.may_end.wait()

    async def begin(self, lane: str, count: int) -> None:
        """So many pieces of work for a lane, until nothing more happens by itself."""

        async def hold() -> None:
            work_for(lane, 0)
            await self.hold(lane)

        self._tasks += [asyncio.create_task(hold()) for _ in range(count)]
        await asyncio.sleep(0.3)

    async def end(self) -> None:
        """Let them all go."""
        self.may_end.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._tasks)


async def until(holders: Holders, held: Sequence[str]) -> None:
    """Return when these hold a connection."""
    async with asyncio.timeout(PATIENCE_S):
        while sorted(held) != sorted(holders.holding):
            await asyncio.sleep(0.01)


async def test_what_is_idle_is_lent_and_what_is_guaranteed_is_there_at_once(shared: Database) -> None:
    """Retail has all four and wants more; a partner's request gets one while nobody has given any back, a second does
    not.
    """
    holders = Holders(shared)
    await holders.begin(RETAIL, COUNT + 2)
    await until(holders, [RETAIL] * COUNT)
    await holders.begin(PARTNERS, 2)
    await until(holders, [*[RETAIL] * COUNT, PARTNERS])
    await holders.end()
    assert sorted([*[RETAIL] * (COUNT + 2), *[PARTNERS] * 2]) == sorted(holders.holding)


async def test_the_service_itself_never_waits_behind_a_crowd(shared: Database) -> None:
    """Batches of several lanes, looks at the lanes, sweeps."""
    holders = Holders(shared)
    await holders.begin(RETAIL, COUNT + 2)
    assert 7 == await shared.fetchval("SELECT 7")
    await holders.end()


async def test_a_batch_is_nobodys(shared: Database) -> None:
    """It works for every lane that has something in it, not for the one that happened to come first."""

    async def look(items: Sequence[int]) -> list[Caller | None]:
        return [caller()] * len(items)

    batcher: Batcher[int, Caller | None] = Batcher(look)
    work_for(RETAIL, 2)
    assert [None, None] == list(await asyncio.gather(batcher.submit(1), batcher.submit(2)))
    assert Caller(RETAIL, 2) == caller()


async def test_within_a_lane_what_is_paid_for_comes_first(shared: Database) -> None:
    """Whoever looks lets those pass who finish."""
    holders, order, may_end = Holders(shared), list[int](), asyncio.Event()
    await holders.begin(RETAIL, COUNT)

    async def one(urgency: int) -> None:
        work_for(RETAIL, urgency)
        async with shared.connection():
            order.append(urgency)
            await may_end.wait()

    tasks = []
    for urgency in (2, 1, 0):
        tasks.append(asyncio.create_task(one(urgency)))
        await asyncio.sleep(0.02)
    await holders.end()
    may_end.set()
    await asyncio.gather(*tasks)
    assert [0, 1, 2] == order


async def test_nobody_waits_for_ever_and_nothing_is_lost_by_those_who_gave_up(database_url: str) -> None:
    """Some are refused in time, one is cancelled; afterwards all four are there again."""
    async with opened(database_url, wait_s=0.2) as db:
        turns = ConnectionTurns.of(db)
        turns.share(SHARES)
        holders = Holders(db)
        await holders.begin(RETAIL, COUNT)
        work_for(RETAIL, 0)
        with pytest.raises(Refused, match="service_busy"):
            await db.fetchval("SELECT 1")
        gone = asyncio.create_task(db.fetchval("SELECT 1"))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.wait([gone])
        await holders.end()
        assert 0 == turns.used_by(RETAIL)
        again = Holders(db)
        await again.begin(RETAIL, COUNT)
        await until(again, [RETAIL] * COUNT)
        await again.end()


async def test_a_connection_that_cannot_be_opened_gives_its_turn_back(shared: Database) -> None:
    """Else each loss of the database would cost one for good."""
    turns = ConnectionTurns.of(shared)
    work_for(RETAIL, 0)
    await shared.close()
    for _ in range(COUNT + 1):
        with pytest.raises(Exception, match="closed"):
            await shared.fetchval("SELECT 1")
    assert 0 == turns.used_by(RETAIL)


def asks(db: Database, *, until_s: float = inf, known: list[Deadline] | None = None) -> asyncio.Task[int]:
    """A request of retail that wants a connection until then; `known` gets its deadline."""

    async def ask() -> int:
        work_for(RETAIL, 0, until_s=until_s)
        if known is not None:
            known.append(deadline())
        return int(await db.fetchval("SELECT 7"))

    return asyncio.create_task(ask())


async def test_who_waits_beyond_the_deadline_leaves_the_queue(shared: Database) -> None:
    """It is told so at once, and when to come again; what comes free is for the next in line."""
    turns = ConnectionTurns.of(shared)
    turns.share(SHARES)
    holders = Holders(shared)
    await holders.begin(RETAIL, COUNT)
    late, patient = asks(shared, until_s=time.monotonic() + 0.2), asks(shared)
    with pytest.raises(Refused, match="service_busy") as refused:
        await late
    assert refused.value.facts["retry_after_s"]
    assert not patient.done()
    assert 1 == turns._budget.slots.waiting
    await holders.end()
    assert 7 == await patient
    assert 0 == turns.used_by(RETAIL)


async def test_a_turn_that_comes_after_the_deadline_is_the_next_ones(shared: Database) -> None:
    """The queue is looked through every 20 ms only, and a connection may come free in between."""
    turns, one, known = ConnectionTurns.of(shared), Caller(RETAIL, 0), list[Deadline]()
    turns.share(SHARES)
    assert [True] * COUNT == [await turns.enter(one, Deadline()) for _ in range(COUNT)]
    late, patient = asks(shared, until_s=time.monotonic() + PATIENCE_S, known=known), asks(shared)
    await asyncio.sleep(0.05)
    known[0].until_s = time.monotonic()
    turns.leave(one)
    with pytest.raises(Refused, match="service_busy"):
        await late
    assert 7 == await patient
    assert COUNT - 1 == turns.used_by(RETAIL)


async def test_who_hangs_up_while_waiting_for_a_connection_leaves_the_queue(shared: Database) -> None:
    """At once, and begins nothing any more; whoever has begun something is not listened for."""
    turns, left, known = ConnectionTurns.of(shared), asyncio.Event(), list[Deadline]()
    turns.share(SHARES)
    holders = Holders(shared)
    await holders.begin(RETAIL, COUNT)

    async def hangs_up() -> None:
        await left.wait()

    async def ask(*, has_begun: bool) -> int:
        work_for(RETAIL, 0)
        known.append(deadline())
        deadline().gone = hangs_up
        if has_begun:
            deadline().lift()
        return int(await shared.fetchval("SELECT 7"))

    gone, begun = (asyncio.create_task(ask(has_begun=has_begun)) for has_begun in (False, True))
    await asyncio.sleep(0.05)
    assert 2 == turns._budget.slots.waiting
    left.set()
    with pytest.raises(Refused, match="service_busy"):
        await gone
    assert [True, False] == [one.has_passed for one in known]
    assert 1 == turns._budget.slots.waiting
    await holders.end()
    assert 7 == await begun
    assert 0 == turns.used_by(RETAIL)


class Site:
    """An application behind its door whose every request holds a connection until it may end."""

    def __init__(self, holders: Holders) -> None:
        self._holders = holders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        who = caller()
        assert who is not None
        await self._holders.hold(who.lane)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_from_the_door_to_the_database_a_partner_has_its_share(database_url: str, bus: Bus) -> None:
    """Retail's requests hold every connection; a partner's, known by its key, is through at once. The shares are those
    of the lanes, also when they are changed.
    """
    partner = new_id()

    async def keys_of(_: object) -> list[tuple[bytes, Any]]:
        return [(DIGEST, partner)]

    async with opened(database_url) as db:
        await lane_store.put_account(db, partner, PARTNERS)
        holders, keeper, lanes = Holders(db), Keeper(b"g" * 32), Lanes(db, bus)
        async with keeper.keeping(db, bus, keys_of=keys_of):
            await lanes.look()
            await lanes.change(changed(lanes.get(RETAIL), {"share": 0.2}), by="Siti", seen=0)
            await lanes.change(changed(lanes.get(PARTNERS), {"share": 0.5}), by="Siti", seen=0)
            await guaranteed(db, {RETAIL: 1, PARTNERS: 2})
            transport = httpx.ASGITransport(app=keeper.wrapped(Site(holders)))  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="https://meterai.example") as client:
                crowd = [asyncio.create_task(client.get("/v1/stamps/x")) for _ in range(COUNT + 2)]
                await until(holders, [RETAIL] * COUNT)
                headers = {"Authorization": f"Bearer {KEY}"}
                await known(keeper)
                theirs = [asyncio.create_task(client.get("/v1/stamps/x", headers=headers)) for _ in range(3)]
                await until(holders, [*[RETAIL] * COUNT, PARTNERS, PARTNERS])
                holders.may_end.set()
                assert {200} == {answer.status_code for answer in await asyncio.gather(*crowd, *theirs)}
