"""The bus on a real PostgreSQL: news reach other processes, and a connection that was cut is made again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

PATIENCE_S = 20
"""Only a test that fails waits as long."""
_LISTENERS = """
    SELECT pid FROM pg_stat_activity WHERE application_name = 'bus' AND datname = current_database()
        AND query LIKE '%LISTEN%'
"""


@asynccontextmanager
async def open_bus(url: str) -> AsyncIterator[Bus]:
    """A bus, as a process of its own would have it."""
    bus = Bus(url)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


@pytest.fixture
async def near(database_url: str) -> AsyncIterator[Bus]:
    """The bus of one process."""
    async with open_bus(database_url) as bus:
        yield bus


@pytest.fixture
async def far(database_url: str) -> AsyncIterator[Bus]:
    """The bus of another."""
    async with open_bus(database_url) as bus:
        yield bus


async def heard(event: asyncio.Event, speaker: Bus, *keys: object) -> None:
    """Publish until it is heard: a bus that has only just connected may miss the first news, and may say so."""
    async with asyncio.timeout(PATIENCE_S):
        while not event.is_set():
            speaker.publish([str(key) for key in keys])
            await asyncio.sleep(0.02)


async def test_news_reach_another_process(near: Bus, far: Bus) -> None:
    """By the id of a thing and by the name of a kind of work."""
    thing = new_id()
    with far.listening(thing) as of_thing, far.listening("seal") as of_work:
        await heard(of_thing, near, thing)
        assert not of_work.is_set()
        await heard(of_work, near, "seal")


async def test_news_reach_the_own_process_at_once(database_url: str) -> None:
    """Even before there is a connection."""
    bus, thing = Bus(database_url), new_id()
    with bus.listening(thing) as first, bus.listening(thing) as second, bus.listening(new_id()) as other:
        bus.publish([thing])
        assert (True, True, False) == (first.is_set(), second.is_set(), other.is_set())


async def test_many_news_at_once_all_arrive(near: Bus, far: Bus) -> None:
    """More keys than one note holds."""
    keys = [new_id() for _ in range(400)]
    with far.listening("ready") as ready:
        await heard(ready, near, "ready")
    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(_hear(far, key))
        await asyncio.sleep(0)
        near.publish(keys)


async def _hear(bus: Bus, key: object) -> None:
    with bus.listening(str(key)) as event:
        await asyncio.wait_for(event.wait(), PATIENCE_S)


async def test_who_no_longer_listens_is_forgotten(database_url: str) -> None:
    """A bus keeps nothing for those who left."""
    bus, thing = Bus(database_url), new_id()
    with bus.listening(thing) as stays:
        with bus.listening(thing) as leaves:
            pass
        bus.publish([thing])
    assert (True, False) == (stays.is_set(), leaves.is_set())
    assert {} == dict(bus._waiters)


async def test_a_connection_that_was_cut_is_made_again(db: Database, near: Bus, far: Bus) -> None:
    """Both connections are ended on the server; news flow again by themselves, through other connections."""
    with far.listening("seal") as news:
        await heard(news, near, "seal")
        before = {row["pid"] for row in await db.fetch(_LISTENERS)}
        await db.fetch(f"SELECT pg_terminate_backend(pid) FROM ({_LISTENERS}) AS listener")
        async with asyncio.timeout(PATIENCE_S):
            while before & {row["pid"] for row in await db.fetch(_LISTENERS)}:
                await asyncio.sleep(0.02)
        news.clear()
        await heard(news, near, "seal")


async def test_a_server_that_is_away_is_waited_for(database_url: str) -> None:
    """A bus starts and closes without a server; what is published meanwhile reaches its own process."""
    nowhere = database_url.replace("host=", "host=/nowhere")
    async with open_bus(nowhere) as bus:
        with bus.listening("seal") as news:
            await asyncio.sleep(0.05)
            bus.publish(["seal"])
            assert news.is_set()
