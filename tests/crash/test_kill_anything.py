"""kill -9 of everything that runs, in any order, under load: nothing is lost, nothing is used twice, unaided.

This is the short form of `emeterai bench crash`.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import pytest
from crowd import Crowd
from killing import Deed, Killer, endless_plan, seed_of_this_run
from verdict import judge

from running import Person, RunningService

QUOTA = 400
PEOPLE = 3
SETTLED_WITHIN_S = 60.0
VERIFIED_AT_MOST = 120
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
        living = asyncio.create_task(crowd.go_on())
        print(f"\nEMETERAI_TEST_SEED={seed}")
        for deed in short_plan(rng):
            await asyncio.sleep(rng.uniform(0.2, 1.0))
            await killer.do(deed)
            assert not living.done(), living
        crowd.going_home.set()
        await living
        verdict = await judge(service, crowd, credited=QUOTA, patience_s=SETTLED_WITHIN_S, verify_max=VERIFIED_AT_MOST)
        print(f"deeds: {', '.join(str(deed) for _, deed in killer.done)}")
        print(f"stamps: {verdict.stamps}, given back: {verdict.reasons}, refused: {dict(crowd.refusals)}")
        assert [] == verdict.faults, service.last_words()
        assert verdict.stamps.get("sealed", 0) > 2
        await assert_not_blind(service, crowd)
        for person in crowd.people:
            await person.close()
        assert 0 == await service.stop(), service.last_words()
    finally:
        service.kill_rest()


async def assert_not_blind(service: RunningService, crowd: Crowd) -> None:
    """A tail that rots, one that is gone, and an answer that is taken back are each found by the same verdict."""
    rotten, gone, untrue = [one.said for one in crowd.asked.values() if one.said["state"] == "sealed"][:3]
    for said in (rotten, gone):
        [tail] = (service.data_path / "blobs" / "tails").glob(f"{said['id']}.*")
        content = tail.read_bytes()
        tail.unlink()
        if said is rotten:
            tail.write_bytes(content[:-1] + b"?")
    untrue["state"] = "given_back"
    verdict = await judge(service, crowd, credited=QUOTA, patience_s=SETTLED_WITHIN_S, verify_max=0)
    for said, words in (
        (rotten, "is not the one that was called sealed"),
        (rotten, "has other bytes than were settled"),
        (gone, "breaks off each time"),
        (gone, "a blob is missing"),
        (untrue, "was given_back and is sealed"),
    ):
        assert any(words in fault and said["id"] in fault for fault in verdict.faults), (words, verdict.faults)


def short_plan(rng: random.Random) -> list[Deed]:
    """Those that are always tried, and some that the seed chooses, in its order."""
    plan = [*ALWAYS, *itertools.islice(endless_plan(rng), FURTHER)]
    rng.shuffle(plan)
    return plan
