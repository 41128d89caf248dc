"""The verdict after all deaths: every promise is checked from the outside, and each fault is one line."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crowd import Asked, Bought, Crowd
from overdue import Looks, Overdue

from emeterai.infra.blobs import BlobMissingError, BlobStore
from emeterai.infra.database import Database
from running import Person, RunningService
from spine import disagreements

AT_ONCE = 4
QUIET_PATIENCE_S = 10.0
"""Once all is quiet, nobody has to repeat a request for longer."""
BY_COMMAND = 5
"""So many sealed files are also given to `emeterai verify`."""


@dataclass
class Verdict:
    """What was found. `faults` is empty when every promise was kept; the numbers say how much was looked at."""

    faults: list[str] = field(default_factory=list)
    stamps: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    quiet_after_s: float = 0.0
    files_fetched: int = 0
    files_verified: int = 0
    blobs_read: int = 0
    orders_paid: int = 0
    bought: int = 0
    held: Looks | None = None
    """How long units were held beyond the lives of their holds, when somebody watched."""


async def judge(
    service: RunningService,
    crowd: Crowd,
    *,
    credited: int,
    patience_s: float,
    verify_max: int,
    overdue: Overdue | None = None,
) -> Verdict:
    """Wait until nothing is under way, then check everything. `credited` is what each person had at the beginning.

    With `patience_s` as the longest wait for the last hold to end by itself; `verify_max` files are verified over HTTP.
    With `overdue`, which has watched from the beginning, and still does: no unit was held beyond the life of its hold.
    """
    verdict = Verdict(faults=list(crowd.lies))
    began_s = time.monotonic()
    await _orders_are_paid(crowd, verdict, patience_s=patience_s)
    if overdue is not None:
        await overdue.look_again()
    verdict.faults += await _nothing_held(crowd, patience_s)
    if overdue is not None:
        verdict.faults += overdue.faults()
        verdict.held = overdue.looks
    verdict.quiet_after_s = time.monotonic() - began_s
    crowd.lies.clear()
    crowd.patience_s = QUIET_PATIENCE_S
    await _each(crowd.asked.values(), crowd.look_at)
    verdict.faults += crowd.lies
    sealed = [asked for asked in crowd.asked.values() if asked.said["state"] == "sealed"]
    for faults in await _each(sealed, crowd.faults_of_file):
        verdict.faults += faults
    verdict.files_fetched = len(sealed)
    await _verify(crowd, sealed, verdict, verify_max=verify_max)
    for person in crowd.people:
        verdict.faults += await _faults_of_person(crowd, person, credited)
    verdict.faults += _faults_of_audit(service)
    await _check_records(service, verdict, patience_s=patience_s)
    return verdict


async def _orders_are_paid(crowd: Crowd, verdict: Verdict, *, patience_s: float) -> None:
    """Every order whose money was paid becomes quota, by itself."""

    async def wait(bought: Bought) -> None:
        path, until_s = f"/v1/orders/{bought.said['id']}", time.monotonic() + patience_s
        while bought.said["state"] != "paid" and time.monotonic() < until_s:
            bought.said = (await crowd.insist(lambda: bought.person.api.get(path))).json()
            await asyncio.sleep(0.0 if bought.said["state"] == "paid" else 0.5)
        if bought.said["state"] != "paid":
            verdict.faults.append(f"money was paid and is not quota: {bought.said}")

    await _each(crowd.bought.values(), wait)
    verdict.orders_paid = sum(bought.said["state"] == "paid" for bought in crowd.bought.values())
    verdict.bought = sum(bought.quantity for bought in crowd.bought.values())


async def _nothing_held(crowd: Crowd, patience_s: float) -> list[str]:
    """Wait until no unit of anybody is held: by itself, with nobody asking for anything."""
    until_s = time.monotonic() + patience_s
    for person in crowd.people:
        while (quota := (await crowd.insist(lambda who=person: who.api.get("/v1/quota"))).json())["held"]:
            if time.monotonic() > until_s:
                return [f"a unit is still held: {quota}"]
            await asyncio.sleep(0.2)
    return []


async def _faults_of_person(crowd: Crowd, person: Person, credited: int) -> list[str]:
    """The books balance with what the person was told, to the unit."""
    used = sum(one.person is person and one.said["state"] == "sealed" for one in crowd.asked.values())
    bought = credited + sum(one.quantity for one in crowd.bought.values() if one.person is person)
    quota = (await crowd.insist(lambda: person.api.get("/v1/quota"))).json()
    right = {"bought": bought, "available": bought - used, "held": 0, "used": used, "refunded": 0}
    return [] if quota == right else [f"{person.contact} has {quota}, and was told {right}"]


async def _verify(crowd: Crowd, sealed: list[Asked], verdict: Verdict, *, verify_max: int) -> None:
    """What was called sealed is genuine and carries its serial, for the service and for `emeterai verify`."""
    chosen = random.Random(crowd.seed).sample(sealed, min(verify_max, len(sealed)))

    async def verify(asked: Asked) -> None:
        file = (await asked.person.api.get(f"/v1/stamps/{asked.said['id']}/file")).content
        answer = await crowd.insist(lambda: asked.person.api.post("/v1/verify", files={"file": file}))
        found = answer.json() if answer.is_success else {"outcome": answer.text, "stamps": []}
        if (found["outcome"], [one["serial"] for one in found["stamps"]]) != ("genuine", [asked.said["serial"]]):
            verdict.faults.append(f"a file that was called sealed is not genuine: {asked.said['id']} {found}")

    await _each(chosen, verify)
    verdict.files_verified = len(chosen)
    with tempfile.NamedTemporaryFile(suffix=".pdf") as copy:
        for asked in chosen[:BY_COMMAND]:
            file = (await asked.person.api.get(f"/v1/stamps/{asked.said['id']}/file")).content
            await asyncio.to_thread(Path(copy.name).write_bytes, file)
            said = await asyncio.to_thread(_command, asked.person.service, "verify", copy.name, "--json")
            if said.returncode != 0 or json.loads(said.stdout)["outcome"] != "genuine":
                verdict.faults.append(f"emeterai verify says no: {asked.said['id']} {said.stdout}{said.stderr}")


def _faults_of_audit(service: RunningService) -> list[str]:
    """`emeterai ledger check` finds every rule true and nothing held."""
    said = _command(service, "ledger", "check", "--json")
    if said.returncode != 0:
        return [f"the audit says no: {said.stdout}{said.stderr}"]
    report = json.loads(said.stdout)
    balances = report["bought"] == report["available"] + report["used"] + report["refunded"]
    return [] if report["held"] == 0 and balances else [f"the sums are wrong: {report}"]


async def _check_records(service: RunningService, verdict: Verdict, *, patience_s: float) -> None:
    """Stamps, ledger, register and jobs agree; each serial has one digest; each blob is there, with the right bytes."""
    db = await Database.connect(service.database_url, connections_max=2, wait_s=5)
    try:
        until_s = time.monotonic() + patience_s
        while await db.fetchval("SELECT count(*) FROM infra.jobs") and time.monotonic() < until_s:
            await asyncio.sleep(0.2)
        verdict.faults += [f"records disagree: {dict(row)}" for row in await disagreements(db)]
        for fault, query in _NEVER.items():
            verdict.faults += [f"{fault}: {dict(row)}" for row in await db.fetch(query)]
        states = await db.fetch("SELECT state, count(*) AS count FROM stamping.stamps GROUP BY state")
        verdict.stamps = {row["state"]: row["count"] for row in states}
        reasons = await db.fetch(
            "SELECT coalesce(refusal_code, reason) AS why, count(*) AS count FROM stamping.stamps "
            "WHERE state = 'given_back' GROUP BY why"
        )
        verdict.reasons = {row["why"]: row["count"] for row in reasons}
        async for fault in _faults_of_blobs(db, BlobStore.local(service.data_path / "blobs"), verdict):
            verdict.faults.append(fault)
    finally:
        await db.close()


_NEVER = {
    "a document has two stamps that count": "SELECT digest FROM stamping.stamps WHERE state <> 'given_back' "
    "GROUP BY account_id, digest HAVING count(*) > 1",
    "a serial is on two digests": "SELECT serial FROM stamping.stamps GROUP BY serial "
    "HAVING count(DISTINCT digest) > 1",
    "a serial is on two stamps": "SELECT serial FROM stamping.stamps GROUP BY serial HAVING count(*) > 1",
    "a hold outlived its life": "SELECT * FROM ledger.holds WHERE expires_at < now() - interval '5 seconds'",
    "a job was left": "SELECT * FROM infra.jobs",
    "a payment was left": "SELECT id FROM purchase.notifications WHERE outcome IS NULL",
}


async def _faults_of_blobs(db: Database, blobs: BlobStore, verdict: Verdict) -> AsyncIterator[str]:
    """Every blob that a sealed stamp points to is there, and together they have the digests on record."""
    rows = await db.fetch(
        """
        SELECT stamps.id, sealed_digest, array_prepend(tail_key, addendum_keys) AS tail_keys,
               documents.id AS document_id, repaired_key, coalesce(repaired_digest, documents.digest) AS base_digest
        FROM stamping.stamps JOIN stamping.documents ON documents.id = stamps.document_id
        WHERE stamps.state = 'sealed'
        """
    )
    for row in rows:
        verdict.blobs_read += 1 + len(row["tail_keys"])
        try:
            base = await blobs.read(row["repaired_key"] or f"originals/{row['document_id']}")
            whole = b"".join([base, *[await blobs.read(key) for key in row["tail_keys"]]])
        except BlobMissingError as error:
            yield f"a blob is missing: {error} of stamp {row['id']}"
            continue
        digests = (hashlib.sha256(base).digest(), hashlib.sha256(whole).digest())
        if digests != (row["base_digest"], row["sealed_digest"]):
            yield f"a blob has other bytes than were settled: stamp {row['id']}"


def _command(service: RunningService, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command of ours on the data of the service."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMETERAI_")}
    settings = {name: value for name, value in service.environment.items() if name.startswith("EMETERAI_")}
    return subprocess.run(
        [sys.executable, "-m", "emeterai", *arguments],
        env={**kept, **settings, "EMETERAI_DATA_DIR": str(service.data_path)},
        capture_output=True,
        text=True,
        check=False,
    )


async def _each(things: Iterable[Any], work: Any) -> list[Any]:
    """Work on each, a few at once."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(thing: Any) -> Any:
        async with turns:
            return await work(thing)

    return await asyncio.gather(*(one(thing) for thing in list(things)))
