"""`emeterai bench growth`: is it as quick when years of stamps are there? Empty and full, in turns, on one server.

Holds and settles go through the real services (stamping, ledger, register, jobs); there is no HTTP and no sealing, so
that only what grows is measured. Needs about 4 KB of free disk a stamp; everything is removed at the end.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import TypeVar
from uuid import UUID

import asyncpg
from figures import Figures, parser
from growth_fill import Amount, fill
from growth_http import measure_over_http
from stamp import Load

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra import jobs
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.migrate import migrate
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.ledger.check import check_ledger
from emeterai.ledger.serials import SerialRegister
from emeterai.ledger.service import Ledger
from emeterai.seal.model import Box
from emeterai.stamping.endings import Endings
from emeterai.stamping.model import Stamp, StampWanted
from emeterai.stamping.service import SEAL, Stamping
from emeterai.stamping.store import Sealed

DATABASES = ("growth_empty", "growth_full")
PEOPLE = 5_000
"""So many people take turns asking for stamps, in either database."""
ROUND = 256
"""Requests that arrive together in one round."""
CLAIM_MAX = 64
LOOKS_EACH_ROUND = 20
BIG_ROWS = 100_000
STATISTICS_DELAY_S = 11.0
"""After so long every connection has told the server what it has read: one that is idle does after ten seconds."""
DISK_BYTES_A_STAMP = 4_500
_DICE = random.Random()  # noqa: S311 - who asks next is no secret
BOX = Box(430, 40, 530, 140)
Answer = TypeVar("Answer")
_READY = """
    INSERT INTO stamping.documents (id, account_id, name, size_bytes, received_bytes, state, digest, report)
    SELECT id, account_id, 'surat.pdf', 100000, 100000, 'ready', digest, '{"pages": 1}'
    FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS new(id, account_id, digest)
"""
_LOG_BYTES = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"
_READ = "SELECT relid, relname, coalesce(seq_tup_read, 0) AS rows_read, n_live_tup AS rows_now FROM pg_stat_user_tables"
_SIZES = """
    SELECT coalesce(parent.relname, own.relname) AS name, sum(pg_table_size(own.oid))::bigint AS table_bytes,
           sum(pg_indexes_size(own.oid))::bigint AS index_bytes
    FROM pg_class AS own JOIN pg_namespace ON pg_namespace.oid = own.relnamespace
    LEFT JOIN pg_inherits ON inhrelid = own.oid LEFT JOIN pg_class AS parent ON parent.oid = inhparent
    WHERE own.relkind = 'r' AND nspname IN ('ledger', 'stamping', 'purchase', 'accounts', 'infra')
    GROUP BY 1 HAVING sum(pg_total_relation_size(own.oid)) > 10000000 ORDER BY sum(pg_total_relation_size(own.oid)) DESC
"""


@dataclass
class Side:
    """One of the two databases, and what was measured on it."""

    name: str
    db: Database
    accounts: list[UUID]
    known_serials: list[str]
    busiest: UUID
    stamping: Stamping = field(init=False)
    ledger: Ledger = field(init=False)
    serials: SerialRegister = field(init=False)
    endings: Endings = field(init=False)
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    log_bytes: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        bus = Bus("")
        self.ledger, self.serials = Ledger(self.db), SerialRegister(self.db)
        self.stamping = Stamping(self.db, bus, self.ledger, self.serials, hold_life_s=600)
        self.endings = Endings(self.db, bus, self.ledger, self.serials)

    async def round(self) -> None:
        """Some requests that arrive together are held, claimed and settled; then people look at what they have."""
        wanted = await self._ready_documents()
        log_before, began = await self.db.fetchval(_LOG_BYTES), time.perf_counter()
        asked = await asyncio.gather(*(self.timed("hold, in a crowd", self.stamping.ask(one)) for one in wanted))
        stamps = {stamp.id: stamp for stamp, _ in asked}
        while claims := await self.timed("claim of 64 jobs", self._claim()):
            seals = {claim.id: _seal_of(stamps[claim.id]) for claim in claims}
            await self.timed("settle of 64 stamps", self.endings.settle(claims, stamps, seals))
        self.rates.append(len(wanted) / (time.perf_counter() - began))
        self.log_bytes.append((await self.db.fetchval(_LOG_BYTES) - log_before) / len(wanted))
        for _ in range(LOOKS_EACH_ROUND):
            await self._look(_DICE.choice(self.accounts))

    async def timed(self, name: str, work: Awaitable[Answer]) -> Answer:
        """The answer of `work`, its time put on record."""
        began = time.perf_counter()
        answer = await work
        self.times_ms.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
        return answer

    async def _look(self, account: UUID) -> None:
        await self.timed("history of a person", self.ledger.history(account))
        await self.timed("history of the busiest account", self.ledger.history(self.busiest))
        await self.timed("stamps of a person", self.stamping.of_account(account))
        await self.timed("lookup of a serial", self.serials.find(_DICE.choice(self.known_serials)))

    async def _claim(self) -> list[jobs.Claim]:
        return await jobs.claim(self.db, [SEAL], worker=new_id(), limit=CLAIM_MAX, lease_s=60)

    async def _ready_documents(self) -> list[StampWanted]:
        wanted = [_wanted(account) for account in _DICE.choices(self.accounts, k=ROUND)]
        async with self.db.transaction() as tx:
            await tx.execute(
                _READY,
                [one.document_id for one in wanted],
                [one.account_id for one in wanted],
                [one.digest for one in wanted],
            )
        return wanted


def main() -> None:
    """Fill, measure, print, remove."""
    options = parser(__doc__ or "")
    options.add_argument("--stamps", type=int, default=5_000_000)
    options.add_argument("--accounts", type=int, default=0, help="a tenth of the stamps without it")
    options.add_argument("--months", type=int, default=24, help="over which the stamps are spread")
    options.add_argument("--unanalyzed", action="store_true", help="measure without statistics, as after a bulk load")
    options.add_argument("--generic", action="store_true", help="measure with generic plans only")
    options.add_argument("--check", action="store_true", help="audit the full ledger at the end")
    options.add_argument("--http", action="store_true", help="whole stamps over HTTP instead, on two services in turns")
    chosen = options.parse_args()
    amount = Amount(chosen.accounts or max(PEOPLE, chosen.stamps // 10), chosen.stamps, chosen.months)
    with tempfile.TemporaryDirectory(prefix="emeterai-growth-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if shutil.disk_usage(folder).free < chosen.stamps * DISK_BYTES_A_STAMP:
            sys.exit(f"there is not enough room in {folder.parent} for {chosen.stamps:,} stamps")
        figures, seconds = Figures(as_json=chosen.json), chosen.seconds or 30.0
        if chosen.http:
            asyncio.run(measure_over_http(figures, folder, amount, Load(seconds, vus=64, rate=0)))
            return
        flags = [flag for flag in ("unanalyzed", "generic", "check") if getattr(chosen, flag)]
        asyncio.run(measure(figures, folder, amount, seconds, flags))


async def measure(figures: Figures, folder: Path, amount: Amount, seconds: float, flags: Sequence[str]) -> None:
    """Two databases on one server: one stays empty, one is filled; then both are measured in turns."""
    server, analyze = EmbeddedPostgres(folder / "data"), "unanalyzed" not in flags
    try:
        urls = await prepare(figures, folder, amount)
        await server.start(60)
        if "generic" in flags:
            for database in DATABASES:
                await as_admin(server, f"ALTER DATABASE {database} SET plan_cache_mode = force_generic_plan")
        sides = [await open_side(name, url) for name, url in zip(("empty", "full"), urls, strict=True)]
        try:
            await alternate(sides, seconds, analyze=analyze)
            show(figures, *sides)
            await show_sizes(figures, sides[1].db)
            if "check" in flags:
                report = await check_ledger(sides[1].db)
                figures.note(f"the audit of {report.transfers:,} transfers holds: {report.holds_true}")
        finally:
            for side in sides:
                await side.db.close()
    finally:
        await server.stop(60)
        server.remove()


async def prepare(figures: Figures, folder: Path, amount: Amount) -> list[str]:
    """Make and fill the databases on a server that need not survive a power cut; answers their URLs."""
    server = EmbeddedPostgres(folder / "data", durable=False)
    await server.start()
    try:
        urls = []
        for database in DATABASES:
            await as_admin(server, f"CREATE DATABASE {database} OWNER emeterai")
            urls.append(server.url().replace("/emeterai?", f"/{database}?"))
            await migrate(urls[-1])
        began = time.perf_counter()
        await fill(urls[1], amount, figures.note)
        figures.note(f"filled in {time.perf_counter() - began:.0f} s")
    finally:
        await server.stop(120)
    return urls


async def as_admin(server: EmbeddedPostgres, statement: str) -> None:
    """Run one statement as the superuser."""
    connection = await asyncpg.connect(server.admin_url())
    await connection.execute(statement)
    await connection.close()


async def vacuum(db: Database) -> None:
    """What autovacuum would have done in all that time."""
    async with db.connection() as connection:
        await connection.execute("VACUUM (ANALYZE)", timeout=1_800)


async def open_side(name: str, url: str) -> Side:
    """A database with people who have quota; the full one's are drawn from all who are there."""
    db = await Database.connect(url, connections_max=4, wait_s=30)
    rows = await db.fetch("SELECT account FROM ledger.balances ORDER BY random() LIMIT $1", PEOPLE)
    accounts = [row["account"] for row in rows] or [new_id() for _ in range(PEOPLE)]
    granted = [Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, 10_000, account=account) for account in accounts]
    for begin in range(0, len(granted), 1_000):
        await Ledger(db).post(granted[begin : begin + 1_000])
    serials = await db.fetch("SELECT serial FROM ledger.serials TABLESAMPLE SYSTEM (1) LIMIT 20000")
    busiest = await db.fetchval("SELECT account FROM ledger.balances ORDER BY used DESC LIMIT 1")
    return Side(name, db, accounts, [row["serial"] for row in serials] or ["0" * 22], busiest)


async def alternate(sides: Sequence[Side], seconds: float, *, analyze: bool) -> None:
    """Rounds on one and on the other until the time is over, after a warm-up; fails when a big table was scanned."""
    for side in sides:
        for _ in range(3):
            await side.round()
        if analyze:
            await vacuum(side.db)
        await side.round()
        side.times_ms.clear()
        side.rates.clear()
        side.log_bytes.clear()
    full = sides[1].db
    await asyncio.sleep(STATISTICS_DELAY_S)
    before = {row["relid"]: (row["rows_read"], row["rows_now"]) for row in await full.fetch(_READ)}
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        for side in sides:
            await side.round()
    await asyncio.sleep(STATISTICS_DELAY_S)
    scanned = []
    for row in await full.fetch(_READ):
        read_then, rows_then = before.get(row["relid"], (0, 0))
        # A month that has just begun is read whole while it is small: no scan of what it became.
        if row["rows_read"] - read_then >= (1 if rows_then >= BIG_ROWS else BIG_ROWS):
            scanned.append(row["relname"])
    if scanned:
        sys.exit(f"these tables were read from end to end: {', '.join(scanned)}")


def show(figures: Figures, empty: Side, full: Side) -> None:
    """The full database's numbers beside the empty one's."""
    rates = [median(side.rates) for side in (full, empty)]
    figures.say("hold and settle, batched", rates[0], "stamps/s", yardstick="empty", yardstick_value=rates[1])
    logs = [median(side.log_bytes) for side in (full, empty)]
    figures.say("write-ahead log", logs[0], "B/stamp", yardstick="empty", yardstick_value=logs[1])
    for name in full.times_ms:
        for label, share in (("p50", 49), ("p99", 98)):
            value, beside = (quantiles(side.times_ms[name], n=100)[share] for side in (full, empty))
            figures.say(f"{name}, {label}", value, "ms", yardstick="empty", yardstick_value=beside)


async def show_sizes(figures: Figures, db: Database) -> None:
    """Bytes of tables and of their indexes, for each stamp that is there."""
    stamps = await db.fetchval("SELECT count(*) FROM stamping.stamps")
    rows = await db.fetch(_SIZES)
    for row in rows:
        figures.say(
            f"{row['name']}: table",
            row["table_bytes"] / stamps,
            "B/stamp",
            yardstick="its indexes",
            yardstick_value=row["index_bytes"] / stamps,
        )
    tables, indexes = (sum(row[part] for row in rows) / stamps for part in ("table_bytes", "index_bytes"))
    figures.say("all tables and indexes", tables + indexes, "B/stamp", yardstick="indexes", yardstick_value=indexes)


def _wanted(account: UUID) -> StampWanted:
    digest = secrets.token_bytes(32)
    return StampWanted(
        account_id=account,
        document_id=new_id(),
        digest=digest,
        page=1,
        box=BOX,
        additional=False,
        idempotency_key=None,
        request_digest=digest,
    )


def _seal_of(stamp: Stamp) -> Sealed:
    return Sealed(stamp.id, f"tails/{stamp.id}.1", 12_000, 112_000, b"x" * 32, "B-B", utc_now())


if __name__ == "__main__":
    main()
