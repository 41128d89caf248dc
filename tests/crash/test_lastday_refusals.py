"""What refusals cost, as the report has it: each kind is brought about on a service and counted. Nothing is timed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import door

from running import RunningService


@pytest.mark.timeout(300)
async def test_each_refusal_comes_about_and_is_measured_by_itself(short_folder: Path) -> None:
    """Places full of files, slots full of work, a pass asked for, a part that rests; afterwards the service answers."""
    service = RunningService(short_folder / "crowded")
    await service.start()
    try:
        found = await door.refusals_ms(service, 1.0)
        home = await door.status_of(service, "/healthz")
        await service.stop()
    finally:
        service.kill_rest()
    refusals = (door.UPLOADS, door.CROWDED, door.NEEDS_PASS)
    assert [*(one.name for one in refusals), door.RESTS] == list(found)
    assert 200 == home


async def test_a_server_that_does_nothing_is_asked_the_same() -> None:
    """Each refusal that is asked for by a POST, by its name: with its body, and after its wait."""
    found = await door.bare_refusals_ms(0.5)
    assert [door.UPLOADS.name, door.CROWDED.name, door.NEEDS_PASS.name] == list(found)
    assert all(spent_ms > 0 for spent_ms in found.values())


async def test_a_refusal_that_does_not_come_about_is_not_measured(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there are places for files nobody is refused one: what is answered instead costs something else."""
    monkeypatch.setattr(door, "_WARM_TIMES", 1)
    service = RunningService(short_folder / "calm")
    await service.start()
    try:
        assert await door.refusal_ms(service.port, service.pids()["web"], door.UPLOADS, 0.2) is None
        await service.stop()
    finally:
        service.kill_rest()
