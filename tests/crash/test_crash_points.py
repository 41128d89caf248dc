"""kill -9 exactly between two steps, at every named point: what was begun ends, once, unaided; nobody hears a lie."""

from __future__ import annotations

import ast
import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from crowd import Asked, Bought, Crowd
from grant_roads import GRANT_POINTS, grants
from partner_roads import PARTNER_POINTS, partners
from return_roads import RETURN_POINTS, SETTLEMENT_POINTS, returns, settlements
from verdict import judge
from voucher_roads import VOUCHER_POINTS, vouchers

import emeterai
from emeterai.infra.database import Database
from papers import letter
from processes import asleep, family_of
from running import Person, RunningService

ENDS_WITHIN_S = 10
"""After whoever died is there again."""
DIES_WITHIN_S = 60
QUOTA = 3
SETTINGS = {"EMETERAI_LEASE_S": "60", "EMETERAI_SEALER_PROCESSES": "2"}
"""Whoever comes after a dead sealer frees what it held: nobody waits for the leases."""
SOURCE = Path(emeterai.__file__).parent


class Trial:
    """A running service in which points can be armed, and everything that anybody was told there."""

    def __init__(self, service: RunningService, armed: Path) -> None:
        self.service = service
        self.crowd = Crowd([])
        self._armed = armed

    async def person(self) -> Person:
        """Somebody with quota, for the verdict too."""
        person = await Person.sign_up(self.service, quota=QUOTA)
        self.crowd.people.append(person)
        return person

    def arm(self, point: str) -> None:
        """The next process that comes to the point dies there."""
        (self._armed / point).touch()

    def has_died(self, point: str) -> bool:
        """Whether somebody came to the point that was armed."""
        return not (self._armed / point).exists()

    async def post(self, person: Person, path: str, **request: Any) -> dict[str, Any]:
        """Send, and send again with the same key until there is an answer."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        answer = await self.crowd.insist(lambda: person.api.post(path, headers=headers, **request))
        assert answer.is_success, answer.text
        said: dict[str, Any] = answer.json()
        return said

    async def until(self, point: str, is_over: Callable[[], Awaitable[bool]]) -> None:
        """Look again and again, until somebody has died at the point and it is over."""
        loop, again = asyncio.get_running_loop(), False
        async with asyncio.timeout(DIES_WITHIN_S) as patience:
            while not await is_over() or not again:
                if self.has_died(point) and not again:
                    await self.service.wait_ready()
                    again = True
                    patience.reschedule(loop.time() + ENDS_WITHIN_S)
                await asyncio.sleep(0.05)

    async def assert_ends(self, point: str, asked: Asked, state: str) -> None:
        """Whoever looks meanwhile is told the truth, which never goes backwards; in the end it is `state`."""
        person = asked.person

        async def is_over() -> bool:
            answer = await self.crowd.insist(lambda: person.api.get(f"/v1/stamps/{asked.said['id']}"))
            self.crowd.told(Asked(person, asked.size_bytes, asked.sha256, answer.raise_for_status().json()))
            quota = (await self.crowd.insist(lambda: person.api.get("/v1/quota"))).json()
            assert QUOTA == quota["available"] + quota["held"] + quota["used"]
            return bool(answer.json()["state"] != "held")

        await self.until(point, is_over)
        assert (state, []) == (self.crowd.asked[asked.said["id"]].said["state"], self.crowd.lies)


@pytest.fixture(scope="module")
async def trial(short_folder: Path) -> AsyncIterator[Trial]:
    """The service with two sealers and nothing armed; at the end the verdict on all that happened in it."""
    armed = short_folder / "armed"
    armed.mkdir()
    service = RunningService(short_folder / "points", {**SETTINGS, "EMETERAI_CRASH_FOLDER": str(armed)})
    trial = Trial(service, armed)
    try:
        await service.start()
        yield trial
        verdict = await judge(service, trial.crowd, credited=QUOTA, patience_s=30, verify_max=100)
        assert [] == verdict.faults, service.last_words()
        assert 0 == await service.stop(), service.last_words()
    finally:
        service.kill_rest()
        for person in trial.crowd.people:
            await person.close()


async def stamp_at_once(trial: Trial, point: str) -> None:
    """A file and its stamp in one request."""
    person, original = await trial.person(), letter()
    trial.arm(point)
    files = {"file": ("surat.pdf", original, "application/pdf")}
    said = await trial.post(person, "/v1/stamps", files=files)
    await trial.assert_ends(point, Asked.of(person, original, said), "sealed")


async def stamp_by_upload(trial: Trial, point: str) -> None:
    """A resumable upload, then a stamp on the document."""
    person, original = await trial.person(), letter()
    trial.arm(point)
    document_id = await trial.crowd.upload(person, original, cut=700)
    said = await trial.post(person, "/v1/stamps", json={"document_id": document_id})
    await trial.assert_ends(point, Asked.of(person, original, said), "sealed")


async def stamp_on_repaired(trial: Trial, point: str) -> None:
    """A file that is repaired first: its stamp is not on the bytes that were sent, so the verdict leaves it out."""
    person, original = await Person.sign_up(trial.service, quota=1), letter()
    trial.arm(point)
    files = {"file": ("surat.pdf", original[: original.rindex(b"startxref")], "application/pdf")}
    said = await trial.post(person, "/v1/stamps", files=files)
    assert trial.has_died(point)
    assert "sealed" == (await person.ended(said["id"]))["state"]
    await person.close()


async def give_back(trial: Trial, point: str) -> None:
    """A stamp that cannot be made: the store loses the file after its inspection."""
    person, original = await trial.person(), letter()
    document_id = await trial.crowd.upload(person, original, cut=700)
    inspected = await person.api.get(f"/v1/documents/{document_id}", headers={"Prefer": "wait=10"})
    assert "ready" == inspected.json()["state"]
    (trial.service.data_path / "blobs" / "originals" / str(document_id)).write_bytes(letter())
    trial.arm(point)
    wanted = {"document_id": document_id, "page": 1, "box": [430, 40, 530, 140], "cover": True}
    said = await trial.post(person, "/v1/stamps", json=wanted)
    await trial.assert_ends(point, Asked.of(person, original, said), "given_back")


async def buy(trial: Trial, point: str) -> None:
    """An order, its payment, the provider's notification."""
    person = await trial.person()
    trial.arm(point)
    order = await trial.post(person, "/v1/orders", json={"quantity": 2})
    trial.crowd.bought[order["id"]] = Bought(person, 2, order)
    await trial.service.pay(order["pay_url"])

    async def is_over() -> bool:
        quota = (await trial.crowd.insist(lambda: person.api.get("/v1/quota"))).json()
        assert quota["available"] in {QUOTA, QUOTA + 2}
        return bool(quota["available"] == QUOTA + 2)

    await trial.until(point, is_over)


async def buy_unheard(trial: Trial, point: str) -> None:
    """An order whose notification reaches nobody, as the web sleeps: the steward asks the provider, and dies of it."""
    person = await trial.person()
    order = await trial.post(person, "/v1/orders", json={"quantity": 2})
    trial.crowd.bought[order["id"]] = Bought(person, 2, order)
    db = await Database.connect(trial.service.database_url, connections_max=1, wait_s=5)
    with asleep(family_of(trial.service.pids()["web"])):
        await trial.service.pay(order["pay_url"])
        trial.arm(point)
        async with db.transaction() as tx:
            hurry = "UPDATE purchase.orders SET next_check_at = now() WHERE id = $1"
            await tx.execute(hurry, UUID(order["id"]))
        async with asyncio.timeout(DIES_WITHIN_S):
            while not trial.has_died(point):
                await asyncio.sleep(0.05)
        # The question that died is asked again when it is due; here it is due at once.
        async with db.transaction() as tx:
            await tx.execute(f"{hurry} AND state = 'awaiting_payment'", UUID(order["id"]))
        async with asyncio.timeout(ENDS_WITHIN_S):
            while "paid" != await db.fetchval("SELECT state FROM purchase.orders WHERE id = $1", UUID(order["id"])):
                await asyncio.sleep(0.05)
    await db.close()
    await trial.service.wait_ready()
    assert QUOTA + 2 == (await person.quota())["available"]


Road = Callable[[Trial, str], Awaitable[None]]
POINTS: dict[str, Road] = {
    **dict.fromkeys(["upload.stored", "hold.written", "hold.recorded"], stamp_at_once),
    **dict.fromkeys(["seal.claimed", "seal.made", "seal.stored", "seal.read_back"], stamp_at_once),
    **dict.fromkeys(["settle.written", "settle.recorded"], stamp_at_once),
    **dict.fromkeys(["piece.stored", "piece.written", "piece.recorded", "upload.joined"], stamp_by_upload),
    **dict.fromkeys(["join.written", "join.recorded"], stamp_by_upload),
    **dict.fromkeys(["inspect.claimed", "inspect.found", "inspect.written", "inspect.recorded"], stamp_by_upload),
    **dict.fromkeys(["upload.written", "upload.recorded", "repair.stored"], stamp_on_repaired),
    **dict.fromkeys(["give_back.written", "give_back.recorded"], give_back),
    **dict.fromkeys(["order.placed", "charge.opened", "charge.recorded"], buy),
    **dict.fromkeys(["payment.noted", "payment.written", "payment.recorded"], buy),
    **dict.fromkeys(["check.written", "check.recorded"], buy_unheard),
    **dict.fromkeys(RETURN_POINTS, returns),
    **dict.fromkeys(SETTLEMENT_POINTS, settlements),
    **dict.fromkeys(VOUCHER_POINTS, vouchers),
    **dict.fromkeys(PARTNER_POINTS, partners),
    **dict.fromkeys(GRANT_POINTS, grants),
}
"""Every point, and the road on which somebody comes to it."""


@pytest.mark.parametrize("point", POINTS)
async def test_who_dies_exactly_there_loses_nothing(trial: Trial, point: str) -> None:
    """The process that comes there first is killed; the rest happens by itself within ten seconds of its return."""
    await POINTS[point](trial, point)
    assert trial.has_died(point)


def test_every_point_in_the_code_has_a_road_here() -> None:
    """A point that is added, lost or renamed is noticed."""
    found = [
        node.args[0].value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "may_die_at"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert sorted(POINTS) == sorted(found)
