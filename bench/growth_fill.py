"""Fills a migrated database with years of stamps by set-based SQL: people, orders, transfers, documents, stamps.

What comes out is a true ledger (`emeterai ledger check` holds): ids are UUIDv7 of their times, every stamp has its
hold, its ending and its serial, and every unit was bought and paid for.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import msgspec

from emeterai.core.serial import SerialBlock
from emeterai.infra.clock import utc_now
from emeterai.infra.partitions import month_of, months_after
from emeterai.ledger.serials import BLOCK_SIZE
from emeterai.seal.model import Report

PLAN_BYTES = 600
"""As long as the plan of a one-page letter."""
_PARTITIONED = (("ledger", "transfers"), ("purchase", "notification_bodies"))


@dataclass(frozen=True)
class Amount:
    """How much to fill in: stamps over so many whole months before this one, of so many people."""

    accounts: int
    stamps: int
    months: int


async def fill(url: str, amount: Amount, say: Callable[[str], None]) -> None:
    """Fill the database at `url`. Takes minutes for millions; leaves statistics as a bulk load does: none."""
    connection = await asyncpg.connect(url, server_settings={"timezone": "UTC", "work_mem": "256MB"})
    this_month = month_of(utc_now())
    months = [months_after(this_month, -back) for back in range(amount.months, 0, -1)]
    try:
        await connection.execute(_HELPERS)
        for schema, table in _PARTITIONED:
            for month in months:
                await connection.execute("SELECT infra.add_month($1, $2, $3)", schema, table, month.date())
        await connection.execute(_ACCOUNTS, amount.accounts, months[0])
        for number, month in enumerate(months):
            begin, end = (amount.stamps * at // amount.months for at in (number, number + 1))
            await _fill_month(connection, amount, end - begin, month)
            say(f"filled {end:,} of {amount.stamps:,} stamps, up to {month:%Y-%m}")
        for statement in _PURCHASES:
            await connection.execute(statement)
        await connection.execute("DROP SCHEMA growth CASCADE")
    finally:
        await connection.close()


async def _fill_month(
    connection: asyncpg.Connection[asyncpg.Record], amount: Amount, count: int, month: datetime
) -> None:
    serials = await asyncio.to_thread(_serials, count)
    async with connection.transaction():
        await connection.execute("TRUNCATE growth.serials, growth.chunk")
        await connection.copy_records_to_table(
            "serials", schema_name="growth", records=list(enumerate(serials, 1)), columns=["n", "serial"]
        )
        await connection.execute(_CHUNK, month, months_after(month, 1), count, amount.accounts)
        await connection.execute(_DOCUMENTS, msgspec.json.encode(_report()).decode())
        for statement in _STAMPS:
            await connection.execute(statement)


def _serials(count: int) -> list[str]:
    """Serials of blocks of their own, as the register draws them."""
    made: list[str] = []
    while len(made) < count:
        block = SerialBlock(secrets.randbelow(36**5), secrets.token_bytes(32), BLOCK_SIZE)
        made += [block.serial(place) for place in range(min(BLOCK_SIZE, count - len(made)))]
    return made


def _report() -> Report:
    return Report(
        pages=1,
        size_bytes=100_000,
        pdf_version="1.7",
        signatures=0,
        page_sizes_pt=[(595.0, 842.0)],
        notes=[],
        plan=b"p" * PLAN_BYTES,
    )


# Four ids of one moment differ in the variant digit (8, 9, a, b: RFC 9562 section 4.1), so one random tail makes four.
_HELPERS = """
CREATE SCHEMA growth;
CREATE FUNCTION growth.head(at timestamptz) RETURNS text LANGUAGE sql VOLATILE RETURN
    regexp_replace(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), '^(.{8})(.{4})', '\\1-\\2-7')
    || substr(gen_random_uuid()::text, 16, 4);
CREATE FUNCTION growth.id_at(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE RETURN
    (growth.head(at) || '8' || substr(gen_random_uuid()::text, 21))::uuid;
CREATE UNLOGGED TABLE growth.accounts (n integer PRIMARY KEY, id uuid NOT NULL);
CREATE UNLOGGED TABLE growth.serials (n integer NOT NULL, serial text NOT NULL);
CREATE UNLOGGED TABLE growth.chunk (
    at timestamptz, account uuid, document uuid, stamp uuid, hold uuid, ending uuid, digest bytea, serial text,
    sealed boolean
);
CREATE UNLOGGED TABLE growth.spent (account uuid PRIMARY KEY, used bigint NOT NULL, at timestamptz NOT NULL);
"""
_ACCOUNTS = """
WITH made AS (
    INSERT INTO growth.accounts
    SELECT n, growth.id_at($2::timestamptz - (random() * interval '90 days')) FROM generate_series(1, $1::int) AS n
    RETURNING n, id
)
INSERT INTO accounts.accounts (id, name, email, password_hash, timezone)
SELECT id, 'Person ' || n, 'person' || n || '@example.com', '$argon2id$v=19$m=65536,t=3,p=1$' || md5(n::text),
       'Asia/Jakarta'
FROM made ORDER BY id
"""
# The cube makes a few accounts very busy, as partners are: of 500,000 the first has every eightieth stamp.
_CHUNK = """
INSERT INTO growth.chunk
SELECT at, accounts.id, (head || '8' || tail)::uuid, (head || '9' || tail)::uuid, (head || 'a' || tail)::uuid,
       (head || 'b' || tail)::uuid, sha256(tail::bytea), serials.serial, random() < 0.97
FROM (
    SELECT row_number() OVER (ORDER BY at) AS n, at, account_n, growth.head(at) AS head,
           substr(gen_random_uuid()::text, 21) AS tail
    FROM (
        SELECT $1::timestamptz + random() * ($2::timestamptz - $1::timestamptz - interval '5 minutes') AS at,
               1 + floor($4::int * power(random(), 3))::int AS account_n
        FROM generate_series(1, $3::int)
    ) AS thrown
) AS timed JOIN growth.serials USING (n) JOIN growth.accounts ON accounts.n = account_n ORDER BY timed.n
"""
_DOCUMENTS = """
INSERT INTO stamping.documents
    (id, account_id, name, size_bytes, received_bytes, state, digest, report, created_at, changed_at)
SELECT document, account, 'surat-pernyataan.pdf', 100000, 100000, 'ready', digest, $1::jsonb, at, at FROM growth.chunk
"""
_STAMPS = (
    """
    INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id, subject, posted_at)
    SELECT hold, 'hold', 'stamping', 1, account, '00000000-0000-0000-0000-000000000002'::uuid, NULL::uuid, stamp, at
    FROM growth.chunk
    UNION ALL
    SELECT ending, CASE WHEN sealed THEN 'settle' ELSE 'release' END,
           CASE WHEN sealed THEN 'sealed' ELSE 'sealing_failed' END, 1,
           account, '00000000-0000-0000-0000-000000000002', hold, stamp, at + interval '1 second' FROM growth.chunk
    ORDER BY 1
    """,
    """
    INSERT INTO ledger.serials (serial, state, digest, hold_id, subject, taken_at, ended_at)
    SELECT serial, CASE WHEN sealed THEN 'affixed' ELSE 'void' END, digest, hold, stamp, at, at + interval '1 second'
    FROM growth.chunk
    """,
    """
    INSERT INTO stamping.stamps
        (id, account_id, document_id, digest, copy, state, serial, hold_id, ending_id, page, box, request_digest,
         reason, tail_key, tail_bytes, sealed_size_bytes, sealed_digest, level, held_at, sealed_at, ended_at)
    SELECT stamp, account, document, digest, 1, CASE WHEN sealed THEN 'sealed' ELSE 'given_back' END, serial, hold,
        ending, 1, '{430,40,530,140}', digest, CASE WHEN sealed THEN NULL ELSE 'sealing_failed' END,
        CASE WHEN sealed THEN 'tails/' || stamp || '.1' END, CASE WHEN sealed THEN 12000 END,
        CASE WHEN sealed THEN 112000 END, CASE WHEN sealed THEN digest END, CASE WHEN sealed THEN 'B-B' END,
        at, CASE WHEN sealed THEN at + interval '1 second' END, at + interval '1 second'
    FROM growth.chunk
    """,
    """
    INSERT INTO growth.spent SELECT account, count(*) FILTER (WHERE sealed), min(at) FROM growth.chunk GROUP BY account
    ON CONFLICT (account) DO UPDATE SET used = spent.used + excluded.used
    """,
)
# One paid order a person, a week before the first stamp, for all that the person used and five more.
_PURCHASES = (
    """
    CREATE UNLOGGED TABLE growth.orders AS
    SELECT id AS account, coalesce(used, 0) + 5 AS quantity, coalesce(used, 0) AS used, at,
        growth.id_at(at) AS id, growth.id_at(at) AS payment, growth.id_at(at) AS duty, growth.id_at(at) AS fee,
        growth.id_at(at) AS credited, growth.id_at(at) AS notification
    FROM (
        SELECT accounts.id, used, greatest(spent.at - interval '7 days',
            (SELECT date_trunc('month', min(at)) FROM growth.spent)) AS at
        FROM growth.accounts JOIN growth.spent ON spent.account = accounts.id
    ) AS buyers
    """,
    """
    INSERT INTO purchase.orders
        (id, account_id, quantity, duty_idr, fee_idr, total_idr, state, provider, provider_reference, pay_url,
         request_digest, payment_transfer, duty_transfer, fee_transfer, credit_transfer, seen_amount, seen_currency,
         created_at, expires_at, paid_at, changed_at)
    SELECT id, account, quantity, quantity * 10000, 0, quantity * 10000, 'paid', 'sandbox', id::text,
        'https://pay.example/' || id, sha256(id::text::bytea), payment, duty, fee, credited, quantity * 10000, 'IDR',
        at, at + interval '1 day', at, at
    FROM growth.orders ORDER BY at
    """,
    """
    INSERT INTO purchase.notifications
        (id, provider, event_id, order_id, state, amount, currency, received_at, outcome, worked_at)
    SELECT notification, 'sandbox', notification::text, id, 'settled', quantity * 10000, 'IDR', at, 'settled', at
    FROM growth.orders ORDER BY at
    """,
    """
    INSERT INTO purchase.notification_bodies (notification_id, headers, body)
    SELECT notification, '{"content-type": "application/json"}', convert_to(repeat('{"order": "paid"} ', 20), 'UTF8')
    FROM growth.orders ORDER BY at
    """,
    """
    INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, subject, posted_at)
    SELECT payment, 'money', 'payment_seen', quantity * 10000, '00000000-0000-0000-0000-00000000000b'::uuid,
           '00000000-0000-0000-0000-00000000000c'::uuid, id, at FROM growth.orders
    UNION ALL
    SELECT duty, 'money', 'duty', quantity * 10000, '00000000-0000-0000-0000-00000000000c',
           '00000000-0000-0000-0000-00000000000d', id, at FROM growth.orders
    UNION ALL
    SELECT credited, 'credit', 'purchase', quantity, '00000000-0000-0000-0000-000000000001', account, id, at
    FROM growth.orders
    """,
    "INSERT INTO ledger.balances (account, bought, used) SELECT account, quantity, used FROM growth.orders ORDER BY 1",
)
