"""What a stock's lock decides about vouchers: suspension counts from its commit, and one key makes one thing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any
from uuid import UUID

import pytest

from emeterai.accounts.model import Caller
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.service import Ledger
from emeterai.partners.model import PartnerKind, PartnerState
from emeterai.partners.service import Partners
from emeterai.partners.store import write_state
from emeterai.partners.voucher_stocks import voucher_stocks
from emeterai.purchase.voucher_model import Stock
from emeterai.purchase.vouchers import Vouchers
from market import person, until_waiting
from voucher_desk import SECRET, broken_rules, person_of


async def outcome(work: Awaitable[Any]) -> str:
    """`done`, or the code of the refusal; whatever else is raised is a bug."""
    try:
        await work
    except Refused as refused:
        return refused.code
    return "done"


@pytest.mark.parametrize("what", ["make", "activate"])
async def test_a_partner_that_is_being_suspended_makes_and_activates_nothing(db: Database, what: str) -> None:
    """The request that asked before, and then waited for the stock, finds it suspended."""
    ledger, partners = Ledger(db), Partners(db, Ledger(db), SerialChannels(db))
    account = await person(db)
    partner = await partners.register(
        account, name="Toko Ratna", contact="0812", kind=PartnerKind.DISTRIBUTOR, by="test"
    )
    await ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.DEPOSIT, 50, account=partner.id)])
    vouchers, seller = Vouchers(db, ledger, secret=SECRET, stocks_of=voucher_stocks(partners)), person_of(account)
    batch = await vouchers.make(seller, vouchers=2, units=5)
    async with db.transaction() as tx:
        await ledger.open_book(tx, [partner.id])
        await write_state(tx, partner.id, PartnerState.SUSPENDED)
        work = vouchers.make(seller, vouchers=1, units=5) if what == "make" else vouchers.activate(seller, batch.id)
        asked = asyncio.create_task(outcome(work))
        await until_waiting(db, 1)
    assert "voucher_stock_suspended" == await asked
    assert 40 == (await ledger.balance(partner.id)).available
    assert 0 == (await vouchers.batch(seller, batch.id)).counts.active


async def two_stocks(db: Database) -> tuple[Vouchers, Caller, list[UUID]]:
    """Somebody who keeps two stocks of a hundred units each."""
    seller, stocks = person_of(new_id()), [new_id(), new_id()]
    given = [Transfer(new_id(), Kind.CREDIT, Reason.DEPOSIT, 100, account=stock) for stock in stocks]
    await Ledger(db).post(given)

    async def stocks_of(caller: Caller, _: object) -> Sequence[Stock]:
        return [Stock(stock, "Loket") for stock in stocks] if caller == seller else []

    return Vouchers(db, Ledger(db), secret=SECRET, stocks_of=stocks_of), seller, stocks


async def test_one_key_makes_one_batch_also_of_two_stocks(db: Database) -> None:
    """At one moment: one is made, the other hears that its key is used, and its stock is whole."""
    vouchers, seller, stocks = await two_stocks(db)
    async with db.transaction() as tx:
        await Ledger(db).open_book(tx, stocks)
        asked = [
            asyncio.create_task(
                outcome(vouchers.make(seller, vouchers=2, units=5, stock_id=stock, idempotency_key="same"))
            )
            for stock in stocks
        ]
        await until_waiting(db, 2)
    assert ["done", "idempotency_key_reused"] == sorted(await asyncio.gather(*asked))
    assert [90, 100] == sorted([(await Ledger(db).balance(stock)).available for stock in stocks])
    assert set() == await broken_rules(db)


async def test_one_key_voids_one_range_also_of_two_stocks(db: Database) -> None:
    """At one moment: one is void, the other hears that its key is used, and its vouchers are good."""
    vouchers, seller, stocks = await two_stocks(db)
    batches = [await vouchers.make(seller, vouchers=2, units=5, stock_id=stock) for stock in stocks]
    async with db.transaction() as tx:
        await Ledger(db).open_book(tx, stocks)
        asked = [
            asyncio.create_task(
                outcome(vouchers.void(seller, batch.id, first=1, last=2, confirmed=True, idempotency_key="same"))
            )
            for batch in batches
        ]
        await until_waiting(db, 2)
    assert ["done", "idempotency_key_reused"] == sorted(await asyncio.gather(*asked))
    assert [0, 2] == sorted([(await vouchers.batch(seller, batch.id)).counts.void for batch in batches])
    assert set() == await broken_rules(db)
