"""All SQL of accounts, sessions, API keys and guesses. No explicit lock anywhere: every write is one statement on rows
that it names, and a statement deletes at most one row that another may delete too, so writers cannot wait in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import asyncpg

from emeterai.accounts.model import Account, Acting, ApiKey, Caller, GroupRole, Timezone
from emeterai.infra.database import Connection, Database

_ACCOUNT = "id, name, email, phone, timezone, created_at"
_KEY = "id, label, prefix, created_at, last_used_on, revoked_at, group_id"


async def insert_account(tx: Connection, account_id: UUID, details: Sequence[str | None]) -> Account | None:
    """Add an account from its name, e-mail, phone, password hash and zone; None when somebody has the contact."""
    row = await tx.fetchrow(
        f"""
        INSERT INTO accounts.accounts (id, name, email, phone, password_hash, timezone)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING
        RETURNING {_ACCOUNT}
        """,
        account_id,
        *details,
    )
    return _account(row) if row else None


async def read_account(db: Database, account_id: UUID) -> Account | None:
    """One account, or None."""
    row = await db.fetchrow(f"SELECT {_ACCOUNT} FROM accounts.accounts WHERE id = $1", account_id)
    return _account(row) if row else None


async def read_account_by_contact(db: Database, contact: str) -> tuple[Account, str] | None:
    """The account with this canonical e-mail address or phone number, and its password hash; or None."""
    condition = "lower(email) = lower($1)" if "@" in contact else "phone = $1"
    row = await db.fetchrow(f"SELECT {_ACCOUNT}, password_hash FROM accounts.accounts WHERE {condition}", contact)
    return (_account(row), row["password_hash"]) if row else None


async def read_account_ids(db: Database, contacts: Sequence[str]) -> dict[str, UUID]:
    """The accounts with these canonical e-mail addresses and phone numbers, by contact; of who has none, nothing."""
    rows = await db.fetch(
        """
        SELECT lower(email) AS contact, id FROM accounts.accounts WHERE lower(email) = ANY($1::text[])
        UNION ALL SELECT phone, id FROM accounts.accounts WHERE phone = ANY($2::text[])
        """,
        [contact for contact in contacts if "@" in contact],
        [contact for contact in contacts if "@" not in contact],
    )
    return {row["contact"]: row["id"] for row in rows}


async def write_password_hash(tx: Connection, account_id: UUID, old: str, new: str) -> None:
    """Replace a password hash, unless it has been changed since it was read."""
    await tx.execute(
        "UPDATE accounts.accounts SET password_hash = $3 WHERE id = $1 AND password_hash = $2", account_id, old, new
    )


async def insert_session(
    tx: Connection, account_id: UUID, digest: bytes, *, life_s: int, sessions_max: int
) -> asyncpg.Record:
    """Open a session and end the account's oldest when it has `sessions_max` already. Gives `expires_at`, `ended`."""
    row = await tx.fetchrow(
        """
        WITH ended AS (
            DELETE FROM accounts.sessions
            WHERE token_hash = (
                SELECT token_hash FROM accounts.sessions WHERE account_id = $1
                ORDER BY created_at DESC OFFSET $4::int - 1 LIMIT 1
            )
            RETURNING token_hash
        )
        INSERT INTO accounts.sessions (token_hash, account_id, expires_at)
        VALUES ($2, $1, now() + make_interval(secs => $3::int))
        RETURNING expires_at, (SELECT token_hash FROM ended) AS ended
        """,
        account_id,
        digest,
        life_s,
        sessions_max,
    )
    if row is None:
        raise AssertionError("an INSERT without a conflict clause returns its row")
    return row


async def delete_session(tx: Connection, digest: bytes) -> None:
    """End a session; one that is not there is no error."""
    await tx.execute("DELETE FROM accounts.sessions WHERE token_hash = $1", digest)


async def read_session(db: Database, digest: bytes) -> tuple[Caller, float] | None:
    """The caller behind a session's digest and the seconds it has left (negative: expired), or None."""
    row = await db.fetchrow(
        """
        SELECT account.id, account.name, account.timezone,
               extract(epoch FROM session.expires_at - clock_timestamp())::float8 AS left_s
        FROM accounts.sessions AS session JOIN accounts.accounts AS account ON account.id = session.account_id
        WHERE session.token_hash = $1
        """,
        digest,
    )
    return (_caller(row, "session"), row["left_s"]) if row else None


async def read_api_key(db: Database, digest: bytes) -> tuple[Caller, UUID, bool] | None:
    """The caller behind a key's digest, the key's id, and whether this is its first use today; None if not in use.

    A key that is bound to a group is in use as long as its holder is a member.
    """
    row = await db.fetchrow(
        """
        SELECT account.id, account.name, account.timezone, key.id AS key_id,
               key.last_used_on IS DISTINCT FROM (now() AT TIME ZONE 'UTC')::date AS first_today,
               key.group_id, groups.name AS group_name, member.role
        FROM accounts.api_keys AS key JOIN accounts.accounts AS account ON account.id = key.account_id
        LEFT JOIN accounts.groups ON groups.id = key.group_id
        LEFT JOIN accounts.members AS member
            ON member.group_id = key.group_id AND member.account_id = key.account_id AND member.ended_at IS NULL
        WHERE key.token_hash = $1 AND key.revoked_at IS NULL AND (key.group_id IS NULL OR member.role IS NOT NULL)
        """,
        digest,
    )
    return (_key_caller(row), row["key_id"], row["first_today"]) if row else None


async def note_api_key_use(tx: Connection, key_id: UUID) -> None:
    """Write down that a key was used today (UTC)."""
    await tx.execute(
        """
        UPDATE accounts.api_keys SET last_used_on = (now() AT TIME ZONE 'UTC')::date
        WHERE id = $1 AND last_used_on IS DISTINCT FROM (now() AT TIME ZONE 'UTC')::date
        """,
        key_id,
    )


async def insert_api_key(
    tx: Connection,
    key_id: UUID,
    account_id: UUID,
    *,
    digest: bytes,
    prefix: str,
    label: str,
    keys_max: int,
    group_id: UUID | None = None,
) -> ApiKey | None:
    """Add a key, bound to a group or to none; None when the account has `keys_max` in use.

    Two at the same moment may pass by one.
    """
    row = await tx.fetchrow(
        f"""
        INSERT INTO accounts.api_keys (id, account_id, token_hash, prefix, label, group_id)
        SELECT $1, $2, $3, $4, $5, $7
        WHERE (SELECT count(*) FROM accounts.api_keys WHERE account_id = $2 AND revoked_at IS NULL) < $6
        RETURNING {_KEY}
        """,
        key_id,
        account_id,
        digest,
        prefix,
        label,
        keys_max,
        group_id,
    )
    return ApiKey(**row) if row else None


async def read_api_keys(db: Database, account_id: UUID) -> list[ApiKey]:
    """The keys of an account: those in use, the newest first, then the revoked ones; at most forty."""
    rows = await db.fetch(
        f"""
        SELECT {_KEY} FROM accounts.api_keys
        WHERE account_id = $1 ORDER BY revoked_at IS NOT NULL, created_at DESC, id DESC LIMIT 40
        """,
        account_id,
    )
    return [ApiKey(**row) for row in rows]


async def read_key_digests(db: Database, accounts: Sequence[UUID]) -> list[tuple[bytes, UUID]]:
    """The digests of the keys in use that act for some accounts: a key bound to a group is the group's."""
    rows = await db.fetch(
        """
        SELECT token_hash, account_id FROM accounts.api_keys
        WHERE account_id = ANY($1::uuid[]) AND group_id IS NULL AND revoked_at IS NULL
        UNION ALL
        SELECT token_hash, group_id FROM accounts.api_keys WHERE group_id = ANY($1::uuid[]) AND revoked_at IS NULL
        """,
        list(accounts),
    )
    return [(row["token_hash"], row["account_id"]) for row in rows]


async def revoke_api_key(tx: Connection, account_id: UUID, key_id: UUID) -> bytes | None:
    """Revoke a key of this account and give its digest; None when it has no such key in use."""
    digest: bytes | None = await tx.fetchval(
        """
        UPDATE accounts.api_keys SET revoked_at = now()
        WHERE id = $2 AND account_id = $1 AND revoked_at IS NULL RETURNING token_hash
        """,
        account_id,
        key_id,
    )
    return digest


async def count_guess(db: Database, key: bytes, window_s: int) -> tuple[int, int]:
    """Count one try under `key`; gives the tries in the window that is open now and the seconds until it ends."""
    async with db.transaction() as tx:
        row = await tx.fetchrow(
            """
            INSERT INTO accounts.guesses AS seen (key, tries, ends_at)
            VALUES ($1, 1, now() + make_interval(secs => $2::int))
            ON CONFLICT (key) DO UPDATE SET
                tries = CASE WHEN seen.ends_at <= now() THEN 1 ELSE least(seen.tries + 1, 1000000) END,
                ends_at = CASE WHEN seen.ends_at <= now() THEN excluded.ends_at ELSE seen.ends_at END
            RETURNING tries, ceil(extract(epoch FROM ends_at - now()))::int AS left_s
            """,
            key,
            window_s,
        )
    if row is None:
        raise AssertionError("an upsert returns its row")
    return row["tries"], row["left_s"]


async def windows_open(db: Database, keys: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
    """Of the windows of these keys that are open now: the tries, and the seconds until it ends. Counts nothing."""
    rows = await db.fetch(
        """
        SELECT key, tries, ceil(extract(epoch FROM ends_at - now()))::int AS left_s
        FROM accounts.guesses WHERE key = ANY ($1::bytea[]) AND ends_at > now()
        """,
        keys,
    )
    return {row["key"]: (row["tries"], row["left_s"]) for row in rows}


async def forget_guesses(tx: Connection, key: bytes) -> None:
    """Forget the tries under `key`: the right password was given."""
    await tx.execute("DELETE FROM accounts.guesses WHERE key = $1", key)


async def delete_windows(tx: Connection, rows_max: int) -> int:
    """Delete up to `rows_max` windows of guesses that have ended; gives how many."""
    count: int = await tx.fetchval(
        """
        WITH windows AS (
            DELETE FROM accounts.guesses WHERE key = ANY (ARRAY(
                SELECT key FROM accounts.guesses WHERE ends_at <= now() ORDER BY ends_at LIMIT $1
            )) AND ends_at <= now() RETURNING 1
        )
        SELECT count(*) FROM windows
        """,
        rows_max,
    )
    return count


async def delete_sessions(tx: Connection, *, kept_s: int, rows_max: int) -> int:
    """Delete up to `rows_max` sessions that expired `kept_s` ago; gives how many."""
    count: int = await tx.fetchval(
        """
        WITH sessions AS (
            DELETE FROM accounts.sessions WHERE token_hash = ANY (ARRAY(
                SELECT token_hash FROM accounts.sessions
                WHERE expires_at <= now() - make_interval(secs => $1::int) ORDER BY expires_at LIMIT $2
            )) RETURNING 1
        )
        SELECT count(*) FROM sessions
        """,
        kept_s,
        rows_max,
    )
    return count


def _account(row: asyncpg.Record) -> Account:
    return Account(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        phone=row["phone"],
        timezone=Timezone(row["timezone"]),
        created_at=row["created_at"],
    )


def _caller(row: asyncpg.Record, via: Literal["session", "api_key"]) -> Caller:
    return Caller(row["id"], row["name"], Timezone(row["timezone"]), via)


def _key_caller(row: asyncpg.Record) -> Caller:
    """The holder of a key, acting for the group that the key is bound to."""
    caller = _caller(row, "api_key")
    if row["group_id"] is None:
        return caller
    acting = Acting(caller.account_id, row["group_name"], GroupRole(row["role"]))
    return Caller(row["group_id"], caller.name, caller.timezone, caller.via, acting)
