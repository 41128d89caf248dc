"""The road of a level: a stamp made while the timestamp authority is away is raised, with a death at any step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from crowd import Asked
from cryptography.hazmat.primitives.serialization import Encoding
from death_trial import QUOTA, Trial, trial_in

from emeterai.infra.database import Database
from papers import letter
from twins.timestamp_authority import TimestampAuthority

RAISE_POINTS = ("raise.stored", "raise.written", "raise.recorded")
_SEAL_S = 20


@dataclass(frozen=True)
class TimedTrial:
    """A trial whose sealers want timestamps, and the authority that makes them."""

    trial: Trial
    authority: TimestampAuthority


@asynccontextmanager
async def timed_trial(folder: Path) -> AsyncIterator[TimedTrial]:
    """Both, from the start to the verdict."""
    authority, roots_file = TimestampAuthority(), folder.with_suffix(".pem")
    roots_file.write_bytes(authority.root.certificate.public_bytes(Encoding.PEM))
    settings = {"EMETERAI_TIMESTAMP_URL": authority.url, "EMETERAI_TIMESTAMP_ROOTS_FILE": str(roots_file)}
    try:
        async with trial_in(folder, **settings) as trial:
            yield TimedTrial(trial, authority)
    finally:
        authority.stop()


async def raises(timed: TimedTrial, point: str) -> None:
    """Sealed at B-B; when the authority is back it is B-T, whoever died, once; each file fetched is a whole one."""
    trial, authority = timed.trial, timed.authority
    person, original = await trial.person(), letter()
    authority.stop()
    answer = await person.stamp(original, wait_s=_SEAL_S)
    said: dict[str, Any] = answer.raise_for_status().json()
    assert ("sealed", "B-B") == (said["state"], said["level"])
    asked = Asked.of(person, original, said)
    trial.crowd.told(asked)
    trial.arm(point)
    authority.start_again()
    db = await Database.connect(trial.service.database_url, connections_max=1, wait_s=5)

    async def is_over() -> bool:
        before = await _fetched(trial, asked)
        async with db.transaction() as tx:
            # Its next try is due in a while; here it is due at once.
            await tx.execute("UPDATE infra.jobs SET run_at = now() WHERE worker IS NULL AND run_at > now()")
        return before == "B-T"

    try:
        await trial.until(point, is_over)
        query = "SELECT cardinality(addendum_keys) FROM stamping.stamps WHERE id = $1"
        addenda = await db.fetchval(query, UUID(said["id"]))
    finally:
        await db.close()
    assert (1, []) == (addenda, trial.crowd.lies)
    assert QUOTA - 1 == (await person.quota())["available"]


async def _fetched(trial: Trial, asked: Asked) -> str:
    """The level of a sealed stamp now. Its file is the one that it says, or the one that it says a moment later."""
    path, person = f"/v1/stamps/{asked.said['id']}", asked.person
    said = [(await trial.crowd.insist(lambda: person.api.get(path))).raise_for_status().json()]
    file = (await trial.crowd.insist(lambda: person.api.get(f"{path}/file"))).raise_for_status().content
    said += [(await trial.crowd.insist(lambda: person.api.get(path))).raise_for_status().json()]
    for one in said:
        trial.crowd.told(Asked(person, asked.size_bytes, asked.sha256, one))
    levels = [one["level"] for one in said]
    assert levels in (["B-B", "B-B"], ["B-B", "B-T"], ["B-T", "B-T"])
    assert sha256(file).hexdigest() in {one["sealed_sha256"] for one in said}
    return str(levels[0])
