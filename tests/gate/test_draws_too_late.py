"""A lane awaits a draw from its first moment, or never: who was given a number while it was open keeps its turn."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from emeterai.core.refusal import Refused
from emeterai.gate import room_store
from emeterai.gate.lanes import Lane, Lanes, changed
from emeterai.gate.operator import new_lane
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

NAME = "cpns-2026"
CAMPAIGN = Lane(name=NAME, title="CPNS 2026")
SEED = b"s" * 32


@pytest.fixture
async def lanes(db: Database, bus: Bus) -> Lanes:
    """The lanes, with a campaign that opened at once, and whose line nobody has moved yet."""
    found = Lanes(db, bus)
    await found.change(CAMPAIGN, by="Siti", seen=0)
    await db.fetch("INSERT INTO gate.rooms (lane) VALUES ($1)", NAME)
    return found


async def postpone(lanes: Lanes, *, hours: float = 1.0, **levers: object) -> Lane:
    """Have the campaign open in so many hours."""
    lane = changed(lanes.get(NAME), {"opens_at": utc_now() + timedelta(hours=hours), **levers})
    await lanes.change(lane, by="Siti", seen=lanes.number_of(NAME))
    return lane


@pytest.mark.parametrize("served", [False, True], ids=["a number was given", "the line has moved"])
async def test_a_lane_that_has_been_open_gets_no_draw(db: Database, lanes: Lanes, served: bool) -> None:
    """Its numbers were turns, and some of them have come. Nothing is changed, and nothing on record."""
    if served:
        await db.fetch("UPDATE gate.rooms SET now_serving = 50")
    else:
        await room_store.lease(db, NAME, 512, new_id())
    with pytest.raises(Refused, match="draw_too_late") as refused:
        await postpone(lanes)
    assert 409 == refused.value.kind.status
    await lanes.look()
    assert (CAMPAIGN, 1) == (lanes.get(NAME), len(await lanes.changes()))


async def test_nor_does_one_that_was_taken_away_and_made_again(db: Database, lanes: Lanes) -> None:
    """Its numbers are still people's."""
    await room_store.lease(db, NAME, 512, new_id())
    made = lanes.number_of(NAME)
    await lanes.undo(made, by="Siti", seen=made)
    with pytest.raises(Refused, match="draw_too_late"):
        await lanes.change(changed(CAMPAIGN, {"opens_at": utc_now() + timedelta(hours=1)}), by="Siti", seen=0)


async def test_a_new_lane_under_a_drawn_name_has_had_its_draw(db: Database, lanes: Lanes) -> None:
    """It would be promised a draw that never comes; that the lane was taken away can still be undone."""
    made = lanes.number_of(NAME)
    await db.fetch("UPDATE gate.rooms SET draw_seed = $1, next_number = 1000, draw_count = 999", SEED)
    await lanes.undo(made, by="Siti", seen=made)
    with pytest.raises(Refused, match="draw_too_late"):
        await lanes.change(changed(CAMPAIGN, {"opens_at": utc_now() + timedelta(hours=1)}), by="Siti", seen=0)
    await lanes.undo(made + 1, by="Siti", seen=0)
    assert CAMPAIGN == lanes.get(NAME)


async def test_all_other_levers_of_an_open_lane_are_as_before(db: Database, lanes: Lanes) -> None:
    """And a time that has come already is no draw."""
    await room_store.lease(db, NAME, 512, new_id())
    await postpone(lanes, hours=-1.0, paused=True)
    assert lanes.get(NAME).paused


async def test_while_a_draw_is_awaited_it_can_be_moved(db: Database, lanes: Lanes) -> None:
    """However many lots were given; and a lane that was drawn can be postponed, because its draw holds."""
    await db.fetch("UPDATE gate.rooms SET draw_seed = $1, next_number = 1000", SEED)
    for hours in (1.0, 3.0, 2.0):
        assert await postpone(lanes, hours=hours) == lanes.get(NAME)
    await db.fetch("UPDATE gate.rooms SET draw_count = 999, now_serving = 50")
    assert await postpone(lanes, hours=4.0) == lanes.get(NAME)


async def test_whoever_still_knows_the_lane_as_open_does_not_move_it(db: Database, lanes: Lanes) -> None:
    """Nobody has a number yet: it awaits a draw, and a steward that heard of it late serves none before."""
    steward = new_id()
    rows = await room_store.claim_rooms(db, [NAME], steward, lease_s=3.0)
    await postpone(lanes)
    assert not await room_store.write_room(db, steward, rows[0], "{}")
    assert [] == await room_store.claim_rooms(db, [NAME], steward, lease_s=3.0)
    await db.fetch("UPDATE gate.rooms SET writer_until = now() - interval '1 s'")
    assert 1 == len(await room_store.claim_rooms(db, [NAME], steward, lease_s=3.0))


async def test_a_lane_that_awaits_its_draw_goes_on_with_its_steward(db: Database, lanes: Lanes) -> None:
    """Moving the draw does not make the line stand."""
    steward = new_id()
    await db.fetch("UPDATE gate.rooms SET draw_seed = $1", SEED)
    rows = await room_store.claim_rooms(db, [NAME], steward, lease_s=3.0)
    await postpone(lanes)
    assert await room_store.write_room(db, steward, rows[0], "{}")


@pytest.mark.parametrize(
    ("typed", "opens_at", "closes_at"),
    [
        ({}, None, None),
        ({"opens_at": "", "closes_at": " "}, None, None),
        (
            {"opens_at": "2026-12-01T09:00", "closes_at": "2026-12-02T00:30"},
            datetime(2026, 12, 1, 2, 0, tzinfo=UTC),
            datetime(2026, 12, 1, 17, 30, tzinfo=UTC),
        ),
    ],
)
def test_a_lane_is_made_with_its_times(
    typed: Mapping[str, str], opens_at: datetime | None, closes_at: datetime | None
) -> None:
    """As people in Jakarta read them."""
    lane = new_lane({"name": NAME, "title": "CPNS 2026", **typed})
    assert (NAME, "CPNS 2026", opens_at, closes_at) == (lane.name, lane.title, lane.opens_at, lane.closes_at)


@pytest.mark.parametrize(
    "typed", [{"opens_at": "besok"}, {"opens_at": "2026-12-02T09:00", "closes_at": "2026-12-01T09:00"}]
)
def test_times_that_cannot_be_are_refused(typed: Mapping[str, str]) -> None:
    """As at the levers."""
    with pytest.raises(Refused, match="lane_unusable"):
        new_lane({"name": NAME, "title": "CPNS 2026", **typed})
