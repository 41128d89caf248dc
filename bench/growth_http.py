"""`emeterai bench growth --http`: whole stamps over HTTP on a database of years, beside those on an empty one.

Two services, each on a data folder of its own, run in turns, each turn begun by the other one; nothing differs but
what their databases hold. A machine that is quicker in one turn than in the next is quicker for both sides of it, so
what counts is the middle of the turns' own ratios.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import median

from figures import Figures
from growth_fill import Amount, fill
from stamp import QUOTA_EACH, Load, Metrics, cpu_seconds, run_k6

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.migrate import migrate
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger
from running import RunningService

PEOPLE = 5_000
"""So many people ask, in either database; in the full one they are drawn from all who are there."""
TURNS = 6
_PUT_PEOPLE = """
    INSERT INTO accounts.accounts (id, name, email, password_hash, timezone)
    SELECT gen_random_uuid(), 'Warga', 'warga-' || number || '@contoh.id', '$argon2id$v=19$-', 'Asia/Jakarta'
    FROM generate_series(1, $1::int) AS number
"""
_SIGN_IN = """
    INSERT INTO accounts.sessions (token_hash, account_id, expires_at)
    SELECT token_hash, account_id, now() + interval '1 day'
    FROM unnest($1::bytea[], $2::uuid[]) AS new(token_hash, account_id)
"""


@dataclass
class HttpSide:
    """One of the two services, and what was measured of it, a figure a turn."""

    service: RunningService
    per_s: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    database_ms: list[float] = field(default_factory=list)
    """Processor time of PostgreSQL a stamp."""
    audit_s: float = 0.0
    """How long the steward's first audit of everything took, after the service was ready, with nothing else to do."""


async def measure_over_http(figures: Figures, folder: Path, amount: Amount, load: Load) -> None:
    """Fill one, then load both in turns; exits when a ledger does not agree with what was answered."""
    empty, full = (HttpSide(RunningService(folder / name)) for name in ("empty", "full"))
    await _fill(figures, full.service.data_path, amount)
    for turn in range(TURNS):
        for side in (empty, full) if turn % 2 == 0 else (full, empty):
            measured = await _turn(side, folder, load)
            figures.note(f"turn {turn + 1}, {side.service.folder.name}: {measured:,.0f} stamps/s")
    for label, part, unit in (
        ("whole stamp over HTTP", "per_s", "stamps/s"),
        ("whole stamp over HTTP, p99", "p99_ms", "ms"),
        ("CPU a stamp: postgres", "database_ms", "ms"),
    ):
        values = [median(getattr(side, part)) for side in (full, empty)]
        figures.say(label, values[0], unit, yardstick="empty", yardstick_value=values[1])
    by_turn = [mine / other for mine, other in zip(full.per_s, empty.per_s, strict=True)]
    figures.note("full beside empty, by turn: " + ", ".join(f"{ratio:.2f}" for ratio in by_turn))
    figures.say("full beside empty, the middle turn", median(by_turn), "x", yardstick="goal, x", yardstick_value=0.9)
    figures.say("the audit of everything", full.audit_s, "s", yardstick="empty", yardstick_value=empty.audit_s)


async def _fill(figures: Figures, data_path: Path, amount: Amount) -> None:
    """Years of stamps, written by a server that need not survive a power cut, then looked over as autovacuum would."""
    server = EmbeddedPostgres(data_path, durable=False)
    await server.start()
    try:
        await migrate(server.url())
        await fill(server.url(), amount, figures.note)
        db = await Database.connect(server.url(), connections_max=1, wait_s=5)
        async with db.connection() as connection:
            await connection.execute("VACUUM (ANALYZE)", timeout=1_800)
        await db.close()
    finally:
        await server.stop(120)


async def _turn(side: HttpSide, folder: Path, load: Load) -> float:
    """Start the service, load it, audit it, stop it; answers stamps a second."""
    service = side.service
    await service.start()
    db = await Database.connect(service.database_url, connections_max=2, wait_s=5)
    try:
        audit_s = await _audited(db)
        tokens = await _people_with_quota(db)
        used_before = await db.fetchval("SELECT coalesce(sum(used), 0) FROM ledger.balances")
        before = cpu_seconds(service)
        measured = await asyncio.to_thread(run_k6, service, folder, tokens, load)
        spent_s = cpu_seconds(service)["postgres"] - before["postgres"]
        used = await db.fetchval("SELECT coalesce(sum(used), 0) FROM ledger.balances") - used_before
        report = await check_ledger(db) if not side.per_s else None
    finally:
        await db.close()
        await service.stop()
    sealed = _count(measured, "sealed")
    if not sealed or used < sealed or (report is not None and not report.holds_true):
        sys.exit(f"the ledger and the answers do not agree: {sealed} sealed, {used} used")
    side.audit_s = side.audit_s or audit_s
    side.per_s.append(sealed / load.seconds)
    side.p99_ms.append(measured["stamp_ms"]["p(99)"])
    side.database_ms.append(spent_s / sealed * 1e3)
    return side.per_s[-1]


async def _audited(db: Database) -> float:
    """Wait until the steward has once looked at everything that it found, as it does each day; answers for how long."""
    began_s = time.monotonic()
    async with asyncio.timeout(900):
        while not await db.fetchval(
            "SELECT coalesce(bool_or(audited_at > '2000-01-01' AND isfinite(audited_at)), false) FROM ledger.watch"
        ):
            await asyncio.sleep(0.5)
    return time.monotonic() - began_s


async def _people_with_quota(db: Database) -> list[str]:
    """API tokens of some of the people who are there, each with plenty of quota; where nobody is, they come now."""
    if not await db.fetchval("SELECT EXISTS (SELECT FROM accounts.accounts)"):
        await db.fetch(_PUT_PEOPLE, PEOPLE)
    rows = await db.fetch("SELECT id FROM accounts.accounts ORDER BY random() LIMIT $1", PEOPLE)
    accounts = [row["id"] for row in rows]
    tokens = [f"ems_{secrets.token_urlsafe(32)}" for _ in accounts]
    await db.fetch(_SIGN_IN, [sha256(token.encode()).digest() for token in tokens], accounts)
    ledger = Ledger(db)
    for begin in range(0, len(accounts), 1_000):
        some = accounts[begin : begin + 1_000]
        await ledger.post(
            [Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, QUOTA_EACH, account=account) for account in some]
        )
    return tokens


def _count(measured: Metrics, name: str) -> float:
    return measured.get(name, {}).get("count", 0.0)
