"""An order of a group waits for whoever decides about the group, and for its founder's other orders."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from shop_floor import Floor

from emeterai.app import Services
from market import person, until_waiting


@pytest.mark.parametrize("whose", ["the group's", "its founder's"])
async def test_an_order_of_a_group_waits_for_both_books(floor: Floor, whose: str) -> None:
    """Approval is decided under the one, the limit that they share under the other: either held, nothing is placed."""
    services: Services = floor.app.state["services"]
    account = await services.accounts.account(await person(floor.market.db))
    founder = await services.accounts.identify((await services.accounts.open_session(account)).token)
    group = await services.groups.found(founder, name="PT Maju Bersama")
    held: UUID = group.id if whose == "the group's" else founder.account_id
    async with services.db.transaction() as tx:
        await services.ledger.open_book(tx, [held], opening=True)
        placing = asyncio.create_task(services.purchase.place_order(group.id, 1))
        await until_waiting(services.db, 1)
        assert 0 == await services.db.fetchval("SELECT count(*) FROM purchase.orders")
    assert group.id == (await placing).account_id
