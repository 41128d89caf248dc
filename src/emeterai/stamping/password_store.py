"""All SQL of kept passwords and of the tries at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from emeterai.infra.database import Connection, Database


async def keep(tx: Connection, enciphered: Mapping[UUID, bytes], *, life_s: float) -> None:
    """Keep passwords by document, in the place of those that were there; such documents are locked."""
    await tx.execute(
        """
        WITH new AS (SELECT * FROM unnest($1::uuid[], $2::bytea[]) AS new(document_id, enciphered)),
            locked AS (UPDATE stamping.documents SET locked = true FROM new WHERE id = document_id AND NOT locked)
        INSERT INTO stamping.passwords (document_id, enciphered, expires_at)
        SELECT document_id, enciphered, now() + make_interval(secs => $3) FROM new
        ON CONFLICT (document_id) DO UPDATE SET enciphered = excluded.enciphered, expires_at = excluded.expires_at
        """,
        list(enciphered),
        list(enciphered.values()),
        life_s,
    )


async def kept(db: Database, document_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """Enciphered passwords by document, whose life is not over or that a held stamp still needs."""
    rows = await db.fetch(
        """
        SELECT document_id, enciphered FROM stamping.passwords
        WHERE document_id = ANY($1::uuid[]) AND (expires_at > now() OR EXISTS (
            SELECT FROM stamping.stamps WHERE stamps.document_id = passwords.document_id AND state = 'held'))
        """,
        list(document_ids),
    )
    return {row["document_id"]: row["enciphered"] for row in rows}


async def unlocked(tx: Connection, document_ids: Sequence[UUID]) -> None:
    """Forget passwords that inspection had no use for: they did not open their files, or nothing was locked."""
    await tx.execute(
        """
        WITH gone AS (DELETE FROM stamping.passwords WHERE document_id = ANY($1::uuid[]))
        UPDATE stamping.documents SET locked = false WHERE id = ANY($1::uuid[])
        """,
        list(document_ids),
    )


async def forget_unless_held(tx: Connection, document_ids: Sequence[UUID]) -> None:
    """Forget the passwords of documents on which every stamp has ended."""
    # First the rows, so that a hold which is just being written is waited for; the next statement then sees its stamp.
    await tx.execute(
        "SELECT FROM stamping.passwords WHERE document_id = ANY($1::uuid[]) ORDER BY document_id FOR UPDATE",
        list(document_ids),
    )
    await tx.execute(
        """
        DELETE FROM stamping.passwords WHERE document_id = ANY($1::uuid[]) AND NOT EXISTS (
            SELECT FROM stamping.stamps WHERE stamps.document_id = passwords.document_id AND state = 'held')
        """,
        list(document_ids),
    )


async def count_try(tx: Connection, account_id: UUID, digest: bytes, *, window_s: int) -> tuple[int, int]:
    """Count one try at a file; gives the tries in the window that is open now and the seconds until it ends."""
    row = await tx.fetchrow(
        """
        INSERT INTO stamping.password_tries AS seen (account_id, digest, tries, ends_at)
        VALUES ($1, $2, 1, now() + make_interval(secs => $3::int))
        ON CONFLICT (account_id, digest) DO UPDATE SET
            tries = CASE WHEN seen.ends_at <= now() THEN 1 ELSE least(seen.tries + 1, 1000000) END,
            ends_at = CASE WHEN seen.ends_at <= now() THEN excluded.ends_at ELSE seen.ends_at END
        RETURNING tries, ceil(extract(epoch FROM ends_at - now()))::int AS left_s
        """,
        account_id,
        digest,
        window_s,
    )
    return row["tries"], row["left_s"]


async def forget_tries(tx: Connection, files: Sequence[tuple[UUID, bytes]]) -> None:
    """Forget the tries of (account, digest): the right password was given."""
    await tx.execute(
        """
        DELETE FROM stamping.password_tries USING unnest($1::uuid[], $2::bytea[]) AS opened(account_id, digest)
        WHERE password_tries.account_id = opened.account_id AND password_tries.digest = opened.digest
        """,
        [account_id for account_id, _ in files],
        [digest for _, digest in files],
    )


async def sweep(tx: Connection, limit: int) -> int:
    """Forget what has outlived its time, by the database's clock; answers how many passwords. Skips rows in use."""
    await tx.execute(
        """
        DELETE FROM stamping.password_tries WHERE (account_id, digest) IN (
            SELECT account_id, digest FROM stamping.password_tries
            WHERE ends_at <= now() ORDER BY ends_at LIMIT $1 FOR UPDATE SKIP LOCKED)
        """,
        limit,
    )
    rows = await tx.fetch(
        """
        DELETE FROM stamping.passwords WHERE document_id IN (
            SELECT document_id FROM stamping.passwords
            WHERE expires_at <= now() AND NOT EXISTS (
                SELECT FROM stamping.stamps WHERE stamps.document_id = passwords.document_id AND state = 'held')
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING document_id
        """,
        limit,
    )
    return len(rows)
