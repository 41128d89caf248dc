"""What goes on for as long as a web process lives goes on after a fault of ours too: stale is better than deaf."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from served_door import until

from emeterai.gate.controller import every_second
from emeterai.gate.lanes import LANES_CHANGED, Lanes
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database


async def test_what_is_done_each_second_is_done_again_after_a_fault() -> None:
    """The next second comes."""
    seconds = 0

    async def work() -> None:
        nonlocal seconds
        seconds += 1
        raise ValueError("a bug")

    going = asyncio.create_task(every_second(work))
    await until(lambda: seconds >= 2)
    going.cancel()


async def test_lanes_are_looked_at_again_after_a_fault(db: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a lane that a newer version has written."""
    lanes, looks = Lanes(db, bus), 0
    await lanes.start()

    async def look() -> None:
        nonlocal looks
        looks += 1
        raise ValueError("a field that this version does not know")

    monkeypatch.setattr(lanes, "look", look)
    for wanted in (1, 2):
        bus.publish([LANES_CHANGED])
        await until(lambda: looks >= wanted)  # noqa: B023 - awaited in the same turn
    await lanes.close()


async def test_the_bus_is_taken_again_after_a_fault(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits would else wait for their own look, for good."""
    serve, faults = bus._serve, 1

    async def fails_once() -> None:
        nonlocal faults
        if faults:
            faults -= 1
            raise ValueError("a bug")
        await serve()

    await bus.close()
    monkeypatch.setattr(bus, "_serve", fails_once)
    heard: list[Any] = []
    await bus.start()
    await until(lambda: not faults)
    monkeypatch.setattr(bus, "_heard", lambda *told: heard.append(told))

    def says() -> bool:
        bus.publish(["anything"])
        return bool(heard)

    await until(says)
