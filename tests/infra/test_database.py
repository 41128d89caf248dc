"""The pool brings its own settings, for the server may be anybody's; and does what is left to do after a commit."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from math import inf

import asyncpg
import pytest

from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.lane import COMMON, deadline, work_for

PATIENCE_S = 30
WRITES = "INSERT INTO gate.lots (lane, network, taken) VALUES ('retail', 'twelve bytes', 1) RETURNING 1"


@pytest.fixture
async def patient_url(database_url: str) -> str:
    """A database that lets a session sleep in a transaction for ever, as PostgreSQL does unless told otherwise."""
    connection = await asyncpg.connect(database_url)
    try:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET idle_in_transaction_session_timeout = 0')
    finally:
        await connection.close()
    return database_url


async def test_who_sleeps_in_a_transaction_is_ended_whatever_the_server_says(patient_url: str) -> None:
    """Its locks would stop everybody else who needs them."""
    db = await Database.connect(patient_url, connections_max=1, wait_s=5)
    try:
        assert "10s" == await db.fetchval("SHOW idle_in_transaction_session_timeout")
    finally:
        await db.close()


async def test_what_is_left_to_do_is_done_after_the_commit(db: Database) -> None:
    """In order, when others see what was written; never after a failure, and never for another transaction."""
    done: list[object] = []
    async with db.transaction() as tx:
        db.after_commit(tx, lambda: done.append("first"))
        db.after_commit(tx, lambda: done.append("second"))
        assert [] == done
    assert ["first", "second"] == done
    with contextlib.suppress(LookupError):
        async with db.transaction() as tx:
            db.after_commit(tx, lambda: done.append("never"))
            raise LookupError
    async with db.transaction():
        pass
    async with db.connection() as connection, connection.transaction():
        db.after_commit(connection, lambda: done.append("of no transaction of this pool's"))
    assert ["first", "second"] == done


async def test_nobody_gets_a_connection_after_the_deadline(db: Database) -> None:
    """However many are free: nothing is read or written, and whoever is still there is told when to come again."""

    async def writes() -> None:
        async with db.transaction() as tx:
            await tx.execute(WRITES)

    async def asks(work: Callable[[], Awaitable[object]]) -> str:
        work_for(COMMON, 0, until_s=time.monotonic())
        with pytest.raises(Refused) as refused:
            await work()
        assert refused.value.facts["retry_after_s"]
        return refused.value.code

    for work in (writes, lambda: db.fetch("SELECT 1"), lambda: db.fetchval(WRITES)):
        assert "service_busy" == await asyncio.create_task(asks(work))
    assert 0 == await db.fetchval("SELECT count(*) FROM gate.lots")


async def test_who_waits_for_a_connection_waits_until_the_deadline(database_url: str) -> None:
    """Also where nobody has a lane; the connection is the next one's."""
    db = await Database.connect(database_url, connections_max=1, wait_s=PATIENCE_S)

    async def asks(until_s: float) -> int:
        work_for(COMMON, 0, until_s=until_s)
        return int(await db.fetchval("SELECT 7"))

    try:
        async with db.connection():
            late = asyncio.create_task(asks(time.monotonic() + 0.2))
            patient = asyncio.create_task(asks(inf))
            async with asyncio.timeout(PATIENCE_S / 2):
                with pytest.raises(Refused, match="service_busy"):
                    await late
            assert not patient.done()
        assert 7 == await patient
    finally:
        await db.close()


async def test_what_was_begun_has_no_deadline_any_more(db: Database) -> None:
    """Whoever has written, in a transaction or by one statement, goes on to the end; who has only read does not."""

    async def in_transaction() -> None:
        async with db.transaction() as tx:
            await tx.fetchval("SELECT 1")

    async def left_s(work: Callable[[], Awaitable[object]]) -> float:
        work_for(COMMON, 0, until_s=time.monotonic() + PATIENCE_S)
        await asyncio.create_task(asyncio.wait_for(work(), PATIENCE_S))
        return deadline().left_s

    for work in (in_transaction, lambda: db.fetchval(WRITES), lambda: db.fetch("\n        DELETE FROM gate.lots")):
        assert inf == await asyncio.create_task(left_s(work))
    for work in (lambda: db.fetchrow("\n        SELECT 1"), lambda: db.fetchval("SELECT 1")):
        assert PATIENCE_S > await asyncio.create_task(left_s(work))


async def test_the_services_own_work_has_no_deadline(db: Database) -> None:
    """Nor has a request that said nothing of one."""
    assert inf == deadline().left_s
    work_for(COMMON, 0)
    assert inf == deadline().left_s
    assert 1 == await db.fetchval("SELECT 1")
