"""All SQL of claims: grants that people claimed, what became of them, and the tries that were wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from emeterai.core.granting import Split
from emeterai.infra.database import Connection, Database
from emeterai.partners.programme_model import Claim, ClaimWanted, KnownClaim

_CLAIMS = """
    SELECT claims.id, programme_id, programmes.name AS programme_name, programmes.agency_name, account_id, units,
           used_before, claimed_at, programmes.ends_at, claims.ended_at, used, returned, kept
    FROM partners.claims JOIN partners.programmes ON programmes.id = programme_id
"""


async def are_invited(tx: Connection, wanted: Sequence[ClaimWanted]) -> set[tuple[UUID, bytes]]:
    """Which of these keys are on their programmes' lists."""
    rows = await tx.fetch(
        """
        SELECT programme_id, key FROM unnest($1::uuid[], $2::bytea[]) AS wanted(programme_id, key)
        JOIN partners.invited USING (programme_id, key)
        """,
        [one.programme_id for one in wanted],
        [one.key for one in wanted],
    )
    return {(row["programme_id"], row["key"]) for row in rows}


async def known_claims(tx: Connection, wanted: Sequence[ClaimWanted]) -> list[KnownClaim]:
    """The claims of the same programmes by the same keys, or by the same accounts."""
    rows = await tx.fetch(
        """
        WITH wanted AS MATERIALIZED (
            SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::uuid[]) AS wanted(programme_id, key, account_id)
        )
        SELECT claims.programme_id, claims.key, claims.account_id FROM wanted
        JOIN partners.claims USING (programme_id, key)
        UNION
        SELECT claims.programme_id, claims.key, claims.account_id FROM wanted
        JOIN partners.claims USING (programme_id, account_id)
        """,
        [one.programme_id for one in wanted],
        [one.key for one in wanted],
        [one.account_id for one in wanted],
    )
    return [KnownClaim(**row) for row in rows]


async def insert_claims(tx: Connection, claims: Sequence[tuple[UUID, ClaimWanted, int, int]]) -> None:
    """Claims: each its id, what was wanted, the units, and what the account had used before. The programmes count."""
    await tx.execute(
        """
        WITH new AS (
            INSERT INTO partners.claims (id, programme_id, key, account_id, units, used_before)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::uuid[], $5::int[], $6::bigint[])
            RETURNING programme_id
        )
        UPDATE partners.programmes SET claimed = claimed + count
        FROM (SELECT programme_id, count(*)::int AS count FROM new GROUP BY programme_id) AS counts
        WHERE id = counts.programme_id
        """,
        [claim_id for claim_id, _, _, _ in claims],
        [wanted.programme_id for _, wanted, _, _ in claims],
        [wanted.key for _, wanted, _, _ in claims],
        [wanted.account_id for _, wanted, _, _ in claims],
        [units for _, _, units, _ in claims],
        [used for _, _, _, used in claims],
    )


async def claim_of(db: Connection | Database, programme_id: UUID, account_id: UUID) -> Claim | None:
    """What an account claimed of a programme."""
    row = await db.fetchrow(f"{_CLAIMS} WHERE programme_id = $1 AND account_id = $2", programme_id, account_id)
    return None if row is None else Claim(**row)


async def claims_of_account(db: Database, account_id: UUID, *, only_open: bool, limit: int) -> list[Claim]:
    """The grants that an account claimed, newest first."""
    which = "AND claims.ended_at IS NULL" if only_open else ""
    rows = await db.fetch(
        f"{_CLAIMS} WHERE account_id = $1 {which} ORDER BY claims.id DESC LIMIT $2", account_id, limit
    )
    return [Claim(**row) for row in rows]


async def owed_back(tx: Connection, account_id: UUID, *, used: int) -> int:
    """How many units of open grants an account that has used so many in all still has to use or to return."""
    owed: int = await tx.fetchval(
        """
        SELECT coalesce(sum(greatest(units - ($2::bigint - used_before), 0)), 0)::bigint FROM partners.claims
        WHERE account_id = $1 AND ended_at IS NULL
        """,
        account_id,
        used,
    )
    return owed


async def open_claims(tx: Connection | Database, programme_id: UUID, *, limit: int) -> list[Claim]:
    """Grants of a programme that have not ended and whose turn it is."""
    rows = await tx.fetch(
        f"""
        {_CLAIMS} WHERE programme_id = $1 AND claims.ended_at IS NULL AND try_after <= now()
        ORDER BY try_after, claims.id LIMIT $2
        """,
        programme_id,
        limit,
    )
    return [Claim(**row) for row in rows]


async def still_open(tx: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these grants have not ended, seen under the lock."""
    rows = await tx.fetch("SELECT id FROM partners.claims WHERE id = ANY($1::uuid[]) AND ended_at IS NULL", list(ids))
    return {row["id"] for row in rows}


async def has_open_claims(tx: Connection, programme_id: UUID) -> bool:
    """Whether some grant of a programme has not ended."""
    found = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM partners.claims WHERE programme_id = $1 AND ended_at IS NULL)", programme_id
    )
    return bool(found)


async def end_claims(tx: Connection, splits: Mapping[UUID, Split]) -> None:
    """Grants have ended."""
    await tx.execute(
        """
        UPDATE partners.claims SET ended_at = now(), used = new.used, returned = new.returned, kept = new.kept
        FROM unnest($1::uuid[], $2::int[], $3::int[], $4::int[]) AS new(id, used, returned, kept)
        WHERE claims.id = new.id
        """,
        list(splits),
        [split.used for split in splits.values()],
        [split.returned for split in splits.values()],
        [split.kept for split in splits.values()],
    )


async def put_off(tx: Connection, ids: Sequence[UUID], *, delay_s: float) -> None:
    """Look at these grants again later."""
    await tx.execute(
        "UPDATE partners.claims SET try_after = now() + make_interval(secs => $2) WHERE id = ANY($1::uuid[])",
        list(ids),
        delay_s,
    )


async def count_tries(tx: Connection, keys: Sequence[bytes], *, window_s: int) -> dict[bytes, tuple[int, int]]:
    """Count a try under each key; gives the tries in its window and the seconds until that ends."""
    found = {}
    for key in sorted(keys):
        row = await tx.fetchrow(
            """
            INSERT INTO partners.claim_tries AS seen (key, tries, ends_at)
            VALUES ($1, 1, now() + make_interval(secs => $2::int))
            ON CONFLICT (key) DO UPDATE SET
                tries = CASE WHEN seen.ends_at <= now() THEN 1 ELSE least(seen.tries + 1, 1000000) END,
                ends_at = CASE WHEN seen.ends_at <= now() THEN excluded.ends_at ELSE seen.ends_at END
            RETURNING tries, ceil(extract(epoch FROM ends_at - now()))::int AS left_s
            """,
            key,
            window_s,
        )
        found[key] = (row["tries"], row["left_s"])
    return found


async def forget_try(tx: Connection, keys: Sequence[bytes]) -> None:
    """The try was no guess: it does not count."""
    await tx.execute(
        "UPDATE partners.claim_tries SET tries = tries - 1 WHERE key = ANY($1::bytea[]) AND tries > 1", keys
    )


async def forget_old_tries(tx: Connection, *, limit: int) -> int:
    """Delete windows that have ended; answers how many."""
    count: int = await tx.fetchval(
        """
        WITH gone AS (
            DELETE FROM partners.claim_tries WHERE key = ANY (ARRAY(
                SELECT key FROM partners.claim_tries WHERE ends_at <= now() ORDER BY ends_at LIMIT $1
            )) AND ends_at <= now() RETURNING 1
        )
        SELECT count(*)::int FROM gone
        """,
        limit,
    )
    return count
