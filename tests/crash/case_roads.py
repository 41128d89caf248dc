"""The road of a case: money that differs, proposed by one of the staff, decided by another, a death at any step."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from emeterai.accounts.staff import Role, Staff
from emeterai.infra.database import Database
from emeterai.purchase.money_audit import check_all_money
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.sandbox_words import Payment, sandbox_secret
from emeterai.web import paths
from running import Person

if TYPE_CHECKING:
    from death_trial import Trial

CASE_POINTS = ("case.written", "case.recorded")
ORDERED, PAID = 2, 3
SEEN_WITHIN_S = 60


async def cases(trial: Trial, point: str) -> None:
    """Somebody pays for three stamps instead of two; two of the staff make quota of it: decided and credited, once."""
    buyer, *staff = [await Person.sign_up(trial.service) for _ in range(3)]
    db = await Database.connect(trial.service.database_url, connections_max=1, wait_s=5)
    first, second = [_browser(one) for one in staff]
    try:
        for one in staff:
            await Staff(db).grant(one.contact, Role.CARE, by="test")
        back_id = await _undecided(trial, db, buyer)
        proposing = await _press(trial, first, paths.office_money(back_id), {"action": "credit", "note": "tiga"})
        assert proposing is not None
        assert 303 == proposing.status_code, proposing.text
        await _decided(trial, point, db, buyer, second)
        assert [] == [rule.name for rule in await check_all_money(db) if rule.broken]
        assert 1 == await db.fetchval("SELECT count(*) FROM purchase.proposals WHERE return_id = $1", back_id)
    finally:
        await db.close()
        for browser in (first, second):
            await browser.aclose()
        for person in (buyer, *staff):
            await person.close()


async def _decided(trial: Trial, point: str, db: Database, buyer: Person, officer: httpx.AsyncClient) -> None:
    """The other presses the button until there is an answer. What is decided is credited, and nothing else ever is."""
    query = "SELECT id, coalesce(approved, false) AS approved FROM purchase.proposals ORDER BY created_at DESC LIMIT 1"
    path = paths.office_money_decision((await db.fetchrow(query))["id"])
    trial.arm(point)

    async def credited() -> bool:
        quota = (await trial.crowd.insist(lambda: buyer.api.get("/v1/quota"))).json()
        assert quota["available"] in {0, PAID}
        return bool(quota["available"])

    async def is_over() -> bool:
        answer = await _press(trial, officer, path, {"decision": "approve"})
        before, approved, after = await credited(), (await db.fetchrow(query))["approved"], await credited()
        assert approved >= before
        assert after >= approved
        return answer is not None and answer.status_code in {303, 409} and bool(approved)

    await trial.until(point, is_over)


async def _undecided(trial: Trial, db: Database, buyer: Person) -> UUID:
    """Money that waits for a decision."""
    order = await trial.post(buyer, "/v1/orders", json={"quantity": ORDERED})
    provider = SandboxProvider(trial.service.sandbox_url, sandbox_secret(trial.service.data_path))
    try:
        payment = Payment(amount=Decimal(order["total_idr"] // ORDERED * PAID))
        await provider.pay(order["pay_url"].rstrip("/").rsplit("/", 1)[-1], payment)
    finally:
        await provider.close()
    query = "SELECT id FROM purchase.returns WHERE order_id = $1 AND state = 'undecided'"
    async with asyncio.timeout(SEEN_WITHIN_S):
        while (found := await db.fetchval(query, UUID(order["id"]))) is None:
            await asyncio.sleep(0.1)
    back_id: UUID = found
    return back_id


def _browser(person: Person) -> httpx.AsyncClient:
    token = person.api.headers["authorization"].removeprefix("Bearer ")
    cookies = {"emeterai_session": token}
    return httpx.AsyncClient(base_url=person.service.base_url, cookies=cookies, trust_env=False, timeout=40)


async def _press(trial: Trial, officer: httpx.AsyncClient, path: str, fields: dict[str, Any]) -> httpx.Response | None:
    """Open the page and press a button, once; None when nobody answers."""
    page = await trial.crowd.insist(lambda: officer.get(paths.OFFICE_MONEY))
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert found is not None, page.text
    with suppress(httpx.TransportError):
        return await officer.post(path, data={"csrf": found[1], **fields})
    return None
