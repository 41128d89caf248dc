"""Stamps that an agency granted are not money: only what somebody paid for goes back to him. An audit ends the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from counters import Till, midtrans
from returning import cases_of, returns_of

from emeterai.accounts.model import Caller
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.partners.programme_claims import owed_to_agencies
from emeterai.purchase.model import Order
from emeterai.purchase.pages import returns_shown
from emeterai.purchase.returns_model import Action
from emeterai.purchase.service import Purchase
from programme_people import Bureau, identity, person
from twins.midtrans_twin import MidtransTwin


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[Till[MidtransTwin]]:
    """A shop that is wired as the service is: it asks what its buyers owe to agencies."""
    twin = MidtransTwin(now=utc_now())
    provider, ledger = midtrans(twin), Ledger(db)
    settings = Settings(fee_idr=2_500, public_url="https://shop.example")
    purchase = Purchase(db, ledger, settings, providers=[provider], owed=owed_to_agencies)
    yield Till(db, ledger, purchase, twin, provider.name)
    await provider.close()


async def paid(shop: Till[Any], buyer: Caller, quantity: int) -> Order:
    """An order of this buyer that is quota."""
    order = await shop.purchase.create_order(buyer.account_id, quantity)
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    return order


async def one_left_and_four_granted(shop: Till[Any], db: Database) -> tuple[Bureau, Caller, Order]:
    """An agency, somebody who used two of three stamps that she paid for and was granted four, and her order."""
    bureau, siti = await Bureau.open(db), person()
    order = await paid(shop, siti, 3)
    await bureau.use(siti.account_id, 2)
    programme = await bureau.programme(funded=4, units_each=4, invited=1)
    await bureau.claims.claim(siti, programme.id, identity=identity(1))
    return bureau, siti, order


async def test_a_grant_is_not_turned_into_cash(shop: Till[Any], db: Database) -> None:
    """Three were paid for and two of them used, four were granted: one stamp is his to hand back."""
    bureau, siti, order = await one_left_and_four_granted(shop, db)
    assert 5 == await bureau.available(siti.account_id)
    with pytest.raises(Refused) as refused:
        await shop.purchase.returns.hand_back(siti.account_id, order.id, 2)
    assert ("return_not_available", 1) == (refused.value.code, refused.value.facts["available"])
    assert [] == await returns_of(shop.purchase, order)
    back = await shop.purchase.returns.hand_back(siti.account_id, order.id, 1)
    assert back is not None
    assert 4 == await bureau.available(siti.account_id)
    await bureau.assert_sound()


async def test_a_grant_does_not_make_good_money_that_a_bank_took_back(shop: Till[Any], db: Database) -> None:
    """Three were paid for, two of them used, four granted: one stamp can be taken for the chargeback, and none more."""
    bureau, siti, order = await one_left_and_four_granted(shop, db)
    shop.twin.move(str(order.id), "chargeback")
    await shop.twin.deliver(shop.hear)
    (case,) = await cases_of(shop.purchase, order)
    cases = shop.purchase.cases
    with pytest.raises(Refused) as refused:
        await cases.propose(case.id, Action.TAKE_BACK, note="chargeback", by=new_id(), quantity=2)
    assert ("take_back_too_much", 1) == (refused.value.code, refused.value.facts["quantity_max"])
    proposal = await cases.propose(case.id, Action.TAKE_BACK, note="chargeback", by=new_id(), quantity=1)
    await cases.decide(proposal.id, by=new_id(), approved=True)
    assert 4 == await bureau.available(siti.account_id)
    await bureau.assert_sound()


async def test_a_page_offers_only_what_can_be_handed_back_now(shop: Till[Any], db: Database) -> None:
    """Beside four of the agency one stamp is his own, and what he uses is the agency's first; then none is left."""
    bureau, siti, placed = await one_left_and_four_granted(shop, db)
    order = await shop.purchase.order(siti.account_id, placed.id)
    for _ in range(5):
        assert 1 == await shop.purchase.returns.returnable_now(order)
        assert 1 == (await returns_shown(shop.purchase, order))["returnable"]
        await bureau.use(siti.account_id, 1)
    assert 0 == await shop.purchase.returns.returnable_now(order)
    await bureau.assert_sound()


async def test_who_has_no_grant_is_offered_all_that_is_left(shop: Till[Any], db: Database) -> None:
    """As many as were not used; none of an order that is not paid."""
    bureau, siti = await Bureau.open(db), person()
    order = await paid(shop, siti, 3)
    await bureau.use(siti.account_id, 1)
    assert 2 == await shop.purchase.returns.returnable_now(await shop.purchase.order(siti.account_id, order.id))
    unpaid = await shop.purchase.create_order(siti.account_id, 1)
    assert 0 == await shop.purchase.returns.returnable_now(unpaid)
