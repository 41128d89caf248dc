"""Fixtures of races: a spine, and a way to make two meet in the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from emeterai.infra.database import Database
from emeterai.ledger import store as ledger_store
from spine import Spine

MEETING_S = 0.5
PATIENCE_S = 30.0
"""Only a test that fails waits as long."""
Widen = Callable[[Any, str], None]


@pytest.fixture
def spine(db: Database, tmp_path: Path) -> Spine:
    """The spine on this test's own database."""
    return Spine(db, tmp_path / "blobs")


@pytest.fixture
def no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard removed: accounts are read and not locked."""
    monkeypatch.setattr(ledger_store, "lock_accounts", ledger_store.read_balances)


@pytest.fixture
async def no_guard(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the writing itself finds out is removed: whether balances cover it, and whether holds are open."""
    async with db.transaction() as tx:
        await tx.execute(
            "ALTER TABLE ledger.balances DROP CONSTRAINT balances_check, DROP CONSTRAINT balances_held_check"
        )
    assert ledger_store._WRITE.count("<> $16") == 1
    monkeypatch.setattr(ledger_store, "_WRITE", ledger_store._WRITE.replace("<> $16", "< $16 - 1000"))


@pytest.fixture
async def meeting_s(request: pytest.FixtureRequest, db: Database) -> float:
    """How long two wait for each other: with the guard in place the second cannot come, and the first goes on.

    Each finds its connection open: without the guard both come, and nothing but a slow machine can keep the second.
    """
    await asyncio.gather(*(db.fetchval("SELECT pg_sleep(0.1)") for _ in range(4)))
    return PATIENCE_S if {"no_lock", "no_guard"} & set(request.fixturenames) else MEETING_S


@pytest.fixture
def widen(monkeypatch: pytest.MonkeyPatch, meeting_s: float) -> Widen:
    """Widen the window: after they have read with this function of a store, two wait for each other, no longer than
    `meeting_s`.
    """

    def widen_after(module: Any, name: str) -> None:
        read: Callable[..., Awaitable[Any]] = getattr(module, name)
        both = asyncio.Event()
        came = 0

        async def read_and_meet(*arguments: Any) -> Any:
            nonlocal came
            found = await read(*arguments)
            came += 1
            if came == 2:
                both.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(both.wait(), meeting_s)
            return found

        monkeypatch.setattr(module, name, read_and_meet)

    return widen_after
