"""What the ledger is measured against: pgbench TPC-B, and a ledger as it is usually written."""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator

import asyncpg

from emeterai.infra.ids import new_id
from emeterai.infra.postgres import EmbeddedPostgres, embedded_bin_dir

_TPCB_SCALE = "16"  # as many branches as clients, as pgbench's manual wants it
_TABLES = """
    CREATE SCHEMA plain;
    CREATE TABLE plain.balances (account bigint PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0))
        WITH (fillfactor = 70);
    CREATE TABLE plain.transfers (
        id uuid PRIMARY KEY, debit bigint NOT NULL, credit bigint NOT NULL, amount bigint NOT NULL CHECK (amount > 0),
        posted_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX transfers_debit ON plain.transfers (debit, posted_at);
    CREATE INDEX transfers_credit ON plain.transfers (credit, posted_at);
"""
_LOCK = "SELECT account, balance FROM plain.balances WHERE account = ANY($1::bigint[]) ORDER BY account FOR UPDATE"
_INSERT = "INSERT INTO plain.transfers (id, debit, credit, amount) VALUES ($1, $2, $3, $4)"
_UPDATE = "UPDATE plain.balances SET balance = balance + $2 WHERE account = $1"
_FILL = "INSERT INTO plain.balances SELECT account, $2 FROM generate_series(0, $1 - 1) AS account"
_PGBENCH_SCRIPT = """
\\set debit random(0, {last})
\\set credit (:debit + random(1, {last})) % {accounts}
BEGIN;
SELECT account, balance FROM plain.balances WHERE account IN (:debit, :credit) ORDER BY account FOR UPDATE;
INSERT INTO plain.transfers (id, debit, credit, amount) VALUES (gen_random_uuid(), :debit, :credit, 1);
UPDATE plain.balances SET balance = balance - 1 WHERE account = :debit;
UPDATE plain.balances SET balance = balance + 1 WHERE account = :credit;
COMMIT;
"""


class PlainLedger:
    """Lock the two balances, check, write the transfer and both balances, commit: five statements and a commit."""

    def __init__(self, url: str, accounts: int) -> None:
        self._url = url
        self._accounts = accounts
        self._chance = random.Random(1)  # noqa: S311 - to choose accounts

    @classmethod
    async def prepare(cls, url: str, accounts: int, balance: int) -> PlainLedger:
        """Make its tables and fill its accounts, numbered from 0."""
        connection = await asyncpg.connect(url)
        await connection.execute(_TABLES)
        await connection.execute(_FILL, accounts, balance)
        await connection.close()
        return cls(url, accounts)

    async def tps(self, debits: Iterator[int], connections: int, seconds: float) -> float:
        """Transfers a second from the accounts that `debits` names to any others, over several connections at once."""
        pool = await asyncpg.create_pool(self._url, min_size=connections, max_size=connections)
        async with pool:
            began = time.perf_counter()
            done = await asyncio.gather(*(self._work(pool, debits, began + seconds) for _ in range(connections)))
            return sum(done) / (time.perf_counter() - began)

    async def _work(self, pool: asyncpg.Pool, debits: Iterator[int], end: float) -> int:
        done = 0
        async with pool.acquire() as connection:
            while time.perf_counter() < end:
                debit = next(debits)
                credit = (debit + self._chance.randrange(1, self._accounts)) % self._accounts
                async with connection.transaction():
                    balances = dict(await connection.fetch(_LOCK, [debit, credit]))
                    if balances[debit] < 1:
                        continue
                    await connection.execute(_INSERT, new_id(), debit, credit, 1)
                    await connection.execute(_UPDATE, debit, -1)
                    await connection.execute(_UPDATE, credit, 1)
                done += 1
        return done

    async def tps_by_pgbench(self, connections: int, seconds: float) -> float:
        """The same, uniformly, driven by pgbench instead of Python."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(_PGBENCH_SCRIPT.format(last=self._accounts - 1, accounts=self._accounts))
            script.flush()
            return await asyncio.to_thread(_pgbench_tps, connections, seconds, self._url, "-n", "-f", script.name)


def prepare_pgbench(server: EmbeddedPostgres) -> None:
    """Make and fill TPC-B's tables."""
    command = [str(embedded_bin_dir() / "pgbench"), "-i", "-q", "-s", _TPCB_SCALE, server.admin_url()]
    subprocess.run(command, check=True, capture_output=True)


async def tpcb_tps(server: EmbeddedPostgres, connections: int, seconds: float) -> float:
    """TPC-B a second."""
    return await asyncio.to_thread(_pgbench_tps, connections, seconds, server.admin_url(), "-n")


def _pgbench_tps(connections: int, seconds: float, url: str, *options: str) -> float:
    command = [str(embedded_bin_dir() / "pgbench"), "-c", str(connections), "-j", "1", "-M", "prepared"]
    command += ["-T", str(max(1, round(seconds))), *options, url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found is not None, said
    return float(found.group(1))
