"""All SQL of documents and of the parts of unfinished uploads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from emeterai.infra.database import Connection, Database
from emeterai.seal.model import Report
from emeterai.stamping.model import PASSWORD_CODES, Arrived, Document, RepairedFile, document_from

_DOCUMENT = ", ".join(Document.__struct_fields__)
"""By name: a column that a later version adds is nothing to a process of this one that still runs."""


class Part(msgspec.Struct, frozen=True):
    """A stored piece of an unfinished upload, beginning at byte `start`."""

    start: int
    size_bytes: int
    key: str


async def insert_receiving(
    db: Database,
    document_id: UUID,
    account_id: UUID,
    *,
    name: str,
    size_bytes: int,
    life_s: float,
    made_by: UUID | None = None,
) -> None:
    """A document of which no byte has arrived yet."""
    async with db.transaction() as tx:
        await tx.execute(
            """
            INSERT INTO stamping.documents (id, account_id, name, size_bytes, state, expires_at, made_by)
            VALUES ($1, $2, $3, $4, 'receiving', now() + make_interval(secs => $5), $6)
            """,
            document_id,
            account_id,
            name,
            size_bytes,
            life_s,
            made_by,
        )


async def insert_arrived(tx: Connection, arrivals: Sequence[Arrived]) -> None:
    """Documents that arrived whole in one request, with what is known of them.

    They were received when their bytes were safe, however late they go on record. The database's clock says when that
    was: a host whose clock is slow proves no file earlier than it came.
    """
    await tx.execute(
        """
        INSERT INTO stamping.documents (id, account_id, name, size_bytes, received_bytes, digest, state, report,
                                        refusal_code, refusal_facts, made_by, received_at)
        SELECT id, account_id, name, size_bytes, size_bytes, digest, state, report::jsonb, code, facts::jsonb, made_by,
            clock_timestamp() - make_interval(secs => safe_for_s)
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bytea[], $6::text[], $7::text[], $8::text[],
                    $9::text[], $10::uuid[], $11::float8[])
            AS new(id, account_id, name, size_bytes, digest, state, report, code, facts, made_by, safe_for_s)
        """,
        [one.id for one in arrivals],
        [one.account_id for one in arrivals],
        [one.name for one in arrivals],
        [one.size_bytes for one in arrivals],
        [one.digest for one in arrivals],
        [one.state.value for one in arrivals],
        [one.report and msgspec.json.encode(one.report).decode() for one in arrivals],
        [one.refusal_code for one in arrivals],
        [msgspec.json.encode(one.refusal_facts).decode() if one.refusal_code else None for one in arrivals],
        [one.made_by for one in arrivals],
        [time.monotonic() - one.safe_at_s for one in arrivals],
    )


async def add_parts(tx: Connection, document_id: UUID, parts: Sequence[Part], *, offset: int, life_s: float) -> bool:
    """Record stored parts that begin at `offset`; False when another request moved the offset first, or it ended."""
    total = sum(part.size_bytes for part in parts)
    moved = await tx.fetchval(
        """
        UPDATE stamping.documents
        SET received_bytes = received_bytes + $3, changed_at = now(), expires_at = now() + make_interval(secs => $4)
        WHERE id = $1 AND received_bytes = $2 AND state = 'receiving' RETURNING true
        """,
        document_id,
        offset,
        total,
        life_s,
    )
    if not moved:
        return False
    await tx.execute(
        """
        INSERT INTO stamping.parts (document_id, start, size_bytes, key)
        SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::text[])
        """,
        document_id,
        [part.start for part in parts],
        [part.size_bytes for part in parts],
        [part.key for part in parts],
    )
    return True


async def parts_of(db: Database, document_id: UUID) -> list[Part]:
    """The stored parts of an upload that has not ended, in order."""
    rows = await db.fetch(
        "SELECT start, size_bytes, key FROM stamping.parts WHERE document_id = $1 ORDER BY start", document_id
    )
    return [Part(**row) for row in rows]


async def finish_receiving(tx: Connection, document_id: UUID, digest: bytes) -> bool:
    """Receiving becomes received when every byte is there; False when someone else finished or abandoned it.

    It was received when its last part went on record, the last change before this one, whoever finishes it and when.
    """
    finished = await tx.fetchval(
        """
        UPDATE stamping.documents
        SET state = 'received', digest = $2, received_at = changed_at, changed_at = now(),
            expires_at = NULL
        WHERE id = $1 AND state = 'receiving' AND received_bytes = size_bytes RETURNING true
        """,
        document_id,
        digest,
    )
    if finished:
        await tx.execute("DELETE FROM stamping.parts WHERE document_id = $1", document_id)
    return bool(finished)


async def abandon(tx: Connection, document_id: UUID) -> bool:
    """Receiving becomes abandoned, and its stored parts may be removed; False when it was ended before."""
    abandoned = await tx.fetchval(
        """
        UPDATE stamping.documents SET state = 'abandoned', changed_at = now(), expires_at = NULL
        WHERE id = $1 AND state = 'receiving' RETURNING true
        """,
        document_id,
    )
    if abandoned:
        await tx.execute("DELETE FROM stamping.parts WHERE document_id = $1", document_id)
    return bool(abandoned)


async def overdue(db: Database, limit: int) -> list[tuple[UUID, bool]]:
    """Unfinished uploads that need the steward: (id, whether every byte is there), by the database's clock."""
    rows = await db.fetch(
        """
        SELECT id, received_bytes = size_bytes AS whole FROM stamping.documents
        WHERE state = 'receiving'
            AND (expires_at <= now() OR (received_bytes = size_bytes AND changed_at < now() - interval '5 seconds'))
        ORDER BY expires_at LIMIT $1
        """,
        limit,
    )
    return [(row["id"], row["whole"]) for row in rows]


async def accept(
    tx: Connection, reports: Mapping[UUID, Report], repaired: Mapping[UUID, RepairedFile] | None = None
) -> None:
    """Received becomes ready, with what the inspection found and, where there is one, the repaired file."""
    files = [(repaired or {}).get(document_id) for document_id in reports]
    await tx.execute(
        """
        UPDATE stamping.documents
        SET state = 'ready', report = new.report::jsonb, repaired_key = new.key, repaired_bytes = new.size_bytes,
            repaired_digest = new.digest, received_at = coalesce(received_at, changed_at), changed_at = now()
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bytea[])
            AS new(id, report, key, size_bytes, digest)
        WHERE documents.id = new.id AND state = 'received'
        """,
        list(reports),
        [msgspec.json.encode(report).decode() for report in reports.values()],
        [file and file.key for file in files],
        [file and file.size_bytes for file in files],
        [file and file.digest for file in files],
    )


async def refuse(tx: Connection, refusals: Mapping[UUID, tuple[str, Mapping[str, str | int]]]) -> None:
    """Received becomes refused, with the code and the facts of the reason."""
    await tx.execute(
        """
        UPDATE stamping.documents
        SET state = 'refused', refusal_code = new.code, refusal_facts = new.facts::jsonb,
            received_at = coalesce(received_at, changed_at), changed_at = now()
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new(id, code, facts)
        WHERE documents.id = new.id AND state = 'received'
        """,
        list(refusals),
        [code for code, _ in refusals.values()],
        [msgspec.json.encode(dict(facts)).decode() for _, facts in refusals.values()],
    )


async def unlock(tx: Connection, document_id: UUID) -> bool:
    """Refused for want of a password becomes received again; False when it is not refused for that any more."""
    unlocked = await tx.fetchval(
        """
        UPDATE stamping.documents
        SET state = 'received', refusal_code = NULL, refusal_facts = NULL,
            received_at = coalesce(received_at, changed_at), changed_at = now()
        WHERE id = $1 AND state = 'refused' AND refusal_code = ANY($2::text[]) RETURNING true
        """,
        document_id,
        list(PASSWORD_CODES),
    )
    return bool(unlocked)


async def plans_of(db: Database, ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """What inspection kept for sealing these documents, by id; those of which it kept nothing are absent."""
    rows = await db.fetch(
        """
        SELECT id, decode(report ->> 'plan', 'base64') AS plan FROM stamping.documents
        WHERE id = ANY($1::uuid[]) AND length(report ->> 'plan') > 0
        """,
        list(ids),
    )
    return {row["id"]: row["plan"] for row in rows}


async def find(db: Database, document_id: UUID) -> Document | None:
    """One document, whoever owns it."""
    row = await db.fetchrow(f"SELECT {_DOCUMENT} FROM stamping.documents WHERE id = $1", document_id)
    return None if row is None else document_from(row)


async def find_many(db: Database, ids: Sequence[UUID]) -> dict[UUID, Document]:
    """Documents by id; those that do not exist are absent."""
    rows = await db.fetch(f"SELECT {_DOCUMENT} FROM stamping.documents WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: document_from(row) for row in rows}


async def of_account(
    db: Database,
    account_id: UUID,
    *,
    before: tuple[datetime, UUID] | None,
    limit: int,
    only_by: UUID | None = None,
) -> list[Document]:
    """An account's documents, newest first, after the cursor `before`; of a group, perhaps only one member's.

    Abandoned uploads are left out.
    """
    whose = "" if only_by is None else "AND made_by = $5"
    rows = await db.fetch(
        f"""
        SELECT {_DOCUMENT} FROM stamping.documents
        WHERE account_id = $1 {whose} AND state <> 'abandoned'
            AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
        ORDER BY created_at DESC, id DESC LIMIT $4
        """,
        account_id,
        before[0] if before else None,
        before[1] if before else None,
        limit,
        *([] if only_by is None else [only_by]),
    )
    return [document_from(row) for row in rows]
