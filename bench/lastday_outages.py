"""Outages under a retry storm: each dependency goes away for a while and comes back; nobody helps."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from figures import TESTS
from lastday_stage import Day, Phase, Stage
from lastday_sums import rates, recovery_s

from emeterai.infra.database import Database

sys.path.insert(0, str(TESTS))

from processes import family_of

WARM_S, BACK_S = 60.0, 60.0
BADLY = 0.5
"""Half of all clients repeat without waiting."""


@dataclass(frozen=True)
class Outage:
    """What happened to one dependency. `back_s` None: goodput was not back before the next one began."""

    name: str
    lost_s: float
    """When it went, since the day began."""
    found_s: float
    """When it was back."""
    before_per_s: float
    back_s: float | None


async def lose_each(
    stage: Stage,
    db: Database,
    *,
    seconds: float,
    times: float,
    people_per_s: float,
    warm_s: float = WARM_S,
    back_s: float = BACK_S,
) -> Day:
    """A day on which PostgreSQL, the blob folder and the payment provider go away one after another."""
    rounds = [("PostgreSQL stops", _postgres_stops), ("PostgreSQL is killed", _postgres_is_killed)]
    rounds += [("the blob store fails", _blobs_fail), ("the payment provider is away", _provider_is_away)]
    length_s = warm_s + seconds + back_s
    phases = [Phase(name, times, length_s, people_per_s * times) for name, _ in rounds]
    at_s = time.time() + 4.0
    doing = [
        asyncio.create_task(_after(at_s + place * length_s + warm_s, lose, stage, seconds))
        for place, (_, lose) in enumerate(rounds)
    ]
    try:
        return await stage.live(db, phases, BADLY=str(BADLY), PARTNER_KEY="")
    finally:
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)


def outages_of(day: Day, seconds: float) -> list[Outage]:
    """What became of each."""
    found, per_s = [], rates(day)
    for phase, began_s, ended_s in day.spans():
        at_s = began_s - day.began_s
        before = per_s[int(at_s + WARM_S / 3) : int(at_s + WARM_S)]
        before_per_s = max(1.0, sum(before) / len(before))
        lost_s, ends_s = at_s + WARM_S, at_s + WARM_S + (0.0 if "killed" in phase.name else seconds)
        back_s = recovery_s(day, day.began_s + ends_s, good_per_s=before_per_s, until_s=ended_s)
        found.append(Outage(phase.name, lost_s, ends_s, before_per_s, back_s))
    return found


async def _after(at_s: float, lose: Callable[[Stage, float], Awaitable[None]], stage: Stage, seconds: float) -> None:
    await asyncio.sleep(at_s - time.time())
    await lose(stage, seconds)


async def _postgres_stops(stage: Stage, seconds: float) -> None:
    await _stopped(stage.service.pids()["postgres"], seconds)


async def _postgres_is_killed(stage: Stage, _seconds: float) -> None:
    stage.service.kill("postgres")


async def _provider_is_away(stage: Stage, seconds: float) -> None:
    await _stopped(stage.service.pids()["sandbox"], seconds)


async def _blobs_fail(stage: Stage, seconds: float) -> None:
    fault = stage.faults / "blobs"
    fault.write_text("fail")
    try:
        await asyncio.sleep(seconds)
    finally:
        fault.unlink()


async def _stopped(pid: int, seconds: float) -> None:
    """A process and all that it has started stand still."""
    family = family_of(pid)
    try:
        _tell(family, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        _tell(family, signal.SIGCONT)


def _tell(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
