"""The road of partners through the whole service: a deposit approved, stock moved, a sale, with a death at any step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

from emeterai.accounts.staff import Role, Staff
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.partners.service import Partner, PartnerKind
from market import Market
from running import Person

if TYPE_CHECKING:
    from death_trial import Trial

STOCK, MOVED, SOLD = 10, 4, 3
PARTNER_POINTS = tuple(f"{step}.{moment}" for step in ("deposit", "move", "sale") for moment in ("written", "recorded"))


async def partners(trial: Trial, point: str) -> None:
    """Two of the treasury's staff make stock of a payment and move some of it; a partner sells; every unit is there."""
    step = point.partition(".")[0]
    people = [await Person.sign_up(trial.service) for _ in range(4)]
    officer, giver_person, receiver_person, buyer = people
    db = await Database.connect(trial.service.database_url, connections_max=4, wait_s=10)
    try:
        market = await Market.open(db)
        await Staff(db).grant(officer.contact, Role.TREASURY, by="test")
        giver, receiver = await _partner(market, giver_person), await _partner(market, receiver_person)
        deposit = await market.proposed(giver, quantity=STOCK)
        await _approve(trial, officer, f"/perbendaharaan/setoran/{deposit.id}", point if step == "deposit" else None)
        move = await market.moves.propose(
            new_id(), giver_id=giver.id, receiver_id=receiver.id, quantity=MOVED, why="uji", by=market.first
        )
        await _approve(trial, officer, f"/perbendaharaan/pemindahan/{move.id}", point if step == "move" else None)
        if step == "sale":
            trial.arm(point)
        body = {"quantity": SOLD, "to": buyer.contact}
        assert SOLD == (await trial.post(giver_person, "/v1/partners/me/sales", json=body))["quantity"]
        assert trial.has_died(point)
        assert [STOCK - MOVED - SOLD, MOVED] == [await market.available(it.id) for it in (giver, receiver)]
        quota = await trial.crowd.insist(lambda: buyer.api.get("/v1/quota"))
        assert SOLD == quota.json()["available"]
    finally:
        await db.close()
        for person in people:
            await person.close()


async def _partner(market: Market, person: Person) -> Partner:
    account = (await market.accounts.find([person.contact]))[person.contact]
    return await market.partners.register(
        account, name="Mitra Uji", contact=person.contact, kind=PartnerKind.DISTRIBUTOR, by="test"
    )


async def _approve(trial: Trial, officer: Person, path: str, point: str | None) -> None:
    """Open the page and press the button, again and again until there is an answer."""
    token = officer.api.headers["authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(base_url=trial.service.base_url, trust_env=False, timeout=40) as browser:
        browser.cookies.set("emeterai_session", token)
        page = await trial.crowd.insist(lambda: browser.get(path))
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
        assert found is not None, page.text
        if point is not None:
            trial.arm(point)
        form = {"csrf": found[1], "decision": "approve"}
        answer = await trial.crowd.insist(lambda: browser.post(path, data=form))
        assert 303 == answer.status_code, answer.text
