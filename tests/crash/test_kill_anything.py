"""kill -9 of everything that runs, in any order, under load: nothing is lost, nothing is used twice, unaided."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from crowd import Asked, Crowd, Killer, plan_of, seed_of_this_run

from emeterai.infra.database import Database
from running import Person, RunningService
from spine import disagreements

QUOTA = 400
PEOPLE = 3
VERIFIED_AT_LEAST = 40
"""Of every person's sealed files; all are fetched and compared with the digest that was read back and settled."""
SETTLED_WITHIN_S = 60.0


async def test_whatever_is_killed_every_stamp_ends_sealed_or_given_back(short_folder: Path) -> None:
    """Three people stamp without pause while a seeded killer takes one sealer or all, web, its worker, PostgreSQL (also
    while it comes back), steward, an opener, the supervisor alone and the whole tree, and lets a sealer sleep past its
    leases; afterwards every promise is checked from the outside.
    """
    seed = seed_of_this_run()
    short = {"EMETERAI_LEASE_S": "2", "EMETERAI_HOLD_LIFE_S": "15", "EMETERAI_SEALER_PROCESSES": "2"}
    service = RunningService(short_folder / "crash", short)
    await service.start()
    crowd = Crowd([await Person.sign_up(service, quota=QUOTA) for _ in range(PEOPLE)])
    stamping = asyncio.create_task(crowd.stamp_on())
    killer, rng = Killer(service), random.Random(seed)
    print(f"\nEMETERAI_TEST_SEED={seed}")
    for target in plan_of(seed, more=1):
        await asyncio.sleep(rng.uniform(0.2, 1.0))
        await killer.kill(target)
        assert not stamping.done(), crowd.refusals
    crowd.going_home.set()
    await stamping
    assert [] == crowd.refusals
    await _nothing_held(crowd)
    ended = [await _ended(crowd, asked) for asked in crowd.asked]
    await asyncio.gather(*(_check_person(crowd, person, ended) for person in crowd.people))
    _check_books(service)
    await _check_records(service)
    states = [one.said["state"] for one in ended]
    reasons = Counter(one.said["refusal"]["code"] for one in ended if one.said["state"] == "given_back")
    assert {"sealed"} <= set(states) <= {"sealed", "given_back"}, (reasons, service.last_words())
    print(f"kills: {len(killer.kills)} ({', '.join(killer.kills)})")
    print(f"stamps: {len(states)}, sealed {states.count('sealed')}, given back {states.count('given_back')}")
    print(f"requests repeated: {crowd.repeats}")
    for person in crowd.people:
        await person.close()
    assert 0 == await service.stop(), service.last_words()


async def _nothing_held(crowd: Crowd) -> None:
    """Wait until no unit of anybody is held: by itself, with nobody asking for anything."""
    async with asyncio.timeout(SETTLED_WITHIN_S):
        for person in crowd.people:
            while (await person.quota())["held"]:
                await asyncio.sleep(0.2)


async def _ended(crowd: Crowd, asked: Asked) -> Asked:
    """The stamp as the service shows it at the end; what was once called sealed or given back must still be so."""
    answer = await crowd.insist(lambda: asked.person.api.get(f"/v1/stamps/{asked.said['id']}"))
    now: dict[str, Any] = answer.raise_for_status().json()
    if asked.said["state"] != "held":
        assert asked.said["state"] == now["state"], (asked.said, now)
    assert asked.said["serial"] == now["serial"]
    if now["state"] == "given_back":
        assert now["refusal"] is not None
    return Asked(asked.person, asked.original, now)


async def _check_person(crowd: Crowd, person: Person, ended: list[Asked]) -> None:
    """The books balance with what the person was told; every sealed file is there, as it was settled, and genuine."""
    mine = [asked for asked in ended if asked.person is person]
    sealed = [asked for asked in mine if asked.said["state"] == "sealed"]
    assert len(mine) == len({asked.said["id"] for asked in mine})
    assert {"bought": QUOTA, "available": QUOTA - len(sealed), "held": 0, "used": len(sealed), "refunded": 0} == (
        await person.quota()
    )
    to_verify = {asked.said["id"] for asked in sealed[:: max(1, len(sealed) // VERIFIED_AT_LEAST)]}
    for asked in sealed:
        file = (await person.api.get(f"/v1/stamps/{asked.said['id']}/file")).raise_for_status().content
        assert asked.original == file[: len(asked.original)]
        assert asked.said["sealed_sha256"] == hashlib.sha256(file).hexdigest()
        if asked.said["id"] not in to_verify:
            continue
        verdict = (await person.api.post("/v1/verify", files={"file": file})).raise_for_status().json()
        assert ("genuine", [asked.said["serial"]]) == (
            verdict["outcome"],
            [stamp["serial"] for stamp in verdict["stamps"]],
        )


def _check_books(service: RunningService) -> None:
    """`emeterai ledger check` finds every rule true and nothing held."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMETERAI_")}
    audit = subprocess.run(
        [sys.executable, "-m", "emeterai", "ledger", "check", "--json"],
        env={**kept, "EMETERAI_DATA_DIR": str(service.data_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == audit.returncode, audit.stdout + audit.stderr
    report = json.loads(audit.stdout)
    assert 0 == report["held"]
    assert PEOPLE * QUOTA == report["bought"] == report["available"] + report["used"] + report["refunded"]


async def _check_records(service: RunningService) -> None:
    """Stamps, ledger, register and jobs agree, and no document has two stamps that count."""
    db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
    try:
        assert [] == await disagreements(db)
        doubles = "SELECT digest FROM stamping.stamps WHERE state <> 'given_back' GROUP BY digest HAVING count(*) > 1"
        assert [] == await db.fetch(doubles)
        shared = "SELECT serial FROM stamping.stamps GROUP BY serial HAVING count(DISTINCT digest) > 1"
        assert [] == await db.fetch(shared)
        assert 0 == await db.fetchval("SELECT count(*) FROM infra.jobs")
    finally:
        await db.close()
