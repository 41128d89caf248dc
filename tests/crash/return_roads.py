"""The roads of money back and of settlement files: quota handed back, a provider's file, with a death at any step."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from emeterai.infra.database import Database
from emeterai.purchase.money_audit import check_all_money
from processes import family_of
from running import Person

if TYPE_CHECKING:
    from death_trial import Trial

RETURN_POINTS = tuple(f"return.{moment}" for moment in ("written", "recorded", "asked", "answered", "ending", "ended"))
SETTLEMENT_POINTS = ("settlement.applied", "settlement.recorded")
BOUGHT, BACK, ORDERS = 3, 2, 2
PATIENCE_S = 60


async def returns(trial: Trial, point: str) -> None:
    """Two of three stamps are handed back: they leave once, and the provider returns their money once."""
    person = await Person.sign_up(trial.service)
    order = await person.buy(BOUGHT)
    price_idr = order["total_idr"] // BOUGHT * BACK
    trial.arm(point)
    said = await trial.post(person, f"/v1/orders/{order['id']}/returns", json={"quantity": BACK})
    db = await Database.connect(trial.service.database_url, connections_max=1, wait_s=5)

    async def is_over() -> bool:
        quota = (await trial.crowd.insist(lambda: person.api.get("/v1/quota"))).json()
        assert (BOUGHT - BACK, BACK) == (quota["available"], quota["refunded"])
        # The try that died is repeated when it is due; here it is due at once.
        async with db.transaction() as tx:
            hurry = "UPDATE purchase.returns SET next_try_at = now() WHERE id = $1 AND next_try_at > now()"
            await tx.execute(hurry, UUID(said["id"]))
        state: str = await db.fetchval("SELECT state FROM purchase.returns WHERE id = $1", UUID(said["id"]))
        return state == "returned"

    try:
        await _until(is_over)
        assert trial.has_died(point)
        await trial.service.wait_ready()
        await trial.until(point, is_over)
        assert [price_idr] == refunded(trial, said["id"])
        assert [] == [rule.name for rule in await check_all_money(db) if rule.broken]
        assert [said["id"]] == [str(row["id"]) for row in await _returns_of(db, order["id"])]
    finally:
        await db.close()
    await person.close()


async def settlements(trial: Trial, point: str) -> None:
    """The operator's load is killed, with every notification lost, and loaded again: each order is quota, once."""
    person = await Person.sign_up(trial.service)
    orders = [await trial.post(person, "/v1/orders", json={"quantity": 1}) for _ in range(ORDERS)]
    db = await Database.connect(trial.service.database_url, connections_max=1, wait_s=5)
    web = family_of(trial.service.pids()["web"])
    for pid in web:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with db.transaction() as tx:
            ids = [UUID(order["id"]) for order in orders]
            await tx.execute("UPDATE purchase.orders SET next_check_at = NULL WHERE id = ANY ($1)", ids)
        for order in orders:
            await trial.service.pay(order["pay_url"])
        file = await _file(trial.service.folder / f"{point}.csv", db, ids)
        trial.arm(point)
        assert -signal.SIGKILL == await _load(trial, file)
        assert trial.has_died(point)
        assert 0 == await _load(trial, file)
        outcomes = await db.fetch("SELECT outcome FROM purchase.settlement_lines WHERE order_id = ANY ($1)", ids)
        assert ORDERS == len(outcomes)
        assert {"credited", "known"} >= {row["outcome"] for row in outcomes}
        assert [] == [rule.name for rule in await check_all_money(db) if rule.broken]
    finally:
        for pid in web:
            os.kill(pid, signal.SIGCONT)
        await db.close()
    await trial.service.wait_ready()
    quota = (await trial.crowd.insist(lambda: person.api.get("/v1/quota"))).json()
    assert (ORDERS, ORDERS) == (quota["bought"], quota["available"])
    await person.close()


def refunded(trial: Trial, refund_key: str) -> list[int]:
    """What the sandbox returned with this key, in rupiah."""
    with closing(sqlite3.connect(trial.service.data_path / "sandbox.sqlite3")) as memory:
        rows = memory.execute("SELECT amount_idr FROM refunds WHERE refund_key = ?", (refund_key,)).fetchall()
    return [row[0] for row in rows]


async def _returns_of(db: Database, order_id: str) -> list[Any]:
    return await db.fetch("SELECT id FROM purchase.returns WHERE order_id = $1", UUID(order_id))


async def _until(is_over: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await is_over():
            await asyncio.sleep(0.2)


async def _file(path: Path, db: Database, order_ids: list[UUID]) -> Path:
    """The provider's file about these orders."""
    query = "SELECT id, provider_reference, total_idr FROM purchase.orders WHERE id = ANY ($1)"
    at = datetime.now(UTC).isoformat()
    lines = [
        f"{row['id']},{row['provider_reference']},settlement,{row['total_idr']},IDR,{at}"
        for row in await db.fetch(query, order_ids)
    ]
    path.write_text("\n".join(["order_id,charge_id,state,amount,currency,settled_at", *lines, ""]))
    return path


async def _load(trial: Trial, file: Path) -> int:
    """Load it as the operator does, where points can be armed; gives how that ended."""
    command = ("settlements", "load", str(file), "--provider", "sandbox")
    settings = {
        "EMETERAI_DATABASE_URL": trial.service.database_url,
        "EMETERAI_CRASH_FOLDER": trial.service.environment["EMETERAI_CRASH_FOLDER"],
    }
    loading = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "emeterai", *command, env={**os.environ, **settings}
    )
    return await loading.wait()
