"""All SQL of stamps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from emeterai.core.ledger import Reason
from emeterai.core.refusal import Refused
from emeterai.infra.database import Connection, Database
from emeterai.stamping.model import Stamp, StampWanted, stamp_from


class NewStamp(msgspec.Struct, frozen=True):
    """A stamp about to be held: what was wanted, and the ids and the serial made for it."""

    wanted: StampWanted
    id: UUID
    hold_id: UUID
    ending_id: UUID
    copy: int


class KnownStamp(msgspec.Struct, frozen=True):
    """A stamp that a request may repeat, and key and request by which it is known: its own, or others it answered."""

    stamp: Stamp
    idempotency_key: str | None
    request_digest: bytes


class Sealed(msgspec.Struct, frozen=True):
    """What a settled stamp keeps of its seal."""

    stamp_id: UUID
    tail_key: str
    tail_bytes: int
    sealed_size_bytes: int
    sealed_digest: bytes
    level: str
    sealed_at: datetime


class Raised(msgspec.Struct, frozen=True):
    """What a sealed file keeps of an addendum, and its facts with it."""

    stamp_id: UUID
    key: str
    size_bytes: int
    level: str
    previous_size_bytes: int
    sealed_size_bytes: int
    sealed_digest: bytes


_COLUMNS = """
    stamps.*, documents.name AS document_name, documents.repaired_key, documents.locked,
    coalesce(documents.repaired_bytes, documents.size_bytes) AS base_bytes,
    coalesce(documents.repaired_digest, documents.digest) AS base_digest
"""
_SELECT = f"SELECT {_COLUMNS} FROM stamping.stamps JOIN stamping.documents ON documents.id = stamps.document_id"


async def insert(tx: Connection, stamps: Sequence[NewStamp], serials: Sequence[str]) -> list[Stamp]:
    """Held stamps, each with its serial."""
    rows = await tx.fetch(
        f"""
        WITH stamps AS (
        INSERT INTO stamping.stamps (id, account_id, document_id, digest, copy, state, serial, hold_id, ending_id,
                                     page, box, idempotency_key, request_digest, made_by)
        SELECT id, account_id, document_id, digest, copy, 'held', serial, hold_id, ending_id, page,
               ARRAY[x0, y0, x1, y1], idempotency_key, request_digest, made_by
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::int[], $6::text[], $7::uuid[], $8::uuid[],
                    $9::int[], $10::float8[], $11::float8[], $12::float8[], $13::float8[], $14::text[], $15::bytea[],
                    $16::uuid[])
            AS new(id, account_id, document_id, digest, copy, serial, hold_id, ending_id,
                   page, x0, y0, x1, y1, idempotency_key, request_digest, made_by)
        RETURNING *
        )
        SELECT {_COLUMNS} FROM stamps JOIN stamping.documents ON documents.id = stamps.document_id
        """,
        [stamp.id for stamp in stamps],
        [stamp.wanted.account_id for stamp in stamps],
        [stamp.wanted.document_id for stamp in stamps],
        [stamp.wanted.digest for stamp in stamps],
        [stamp.copy for stamp in stamps],
        list(serials),
        [stamp.hold_id for stamp in stamps],
        [stamp.ending_id for stamp in stamps],
        [stamp.wanted.page for stamp in stamps],
        *([getattr(stamp.wanted.box, side) for stamp in stamps] for side in ("x0", "y0", "x1", "y1")),
        [stamp.wanted.idempotency_key for stamp in stamps],
        [stamp.wanted.request_digest for stamp in stamps],
        [stamp.wanted.made_by for stamp in stamps],
    )
    return [stamp_from(row) for row in rows]


async def earlier(tx: Connection, wanted: Sequence[StampWanted]) -> list[KnownStamp]:
    """The stamps that a batch of requests may repeat: same account and same digest, or same account and same key."""
    rows = await tx.fetch(
        f"""
        SELECT {_COLUMNS}, known.asked_key, known.asked_request
        FROM (
            SELECT stamps.id, NULL::text AS asked_key, NULL::bytea AS asked_request
            FROM unnest($1::uuid[], $2::bytea[]) AS asked(account_id, digest)
            JOIN stamping.stamps USING (account_id, digest) WHERE stamps.state <> 'given_back'
            UNION
            SELECT stamps.id, NULL, NULL FROM unnest($1::uuid[], $3::text[]) AS asked(account_id, idempotency_key)
            JOIN stamping.stamps USING (account_id, idempotency_key) WHERE asked.idempotency_key IS NOT NULL
            UNION
            SELECT stamp_id, idempotency_key, request_digest
            FROM unnest($1::uuid[], $3::text[]) AS asked(account_id, idempotency_key)
            JOIN stamping.asked_keys USING (account_id, idempotency_key)
        ) AS known
        JOIN stamping.stamps ON stamps.id = known.id JOIN stamping.documents ON documents.id = stamps.document_id
        """,
        [one.account_id for one in wanted],
        [one.digest for one in wanted],
        [one.idempotency_key for one in wanted],
    )
    return [_known_from(row) for row in rows]


async def keep_keys(tx: Connection, answered: Sequence[tuple[StampWanted, UUID]]) -> None:
    """Remember the keys of requests that were answered with a stamp which another request had made."""
    await tx.execute(
        """
        INSERT INTO stamping.asked_keys (account_id, idempotency_key, stamp_id, request_digest)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bytea[])
        """,
        [wanted.account_id for wanted, _ in answered],
        [wanted.idempotency_key for wanted, _ in answered],
        [stamp_id for _, stamp_id in answered],
        [wanted.request_digest for wanted, _ in answered],
    )


async def settle(tx: Connection, sealed: Sequence[Sealed]) -> None:
    """Held becomes sealed."""
    await tx.execute(
        """
        UPDATE stamping.stamps
        SET state = 'sealed', tail_key = new.tail_key, tail_bytes = new.tail_bytes,
            sealed_size_bytes = new.sealed_size_bytes, sealed_digest = new.sealed_digest, level = new.level,
            sealed_at = new.sealed_at, ended_at = now()
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[], $6::text[], $7::timestamptz[])
            AS new(id, tail_key, tail_bytes, sealed_size_bytes, sealed_digest, level, sealed_at)
        WHERE stamps.id = new.id AND state = 'held'
        """,
        [one.stamp_id for one in sealed],
        [one.tail_key for one in sealed],
        [one.tail_bytes for one in sealed],
        [one.sealed_size_bytes for one in sealed],
        [one.sealed_digest for one in sealed],
        [one.level for one in sealed],
        [one.sealed_at for one in sealed],
    )


async def add_addendum(tx: Connection, raised: Raised) -> bool:
    """Append to a sealed file, unless something else was appended meanwhile; answers whether it was."""
    found = await tx.fetch(
        """
        UPDATE stamping.stamps
        SET addendum_keys = addendum_keys || $2::text, addendum_bytes = addendum_bytes || $3::bigint, level = $4,
            sealed_size_bytes = $6, sealed_digest = $7
        WHERE id = $1 AND state = 'sealed' AND sealed_size_bytes = $5
        RETURNING id
        """,
        raised.stamp_id,
        raised.key,
        raised.size_bytes,
        raised.level,
        raised.previous_size_bytes,
        raised.sealed_size_bytes,
        raised.sealed_digest,
    )
    return bool(found)


async def limit_lock_wait(tx: Connection, wait_s: float) -> None:
    """From here on, this transaction waits `wait_s` for each lock. Raises asyncpg.LockNotAvailableError after that."""
    await tx.execute("SELECT set_config('lock_timeout', $1, true)", f"{round(wait_s * 1_000)}ms")


async def give_back(tx: Connection, reasons: Mapping[UUID, tuple[Reason, Refused | None]]) -> None:
    """Held becomes given back, with the reason and, where a file was refused after all, its code and facts."""
    refusals = [refused for _, refused in reasons.values()]
    await tx.execute(
        """
        UPDATE stamping.stamps
        SET state = 'given_back', reason = new.reason, refusal_code = new.code, refusal_facts = new.facts::jsonb,
            ended_at = now()
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS new(id, reason, code, facts)
        WHERE stamps.id = new.id AND state = 'held'
        """,
        list(reasons),
        [reason for reason, _ in reasons.values()],
        [refused.code if refused else None for refused in refusals],
        [msgspec.json.encode(dict(refused.facts)).decode() if refused else None for refused in refusals],
    )


async def find_many(connection: Connection | Database, ids: Sequence[UUID]) -> dict[UUID, Stamp]:
    """Stamps by id; those that do not exist are absent."""
    rows = await connection.fetch(f"{_SELECT} WHERE stamps.id = ANY($1::uuid[])", list(ids))
    return {row["id"]: stamp_from(row) for row in rows}


async def of_account(
    db: Database,
    account_id: UUID,
    *,
    before: tuple[datetime, UUID] | None,
    limit: int,
    only_by: UUID | None = None,
) -> list[Stamp]:
    """An account's stamps, newest first, after the cursor `before`; of a group, perhaps only one member's."""
    whose = "" if only_by is None else "AND stamps.made_by = $5"
    rows = await db.fetch(
        f"""
        {_SELECT} WHERE stamps.account_id = $1 {whose} AND ($2::timestamptz IS NULL OR (held_at, stamps.id) < ($2, $3))
        ORDER BY held_at DESC, stamps.id DESC LIMIT $4
        """,
        account_id,
        before[0] if before else None,
        before[1] if before else None,
        limit,
        *([] if only_by is None else [only_by]),
    )
    return [stamp_from(row) for row in rows]


async def of_documents(db: Database, document_ids: Sequence[UUID]) -> list[Stamp]:
    """The stamps on these documents, oldest first."""
    rows = await db.fetch(
        f"{_SELECT} WHERE stamps.document_id = ANY($1::uuid[]) ORDER BY held_at, stamps.id", list(document_ids)
    )
    return [stamp_from(row) for row in rows]


async def of_file(db: Database, account_id: UUID, digest: bytes) -> list[Stamp]:
    """The stamps of one account on files with this digest, oldest first."""
    rows = await db.fetch(
        f"{_SELECT} WHERE stamps.account_id = $1 AND stamps.digest = $2 ORDER BY held_at, stamps.id",
        account_id,
        digest,
    )
    return [stamp_from(row) for row in rows]


def _known_from(row: Any) -> KnownStamp:
    values = dict(row)
    key, request_digest = values.pop("asked_key"), values.pop("asked_request")
    stamp = stamp_from(values)
    if key is None:
        return KnownStamp(stamp, stamp.idempotency_key, stamp.request_digest)
    return KnownStamp(stamp, key, request_digest)
