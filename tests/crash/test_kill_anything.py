"""kill -9 of everything that runs, in any order, under load: nothing is lost, nothing is used twice, unaided.

This is the short form of `emeterai bench crash`.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from crowd import Asked, Crowd
from killing import Deed, Killer, endless_plan, seed_of_this_run
from overdue import GRACE_S, LOOK_EVERY_S, Overdue
from verdict import judge

from emeterai.infra.database import Database
from papers import letter
from processes import asleep
from running import Person, RunningService

QUOTA = 400
PEOPLE = 3
SETTLED_WITHIN_S = 60.0
VERIFIED_AT_MOST = 120
TERMS: Any = {"credited": QUOTA, "patience_s": SETTLED_WITHIN_S}
SHORT = {"EMETERAI_LEASE_S": "2", "EMETERAI_HOLD_LIFE_S": "15", "EMETERAI_SEALER_PROCESSES": "2"}
SLEEP_S = 3.5
ALWAYS = [Deed("SIGSTOP", "sealer-1"), Deed("kill -9 twice", "postgres"), Deed("kill -9", "everything")]
FURTHER = 5
"""So many deeds of those that the seed chooses."""


@pytest.mark.timeout(400)
async def test_whatever_is_killed_every_stamp_ends_sealed_or_given_back(short_folder: Path) -> None:
    """Three people stamp, upload, fetch, look and buy without pause while a seeded killer takes processes, also while
    they come back, lets a sealer sleep past its leases, and breaks disk, store and clock; afterwards every promise is
    checked from the outside.
    """
    seed = seed_of_this_run()
    rng = random.Random(seed)
    faults = short_folder / "faults"
    faults.mkdir()
    service = RunningService(short_folder / "crash", dict(SHORT))
    killer = Killer(service, sleep_s=SLEEP_S, faults=faults, rng=rng)
    service.environment |= killer.environment
    try:
        await service.start()
        crowd = Crowd([await Person.sign_up(service, quota=QUOTA) for _ in range(PEOPLE)], seed=seed, pause_s=0.1)
        print(f"\nEMETERAI_TEST_SEED={seed}")
        async with Overdue(service.database_url, killer).watching() as overdue:
            await under_fire(killer, crowd, rng)
            verdict = await judge(service, crowd, verify_max=VERIFIED_AT_MOST, overdue=overdue, **TERMS)
            print(f"deeds: {', '.join(str(deed) for _, deed in killer.done)}; kill -9 took {killer.kills}")
            print(f"stamps: {verdict.stamps}, given back: {verdict.reasons}, refused: {dict(crowd.refusals)}")
            print(f"held beyond their lives: {verdict.held}")
            assert [] == verdict.faults, service.last_words()
            assert verdict.stamps.get("sealed", 0) > 2
            assert verdict.held is overdue.looks
            strokes = sum({"kill -9": 1, "kill -9 twice": 2}.get(deed.kind, 0) for _, deed in killer.done)
            # The second stroke at a database that starts may find nobody: what is left of the first can keep it away.
            assert 2 <= len(killer.kills) <= strokes
            await assert_sees_overdue(service, crowd, overdue)
        await assert_not_blind(service, crowd)
        for person in crowd.people:
            await person.close()
        assert 0 == await service.stop(), service.last_words()
    finally:
        service.kill_rest()


async def under_fire(killer: Killer, crowd: Crowd, rng: random.Random) -> None:
    """Everybody goes on until the last deed is done, then goes home."""
    living = asyncio.create_task(crowd.go_on())
    for deed in short_plan(rng):
        await asyncio.sleep(rng.uniform(0.2, 1.0))
        await killer.do(deed)
        assert not living.done(), living
    crowd.going_home.set()
    await living


async def assert_sees_overdue(service: RunningService, crowd: Crowd, overdue: Overdue) -> None:
    """With every sealer and the steward asleep, which nobody excuses, a hold beyond its life is found while it is open.
    They wake, and it ends as any other: so at the end there is nothing to be seen of it.
    """
    person, original = crowd.people[0], letter()
    document_id = await crowd.upload(person, original, cut=len(original))
    inspected = await person.api.get(f"/v1/documents/{document_id}", headers={"Prefer": "wait=10"})
    assert "ready" == inspected.json()["state"]
    pids = service.pids()
    with asleep([pid for name, pid in pids.items() if name == "steward" or name.startswith("sealer-")]):
        answer = await person.api.post("/v1/stamps", json={"document_id": document_id})
        crowd.told(Asked.of(person, original, answer.raise_for_status().json()))
        db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
        async with db.transaction() as tx:
            await tx.execute("UPDATE ledger.holds SET expires_at = now()")
        await db.close()
        assert [] == overdue.faults()
        async with asyncio.timeout(6 * GRACE_S):
            while not overdue.faults():
                await asyncio.sleep(LOOK_EVERY_S)
    verdict = await judge(service, crowd, verify_max=0, overdue=overdue, **TERMS)
    [fault] = verdict.faults
    assert "beyond the life of its hold" in fault


async def assert_not_blind(service: RunningService, crowd: Crowd) -> None:
    """A tail that rots, one that is gone, and an answer that is taken back are each found by the same verdict."""
    rotten, gone, untrue = [one.said for one in crowd.asked.values() if one.said["state"] == "sealed"][:3]
    for said in (rotten, gone):
        tail = service.data_path / "blobs" / await settled_tail(service, said["id"])
        content = tail.read_bytes()
        tail.unlink()
        if said is rotten:
            tail.write_bytes(content[:-1] + b"?")
    untrue["state"] = "given_back"
    verdict = await judge(service, crowd, verify_max=0, **TERMS)
    for said, words in (
        (rotten, "is not the one that was called sealed"),
        (rotten, "has other bytes than were settled"),
        (gone, "breaks off each time"),
        (gone, "a blob is missing"),
        (untrue, "was given_back and is sealed"),
    ):
        assert any(words in fault and said["id"] in fault for fault in verdict.faults), (words, verdict.faults)


async def settled_tail(service: RunningService, stamp_id: str) -> str:
    """The key of the tail that was settled: an attempt that was killed may have left another beside it."""
    db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
    key: str = await db.fetchval("SELECT tail_key FROM stamping.stamps WHERE id = $1", UUID(stamp_id))
    await db.close()
    return key


def short_plan(rng: random.Random) -> list[Deed]:
    """Those that are always tried, and some that the seed chooses, in its order."""
    plan = [*ALWAYS, *itertools.islice(endless_plan(rng), FURTHER)]
    rng.shuffle(plan)
    return plan
