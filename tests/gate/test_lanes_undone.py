"""Undoing a change of a lane takes back what that change changed, and nothing that came later."""

from __future__ import annotations

import msgspec
import pytest

from emeterai.core.refusal import Refused
from emeterai.gate.lanes import DEFAULTS, RETAIL, Change, Lane, Lanes, changed
from emeterai.gate.operator import would_change
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database

CAMPAIGN = Lane(name="cpns-2026", title="CPNS 2026", share=0.1)
NAME = CAMPAIGN.name


class LaneDesk:
    """One operator who always looks before changing anything."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes

    async def pull(self, name: str, **levers: object) -> Change:
        """Change some levers of a lane."""
        await self.lanes.look()
        lane = changed(self.lanes.get(name), levers)
        return await self.lanes.change(lane, by="Siti", seen=self.lanes.number_of(name))

    async def undo(self, change: Change) -> Change:
        """Undo a change as it is shown now."""
        seen = (await self.lanes.undoing(change.number)).seen
        return await self.lanes.undo(change.number, by="Budi", seen=seen)


@pytest.fixture
def desk(db: Database, bus: Bus) -> LaneDesk:
    """An operator's desk."""
    return LaneDesk(Lanes(db, bus))


async def test_undoing_an_older_change_leaves_the_newer_ones(desk: LaneDesk) -> None:
    """What is shown beforehand is what happens: the old lever goes back, and the pause that came later stays."""
    await desk.lanes.change(CAMPAIGN, by="Siti", seen=0)
    older = await desk.pull(NAME, ceiling_per_s=5.0)
    await desk.pull(NAME, paused=True, message_id="Sebentar.")
    undoing = await desk.lanes.undoing(older.number)
    levers = [names[1] for names, _, _ in would_change(undoing.now, undoing.wanted)]
    assert ["Let in a second, at most (0: no limit)"] == levers
    undone = await desk.undo(older)
    assert changed(CAMPAIGN, {"paused": True, "message_id": "Sebentar."}) == desk.lanes.get(NAME) == undone.after
    assert older.number == undone.undoes


async def test_undoing_the_first_change_of_a_lane_that_is_always_there_leaves_the_newer_ones(desk: LaneDesk) -> None:
    """Its row stays for as long as it differs from what it is by default."""
    first = await desk.pull(RETAIL, share=0.3)
    second = await desk.pull(RETAIL, paused=True)
    await desk.undo(first)
    assert changed(DEFAULTS[RETAIL], {"paused": True}) == desk.lanes.get(RETAIL)
    await desk.undo(second)
    assert (DEFAULTS[RETAIL], 0) == (desk.lanes.get(RETAIL), desk.lanes.number_of(RETAIL))


async def test_a_lever_that_was_pulled_twice_is_shown_as_it_would_go_back(desk: LaneDesk) -> None:
    """From what it is now to what it was before the change that is undone."""
    first = await desk.pull(RETAIL, share=0.3)
    await desk.pull(RETAIL, share=0.2)
    undoing = await desk.lanes.undoing(first.number)
    assert [(("Jatah (%)", "Share (%)"), "20", "40")] == would_change(undoing.now, undoing.wanted)


async def test_making_a_lane_is_not_undone_while_newer_changes_stand(desk: LaneDesk) -> None:
    """They would be gone with it. Once they are undone the lane can go, and come back as it was."""
    made = await desk.lanes.change(CAMPAIGN, by="Siti", seen=0)
    lever = await desk.pull(NAME, paused=True)
    with pytest.raises(Refused, match="lane_changed_since") as refused:
        await desk.undo(made)
    assert 409 == refused.value.kind.status
    with pytest.raises(Refused, match="lane_changed_since"):
        await desk.lanes.undo(made.number, by="Budi", seen=lever.number)
    assert desk.lanes.get(NAME).paused
    await desk.undo(lever)
    gone = await desk.undo(made)
    assert NAME not in desk.lanes.now
    with pytest.raises(Refused, match="lane_unknown"):
        await desk.undo(lever)
    await desk.undo(gone)
    assert CAMPAIGN == desk.lanes.get(NAME)
    with pytest.raises(Refused, match="lane_changed_since"):
        await desk.undo(gone)


async def test_what_was_not_seen_is_not_undone_over(db: Database, bus: Bus, desk: LaneDesk) -> None:
    """Somebody else has changed the lane between the look and the confirmation, by another process too."""
    change = await desk.pull(RETAIL, share=0.3)
    seen = (await desk.lanes.undoing(change.number)).seen
    newer = await LaneDesk(Lanes(db, bus)).pull(RETAIL, share=0.2)
    for number in (seen, 0, -1):
        with pytest.raises(Refused, match="lane_changed_meanwhile"):
            await desk.lanes.undo(change.number, by="Budi", seen=number)
    assert [newer, change] == await desk.lanes.changes()


async def test_what_a_process_has_not_heard_of_yet_is_kept(db: Database, bus: Bus, desk: LaneDesk) -> None:
    """The page was made by one process, the form goes to another, which is a second behind."""
    older = await desk.pull(RETAIL, share=0.3)
    newer = await LaneDesk(Lanes(db, bus)).pull(RETAIL, paused=True)
    await desk.lanes.undo(older.number, by="Budi", seen=newer.number)
    assert changed(DEFAULTS[RETAIL], {"paused": True}) == desk.lanes.get(RETAIL)
    behind = Lanes(db, bus)
    last = await behind.change(changed(desk.lanes.get(RETAIL), {"share": 0.1}), by="Siti", seen=newer.number + 1)
    assert desk.lanes.get(RETAIL) == last.before


async def test_an_undo_promises_no_more_than_there_is(desk: LaneDesk) -> None:
    """Also where it makes the lane what it is by default."""
    lowered = await desk.pull(RETAIL, share=0.1)
    await desk.lanes.change(changed(CAMPAIGN, {"share": 0.4}), by="Siti", seen=0)
    with pytest.raises(Refused, match="shares_too_large"):
        await desk.undo(lowered)
    assert 0.1 == desk.lanes.get(RETAIL).share


async def test_a_change_can_be_undone_however_many_came_after_it(db: Database, desk: LaneDesk) -> None:
    """A lever that was pulled once in spring is not forgotten in autumn."""
    first = await desk.pull(RETAIL, ceiling_per_s=5.0)
    lane = msgspec.json.encode(CAMPAIGN).decode()
    await db.fetch(
        "INSERT INTO gate.lane_changes (by, lane, after) "
        "SELECT 'Siti', $1, $2::text::jsonb FROM generate_series(1, 1000)",
        NAME,
        lane,
    )
    assert first == (await desk.lanes.undoing(first.number)).change
    await desk.undo(first)
    assert DEFAULTS[RETAIL] == desk.lanes.get(RETAIL)


@pytest.mark.parametrize("number", [0, -1, 2, 2**63, 10**30])
async def test_a_change_that_never_was_is_not_taken_for_a_lane(desk: LaneDesk, number: int) -> None:
    """Whoever mistypes its number hears that."""
    await desk.pull(RETAIL, paused=True)
    for ask in (desk.lanes.undoing(number), desk.lanes.undo(number, by="Budi", seen=1)):
        with pytest.raises(Refused, match="lane_change_unknown"):
            await ask
