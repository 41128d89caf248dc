"""The controller after seconds in which it decided nothing: the database was away, or another process decided."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from emeterai.gate import controller, pace_store
from emeterai.gate.controller import Controller
from emeterai.gate.lanes import RETAIL, Lanes
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id


@pytest.mark.parametrize(("since_s_max", "left"), [(600.0, 80), (-1.0, 0)], ids=["a second later", "after a gap"])
async def test_whoever_went_in_a_gap_did_not_leave_in_a_second(
    monkeypatch: pytest.MonkeyPatch, db: Database, bus: Bus, since_s_max: float, left: int
) -> None:
    """Or as many would be called at once as went in a minute, and how long people stay would be forgotten."""
    monkeypatch.setattr(controller, "_STALE_S", since_s_max)
    deciding = Controller(db, Lanes(db, bus), process=new_id())
    for inside in (100, 20):
        told = {"role": "web", "lanes": {RETAIL: {"inside": inside}}}
        await pace_store.put_reading(db, UUID(int=1), msgspec.json.encode(told).decode())
        await deciding.second()
    assert left == deciding._pacer._lanes[RETAIL].left
