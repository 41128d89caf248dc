"""Lanes in the database: changed while running, on record, undone; and the controller that decides for them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from prometheus_client import REGISTRY

from emeterai.core.refusal import Refused
from emeterai.gate import lane_store, pace_store
from emeterai.gate.controller import FAILED, Controller, LanePace, Paces, admission_of, settled_reader
from emeterai.gate.keeper import Keeper
from emeterai.gate.lanes import DEFAULTS, RETAIL, Lane, LaneKind, Lanes, changed, require_lane
from emeterai.infra import metrics
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

CAMPAIGN = Lane(name="cpns-2026", kind=LaneKind.CAMPAIGN, title="CPNS 2026", share=0.1)
WEB: dict[str, Any] = {"role": "web", "pressure": 0.1, "limit": 32, "lanes": {"retail": {"inside": 20, "in_flight": 3}}}


@pytest.fixture
async def lanes(db: Database, bus: Bus) -> Lanes:
    """The lanes as one process knows them."""
    found = Lanes(db, bus)
    await found.look()
    return found


async def put(db: Database, **changes: Any) -> None:
    """A web process tells what it measured."""
    await pace_store.put_reading(db, new_id(), msgspec.json.encode({**WEB, **changes}).decode())


def test_without_any_row_there_are_lanes_that_make_sense(lanes: Lanes) -> None:
    """Each kind of user has one, and a part of the whole is left for campaigns."""
    assert set(DEFAULTS) == set(lanes.now)
    assert 0.05 <= 1 - sum(lane.share for lane in lanes.now.values()) < 0.5
    assert lanes.shares() == {name: lane.share for name, lane in DEFAULTS.items()}


async def test_a_change_is_on_record_with_who_made_it(lanes: Lanes) -> None:
    """Before and after, so that anyone can see what differed."""
    wanted = changed(lanes.get(RETAIL), {"share": 0.3, "paused": True})
    change = await lanes.change(wanted, by="Siti", seen=0)
    assert wanted == lanes.get(RETAIL)
    assert [change] == await lanes.changes()
    assert ("Siti", None, wanted) == (change.by, change.before, change.after)
    assert [("share", 0.4, 0.3), ("paused", False, True)] == change.differences()


async def test_another_process_knows_within_a_second(db: Database, database_url: str, lanes: Lanes) -> None:
    """Over the bus, without being restarted."""
    other_bus = Bus(database_url)
    await other_bus.start()
    other = Lanes(db, other_bus)
    await other.start()
    await lanes.change(CAMPAIGN, by="Siti", seen=0)
    async with asyncio.timeout(20):
        while "cpns-2026" not in other.now:
            await asyncio.sleep(0.02)
    await other.close()
    await other_bus.close()


async def test_the_door_of_a_web_process_follows(db: Database, bus: Bus, lanes: Lanes) -> None:
    """Its shares, and what rests in a lane."""
    keeper = Keeper(b"g" * 32)
    async with keeper.keeping(db, bus):
        await lanes.change(changed(lanes.get(RETAIL), {"share": 0.25, "rests_from": 4}), by="Siti", seen=0)
        async with asyncio.timeout(5):
            while keeper.door.lane_steps.get(RETAIL) != 4:
                await asyncio.sleep(0.05)
        limit = keeper.door.work.slots.limit
        assert int(limit * 0.25) == keeper.door.work.slots.guaranteed_to(RETAIL)


async def test_the_door_knows_which_lanes_open_later(db: Database, bus: Bus, lanes: Lanes) -> None:
    """There numbers are lots; one that has opened, or has no date, is like all others."""
    keeper, now = Keeper(b"g" * 32), datetime.now(UTC)
    for name, opens_at in (("later", now + timedelta(hours=1)), ("open", now - timedelta(hours=1))):
        lane = Lane(name=name, title=name, opens_at=opens_at)
        await lanes.change(lane, by="Siti", seen=0)
    async with keeper.keeping(db, bus), asyncio.timeout(5):
        while not keeper.door.before_opening:
            await asyncio.sleep(0.05)
    assert {"later"} == keeper.door.before_opening


@pytest.mark.parametrize(("hours", "are_given"), [(1, True), (23, True), (25, False)])
async def test_the_door_knows_when_a_draw_is_soon(
    db: Database, bus: Bus, lanes: Lanes, hours: int, *, are_given: bool
) -> None:
    """Within a day of it whoever signs in to have a lot needs no pass, whatever lane they are in."""
    keeper = Keeper(b"g" * 32)
    opens_at = datetime.now(UTC) + timedelta(hours=hours)
    await lanes.change(Lane(name="later", title="later", opens_at=opens_at), by="Siti", seen=0)
    async with keeper.keeping(db, bus), asyncio.timeout(5):
        while not keeper.door.before_opening:
            await asyncio.sleep(0.05)
    assert are_given is keeper.door.lots_are_given


async def test_an_undo_is_another_change(lanes: Lanes) -> None:
    """What was there before is there again, by default or by a row; nothing is taken off the record."""
    first = await lanes.change(changed(lanes.get(RETAIL), {"ceiling_per_s": 5.0}), by="Siti", seen=0)
    second = await lanes.change(changed(lanes.get(RETAIL), {"paused": True}), by="Budi", seen=lanes.number_of(RETAIL))
    undone = await lanes.undo(second.number, by="Siti", seen=second.number)
    assert (second.number, first.after) == (undone.undoes, lanes.get(RETAIL))
    await lanes.undo(first.number, by="Siti", seen=undone.number)
    assert DEFAULTS[RETAIL] == lanes.get(RETAIL)
    assert 4 == len(await lanes.changes())


async def test_two_who_change_at_once_do_not_overwrite_each_other(lanes: Lanes) -> None:
    """The second is told to look first, and nothing is on record of what did not happen."""
    await lanes.change(changed(lanes.get(RETAIL), {"paused": True}), by="Siti", seen=0)
    with pytest.raises(Refused, match="lane_changed_meanwhile"):
        await lanes.change(changed(lanes.get(RETAIL), {"share": 0.1}), by="Budi", seen=0)
    seen = lanes.number_of(RETAIL)
    await lanes.change(changed(lanes.get(RETAIL), {"share": 0.2}), by="Siti", seen=seen)
    with pytest.raises(Refused, match="lane_changed_meanwhile"):
        await lanes.change(changed(lanes.get(RETAIL), {"share": 0.1}), by="Budi", seen=seen)
    assert 0.2 == lanes.get(RETAIL).share
    assert 2 == len(await lanes.changes())


async def test_shares_that_promise_more_than_there_is_are_refused(lanes: Lanes) -> None:
    """With the sum that would come out."""
    with pytest.raises(Refused, match="shares_too_large") as refused:
        await lanes.change(changed(CAMPAIGN, {"share": 0.5}), by="Siti", seen=0)
    assert 135 == refused.value.facts["percent"]


@pytest.mark.parametrize(
    "values",
    [
        {"share": 1.5},
        {"title": ""},
        {"colour": "red"},
        {"name": "../x"},
        {"ceiling_per_s": 0.1, "floor_per_s": 1.0},
        {"opens_at": datetime(2026, 9, 2, tzinfo=UTC), "closes_at": datetime(2026, 9, 1, tzinfo=UTC)},
    ],
)
def test_a_lane_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    """With what is wrong."""
    with pytest.raises(Refused, match="lane_unusable"):
        changed(CAMPAIGN, values)


async def test_the_record_of_changes_cannot_be_changed(db: Database, lanes: Lanes) -> None:
    """Not even by the application's own user."""
    await lanes.change(CAMPAIGN, by="Siti", seen=0)
    for statement in ("UPDATE gate.lane_changes SET by = 'x'", "DELETE FROM gate.lane_changes"):
        with pytest.raises(asyncpg.RaiseError, match="stays on record"):
            await db.fetch(statement)


async def test_a_lane_is_there_by_default_or_on_record(db: Database, lanes: Lanes) -> None:
    """For whoever keeps no lanes in memory, such as a command."""
    await lanes.change(CAMPAIGN, by="Siti", seen=0)
    for name in (RETAIL, CAMPAIGN.name):
        await require_lane(db, name)
    for name in ("cpsn-2026", "", "../retail"):
        with pytest.raises(Refused, match="lane_unknown"):
            await require_lane(db, name)


async def test_an_accounts_keys_can_have_a_lane_of_their_own(db: Database, bus: Bus) -> None:
    """The door knows it by the key's digest alone."""
    partner, keeper = new_id(), Keeper(b"g" * 32)
    await lane_store.put_account(db, partner, "partners")

    async def keys_of(accounts: object) -> list[tuple[bytes, Any]]:
        assert [partner] == accounts
        return [(b"d" * 32, partner)]

    async with keeper.keeping(db, bus, keys_of=keys_of):
        async with asyncio.timeout(5):
            while keeper._lane_of_key(b"d" * 32) != "partners":
                await asyncio.sleep(0.02)


async def test_one_of_several_stewards_decides_and_another_takes_over(db: Database, lanes: Lanes) -> None:
    """By a lease, which the one that has fallen silent loses."""
    one, other = new_id(), new_id()
    assert await pace_store.hold_controller(db, one, lease_s=60)
    assert not await pace_store.hold_controller(db, other, lease_s=60)
    assert await pace_store.hold_controller(db, one, lease_s=0)
    assert await pace_store.hold_controller(db, other, lease_s=60)
    assert not await pace_store.hold_controller(db, one, lease_s=60)


async def test_what_was_measured_becomes_a_pace_for_every_lane(db: Database, lanes: Lanes) -> None:
    """Two web processes and two sealers are one service; every process reads the same, and for whom it was."""
    await put(db)
    await put(db, step=2)
    for lanes_settled in ('{"retail": {"settled": 5}, "partners": {"settled": 1}}', '{"retail": {"settled": 3}}'):
        await pace_store.put_reading(db, new_id(), f'{{"role": "sealer", "settled": 6, "lanes": {lanes_settled}}}')
    await Controller(db, lanes, process=new_id()).second()
    paces = Paces(db, lanes)
    await paces.look()
    retail = paces.now(RETAIL)
    assert (40, 6, 8.0, 12.0, 2) == (retail.inside, retail.in_flight, retail.goodput, retail.settled, retail.step)
    assert (1.0, 12.0) == (paces.now("partners").goodput, paces.now("partners").settled)
    assert not retail.pass_needed
    assert set(DEFAULTS) == set(await paces.admissions())


async def test_what_decides_is_counted_and_what_cannot_is_not(db: Database, lanes: Lanes) -> None:
    """An alarm hears that nobody decides, also when there is nobody to fail."""

    def decisions() -> float:
        return REGISTRY.get_sample_value("emeterai_gate_controller_decisions_total") or 0.0

    before, one, other = decisions(), Controller(db, lanes, process=new_id()), Controller(db, lanes, process=new_id())
    await one.second()
    await other.second()
    assert 1 == decisions() - before
    await db.close()
    await one.second()
    assert 1 == decisions() - before


async def test_a_paused_lane_and_one_before_its_dates_let_nobody_in(db: Database, lanes: Lanes) -> None:
    """And everybody there is sent to the waiting room, which says why."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    await lanes.change(changed(CAMPAIGN, {"opens_at": soon}), by="Siti", seen=0)
    await lanes.change(changed(lanes.get(RETAIL), {"paused": True}), by="Siti", seen=0)
    await put(db)
    await Controller(db, lanes, process=new_id()).second()
    paces = Paces(db, lanes)
    for name in (RETAIL, CAMPAIGN.name):
        admission = (await paces.admissions())[name]
        assert (0.0, True) == (admission.per_s, admission.pass_needed)
        assert admission.why is not None
        assert "paused" == admission.why.code


async def test_with_the_database_away_a_pace_decays_to_the_floor(db: Database, lanes: Lanes) -> None:
    """The last one is kept for some seconds; then fewer and fewer come in, but never nobody."""
    pace = LanePace(per_s=40.0, floor_per_s=0.5)
    assert pace == pace.aged(2.0)
    rates = [pace.aged(age_s).per_s for age_s in (3.0, 8.0, 13.0, 60.0, 3_600.0)]
    assert sorted(rates, reverse=True) == rates
    assert [40.0, 20.25] == rates[:2]
    assert pytest.approx(0.5, abs=0.02) == rates[-2]
    assert "unknown" == (admission_of(pace.aged(60.0)).why or 0).code  # type: ignore[union-attr]
    assert 0.0 == LanePace(per_s=0.0, floor_per_s=0.5).aged(60.0).per_s
    await db.close()
    paces = Paces(db, lanes)
    controller = Controller(db, lanes, process=new_id())
    await controller.second()
    assert DEFAULTS[RETAIL].floor_per_s == (await paces.admissions())[RETAIL].per_s


async def test_nobody_measured_means_nobody_needs_a_pass(db: Database, lanes: Lanes) -> None:
    """A service that has just started, in which no process has told anything yet."""
    await Controller(db, lanes, process=new_id()).second()
    paces = Paces(db, lanes)
    await paces.look()
    assert not paces.now(RETAIL).pass_needed
    assert ("unknown",) == paces.now(RETAIL).reasons


def test_a_sealer_tells_what_it_settled_since_it_was_asked() -> None:
    """Not since it was started; and for which lanes. Of units that it had to give back it tells how many ever."""
    metrics.batch("settle", 5, lanes={RETAIL: 5})
    read = settled_reader()
    metrics.batch("settle", 3, lanes={RETAIL: 1, "partners": 2})
    told = {"settled": 3, "lanes": {RETAIL: {"settled": 1}, "partners": {"settled": 2}}}
    failed = metrics.done(FAILED)
    assert {"role": "sealer", "given_back": failed, **told} == read()
    metrics.batch(FAILED, 2)
    assert {"role": "sealer", "given_back": failed + 2, "settled": 0, "lanes": {}} == read()
