"""The pool brings its own settings, for the server may be anybody's; and does what is left to do after a commit."""

from __future__ import annotations

import contextlib

import asyncpg
import pytest

from emeterai.infra.database import Database


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
