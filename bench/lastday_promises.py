"""What was promised on the last day, checked from the outside: the ledger, and every answer that anybody was given."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from uuid import UUID

import httpx
from figures import TESTS
from lastday_ears import Heard
from lastday_stage import Stage

from emeterai.infra.blobs import BlobMissingError, BlobStore
from emeterai.infra.database import Database

sys.path.insert(0, str(TESTS / "crash"))

from verdict import _command as command

from spine import disagreements

PATIENCE_S = 120.0
FILES_MAX = 60
_FETCH_TIMES = 20


@dataclass
class Promises:
    """What was found; `faults` is empty when all was kept."""

    stamps: int = 0
    orders: int = 0
    files: int = 0
    given_back: int = 0
    raised: int = 0
    """Files whose digest was told before their level was raised: they are the beginning of the files of now."""
    quiet_after_s: float = 0.0
    faults: list[str] = field(default_factory=list)
    credit_ms: list[float] = field(default_factory=list)
    """From the provider's word, as it was received, until the quota was there."""

    def add(self, other: Promises) -> None:
        """What was found on another day besides; how long credits took is that of the first day."""
        self.stamps, self.orders, self.files = (
            self.stamps + other.stamps,
            self.orders + other.orders,
            self.files + other.files,
        )
        self.given_back += other.given_back
        self.raised += other.raised
        self.faults += other.faults
        self.credit_ms = self.credit_ms or other.credit_ms


async def check_promises(stage: Stage, db: Database, days: list[Heard]) -> Promises:
    """Wait until all is quiet, then compare what people were told with what is on record."""
    found, began_s = Promises(), time.monotonic()
    paid = sorted({UUID(one[1]) for heard in days for one in [*heard.of("paid"), *heard.of("quota")]})
    while left := await _under_way(db, paid):
        if time.monotonic() - began_s > PATIENCE_S:
            found.faults.append(f"still under way: {left}")
            break
        await asyncio.sleep(0.5)
    found.quiet_after_s = time.monotonic() - began_s
    for heard in days:
        await _stamps(stage, db, heard, found)
        await _orders(db, heard, found)
    await _files(stage, db, days, found)
    said = await asyncio.to_thread(command, stage.service, "ledger", "check", "--json")
    found.faults += [f"the audit says no: {said.stdout[-2000:]}{said.stderr[-500:]}"] if said.returncode else []
    found.faults += [f"records disagree: {one}" for one in await disagreements(db)]
    rows = await db.fetch(
        """
        SELECT extract(epoch FROM orders.paid_at - min(told.received_at)) * 1000 AS ms
        FROM purchase.orders JOIN purchase.notifications AS told ON told.order_id = orders.id AND told.state = 'settled'
        WHERE orders.paid_at IS NOT NULL GROUP BY orders.id
        """
    )
    found.credit_ms = [max(0.0, float(row["ms"])) for row in rows]
    return found


async def _under_way(db: Database, paid: list[UUID]) -> int:
    """Units, work and provider's words that are not done with; money that was paid, and no word of it has come yet."""
    return int(
        await db.fetchval(
            "SELECT (SELECT count(*) FROM ledger.holds) + (SELECT count(*) FROM infra.jobs)"
            " + (SELECT count(*) FROM purchase.notifications WHERE outcome IS NULL)"
            " + (SELECT count(*) FROM purchase.orders WHERE id = ANY($1) AND state = 'awaiting_payment')",
            paid,
        )
    )


async def _stamps(stage: Stage, db: Database, heard: Heard, found: Promises) -> None:
    """Whoever was told that a stamp is held, sealed or given back was told the truth, for good.

    The digest of a sealed file is that of the file as it was then: raising its level appends to it.
    """
    told = {UUID(one[2]): (one[3], one[4], one[5]) for one in heard.of("stamp")}
    told |= {UUID(one[3]): (one[4], one[5], one[6]) for one in heard.of("partner") if one[3]}
    held = {UUID(one[1]) for one in heard.of("held")}
    rows = await db.fetch(
        "SELECT id, state, serial, encode(sealed_digest, 'hex') AS digest FROM stamping.stamps WHERE id = ANY($1)",
        sorted({*told, *held}),
    )
    known = {row["id"]: (row["state"], row["serial"], row["digest"]) for row in rows}
    found.stamps += len({*told, *held})
    found.given_back += sum(state == "given_back" for state, _, _ in known.values())
    found.faults += [f"a stamp that was promised is not on record: {one}" for one in {*told, *held} - set(known)]
    for stamp_id, (state, serial, digest) in told.items():
        now = known.get(stamp_id)
        if not now or state == "held" or (state, serial, digest if state == "sealed" else now[2]) == now:
            continue
        is_sealed = state == now[0] == "sealed" and serial == now[1]
        if is_sealed and digest in await _digests_before(stage, db, stamp_id):
            found.raised += 1
        else:
            found.faults.append(f"{stamp_id} was told {(state, serial, digest)} and is {now}")


async def _digests_before(stage: Stage, db: Database, stamp_id: UUID) -> set[str]:
    """The digests of a sealed file as it was before each of its addenda; none when nothing was appended to it."""
    (row,) = await db.fetch(
        """
        SELECT document_id, repaired_key, tail_key, addendum_keys FROM stamping.stamps
        JOIN stamping.documents ON documents.id = stamps.document_id WHERE stamps.id = $1
        """,
        stamp_id,
    )
    blobs = BlobStore.local(stage.service.data_path / "blobs")
    whole, found = hashlib.sha256(), set[str]()
    with suppress(BlobMissingError):
        whole.update(await blobs.read(row["repaired_key"] or f"originals/{row['document_id']}"))
        for key in [row["tail_key"], *row["addendum_keys"]][:-1]:
            whole.update(await blobs.read(key))
            found.add(whole.hexdigest())
    return found


async def _orders(db: Database, heard: Heard, found: Promises) -> None:
    """Whoever paid has the quota."""
    paid = sorted({UUID(one[1]) for one in [*heard.of("paid"), *heard.of("quota")]})
    rows = await db.fetch("SELECT id, state FROM purchase.orders WHERE id = ANY($1)", paid)
    found.orders += len(paid)
    states = {row["id"]: row["state"] for row in rows}
    found.faults += [
        f"money was paid and is not quota: {one} {states.get(one)}" for one in paid if states.get(one) != "paid"
    ]


async def _files(stage: Stage, db: Database, days: list[Heard], found: Promises) -> None:
    """Some sealed files, fetched and compared with the digest that was told, or with that of the file since raised."""
    sealed = [one for heard in days for one in heard.of("stamp") if one[3] == "sealed" and one[6] % 10 < 7]
    rows = await db.fetch(
        "SELECT id, encode(sealed_digest, 'hex') AS digest FROM stamping.stamps WHERE addendum_keys <> '{}'"
    )
    raised = {row["id"]: row["digest"] for row in rows}
    async with httpx.AsyncClient(base_url=stage.service.base_url, trust_env=False, timeout=30) as client:
        for one in random.Random(1).sample(sealed, min(FILES_MAX, len(sealed))):  # noqa: S311 - which are looked at
            token = f"ems_{stage.seed}{one[6]:016d}"
            answer = await _fetched(client, f"/v1/stamps/{one[2]}/file", {"Authorization": f"Bearer {token}"})
            found.files += 1
            if hashlib.sha256(answer.content).hexdigest() != raised.get(UUID(one[2]), one[5]):
                found.faults.append(f"a sealed file is not the one that was told: {one[2]} {answer.status_code}")


async def _fetched(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> httpx.Response:
    """An answer, asked for again while the service is crowded; what is refused to the end is as good as not there."""
    for _ in range(_FETCH_TIMES):
        answer = await client.get(path, headers=headers)
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            break
        await asyncio.sleep(1)
    return answer
