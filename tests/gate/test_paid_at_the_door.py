"""An order that is not paid is a way past the line for half an hour; as soon as money is seen its buyer comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from rush import PASSWORD, Rush, crowded

from emeterai.gate.kept_refusals import KEPT_S
from emeterai.infra.ids import new_id


@pytest.fixture
async def rush(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service."""
    async with crowded(database_url, tmp_path) as found:
        yield found


@pytest.fixture
async def buyer(rush: Rush) -> tuple[UUID, str]:
    """Somebody who has placed an order that can be paid for a day, and has not paid for forty minutes."""
    account_id, contact = await rush.person()
    await rush.to_pay(account_id)
    await rush.services.db.fetch("UPDATE purchase.orders SET created_at = now() - interval '40 minutes'")
    return account_id, contact


async def money_is_seen(rush: Rush) -> None:
    """The provider says that the order is paid; nobody has come to its news."""
    await rush.services.db.fetch(
        """
        INSERT INTO purchase.notifications (id, provider, event_id, order_id, state, amount, currency)
        SELECT $1, provider, 'e', id, 'settled', total_idr, 'IDR' FROM purchase.orders
        """,
        new_id(),
    )


def place(answer: httpx.Response) -> tuple[int, str]:
    """Where an answer leads."""
    return answer.status_code, answer.headers.get("location", "")


async def test_a_program_waits_in_line_until_its_money_is_seen(rush: Rush, buyer: tuple[UUID, str]) -> None:
    """Then it asks for its pass and has it, once the no of a moment ago is no longer remembered."""
    async with rush.browser() as program:
        session = await program.post("/v1/sessions", json={"contact": buyer[1], "password": PASSWORD})
        program.headers["authorization"] = f"Bearer {session.raise_for_status().json()['token']}"
        refused = await program.post("/gate/retail/passes", json={})
        assert (403, "ticket_unknown") == (refused.status_code, refused.json()["code"])
        await money_is_seen(rush)
        async with asyncio.timeout(10 * KEPT_S):
            while (answer := await program.post("/gate/retail/passes", json={})).status_code == 403:
                await asyncio.sleep(0.2)
        granted = answer.raise_for_status().json()
        assert granted["finish"]
        program.headers["emeterai-pass"] = granted["granted"]
        assert "pass_needed" != (await program.post("/v1/orders", json={"quantity": 0})).json()["code"]


async def test_a_browser_waits_in_line_until_its_money_is_seen(rush: Rush, buyer: tuple[UUID, str]) -> None:
    """Then what it sends is sent once more by itself, with the pass. What one does about an order takes none."""
    async with rush.browser() as browser:
        await rush.signed_in(browser, buyer[0])
        (order,) = await rush.services.purchase.orders(buyer[0])
        assert (303, "/gate/retail") == place(await browser.post("/unggah"))
        for path in (f"/pesanan/{order.id}", "/lacak"):
            assert 200 == (await browser.get(path)).status_code
        await money_is_seen(rush)
        assert (307, "/unggah") == place(await browser.post("/unggah"))
        assert "/gate/retail" != place(await browser.post("/unggah"))[1]


async def test_a_pass_for_an_order_that_is_not_paid_ends_within_the_hour(rush: Rush) -> None:
    """It is not had for longer once the half hour is over."""
    account_id, _ = await rush.person()
    await rush.to_pay(account_id)
    used = (await rush.reception.enter("retail", account_id=account_id)).granted
    rush.clock.minute(20)
    await rush.services.db.fetch("UPDATE purchase.orders SET created_at = now() - interval '20 minutes'")
    longer = await rush.reception.renewed(used, account_id)
    assert longer is not None
    rush.clock.minute(40)
    await rush.services.db.fetch("UPDATE purchase.orders SET created_at = now() - interval '40 minutes'")
    assert await rush.reception.renewed(longer.granted, account_id) is None
    assert longer.granted.until_s - rush.clock.start_s <= 3_600
