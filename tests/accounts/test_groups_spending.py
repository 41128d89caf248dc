"""Limits of members: what counts is what is spent, not what was tried."""

from __future__ import annotations

import pytest
from group_people import office_of

from emeterai.accounts.groups import Groups, Limits
from emeterai.accounts.groups_spending import Spending, limit_spending
from emeterai.accounts.service import Accounts
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (0, [None, None, None]),
        (1, [None, "member_limit_reached", "member_limit_reached"]),
        (3, [None, "member_limit_reached", "member_limit_reached"]),
    ],
)
async def test_what_the_group_has_no_unit_for_takes_nothing_of_a_limit(
    accounts: Accounts, db: Database, available: int, expected: list[str | None]
) -> None:
    """Three at one moment with a limit of one: without quota each is left to the ledger, which says so to each."""
    ledger = Ledger(db)
    office = await office_of(accounts, Groups(db, ledger))
    budi = await office.join(limits=Limits(units_in_all=1))
    if available:
        credit = Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, available, account=office.group.id)
        await ledger.post([credit])
    asked = [Spending(new_id(), office.group.id, budi.account_id) for _ in range(3)]
    async with db.transaction() as tx:
        book = await ledger.open_book(tx, [office.group.id], opening=True)
        refused = await limit_spending(tx, book, asked)
    codes = [refused[one.stamp_id].code if one.stamp_id in refused else None for one in asked]
    assert expected == codes
