"""The first seconds of a rush, in which no pass is asked for yet: how many come in, and how soon one is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest
from simulated_day import RETAIL, ROW, later
from waiting_people import SEED

from emeterai.gate import keeper as keeper_of_the_door
from emeterai.gate import lane_store, pace_store
from emeterai.gate.conductor import Admission, step
from emeterai.gate.controller import Controller, LanePace, Paces, admission_of
from emeterai.gate.door import WALK_IN_PER_S, Door
from emeterai.gate.keeper import Keeper
from emeterai.gate.lanes import PARTNERS, Lanes
from emeterai.gate.room_store import Counts
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

FEW, MAY = 8, int(WALK_IN_PER_S)


def second(door: Door, newcomers: int, *, refused: int = 0) -> None:
    """A second in which so many come without a pass, and so many of those who may walk in get a refusal inside."""
    for place in range(newcomers):
        reservation = door.walks_in("retail")
        if reservation and place < refused:
            door.stayed_out("retail", reservation)
    door.second()


@pytest.fixture
def entrance() -> Door:
    """A door where nobody needs a pass."""
    return Door(clock=lambda: 0.0)


def test_the_door_says_how_many_were_sent_to_the_line(entrance: Door) -> None:
    """In the second after, once; and the reading names the lane although nobody is inside."""
    second(entrance, FEW)
    assert (FEW, 0) == (entrance.walked_in["retail"], entrance.turned_away["retail"])
    second(entrance, MAY + FEW)
    lanes = entrance.reading()["lanes"]
    assert isinstance(lanes, dict)
    assert (MAY, FEW) == (lanes["retail"]["walked_in"], lanes["retail"]["turned_away"])
    second(entrance, FEW)
    assert 0 == entrance.turned_away["retail"]


def test_who_holds_a_place_until_he_is_refused_makes_no_line(entrance: Door) -> None:
    """A script with invented tokens asks as fast as it can: nobody of it has come in, and nobody needs a pass for it.
    But where some of a crowd are refused for want of room, the others are a crowd all the same.
    """
    second(entrance, 4 * MAY, refused=2 * MAY)
    assert (MAY, 0) == (entrance.walked_in["retail"], entrance.turned_away["retail"])
    second(entrance, 2 * MAY, refused=FEW)
    assert MAY - FEW == entrance.turned_away["retail"]


def test_a_crowd_that_stays_may_walk_in_once_it_is_usual(entrance: Door) -> None:
    """Thirty newcomers a second, and room for them: while passes are asked for after each of their seconds, nothing is
    learned of how many are usual, nor forgotten.
    """
    turned_away = []
    for _ in range(8):
        for _ in range(3):
            second(entrance, MAY + 5)
            turned_away.append(entrance.turned_away["retail"])
        entrance.passes_needed = frozenset({"retail"})
        for _ in range(6):
            second(entrance, MAY + 5)
        entrance.passes_needed = frozenset()
    assert (5, 0) == (turned_away[0], turned_away[-1])


@pytest.mark.parametrize(("walked_in", "called"), [(0, MAY), (FEW, MAY - FEW), (MAY, 9), (3 * MAY, 9)])
def test_the_line_lets_in_no_second_crowd_beside_those_who_walk_in(walked_in: int, called: int) -> None:
    """While no pass is asked for, numbers are called at the rate of newcomers, less those who had none; never below
    the pace.
    """
    admission = Admission(9.0, pass_needed=False, walked_in_per_s=walked_in)
    _, now = step(later(ROW, 1.0), RETAIL, admission, Counts(given=500, last_number=500), seed=SEED)
    assert called == now.now_serving


@pytest.mark.parametrize("newcomers", [MAY, MAY + FEW])
async def test_what_doors_saw_of_a_rush_is_decided_by_at_once(db: Database, bus: Bus, newcomers: int) -> None:
    """Those who walked in anywhere are told to who calls numbers; one door that sent somebody to the line is enough
    for passes to be asked for at all of them.
    """
    lanes = Lanes(db, bus)
    await lanes.look()
    for came in (FEW, newcomers):
        door = Door(clock=lambda: 0.0)
        second(door, came)
        await pace_store.put_reading(db, new_id(), msgspec.json.encode(door.reading()).decode())
    controller = Controller(db, lanes, process=new_id())
    await controller.second()
    assert 2 == controller._pacer._doors
    admission = (await Paces(db, lanes).admissions())["retail"]
    assert (newcomers > MAY, FEW + MAY) == (admission.pass_needed, admission.walked_in_per_s)


def test_who_walked_in_a_minute_ago_keeps_no_number_from_being_called() -> None:
    """Nobody decides any more: what was seen in the last second that somebody did says nothing of this one."""
    pace = LanePace(per_s=0.2, walked_in=MAY)
    assert [MAY, 0] == [admission_of(pace.aged(age_s)).walked_in_per_s for age_s in (1.0, 60.0)]


async def put_rush(db: Database) -> None:
    """Passes are asked for, as somebody has decided just now."""
    pace = LanePace(per_s=9.0, floor_per_s=0.2, pass_needed=True)
    await pace_store.put_paces(db, [("retail", msgspec.json.encode(pace).decode())])


async def test_a_process_that_is_begun_anew_lets_nobody_past_the_line(db: Database, bus: Bus) -> None:
    """Killed in the middle of a rush, it is back with the same door: from its first request on."""
    await put_rush(db)
    keeper = Keeper(b"g" * 32)
    async with keeper.keeping(db, bus):
        assert {"retail"} == keeper.door.passes_needed
        assert [0] * MAY == [keeper.door.walks_in("retail") for _ in range(MAY)]


async def test_a_process_that_is_begun_anew_knows_the_keys_of_members(db: Database, bus: Bus) -> None:
    """From its first request on, too: they are asked for no pass of everybody's."""
    partner = new_id()
    await lane_store.put_account(db, partner, PARTNERS)

    async def keys_of(_: Sequence[UUID]) -> list[tuple[bytes, UUID]]:
        return [(b"d" * 32, partner)]

    keeper = Keeper(b"g" * 32)
    async with keeper.keeping(db, bus, keys_of=keys_of):
        assert PARTNERS == keeper._lane_of_key(b"d" * 32)


async def test_a_process_that_begins_without_the_database_waits_for_nothing(db: Database, bus: Bus) -> None:
    """It begins, and by what it knows nobody needs a pass."""
    await put_rush(db)
    await db.close()
    keeper = Keeper(b"g" * 32)
    async with keeper.keeping(db, bus):
        assert frozenset() == keeper.door.passes_needed
        assert 0 < keeper.door.walks_in("retail")


async def test_a_process_that_begins_waits_for_no_answer_that_does_not_come(
    db: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers by what it knows; what comes late counts from then on."""
    await put_rush(db)
    answers, read_paces = asyncio.Event(), pace_store.read_paces

    async def late(db: Database) -> Any:
        await answers.wait()
        return await read_paces(db)

    monkeypatch.setattr(pace_store, "read_paces", late)
    monkeypatch.setattr(keeper_of_the_door, "FIRST_LOOKS_S", 0.05)
    keeper = Keeper(b"g" * 32)
    async with asyncio.timeout(30), keeper.keeping(db, bus):
        assert frozenset() == keeper.door.passes_needed
        answers.set()
        while not keeper.door.passes_needed:
            await asyncio.sleep(0.02)
