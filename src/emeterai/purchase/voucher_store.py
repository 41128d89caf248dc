"""All SQL of vouchers. Nothing here locks: whoever changes a voucher holds the book of its batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from emeterai.core.voucher_code import VoucherState
from emeterai.infra.database import Connection, Database
from emeterai.purchase.voucher_model import Batch, Counts, NewBatch, NewVoiding, Redemption, Span, Voiding, Voucher

_BATCH = """
    SELECT batch.id, stock_id, label, vouchers, units, CASE WHEN enciphered_key IS NOT NULL AND codes_until > now()
        THEN codes_until END AS codes_until, downloads, first_downloaded_at, created_at, request_digest, counted.*
    FROM purchase.voucher_batches AS batch CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE state = 'made') AS made, count(*) FILTER (WHERE state = 'active') AS active,
            count(*) FILTER (WHERE state = 'redeemed') AS redeemed, count(*) FILTER (WHERE state = 'void') AS void
        FROM purchase.vouchers WHERE vouchers.batch_id = batch.id
    ) AS counted
"""
_VOUCHER = """
    SELECT vouchers.id, batch_id, stock_id, number, units, state, redeemed_at, redeemed_by
    FROM purchase.vouchers JOIN purchase.voucher_batches AS batch ON batch.id = batch_id
"""
_VOIDING = """
    SELECT id, batch_id, first, last, vouchers, units, voided_at FROM purchase.voucher_voidings
"""
# What was not found as it was decided upon undoes the statement.
_VOID = """
    WITH gone AS (
        UPDATE purchase.vouchers SET state = 'void', voided_at = now()
        WHERE batch_id = $2 AND number BETWEEN $3 AND $4 AND state = ANY($9::text[]) RETURNING id
    ), noted AS (
        INSERT INTO purchase.voucher_voidings (id, batch_id, first, last, vouchers, units, voided_by, idempotency_key)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (voided_by, idempotency_key) DO NOTHING RETURNING *
    )
    SELECT noted.*, CASE WHEN (SELECT count(*) FROM gone) <> noted.vouchers THEN ledger.refuse_overtaken() END
    FROM noted
"""


async def insert_batch(tx: Connection, new: NewBatch, ids: Sequence[UUID], digests: Sequence[bytes]) -> bool:
    """Write a batch and its vouchers, numbered from 1 in the order of `digests`.

    False, and nothing is written, when its maker has just used its key for a batch of another stock.
    """
    is_new = await tx.fetchval(
        """
        INSERT INTO purchase.voucher_batches (id, stock_id, made_by, label, vouchers, units, idempotency_key,
            request_digest, enciphered_key, codes_until)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10))
        ON CONFLICT (made_by, idempotency_key) DO NOTHING RETURNING true
        """,
        new.id,
        new.stock_id,
        new.made_by,
        new.label,
        new.vouchers,
        new.units,
        new.idempotency_key,
        new.request_digest,
        new.enciphered_key,
        new.codes_life_s,
    )
    if not is_new:
        return False
    await tx.execute(
        """
        INSERT INTO purchase.vouchers (id, batch_id, number, digest)
        SELECT id, $1, number, digest
        FROM unnest($2::uuid[], $3::bytea[]) WITH ORDINALITY AS new(id, digest, number)
        """,
        new.id,
        list(ids),
        list(digests),
    )
    return True


async def batch_by_key(
    connection: Connection | Database, made_by: UUID, idempotency_key: str
) -> tuple[Batch, bytes] | None:
    """The batch that this account made with this idempotency key, and the digest of what was asked then."""
    query = f"{_BATCH} WHERE made_by = $1 AND idempotency_key = $2"
    row = await connection.fetchrow(query, made_by, idempotency_key)
    return (_batch(row), row["request_digest"]) if row is not None else None


async def batch_by_id(connection: Connection | Database, batch_id: UUID) -> Batch | None:
    """One batch, whoever's it is."""
    row = await connection.fetchrow(f"{_BATCH} WHERE batch.id = $1", batch_id)
    return _batch(row) if row is not None else None


async def batches_of(db: Database, stocks: Sequence[UUID], *, before: UUID | None, limit: int) -> list[Batch]:
    """The batches made of these stocks, newest first, after the batch `before`."""
    rows = await db.fetch(
        f"""
        {_BATCH} WHERE batch.id IN (
            SELECT id FROM purchase.voucher_batches WHERE stock_id = ANY($1::uuid[]) AND id < coalesce($2::uuid, $3)
            ORDER BY id DESC LIMIT $4
        ) ORDER BY batch.id DESC
        """,
        list(stocks),
        before,
        UUID(int=2**128 - 1),
        limit,
    )
    return [_batch(row) for row in rows]


async def spans_of(db: Database, batch_id: UUID, *, limit: int) -> list[Span]:
    """The vouchers of a batch as runs of neighbours in one state, in order, the first `limit` of them."""
    rows = await db.fetch(
        """
        SELECT min(number) AS first, max(number) AS last, state FROM (
            SELECT number, state, number - row_number() OVER (PARTITION BY state ORDER BY number) AS run
            FROM purchase.vouchers WHERE batch_id = $1
        ) AS numbered GROUP BY state, run ORDER BY first LIMIT $2
        """,
        batch_id,
        limit,
    )
    return [Span(row["first"], row["last"], VoucherState(row["state"])) for row in rows]


async def take_key(tx: Connection, batch_id: UUID, *, kept_s: float) -> bytes | None:
    """The enciphered key of a batch for one more download; None when it is forgotten or its time is over.

    From the first download on it is kept for `kept_s` more, and never longer than it would have been.
    """
    taken: bytes | None = await tx.fetchval(
        """
        UPDATE purchase.voucher_batches SET downloads = downloads + 1,
            first_downloaded_at = coalesce(first_downloaded_at, now()),
            codes_until = least(codes_until, now() + make_interval(secs => $2))
        WHERE id = $1 AND enciphered_key IS NOT NULL AND codes_until > now() RETURNING enciphered_key
        """,
        batch_id,
        kept_s,
    )
    return taken


async def forget_key(tx: Connection, batch_id: UUID) -> None:
    """Forget what the codes of a batch are drawn from."""
    await tx.execute("UPDATE purchase.voucher_batches SET enciphered_key = NULL WHERE id = $1", batch_id)


async def sweep(tx: Connection, limit: int) -> int:
    """Forget keys and counted tries whose time is over, by the database's clock; answers how many keys."""
    await tx.execute(
        """
        DELETE FROM purchase.voucher_tries WHERE key IN (
            SELECT key FROM purchase.voucher_tries
            WHERE ends_at <= now() ORDER BY ends_at LIMIT $1 FOR UPDATE SKIP LOCKED)
        """,
        limit,
    )
    rows = await tx.fetch(
        """
        UPDATE purchase.voucher_batches SET enciphered_key = NULL WHERE id IN (
            SELECT id FROM purchase.voucher_batches WHERE enciphered_key IS NOT NULL AND codes_until <= now()
            ORDER BY codes_until LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING id
        """,
        limit,
    )
    return len(rows)


async def pause_left(tx: Connection, keys: Sequence[bytes], limits: Sequence[int]) -> int:
    """For how many seconds tries are refused: the longest window of `keys` whose limit is reached; 0 for none."""
    left_s: int = await tx.fetchval(
        """
        SELECT coalesce(max(ceil(extract(epoch FROM ends_at - now()))), 0)::int
        FROM unnest($1::bytea[], $2::int[]) AS wanted(key, tries_max) JOIN purchase.voucher_tries AS seen USING (key)
        WHERE ends_at > now() AND tries >= tries_max
        """,
        list(keys),
        list(limits),
    )
    return left_s


async def count_wrong(tx: Connection, keys: Sequence[bytes], *, window_s: int) -> None:
    """Count one wrong code under each of `keys`, which come in the order of everybody's."""
    await tx.execute(
        """
        INSERT INTO purchase.voucher_tries AS seen (key, tries, ends_at)
        SELECT key, 1, now() + make_interval(secs => $2::int) FROM unnest($1::bytea[]) AS new(key)
        ON CONFLICT (key) DO UPDATE SET
            tries = CASE WHEN seen.ends_at <= now() THEN 1 ELSE least(seen.tries + 1, 1000000) END,
            ends_at = CASE WHEN seen.ends_at <= now() THEN excluded.ends_at ELSE seen.ends_at END
        """,
        list(keys),
        window_s,
    )


async def voucher_by_digest(tx: Connection, digest: bytes) -> Voucher | None:
    """The voucher of a code."""
    row = await tx.fetchrow(f"{_VOUCHER} WHERE digest = $1", digest)
    return _voucher(row) if row is not None else None


async def voucher_by_id(connection: Connection | Database, voucher_id: UUID) -> Voucher | None:
    """One voucher, whoever's it is."""
    row = await connection.fetchrow(f"{_VOUCHER} WHERE vouchers.id = $1", voucher_id)
    return _voucher(row) if row is not None else None


async def redeemed_with(tx: Connection, account_id: UUID, idempotency_key: str) -> UUID | None:
    """The voucher that this account redeemed with this idempotency key."""
    found: UUID | None = await tx.fetchval(
        "SELECT id FROM purchase.vouchers WHERE redeemed_by = $1 AND redemption_key = $2", account_id, idempotency_key
    )
    return found


async def write_redeemed(tx: Connection, voucher: Voucher, *, account_id: UUID, key: str | None) -> Redemption:
    """The voucher is redeemed by this account now."""
    at = await tx.fetchval(
        """
        UPDATE purchase.vouchers SET state = 'redeemed', redeemed_at = now(), redeemed_by = $2, redemption_key = $3
        WHERE id = $1 RETURNING redeemed_at
        """,
        voucher.id,
        account_id,
        key,
    )
    return Redemption(id=voucher.id, units=voucher.units, redeemed_at=at)


async def count_in(tx: Connection, batch_id: UUID, *, first: int, last: int, states: Sequence[VoucherState]) -> int:
    """How many of the vouchers `first` to `last` are in one of these states."""
    count: int = await tx.fetchval(
        """
        SELECT count(*) FROM purchase.vouchers
        WHERE batch_id = $1 AND number BETWEEN $2 AND $3 AND state = ANY($4::text[])
        """,
        batch_id,
        first,
        last,
        [state.value for state in states],
    )
    return count


async def write_active(tx: Connection, batch_id: UUID, *, first: int, last: int, states: Sequence[VoucherState]) -> int:
    """Those of the vouchers `first` to `last` that are in one of these states are active now; answers how many."""
    rows = await tx.fetch(
        """
        UPDATE purchase.vouchers SET state = 'active', activated_at = now()
        WHERE batch_id = $1 AND number BETWEEN $2 AND $3 AND state = ANY($4::text[]) RETURNING id
        """,
        batch_id,
        first,
        last,
        [state.value for state in states],
    )
    return len(rows)


async def write_void(tx: Connection, new: NewVoiding, *, states: Sequence[VoucherState]) -> Voiding | None:
    """Those of its range that are in one of these states are void now, and the voiding is on record.

    None when its key has just voided something of another stock: then the transaction must not commit. Raises asyncpg's
    SerializationError and writes nothing when they are not as many as the voiding says.
    """
    row = await tx.fetchrow(_VOID, *msgspec.structs.astuple(new), [state.value for state in states])
    return None if row is None else Voiding(**{name: row[name] for name in Voiding.__struct_fields__})


async def voiding_by_key(tx: Connection, account_id: UUID, idempotency_key: str) -> Voiding | None:
    """The voiding that this account made with this idempotency key."""
    row = await tx.fetchrow(f"{_VOIDING} WHERE voided_by = $1 AND idempotency_key = $2", account_id, idempotency_key)
    return Voiding(**row) if row is not None else None


async def voidings_of(db: Database, batch_id: UUID, *, limit: int) -> list[Voiding]:
    """What was voided of a batch, newest first."""
    rows = await db.fetch(f"{_VOIDING} WHERE batch_id = $1 ORDER BY id DESC LIMIT $2", batch_id, limit)
    return [Voiding(**row) for row in rows]


def _batch(row: Any) -> Batch:
    return Batch(
        id=row["id"],
        stock_id=row["stock_id"],
        label=row["label"],
        vouchers=row["vouchers"],
        units=row["units"],
        counts=Counts(row["made"], row["active"], row["redeemed"], row["void"]),
        codes_until=row["codes_until"],
        downloads=row["downloads"],
        first_downloaded_at=row["first_downloaded_at"],
        created_at=row["created_at"],
    )


def _voucher(row: Any) -> Voucher:
    return Voucher(**{**row, "state": VoucherState(row["state"])})
