"""What programs with keys do at their own door or with their own units is counted, and keeps out nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import REGISTRY
from served_door import ServedDoor

from emeterai.app import create_asgi
from emeterai.gate import pace_store
from emeterai.gate.controller import Controller, Paces, Reading, _seen
from emeterai.gate.keeper import Keeper
from emeterai.gate.lanes import DEFAULTS, ENTERPRISES, PARTNERS, RETAIL, Lanes
from emeterai.infra import jobs
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings

CALM: dict[str, Any] = {"pressure": 0.1, "ratio": 0.1, "lanes": {RETAIL: {"inside": 20}}}
FULL: dict[str, Any] = {"pressure": 4.0, "ratio": 2.0, "step": 6, "lanes": {RETAIL: {"inside": 1, "inside_refused": 3}}}


def reading(role: str, **told: Any) -> Reading:
    """What a process of a role measured."""
    return msgspec.convert({"role": role, **told}, Reading)


@pytest.mark.parametrize(("full", "pressure", "refused"), [("counter", 0.1, 0), ("room", 4.0, 3), ("web", 4.0, 3)])
def test_a_counter_that_is_full_presses_nobody_but_programs(full: str, pressure: float, refused: int) -> None:
    """Every other door is the public's, and what is refused there says that too many people are inside; whoever is
    inside is counted at each.
    """
    readings = [reading("web", **CALM), reading(full, **FULL), reading("sealer", settled=3)]
    seen = _seen(readings, {}, DEFAULTS, {}, under_way={}, given_back=0)
    assert (pressure, 2, 21, refused) == (seen.pressure, seen.doors, seen.lanes[RETAIL].inside, seen.refused)


def test_a_counter_alone_measures_nothing_for_the_public() -> None:
    """A line does not move as if all doors were idle while none of them is there."""
    assert 0 == _seen([reading("counter", **FULL)], {}, DEFAULTS, {}, under_way={}, given_back=0).doors


def test_units_under_way_are_told_for_all_and_each_lane_says_how_old_its_own_are() -> None:
    """Those of a lane that is no more only in the whole."""
    under_way = {RETAIL: (3, 0.2), ENTERPRISES: (900, 30.0), "gone": (1, 70.0)}
    seen = _seen([reading("web", **CALM)], {}, DEFAULTS, {}, under_way=under_way, given_back=0)
    assert (904, 70.0) == (seen.under_way, seen.oldest_s)
    assert {RETAIL: 0.2, ENTERPRISES: 30.0} == {name: it.oldest_s for name, it in seen.lanes.items() if it.oldest_s}
    assert {PARTNERS, ENTERPRISES} == {name for name, it in seen.lanes.items() if it.is_for_programs}


@pytest.mark.parametrize(("full", "step"), [("counter", 0), ("web", 6)])
async def test_what_rests_at_the_counter_is_not_said_of_the_public(
    db: Database, bus: Bus, full: str, step: int
) -> None:
    """Pages, alarm and line hear of what people find, whoever else is sent away elsewhere."""
    for role, told in (("web", CALM), (full, FULL)):
        await pace_store.put_reading(db, new_id(), msgspec.json.encode({"role": role, **told}).decode())
    lanes = Lanes(db, bus)
    await Controller(db, lanes, process=new_id()).second()
    paces = Paces(db, lanes)
    await paces.look()
    assert (step, 21) == (paces.now(RETAIL).step, paces.now(RETAIL).inside)


async def test_a_programs_units_that_wait_are_seen_by_their_lane(db: Database, bus: Bus) -> None:
    """From the database on: five seconds late, and the public's window is as it was."""
    async with db.transaction() as tx:
        await jobs.enqueue(tx, "seal", [new_id()], lanes=[ENTERPRISES])
    await db.fetch("UPDATE infra.jobs SET created_at = now() - interval '5 seconds'")
    lanes, process = Lanes(db, bus), new_id()
    controller = Controller(db, lanes, process=new_id())
    sealer = msgspec.json.encode({"role": "sealer", "settled": 3}).decode()
    for _ in range(3):
        await pace_store.put_reading(db, process, msgspec.json.encode({"role": "web", **CALM}).decode())
        await pace_store.put_reading(db, new_id(), sealer)
        await controller.second()
    paces = Paces(db, lanes)
    await paces.look()
    assert ((), 20) == (paces.now(RETAIL).reasons, paces.now(RETAIL).inside)


def test_each_door_tells_what_its_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter's its own role, from where the process begins; and without a word it is a web process."""
    made: list[Keeper] = []
    wrapped = Keeper.wrapped

    def noted(keeper: Keeper, *args: Any, **options: Any) -> Any:
        made.append(keeper)
        return wrapped(keeper, *args, **options)

    monkeypatch.setattr(Keeper, "wrapped", noted)
    settings = Settings(data_dir=str(tmp_path))
    create_asgi(settings)
    create_asgi(settings, "counter")
    assert ["web", "counter"] == [keeper.door.reading()["role"] for keeper in made]


async def test_a_program_that_lacks_a_pass_is_sent_to_the_room(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """It hears `pass_needed` and asks again and again: nobody who finishes something paid for is turned away."""

    def finish() -> tuple[float, float]:
        counts = [
            REGISTRY.get_sample_value(
                "emeterai_door_requests_total", {"lane": RETAIL, "work": "finish", "outcome": outcome}
            )
            for outcome in ("refused", "sent_to_room")
        ]
        return counts[0] or 0.0, counts[1] or 0.0

    served.door.passes_needed = frozenset({RETAIL})
    refused, sent_to_room = finish()
    answer = await client.post("/v1/stamps", headers={"Authorization": "Bearer emk_" + "a" * 43})
    assert (429, "pass_needed") == (answer.status_code, answer.json()["code"])
    assert (refused, sent_to_room + 1) == finish()
