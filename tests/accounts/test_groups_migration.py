"""What was kept of invitees and of partners before is put right by the migration that approves groups."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from emeterai.infra.ids import new_id
from emeterai.infra.migrate import default_folder, migrate
from emeterai.infra.postgres import EmbeddedPostgres

BEFORE = 24
"""The last migration before groups were approved."""


@pytest.fixture
async def empty_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a database without any table."""
    name = f"empty_{new_id().hex}"
    connection = await asyncpg.connect(postgres.admin_url())
    await connection.execute(f"CREATE DATABASE {name} OWNER emeterai")
    yield postgres.url().replace("/emeterai?", f"/{name}?")
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def test_contacts_are_forgotten_and_partners_have_their_lane(empty_url: str, tmp_path: Path) -> None:
    """Open invitations keep theirs; the history has all of them masked, and nothing in it can be changed afterwards."""
    for file in default_folder().glob("*.sql"):
        if int(file.name[:4]) <= BEFORE:
            shutil.copy(file, tmp_path)
    await migrate(empty_url, tmp_path)
    siti, group, (accepted, old, still_open) = new_id(), new_id(), [new_id() for _ in range(3)]
    connection = await asyncpg.connect(empty_url)
    await connection.execute(
        "INSERT INTO accounts.accounts (id, name, email, password_hash, timezone) "
        "VALUES ($1, 'Siti', 's@a.id', '$argon2id$x', 'Asia/Jakarta')",
        siti,
    )
    await connection.execute(
        "INSERT INTO accounts.groups (id, name, timezone, created_by) VALUES ($1, 'PT', 'Asia/Jakarta', $2)",
        group,
        siti,
    )
    for one, contact, ended, accepted_by, left in (
        (accepted, "budi@surat.example", True, siti, "1 day"),
        (old, "+6281234567890", False, None, "-1 day"),
        (still_open, "tono@surat.example", False, None, "1 day"),
    ):
        await connection.execute(
            "INSERT INTO accounts.invitations (id, group_id, digest, contact, role, invited_by, expires_at, ended_at, "
            "accepted_by) VALUES ($1, $2, $3, $4, 'member', $5, now() + $6::text::interval, "
            "CASE WHEN $7 THEN now() END, $8)",
            *(one, group, one.bytes * 2, contact, siti, left, ended, accepted_by),
        )
        await connection.execute(
            "INSERT INTO accounts.deeds (id, group_id, actor, kind, subject, facts) VALUES ($1, $2, $3, 'invited', $4, "
            "jsonb_build_object('contact', $5::text))",
            *(new_id(), group, siti, one, contact),
        )
    await connection.execute(
        "INSERT INTO partners.partners (id, account_id, kind, name, contact) VALUES ($1, $2, 'distributor', 'T', 'k')",
        *(new_id(), siti),
    )
    await migrate(empty_url)
    kept = await connection.fetch("SELECT id, contact FROM accounts.invitations WHERE contact IS NOT NULL")
    assert [(still_open, "tono@surat.example")] == [tuple(row) for row in kept]
    masked = {row[0] for row in await connection.fetch("SELECT facts ->> 'contact' FROM accounts.deeds")}
    assert {"b***@surat.example", "+62***90", "t***@surat.example"} == masked
    assert "partners" == await connection.fetchval("SELECT lane FROM gate.lane_accounts WHERE account_id = $1", siti)
    with pytest.raises(asyncpg.RaiseError, match="only grows"):
        await connection.execute("UPDATE accounts.deeds SET facts = '{}'")
    await connection.close()
