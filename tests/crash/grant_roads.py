"""The road of a grant: funded, claimed, returned at the end; whoever dies on it, every unit is where the books say."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import httpx
from crowd import Crowd

from emeterai.core.granting import identity_hash
from emeterai.infra.database import Database
from emeterai.partners.programme_audit import check_all_programmes
from running import Person, RunningService

GRANT_POINTS = (
    *("fund.written", "fund.recorded", "claim.written", "claim.recorded"),
    *("programme_end.written", "programme_end.recorded", "grant_return.written", "grant_return.recorded"),
    *("grant_settle.written", "grant_settle.recorded"),
)
IDENTITY = "3201011203900001"
FUNDED, EACH = 5, 2
ENDS_WITHIN_S = 60


class GrantTrial(Protocol):
    """What the trial of crash points offers to a road."""

    service: RunningService
    crowd: Crowd

    def arm(self, point: str) -> None:
        """The next process that comes to the point dies there."""

    def has_died(self, point: str) -> bool:
        """Whether somebody came to the point that was armed."""


async def grants(trial: GrantTrial, point: str) -> None:
    """An agency funds a programme, an applicant claims, the end comes. These people are none of the crowd's."""
    agency, applicant = await Person.sign_up(trial.service), await Person.sign_up(trial.service)
    await agency.act_for_organisation("Badan Uji")
    await agency.buy(FUNDED)
    made = await _post(trial, agency, "/v1/programmes", _programme(datetime.now(UTC) + timedelta(days=1)))
    address = f"/v1/programmes/{made['id']}"
    hashed = identity_hash(IDENTITY, bytes.fromhex(made["identity_salt"])).hex()
    listed = await agency.api.post(f"{address}/list", content=hashed, headers={"content-type": "text/csv"})
    assert 1 == listed.raise_for_status().json()["added"]
    trial.arm(point)
    figures = await _post(trial, agency, f"{address}/funding", {"units": FUNDED})
    assert FUNDED == figures["funded"]
    grant = await _post(trial, applicant, f"{address}/claims", {"identity": IDENTITY})
    assert EACH == grant["units"] == (await applicant.quota())["available"]
    db = await Database.connect(trial.service.database_url, connections_max=1, wait_s=5)
    try:
        async with db.transaction() as tx:
            await tx.execute("UPDATE partners.programmes SET ends_at = now() WHERE id = $1", UUID(made["id"]))
        await _until_ended(trial, agency, address)
        expected = {"funded": FUNDED, "claimed_returned": EACH, "unclaimed_returned": FUNDED - EACH}
        answer = await trial.crowd.insist(lambda: agency.api.get(address))
        assert expected == {name: value for name, value in answer.json()["figures"].items() if value}
        await trial.service.wait_ready()
        assert (FUNDED, 0) == ((await agency.quota())["available"], (await applicant.quota())["available"])
        assert [] == [rule.name for rule in await check_all_programmes(db) if rule.broken]
    finally:
        await db.close()
    for person in (agency, applicant):
        await person.close()


async def _until_ended(trial: GrantTrial, agency: Person, address: str) -> None:
    """Until the programme has ended by itself. At every look every unit is somewhere."""
    async with asyncio.timeout(ENDS_WITHIN_S):
        while True:
            found = (await trial.crowd.insist(lambda: agency.api.get(address))).raise_for_status().json()
            figures = found["figures"]
            assert figures["funded"] == sum(value for name, value in figures.items() if name != "funded")
            if found["state"] == "ended":
                return
            await asyncio.sleep(0.1)


async def _post(trial: GrantTrial, person: Person, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send, and send again with the same key until there is an answer."""
    headers = {"Idempotency-Key": secrets.token_hex(16)}

    async def send() -> httpx.Response:
        return await person.api.post(path, json=body, headers=headers)

    answer = await trial.crowd.insist(send)
    assert answer.is_success, answer.text
    said: dict[str, Any] = answer.json()
    return said


def _programme(ends_at: datetime) -> dict[str, Any]:
    return {"name": "Seleksi", "units_each": EACH, "ends_at": ends_at.isoformat(), "message": ""}
