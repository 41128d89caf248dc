"""Whose share of the sealers makes a stamp: that of the lane by which it was asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from emeterai.core.ledger import Reason
from emeterai.infra import metrics
from emeterai.infra.database import Database
from emeterai.infra.lane import COMMON, lane_now, work_for
from emeterai.stamping.documents import INSPECT
from emeterai.stamping.service import SEAL
from papers import letter
from spine import Spine, some_seal


async def lanes(db: Database, kind: str) -> dict[UUID, str]:
    """The lane of each job of a kind."""
    return {row["id"]: row["lane"] for row in await db.fetch("SELECT id, lane FROM infra.jobs WHERE kind = $1", kind)}


async def test_stamps_asked_for_together_keep_their_own_lanes(db: Database, tmp_path: Path) -> None:
    """One batch holds the units of several lanes."""
    spine = Spine(db, tmp_path)

    async def asked(lane: str | None) -> Any:
        if lane is not None:
            work_for(lane, 0)
        stamp, _ = await spine.stamping.ask(msgspec.structs.replace(requests.pop(), lane=lane_now()))
        return stamp.id

    wanted = (None, "partners", "cpns-2026", "partners")
    requests = [await spine.wanted(await spine.person(1)) for _ in wanted]
    ids = await asyncio.gather(*(asyncio.create_task(asked(lane)) for lane in wanted))
    assert {one: lane or COMMON for one, lane in zip(ids, wanted, strict=True)} == await lanes(db, SEAL)


async def test_what_is_settled_is_counted_for_the_lane_that_asked(db: Database, tmp_path: Path) -> None:
    """One batch of a sealer holds stamps of several; one that comes too late is nobody's."""
    spine, held = Spine(db, tmp_path), {}
    for lane in ("partners", "cpns-2026", "partners", "staff"):
        work_for(lane, 0)
        stamp = await spine.held()
        held[stamp.id] = lane, stamp
    stamps = {key: stamp for key, (_, stamp) in held.items()}
    claims, before = await spine.claim(), metrics.done_by_lane("settle")
    assert {key: lane for key, (lane, _) in held.items()} == {claim.id: claim.lane for claim in claims}
    late = next(claim for claim in claims if claim.lane == "staff")
    assert 1 == await spine.endings.give_back({late.id: (Reason.CANCELLED, None)})
    assert 3 == await spine.endings.settle(claims, stamps, {key: some_seal(stamp) for key, stamp in stamps.items()})
    counted = Counter(metrics.done_by_lane("settle"))
    counted.subtract(before)
    assert Counter({"partners": 2, "cpns-2026": 1}) == +counted


async def test_a_request_for_a_stamp_knows_its_lane(db: Database, tmp_path: Path) -> None:
    """It is made where the request is, and held where many are held together."""
    spine = Spine(db, tmp_path)
    work_for("partners", 0)
    assert "partners" == (await spine.wanted(await spine.person(1))).lane


async def test_a_file_that_is_left_to_the_sealers_is_inspected_from_its_own_lanes_share(
    db: Database, tmp_path: Path
) -> None:
    """Files that arrive together, too."""
    spine = Spine(db, tmp_path)

    async def kept(lane: str) -> Any:
        work_for(lane, 0)
        arrived = await spine.documents.keep(await spine.person(1), "surat.pdf", letter())
        await spine.documents.record(arrived)
        return arrived.id

    ids = await asyncio.gather(*(asyncio.create_task(kept(lane)) for lane in ("partners", "retail")))
    assert dict(zip(ids, ("partners", "retail"), strict=True)) == await lanes(db, INSPECT)
