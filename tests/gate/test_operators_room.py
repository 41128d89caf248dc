"""The operator's room: what it shows of each lane is what the people there have and are told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from waiting_people import OPEN, changed, publish

from emeterai.gate import pace_store
from emeterai.gate.controller import LanePace, Paces
from emeterai.gate.lanes import RETAIL, Lane, Lanes
from emeterai.gate.lanes import changed as changed_lane
from emeterai.gate.now import EstimateError, NowFiles, Turns
from emeterai.gate.operator import LaneView, RoomView, room_view
from emeterai.gate.room_page import span_of
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database

ESTIMATES = EstimateError(200, 0.91, -7.5)


class Desk:
    """One operator's view of a service whose paces and files a test writes."""

    def __init__(self, db: Database, bus: Bus, folder: Path) -> None:
        self.db, self.folder, self.lanes = db, folder, Lanes(db, bus)

    async def view(self, **paces: LanePace) -> RoomView:
        """The room, with these paces."""
        await pace_store.put_paces(
            self.db, [(name, msgspec.json.encode(pace).decode()) for name, pace in paces.items()]
        )
        found = Paces(self.db, self.lanes)
        await self.lanes.look()
        await found.look()
        return room_view(self.lanes, found, NowFiles(self.folder / "now"))


@pytest.fixture
def desk(db: Database, bus: Bus, tmp_path: Path) -> Desk:
    """An operator's desk."""
    return Desk(db, bus, tmp_path)


def of(room: RoomView, name: str) -> LaneView:
    """One lane of the room."""
    return next(view for view in room.lanes if view.lane.name == name)


async def test_goodput_is_each_lanes_own_and_the_whole_is_of_all(desk: Desk) -> None:
    """What was settled for a lane that is no more is in the whole."""
    room = await desk.view(
        retail=LanePace(per_s=1.0, goodput=8.0, settled=12.0), partners=LanePace(per_s=1.0, goodput=3.0, settled=12.0)
    )
    assert (8.0, 3.0, 0.0) == tuple(of(room, name).goodput for name in ("retail", "partners", "staff"))
    assert 12.0 == room.goodput


async def test_a_lanes_own_step_is_shown_where_it_is_higher(desk: Desk) -> None:
    """The service's own is shown as it was measured."""
    await desk.lanes.change(changed_lane(desk.lanes.get(RETAIL), {"rests_from": 4}), by="Siti", seen=0)
    room = await desk.view(retail=LanePace(per_s=1.0, step=2), partners=LanePace(per_s=1.0, step=2))
    assert (4, 2, 2) == (of(room, RETAIL).step_number, of(room, "partners").step_number, room.step_number)
    assert of(room, RETAIL).step != of(room, "partners").step


async def test_the_estimate_is_what_people_are_told(desk: Desk) -> None:
    """The range of the now-serving file for the last in line, and how good such ranges were."""
    now = changed(OPEN, last_number=10_100, turns_per_s=Turns(5.0, 10.0, 20.0), estimate_error=ESTIMATES)
    publish(desk.folder, now)
    room = await desk.view(retail=LanePace(per_s=1_000.0, waiting=10_000))
    assert (span_of(500, 2_000), ESTIMATES) == (of(room, RETAIL).wait, of(room, RETAIL).estimates)
    assert (None, None) == (of(room, "partners").wait, of(room, "partners").estimates)


@pytest.mark.parametrize("values", [{"last_number": 100}, {"state": "paused"}, {"state": "before_opening"}])
async def test_no_estimate_is_shown_where_nobody_is_told_one(desk: Desk, values: dict[str, object]) -> None:
    """Nobody waits, or the lane is not open."""
    publish(desk.folder, changed(OPEN, **values))
    assert of(await desk.view(retail=LanePace(per_s=10.0, waiting=400)), RETAIL).wait is None


async def test_lanes_in_which_people_wait_come_first(desk: Desk) -> None:
    """In a rush nobody looks for them below the quiet ones."""
    room = await desk.view(partners=LanePace(per_s=1.0, waiting=3), staff=LanePace(per_s=1.0, waiting=70))
    assert ["partners", "staff"] == [view.lane.name for view in room.lanes[:2]]
    assert ["retail", "enterprises"] == [view.lane.name for view in room.lanes[2:]]


async def test_a_lane_is_shown_by_its_dates(desk: Desk) -> None:
    """Paused or not: whoever lets it go again wants to know what comes of it."""
    hour, now = timedelta(hours=1), utc_now()
    dates = {"later": {"opens_at": now + hour}, "over": {"closes_at": now - hour}, "open": {"opens_at": now - hour}}
    for name, values in dates.items():
        lane = changed_lane(Lane(name=name, title=name), {**values, "paused": True})
        await desk.lanes.change(lane, by="Siti", seen=0)
    room = await desk.view()
    assert ("before_opening", "closed", "open") == tuple(of(room, name).dates for name in dates)
    assert "open" == of(room, RETAIL).dates
