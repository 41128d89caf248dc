"""What the tests of accounts share: a service on a real database, with a quick hasher that counts its work."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from account_app import create_account_app
from counting_hasher import CountingHasher
from litestar import Litestar

from emeterai.accounts.passwords import Passwords
from emeterai.accounts.service import Accounts
from emeterai.infra.database import Database


@pytest.fixture
def hasher() -> CountingHasher:
    """The hasher under the service of this test."""
    return CountingHasher()


@pytest.fixture
def accounts(db: Database, hasher: CountingHasher) -> Accounts:
    """The service on this test's database."""
    return Accounts(db, session_life_s=3600, passwords=Passwords(hasher))


@pytest.fixture
def app(accounts: Accounts) -> Litestar:
    """An application of accounts alone, and of two pages that use them."""
    return create_account_app(accounts)


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A browser or a program at the address 203.0.113.7."""
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="https://meterai.example") as browser:
        yield browser
