"""kill -9 exactly between two steps, at every named point: what was begun ends, once, unaided; nobody hears a lie."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from case_roads import CASE_POINTS, cases
from crowd import Asked, Bought
from death_trial import DIES_WITHIN_S, ENDS_WITHIN_S, QUOTA, Trial, trial_in
from grant_roads import GRANT_POINTS, grants
from partner_roads import PARTNER_POINTS, partners
from raise_roads import RAISE_POINTS, TimedTrial, raises, timed_trial
from return_roads import RETURN_POINTS, SETTLEMENT_POINTS, returns, settlements
from voucher_roads import VOUCHER_POINTS, vouchers

import emeterai
from emeterai.infra.database import Database
from papers import letter
from processes import asleep, family_of
from running import Person

SOURCE = Path(emeterai.__file__).parent


@pytest.fixture(scope="module")
async def trial(short_folder: Path) -> AsyncIterator[Trial]:
    """The service with two sealers and nothing armed; at the end the verdict on all that happened in it."""
    async with trial_in(short_folder / "points") as trial:
        yield trial


@pytest.fixture(scope="module")
async def timed(short_folder: Path) -> AsyncIterator[TimedTrial]:
    """The same with a timestamp authority, which is away."""
    async with timed_trial(short_folder / "timed-points") as timed:
        yield timed


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
    """A file that is repaired first: its stamp is on the repaired bytes; for the verdict those are what was sent."""
    person, original = await trial.person(), letter()
    broken = original[: original.rindex(b"startxref")]
    trial.arm(point)
    files = {"file": ("surat.pdf", broken, "application/pdf")}
    said = await trial.post_past(point, person, "/v1/stamps", files=files)
    await trial.assert_ends(point, Asked(person, *await _repaired(trial, broken, said), said), "sealed")


async def _repaired(trial: Trial, broken: bytes, said: dict[str, Any]) -> tuple[int, str]:
    """How long the repaired file of a stamp is, and its SHA-256, on record beside the digest of what was sent."""
    db = await Database.connect(trial.service.database_url, connections_max=1, wait_s=5)
    try:
        row = await db.fetchrow(
            "SELECT digest, repaired_bytes, repaired_digest FROM stamping.documents WHERE id = $1",
            UUID(said["document_id"]),
        )
    finally:
        await db.close()
    assert sha256(broken).digest() == row["digest"] != row["repaired_digest"]
    return row["repaired_bytes"], row["repaired_digest"].hex()


async def give_back(trial: Trial, point: str) -> None:
    """A stamp that cannot be made: the store loses the file after its inspection."""
    person, original = await trial.person(), letter()
    document_id = await _inspected(trial, person, original)
    (trial.service.data_path / "blobs" / "originals" / document_id).write_bytes(letter())
    trial.arm(point)
    wanted = {"document_id": document_id, "page": 1, "box": [430, 40, 530, 140], "cover": True}
    said = await trial.post(person, "/v1/stamps", json=wanted)
    await trial.assert_ends(point, Asked.of(person, original, said), "given_back")


async def give_back_expired(trial: Trial, point: str) -> None:
    """A hold that runs out while every sealer sleeps: the steward's sweep gives the unit back, and dies of it."""
    person, original = await trial.person(), letter()
    document_id, pids = await _inspected(trial, person, original), trial.service.pids()
    with asleep([pid for name, pid in pids.items() if name.startswith("sealer-")]):
        said = await trial.post(person, "/v1/stamps", json={"document_id": document_id})
        assert "held" == said["state"]
        trial.arm(point)
        db = await Database.connect(trial.service.database_url, connections_max=1, wait_s=5)
        async with db.transaction() as tx:
            await tx.execute("UPDATE ledger.holds SET expires_at = now() WHERE subject = $1", UUID(said["id"]))
        await db.close()
        await trial.assert_ends(point, Asked.of(person, original, said), "given_back")
        async with asyncio.timeout(ENDS_WITHIN_S):
            while trial.service.pids().get("steward") in {None, pids["steward"]}:
                await asyncio.sleep(0.05)
    assert "expired" == trial.crowd.asked[said["id"]].said["reason"]


async def _inspected(trial: Trial, person: Person, original: bytes) -> str:
    """The id of a document that can be stamped."""
    document_id = await trial.crowd.upload(person, original, cut=700)
    inspected = await person.api.get(f"/v1/documents/{document_id}", headers={"Prefer": "wait=10"})
    assert "ready" == inspected.json()["state"]
    return str(document_id)


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
    **dict.fromkeys(CASE_POINTS, cases),
}
"""The points of a service without a timestamp authority, and the road on which somebody comes to each."""
STEWARD_POINTS = ("give_back.written", "give_back.recorded")
"""Sealers come to these on the road above, the steward on its own."""


@pytest.mark.parametrize("point", POINTS)
async def test_who_dies_exactly_there_loses_nothing(trial: Trial, point: str) -> None:
    """The process that comes there first is killed; the rest happens by itself, before any lease or hold runs out."""
    await POINTS[point](trial, point)
    assert trial.has_died(point)


@pytest.mark.parametrize("point", STEWARD_POINTS)
async def test_a_steward_that_dies_while_it_gives_back_loses_nothing(trial: Trial, point: str) -> None:
    """Nobody seals any more: the unit comes back by the steward that is started again."""
    await give_back_expired(trial, point)
    assert trial.has_died(point)


@pytest.mark.parametrize("point", RAISE_POINTS)
async def test_who_dies_while_raising_a_level_leaves_a_file_that_is_raised_once(timed: TimedTrial, point: str) -> None:
    """The file is genuine at every moment, and soon after the sealer's return it has its timestamp."""
    await raises(timed, point)
    assert timed.trial.has_died(point)


def test_every_point_in_the_code_has_a_road_here() -> None:
    """A point that is added, lost or renamed is noticed."""
    found = [
        node.args[0].value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "may_die_at"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert sorted([*POINTS, *RAISE_POINTS]) == sorted(found)
