"""What was promised on the last day, checked from the outside: the ledger, and every answer that anybody was given."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import time
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from figures import TESTS
from lastday_ears import Heard
from lastday_stage import Stage

from emeterai.infra.database import Database

sys.path.insert(0, str(TESTS / "crash"))

from verdict import _command as command

from spine import disagreements

PATIENCE_S = 120.0
FILES_MAX = 60


@dataclass
class Promises:
    """What was found; `faults` is empty when all was kept."""

    stamps: int = 0
    orders: int = 0
    files: int = 0
    given_back: int = 0
    quiet_after_s: float = 0.0
    faults: list[str] = field(default_factory=list)
    credit_ms: list[float] = field(default_factory=list)
    """From the provider's word, as it was received, until the quota was there."""

    def add(self, other: Promises) -> None:
        """What was found on another day besides."""
        self.stamps, self.orders, self.files = (
            self.stamps + other.stamps,
            self.orders + other.orders,
            self.files + other.files,
        )
        self.given_back += other.given_back
        self.faults += other.faults


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
        await _stamps(db, heard, found)
        await _orders(db, heard, found)
    await _files(stage, days, found)
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


async def _stamps(db: Database, heard: Heard, found: Promises) -> None:
    """Whoever was told that a stamp is held, sealed or given back was told the truth, for good."""
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
        if now and state != "held" and (state, serial, digest if state == "sealed" else now[2]) != now:
            found.faults.append(f"{stamp_id} was told {(state, serial, digest)} and is {now}")


async def _orders(db: Database, heard: Heard, found: Promises) -> None:
    """Whoever paid has the quota."""
    paid = sorted({UUID(one[1]) for one in [*heard.of("paid"), *heard.of("quota")]})
    rows = await db.fetch("SELECT id, state FROM purchase.orders WHERE id = ANY($1)", paid)
    found.orders += len(paid)
    states = {row["id"]: row["state"] for row in rows}
    found.faults += [
        f"money was paid and is not quota: {one} {states.get(one)}" for one in paid if states.get(one) != "paid"
    ]


async def _files(stage: Stage, days: list[Heard], found: Promises) -> None:
    """Some sealed files, fetched and compared with the digest that was told."""
    sealed = [one for heard in days for one in heard.of("stamp") if one[3] == "sealed" and one[6] % 10 < 7]
    async with httpx.AsyncClient(base_url=stage.service.base_url, trust_env=False, timeout=30) as client:
        for one in random.Random(1).sample(sealed, min(FILES_MAX, len(sealed))):  # noqa: S311 - which are looked at
            token = f"ems_{stage.seed}{one[6]:016d}"
            answer = await client.get(f"/v1/stamps/{one[2]}/file", headers={"Authorization": f"Bearer {token}"})
            if answer.status_code == 503:
                continue
            found.files += 1
            if hashlib.sha256(answer.content).hexdigest() != one[5]:
                found.faults.append(f"a sealed file is not the one that was told: {one[2]} {answer.status_code}")
