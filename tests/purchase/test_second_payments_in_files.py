"""A second payment that only Xendit's settlement file tells of goes the way of one that was told. The audit ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import copy
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from counters import Till, till, xendit
from returning import audit, books, cases_of, paid_order, returns_of, states_of, work_returns

from emeterai.core.ordering import ChargeState, Seen
from emeterai.core.returning import SecondPayment
from emeterai.infra.database import Database
from emeterai.purchase.model import Order, Source
from emeterai.purchase.settlement_files import SettlementFiles
from twins.payment_twin import BadDay
from twins.xendit_twin import PaymentRequest, XenditTwin

HEADER = "Status,Type,Currency,Amount,Payment ID,Reference,Payment Date\n"


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[Till[XenditTwin]]:
    """A shop that sells through Xendit."""
    twin = XenditTwin()
    provider = xendit(twin)
    yield till(db, twin, [provider])
    await provider.close()
    await audit(db)


def paid_twice(shop: Till[XenditTwin], order: Order) -> tuple[PaymentRequest, PaymentRequest]:
    """The charge that paid the order, and another one of it that was paid too; nobody is told."""
    first = shop.twin.requests[str(order.id)]
    further = copy(first)
    further.id, further.payment_id, further.refunds = f"pr-{uuid4()}", f"py-{uuid4()}", {}
    shop.twin.requests["another"] = further
    return first, further


async def load(
    shop: Till[Any], folder: Path, order: Order, *payments: PaymentRequest, amount_idr: int = 25_000
) -> dict[str, int]:
    """Load a file of these payments; gives how many lines had which outcome."""
    lines = [f"SUCCESS,PAYMENT,IDR,{amount_idr},{one.payment_id},{order.id},21/11/2026 10:02\n" for one in payments]
    file = folder / f"{uuid4()}.csv"
    file.write_text(HEADER + "".join(lines))
    report = await SettlementFiles(shop.db, shop.purchase).load(file, "xendit")
    return {total.outcome: total.lines for total in report.totals}


async def test_it_goes_back(shop: Till[XenditTwin], tmp_path: Path) -> None:
    """To its own payer, by its own charge, once: the file may tell of it again, and so may a notification."""
    order = await paid_order(shop)
    first, further = paid_twice(shop, order)
    assert {"known": 1, "paid_again": 1} == await load(shop, tmp_path, order, first, further)
    (back,) = await returns_of(shop.purchase, order)
    assert ("paid_again", further.id, 25_000) == (back.cause.value, back.reference, back.amount_idr)
    assert {"known": 2} == await load(shop, tmp_path, order, further, first)
    shop.twin.tell("another", "payment.capture")
    await shop.twin.deliver(shop.hear)
    await work_returns(shop.purchase, shop.db)
    assert [("paid_again", "returned")] == await states_of(shop.purchase, order)
    assert (0, [25_000]) == (len(first.refunds), [one["amount"] for one in further.refunds.values()])
    assert {"seen": 50_000, "duty": 20_000, "fee": 5_000, "returned": 25_000} == await books(shop.db)


async def test_it_becomes_quota_where_the_buyer_chose_so(shop: Till[XenditTwin], tmp_path: Path) -> None:
    """Four stamps for two payments of two."""
    order = await paid_order(shop, second_payment=SecondPayment.CREDIT)
    assert {"known": 1, "paid_again": 1} == await load(shop, tmp_path, order, *paid_twice(shop, order))
    assert 4 == (await shop.ledger.balance(order.account_id)).bought


async def test_it_is_found_even_when_it_is_told_of_first(shop: Till[XenditTwin], tmp_path: Path) -> None:
    """The first line of an order is taken for its charge; when the other one comes, both are looked up."""
    order = await paid_order(shop)
    first, further = paid_twice(shop, order)
    assert {"known": 1} == await load(shop, tmp_path, order, further)
    assert {"known": 1} == await load(shop, tmp_path, order, first)
    assert [further.id] == [back.reference for back in await returns_of(shop.purchase, order)]


async def test_while_xendit_is_silent_it_is_a_case(shop: Till[XenditTwin], tmp_path: Path) -> None:
    """A file is loaded once: nothing of it waits for a better day without anybody knowing."""
    order = await paid_order(shop)
    payments = paid_twice(shop, order)
    shop.twin.day = BadDay(down=True)
    assert {"known": 1, "no_answer": 1} == await load(shop, tmp_path, order, *payments)
    assert ["no_answer"] == [case.kind.value for case in await cases_of(shop.purchase, order)]


async def test_two_payments_of_one_charge_are_a_case(shop: Till[XenditTwin], tmp_path: Path) -> None:
    """Which of them a charge's status tells of is not to be known: nothing is guessed."""
    order = await paid_order(shop)
    first, further = paid_twice(shop, order)
    further.id = first.id
    assert {"known": 1, "contradicted": 1} == await load(shop, tmp_path, order, first, further)
    assert ["contradicted"] == [case.kind.value for case in await cases_of(shop.purchase, order)]
    assert [] == await returns_of(shop.purchase, order)


async def test_the_same_wrong_sum_in_a_later_file_is_money_of_its_own(shop: Till[XenditTwin], tmp_path: Path) -> None:
    """A file was the first to tell of money that differs; a later one tells of as much once more: both go back."""
    shop.twin.day = BadDay(pays=24_999)
    order = await shop.order()
    shop.twin.pay(str(order.id))
    first, further = paid_twice(shop, order)
    assert {"quarantined": 1} == await load(shop, tmp_path, order, first, amount_idr=24_999)
    assert {"paid_again": 1} == await load(shop, tmp_path, order, further, amount_idr=24_999)
    assert {first.id, further.id} == {back.reference for back in await returns_of(shop.purchase, order)}
    assert {"seen": 49_998, "owed": 49_998} == await books(shop.db)


async def test_each_further_payment_of_an_order_that_another_provider_paid_is_found(
    shop: Till[XenditTwin], tmp_path: Path
) -> None:
    """Xendit was paid twice for an order that Midtrans had made quota, and told of it in two files."""
    order = await shop.order()
    await shop.purchase.apply_seen(
        order.id, Seen(ChargeState.SETTLED, Decimal(25_000), "IDR"), Source("midtrans", "m-1")
    )
    shop.twin.pay(str(order.id))
    first, further = paid_twice(shop, order)
    assert {"paid_again": 1} == await load(shop, tmp_path, order, first)
    assert {"paid_again": 1} == await load(shop, tmp_path, order, further)
    assert {first.id, further.id} == {back.reference for back in await returns_of(shop.purchase, order)}
