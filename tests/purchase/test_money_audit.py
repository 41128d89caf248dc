"""The audit of money: each rule is broken by hand, and the audit names it and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from counters import Till, midtrans, till
from returning import paid_order, work_returns, write

from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase.money_audit import OF_NEW_MONEY, RULES, check_all_money, check_money
from twins.midtrans_twin import MidtransTwin

OWES, OWED, QUOTA, STAMPS, LOST, EYES = RULES
BREAKS = {
    OWES: ["UPDATE purchase.returns SET state = 'returned', ended_at = now(), next_try_at = NULL WHERE state = 'owed'"],
    OWED: [
        """INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, subject)
        SELECT gen_random_uuid(), 'money', 'paid_other', 5, '00000000-0000-0000-0000-00000000000b',
            '00000000-0000-0000-0000-00000000000c', gen_random_uuid()"""
    ],
    QUOTA: ["UPDATE purchase.orders SET state = 'expired', paid_at = NULL WHERE state = 'paid'"],
    STAMPS: ["UPDATE purchase.cases SET quantity = 1"],
    LOST: ["UPDATE purchase.cases SET amount_idr = amount_idr + 1"],
    EYES: [
        "ALTER TABLE purchase.proposals DROP CONSTRAINT proposals_check",
        """INSERT INTO purchase.proposals (id, case_id, action, note, proposed_by, decided_by, approved, decided_at)
        SELECT gen_random_uuid(), id, 'close', 'x', account, account, true, now()
        FROM purchase.cases, gen_random_uuid() AS account""",
    ],
}


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[Till[MidtransTwin]]:
    """A shop with a paid order, one that was returned, one that is being returned, one that was taken back."""
    twin = MidtransTwin()
    provider = midtrans(twin)
    shop = till(db, twin, [provider])
    await paid_order(shop)
    for quantity in (2, 3):
        order = await paid_order(shop, quantity)
        await shop.purchase.returns.hand_back(order.account_id, order.id, 1, idempotency_key=str(new_id()))
        if quantity == 2:
            await work_returns(shop.purchase, db)
    lost = await paid_order(shop)
    twin.move(str(lost.id), "chargeback")
    await twin.deliver(shop.hear)
    yield shop
    await provider.close()


async def broken(db: Database) -> list[str]:
    """The rules that are broken."""
    return [rule.name for rule in await check_all_money(db) if rule.broken]


async def test_nothing_is_broken_by_itself(shop: Till[MidtransTwin]) -> None:
    """With something of each kind there."""
    assert [] == await broken(shop.db)


@pytest.mark.parametrize("rule", RULES)
async def test_each_rule_is_named_when_it_is_broken(shop: Till[MidtransTwin], rule: str) -> None:
    """And no other."""
    for statement in BREAKS[rule]:
        await write(shop.db, statement)
    assert [rule] == await broken(shop.db)


async def broken_among_new(db: Database) -> list[str]:
    """The rules that are broken on what a look finds when all money is new."""
    subjects = "SELECT DISTINCT subject FROM ledger.transfers WHERE kind = 'money'"
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read"):
        ids = [row["subject"] for row in await connection.fetch(subjects)]
        return [rule.name for rule in await check_money(connection, ids) if rule.broken]


@pytest.mark.parametrize("rule", OF_NEW_MONEY)
async def test_a_look_at_new_money_names_the_same_rule(shop: Till[MidtransTwin], rule: str) -> None:
    """And no other; before that none."""
    assert [] == await broken_among_new(shop.db)
    for statement in BREAKS[rule]:
        await write(shop.db, statement)
    assert [rule] == await broken_among_new(shop.db)


async def test_a_look_at_new_money_leaves_the_old_to_the_audit(shop: Till[MidtransTwin]) -> None:
    """It reads what new transfers name, and nothing else."""
    for rule in OF_NEW_MONEY:
        for statement in BREAKS[rule]:
            await write(shop.db, statement)
    async with shop.db.transaction() as tx:
        assert [0] * len(OF_NEW_MONEY) == [rule.broken for rule in await check_money(tx, [new_id()])]
