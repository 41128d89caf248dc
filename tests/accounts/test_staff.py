"""Staff: a role is granted and revoked on a record that only grows, and it holds at once."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar
from staff_app import create_staff_app

from emeterai.accounts.service import Accounts
from emeterai.accounts.staff import ACCOUNT_UNKNOWN, Role, Staff
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database

PASSWORD = "kopi-hangat-di-teras"


@pytest.fixture
def staff(db: Database) -> Staff:
    """The service on this test's database."""
    return Staff(db)


@pytest.fixture
def app(accounts: Accounts, staff: Staff) -> Litestar:
    """An application with one page and one operation of the treasury."""
    return create_staff_app(accounts, staff)


async def sign_up(accounts: Accounts, name: str) -> dict[str, str]:
    """An account that has signed in: the headers of its session."""
    await accounts.register(name=name, email=f"{name}@contoh.id", password=PASSWORD)
    signed_in = await accounts.sign_in(contact=f"{name}@contoh.id", password=PASSWORD, address="test")
    return {"authorization": f"Bearer {signed_in.token}"}


async def code_of(client: httpx.AsyncClient, headers: dict[str, Any]) -> tuple[int, str]:
    """What the treasury's operation answers."""
    answer = await client.get("/v1/for-treasury", headers=headers)
    return answer.status_code, answer.text if answer.is_success else answer.json()["code"]


async def test_a_role_opens_what_is_its_own_until_it_is_revoked(
    accounts: Accounts, staff: Staff, client: httpx.AsyncClient
) -> None:
    """Without it, and with another one, the answer is `staff_only`; no wait in either direction."""
    headers = await sign_up(accounts, "rina")
    assert (401, "sign_in_needed") == await code_of(client, {})
    assert (403, "staff_only") == await code_of(client, headers)
    await staff.grant("rina@contoh.id", Role.CARE, by="test")
    assert (403, "staff_only") == await code_of(client, headers)
    await staff.grant("RINA@contoh.id", Role.TREASURY, by="test")
    assert (200, "rina") == await code_of(client, headers)
    await staff.revoke("rina@contoh.id", Role.TREASURY, by="test")
    assert (403, "staff_only") == await code_of(client, headers)


async def test_a_page_of_the_treasury_asks_to_sign_in_and_then_for_the_role(
    accounts: Accounts, staff: Staff, client: httpx.AsyncClient
) -> None:
    """Whoever is nobody is sent to the sign-in page, as everywhere."""
    headers = await sign_up(accounts, "rina")
    nobody = await client.get("/for-treasury")
    assert (303, "/masuk?next=%2Ffor-treasury") == (nobody.status_code, nobody.headers["location"])
    client.cookies.set("emeterai_session", headers["authorization"].removeprefix("Bearer "))
    assert 403 == (await client.get("/for-treasury")).status_code
    await staff.grant("rina@contoh.id", Role.TREASURY, by="test")
    assert 200 == (await client.get("/for-treasury")).status_code


async def test_a_key_is_never_staff(accounts: Accounts, staff: Staff, client: httpx.AsyncClient) -> None:
    """A program of somebody who is staff cannot approve anything."""
    headers = await sign_up(accounts, "rina")
    await staff.grant("rina@contoh.id", Role.TREASURY, by="test")
    caller = await accounts.identify(headers["authorization"].removeprefix("Bearer "))
    key = await accounts.create_api_key(caller, "server")
    assert (403, "session_needed") == await code_of(client, {"authorization": f"Bearer {key.token}"})


async def test_the_record_says_who_gave_and_took_what_and_when(accounts: Accounts, staff: Staff, db: Database) -> None:
    """A grant that changes nothing is no line of it; the list shows what holds."""
    await sign_up(accounts, "rina")
    await staff.grant("rina@contoh.id", Role.CARE, by="first")
    await staff.grant("rina@contoh.id", Role.CARE, by="second")
    (member,) = await staff.members()
    assert ("rina", "rina@contoh.id", Role.CARE, "first") == (
        member.name,
        member.contact,
        member.role,
        member.granted_by,
    )
    await staff.revoke("rina@contoh.id", Role.CARE, by="third")
    await staff.revoke("rina@contoh.id", Role.CARE, by="fourth")
    assert [] == await staff.members()
    rows = await db.fetch("SELECT change, done_by FROM accounts.staff_changes ORDER BY number")
    assert [("granted", "first"), ("revoked", "third")] == [tuple(row) for row in rows]
    for change in ("UPDATE accounts.staff_changes SET done_by = 'me'", "DELETE FROM accounts.staff_changes"):
        with pytest.raises(asyncpg.RaiseError, match="only grows"):
            await db.fetch(change)
    with pytest.raises(asyncpg.PostgresError, match="only grows"):
        await db.fetch("TRUNCATE accounts.staff_changes")


async def test_two_grants_at_once_are_one_line(accounts: Accounts, staff: Staff, db: Database) -> None:
    """They take turns on the account's row."""
    await sign_up(accounts, "rina")
    await asyncio.gather(*(db.fetchval("SELECT pg_sleep(0.1)") for _ in range(8)))  # so that each has its connection
    await asyncio.gather(*(staff.grant("rina@contoh.id", Role.CARE, by=f"console {n}") for n in range(8)))
    assert 1 == await db.fetchval("SELECT count(*) FROM accounts.staff_changes")


async def test_nobody_by_that_name(staff: Staff) -> None:
    """A role is given to an account that is there."""
    with pytest.raises(Refused) as refused:
        await staff.grant("siapa@contoh.id", Role.CARE, by="test")
    assert ACCOUNT_UNKNOWN is refused.value.kind
