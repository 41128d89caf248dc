"""Each rule of the audit of vouchers, broken by hand."""

from __future__ import annotations

import pytest

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from voucher_desk import Desk, broken_rules, write


@pytest.mark.parametrize(
    ("harm", "rule"),
    [
        (
            "UPDATE purchase.vouchers SET state = 'void', voided_at = now() WHERE number = 3",
            "a batch holds the units of its vouchers that are neither redeemed nor void",
        ),
        (
            "UPDATE purchase.voucher_batches SET stock_id = made_by",
            "a batch was made of its stock, and what was voided went back there",
        ),
        (
            "UPDATE purchase.vouchers SET redeemed_by = batch_id WHERE state = 'redeemed'",
            "a redeemed voucher gave its units once, to whoever redeemed it, and no other gave any",
        ),
        (
            "UPDATE purchase.voucher_voidings SET vouchers = vouchers - 1",
            "a voiding says how many vouchers it voided, and all of them are on record",
        ),
    ],
)
async def test_the_audit_names_what_is_broken(db: Database, harm: str, rule: str) -> None:
    """Each rule is broken by hand, and the audit names it."""
    desk = await Desk.open(db)
    batch = await desk.batch(vouchers=4)
    await desk.redeem(new_id(), desk.codes[batch.id][0])
    await desk.vouchers.void(desk.seller, batch.id, first=2, confirmed=True)
    await desk.assert_sound()
    await write(db, "ALTER TABLE purchase.vouchers DISABLE TRIGGER vouchers_end_once")
    await write(db, harm)
    assert rule in await broken_rules(db)


async def test_the_audit_names_units_that_no_voucher_gave(db: Database) -> None:
    """Transfers that say they are a redemption have their voucher."""
    desk = await Desk.open(db)
    subject, person = new_id(), new_id()
    gives = Transfer(new_id(), Kind.GIVE, Reason.VOUCHER_REDEEMED, 1, account=desk.stock, subject=subject)
    receives = Transfer(new_id(), Kind.RECEIVE, Reason.VOUCHER_REDEEMED, 1, account=person, subject=subject)
    await desk.ledger.post([gives, receives])
    assert {"a redeemed voucher gave its units once, to whoever redeemed it, and no other gave any"} == (
        await broken_rules(db)
    )
