"""While nobody decides, the levers and the dates of a lane count all the same, in its line and at the door."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from emeterai.gate import pace_store
from emeterai.gate.conductor import Admission
from emeterai.gate.controller import LanePace, Paces
from emeterai.gate.keeper import Keeper
from emeterai.gate.lanes import RETAIL, Lane, Lanes, changed
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database

HOUR = timedelta(hours=1)
STOOD = LanePace(per_s=0.0, floor_per_s=0.2, pass_needed=True, reasons=("paused",))
RAN = LanePace(per_s=40.0, floor_per_s=5.0, pass_needed=True)
QUIET = LanePace(per_s=40.0, floor_per_s=0.2)


class Silence:
    """A lane for which somebody decided once, and nobody since."""

    def __init__(self, db: Database, bus: Bus) -> None:
        self._db, self._lanes = db, Lanes(db, bus)

    async def falls(self, pace: LanePace, levers: Mapping[str, Any], *, since_s: float = 60.0) -> None:
        """`pace` was decided for retail so long ago; by now its levers are these."""
        await pace_store.put_paces(self._db, [(RETAIL, msgspec.json.encode(pace).decode())])
        await self._db.fetch("UPDATE gate.paces SET at = now() - make_interval(secs => $1)", since_s)
        await self._lanes.look()
        await self._lanes.change(changed(self._lanes.get(RETAIL), levers), by="Siti", seen=0)

    async def admission(self) -> Admission:
        """What the line is told."""
        return (await Paces(self._db, self._lanes).admissions())[RETAIL]


@pytest.fixture
def silence(db: Database, bus: Bus) -> Silence:
    """Nobody decides."""
    return Silence(db, bus)


async def test_a_lane_that_stood_goes_on_at_the_floor_it_has_now(silence: Silence) -> None:
    """It is paused no more, and its floor was raised."""
    await silence.falls(STOOD, {"floor_per_s": 5.0}, since_s=10.0)
    admission = await silence.admission()
    assert (5.0, True) == (admission.per_s, admission.pass_needed)
    assert "unknown" == (admission.why.code if admission.why else None)


@pytest.mark.parametrize(("opens_in", "per_s"), [(-HOUR, 0.2), (HOUR, 0.0)])
async def test_a_lane_opens_when_its_time_comes(
    db: Database, bus: Bus, silence: Silence, opens_in: timedelta, per_s: float
) -> None:
    """And not before."""
    opening = Lane(name="cpns", title="CPNS", opens_at=datetime.now(UTC) + opens_in)
    lanes = Lanes(db, bus)
    await lanes.change(opening, by="Siti", seen=0)
    await pace_store.put_paces(db, [(opening.name, msgspec.json.encode(STOOD).decode())])
    await db.fetch("UPDATE gate.paces SET at = now() - interval '1 minute'")
    assert per_s == (await Paces(db, lanes).admissions())[opening.name].per_s


async def test_a_lowered_ceiling_counts(silence: Silence) -> None:
    """From the first second in which nobody decides."""
    await silence.falls(RAN, {"floor_per_s": 0.0, "ceiling_per_s": 2.0}, since_s=4.0)
    assert 0.0 < (await silence.admission()).per_s <= 2.0


async def test_a_lowered_floor_counts(silence: Silence) -> None:
    """Where no line may creep on, none does for long."""
    await silence.falls(RAN, {"floor_per_s": 0.0}, since_s=600.0)
    assert pytest.approx(0.0, abs=1e-6) == (await silence.admission()).per_s


async def test_a_paused_lane_stands_and_says_so(silence: Silence) -> None:
    """People came in when somebody last decided."""
    await silence.falls(RAN, {"paused": True})
    admission = await silence.admission()
    assert (0.0, True) == (admission.per_s, admission.pass_needed)
    assert "paused" == (admission.why.code if admission.why else None)


async def test_while_somebody_decides_nothing_else_counts(silence: Silence) -> None:
    """Whoever decides knows the levers, too, and what was measured."""
    await silence.falls(QUIET, {"floor_per_s": 50.0}, since_s=0.0)
    assert 40.0 == (await silence.admission()).per_s


@pytest.mark.parametrize("lever", ["paused", "always_room"])
async def test_the_door_asks_for_passes(db: Database, bus: Bus, silence: Silence, lever: str) -> None:
    """As the file of the line says, though none was asked for when somebody last decided."""
    await silence.falls(QUIET, {lever: True})
    keeper = Keeper(b"g" * 32)
    async with keeper.keeping(db, bus):
        async with asyncio.timeout(5):
            while RETAIL not in keeper.door.passes_needed:
                await asyncio.sleep(0.05)
    assert {RETAIL} == keeper.door.passes_needed


@pytest.mark.parametrize("levers", [{"paused": True}, {"always_room": True}])
async def test_a_lane_that_nobody_ever_decided_for_has_its_levers(
    db: Database, bus: Bus, levers: Mapping[str, Any]
) -> None:
    """One that was made while nobody decides."""
    lanes = Lanes(db, bus)
    await lanes.change(changed(Lane(name="cpns", title="CPNS"), levers), by="Siti", seen=0)
    admission = (await Paces(db, lanes).admissions())["cpns"]
    assert (0.0 if "paused" in levers else 0.2, True) == (admission.per_s, admission.pass_needed)
