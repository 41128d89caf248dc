"""Before somebody loses money its provider is asked, by the name that it gave. The audit ends every test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from counters import Till, asked, midtrans, till
from returning import audit, books, cases_of, let_clock_decide, paid_order, returns_of, states_of, work_returns

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase.model import Order
from emeterai.purchase.returns_model import Action, Return
from twins.midtrans_twin import MidtransTwin, signature
from twins.payment_twin import BadDay

ANI, BUDI = new_id(), new_id()


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[Till[MidtransTwin]]:
    """A shop that sells through Midtrans."""
    twin = MidtransTwin()
    provider = midtrans(twin)
    yield till(db, twin, [provider])
    await provider.close()
    await audit(db)


async def refused_return(shop: Till[Any]) -> tuple[Order, Return]:
    """A return that the provider refused to make: people have it."""
    order = await paid_order(shop)
    back = await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    assert back is not None
    shop.twin.day.declines_refunds = True
    await work_returns(shop.purchase, shop.db)
    shop.twin.day = BadDay()
    return order, back


async def proposed(shop: Till[Any], subject: UUID, action: Action, **more: Any) -> UUID:
    """What Ani proposes."""
    return (await shop.purchase.cases.propose(subject, action, note="mutasi bank", by=ANI, **more)).id


async def approve(shop: Till[Any], proposal: UUID) -> None:
    """Budi says yes."""
    await shop.purchase.cases.decide(proposal, by=BUDI, approved=True)


async def told(shop: Till[Any], order: Order, status: str, *, code: str, **changes: Any) -> str | None:
    """Hear a notification that is signed over order, code and amount, and says `status`; gives its outcome."""
    charge = shop.twin.charges[str(order.id)]
    signed = signature(str(order.id), code, f"{charge.amount}.00", shop.twin.key)
    words = shop.twin.words(charge) | {"transaction_status": status, "status_code": code, "signature_key": signed}
    assert 200 == await shop.hear({}, json.dumps(words | changes).encode())
    return (await shop.outcomes(order.id))[-1]


@pytest.mark.parametrize("day", [{"down": True}, {"garbage": True}, {"refuses": 99}])
async def test_nothing_is_paid_by_hand_while_the_provider_does_not_say_that_it_paid_nothing(
    shop: Till[Any], day: dict[str, Any]
) -> None:
    """Silence is not "nothing went": the decision is refused, can be made later, and then is made."""
    order, back = await refused_return(shop)
    proposal = await proposed(shop, back.id, Action.PAID_OUT)
    shop.twin.day = BadDay(**day)
    with pytest.raises(Refused, match="provider_silent"):
        await approve(shop, proposal)
    assert [("quota_returned", "needs_care")] == await states_of(shop.purchase, order)
    shop.twin.day = BadDay()
    await approve(shop, proposal)
    assert [("quota_returned", "returned")] == await states_of(shop.purchase, order)


async def test_midtrans_is_asked_by_the_name_that_it_gave(shop: Till[MidtransTwin]) -> None:
    """Status, refund and cancel go by the transaction: it keeps its name whatever becomes of the order's."""
    order, given_up = await paid_order(shop), await shop.order()
    await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    await work_returns(shop.purchase, shop.db)
    await shop.purchase.cancel(given_up.account_id, given_up.id)
    await shop.purchase.close_charges()
    charge, closed = order.provider_reference, given_up.provider_reference
    expected = [f"GET /v2/{charge}/status", f"POST /v2/{charge}/refund", f"POST /v2/{closed}/cancel"]
    assert expected == [one for one in shop.twin.asked if one != "POST /v2/charge"]
    assert [("quota_returned", "returned")] == await states_of(shop.purchase, order)


@pytest.mark.parametrize(
    ("status", "code"), [("refund", "200"), ("chargeback", "200"), ("deny", "202"), ("cancel", "200")]
)
async def test_a_reversal_is_only_believed_of_the_provider_itself(shop: Till[Any], status: str, code: str) -> None:
    """The signature covers no status: a settlement's signature under the word refund takes nobody's money."""
    order = await paid_order(shop)
    assert "unchanged" == await told(shop, order, status, code=code)
    assert [] == await cases_of(shop.purchase, order)
    assert {"seen": 25_000, "duty": 20_000, "fee": 5_000} == await books(shop.db)


async def test_a_reversal_waits_for_the_provider_s_answer(shop: Till[Any]) -> None:
    """While it is silent nothing is posted; then the case is opened."""
    order = await paid_order(shop)
    shop.twin.move(str(order.id), "chargeback")
    shop.twin.day = BadDay(down=True)
    await shop.twin.deliver(shop.hear)
    assert (None, []) == ((await shop.outcomes(order.id))[-1], await cases_of(shop.purchase, order))
    shop.twin.day = BadDay()
    await shop.sweep(order)
    assert ["taken_back"] == [case.kind.value for case in await cases_of(shop.purchase, order)]


async def test_nobody_ends_an_order_with_the_signature_of_another_word(shop: Till[Any]) -> None:
    """A pending notice that says cancel: the order waits on, and its charge is not cancelled there."""
    order = await shop.order()
    assert "unchanged" == await told(shop, order, "cancel", code="201")
    assert ("awaiting_payment", 0) == await shop.state_of(order)
    assert 0 == await shop.purchase.close_charges()


async def test_a_settlement_that_names_another_transaction_is_asked_about(shop: Till[Any]) -> None:
    """The transaction is not signed either: an order is paid with the one that its provider knows."""
    order = await shop.order()
    shop.twin.pay(str(order.id))
    assert "paid" == await told(shop, order, "settlement", code="200", transaction_id="buatan-sendiri")
    assert order.provider_reference == (await shop.purchase.order(order.account_id, order.id)).paid_reference
    await shop.twin.deliver(shop.hear)
    assert [] == await returns_of(shop.purchase, order)


async def test_a_cancelled_order_s_signature_is_no_settlement(shop: Till[Any]) -> None:
    """A cancel has the code of success, so it is signed as a settlement would be."""
    order = await shop.order()
    shop.twin.move(str(order.id), "cancel")
    await shop.twin.deliver(shop.hear)
    assert "unchanged" == await told(shop, order, "settlement", code="200")
    assert ("cancelled", 0) == await shop.state_of(order)


async def test_money_that_is_cancelled_after_it_was_settled_is_taken_back(shop: Till[Any]) -> None:
    """What was quota is a case; what was owed has gone back."""
    order, differs = await paid_order(shop), await shop.order()
    shop.twin.day.pays = 24_999
    shop.twin.pay(str(differs.id))
    await shop.twin.deliver(shop.hear)
    for one in (order, differs):
        shop.twin.move(str(one.id), "cancel")
    await shop.twin.deliver(shop.hear)
    assert ["taken_back"] == [case.kind.value for case in await cases_of(shop.purchase, order)]
    assert [("amount_differs", "returned")] == await states_of(shop.purchase, differs)


@pytest.mark.parametrize(("currency", "cents"), [("USD", "00"), ("IDR", "50")])
async def test_money_that_the_ledger_cannot_hold_and_that_went_back_is_over(
    shop: Till[Any], currency: str, cents: str
) -> None:
    """Another currency or broken rupiah, taken back by its provider: nobody looks after it for ever."""
    order = await shop.order()
    shop.twin.day = BadDay(currency=currency)
    shop.twin.charges[str(order.id)].cents = cents
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    await let_clock_decide(shop.purchase, shop.db)
    assert ["needs_care"] == [state for _, state in await states_of(shop.purchase, order)]
    shop.twin.move(str(order.id), "refund")
    await shop.twin.deliver(shop.hear)
    assert ["returned"] == [state for _, state in await states_of(shop.purchase, order)]
    assert "returned" == (await shop.outcomes(order.id))[-1]
    assert {} == await books(shop.db)


async def paid_by_hand_and_charged_back(shop: Till[Any]) -> tuple[Order, UUID]:
    """Money that differed, was paid back by hand, and was taken back by the provider all the same: its case."""
    order = await shop.order()
    shop.twin.day = BadDay(pays=24_999)
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    shop.twin.day = BadDay(declines_refunds=True)
    await let_clock_decide(shop.purchase, shop.db)
    await work_returns(shop.purchase, shop.db)
    (back,) = await returns_of(shop.purchase, order)
    await approve(shop, await proposed(shop, back.id, Action.PAID_OUT))
    shop.twin.move(str(order.id), "chargeback")
    await shop.twin.deliver(shop.hear)
    (case,) = await cases_of(shop.purchase, order)
    return order, case.id


async def test_no_stamps_are_taken_back_for_money_that_never_became_any(shop: Till[Any]) -> None:
    """The account's other stamps are not this order's."""
    order, case = await paid_by_hand_and_charged_back(shop)
    other, subject = await paid_order(shop), new_id()
    await shop.ledger.post(
        [
            Transfer(new_id(), Kind.GIVE, Reason.SOLD, 2, account=other.account_id, subject=subject),
            Transfer(new_id(), Kind.RECEIVE, Reason.SOLD, 2, account=order.account_id, subject=subject),
        ]
    )
    assert 2 == (await shop.ledger.balance(order.account_id)).available
    with pytest.raises(Refused, match="case_without_stamps"):
        await proposed(shop, case, Action.TAKE_BACK, quantity=1)
    await approve(shop, await proposed(shop, case, Action.CLOSE))


async def test_stamps_that_other_money_became_can_be_taken_back(shop: Till[Any]) -> None:
    """Three stamps were credited for an order of two: all three may come back when the money is taken."""
    order = await shop.order()
    shop.twin.day = BadDay(pays=37_500)
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    (back,) = await returns_of(shop.purchase, order)
    await approve(shop, await proposed(shop, back.id, Action.CREDIT))
    shop.twin.move(str(order.id), "chargeback")
    await shop.twin.deliver(shop.hear)
    (case,) = await cases_of(shop.purchase, order)
    with pytest.raises(Refused, match="take_back_too_much"):
        await proposed(shop, case.id, Action.TAKE_BACK, quantity=4)
    await approve(shop, await proposed(shop, case.id, Action.TAKE_BACK, quantity=3))
    assert 0 == (await shop.ledger.balance(order.account_id)).available
    assert {} == await books(shop.db)


@pytest.mark.parametrize("code", ["500", "503", "429", "401", "403"])
async def test_a_failure_that_looks_like_an_answer_is_no_refusal_of_a_refund(code: str) -> None:
    """HTTP 200 with a failure in its body: asked again later, not given to people."""
    twin = MidtransTwin()
    provider, request = midtrans(twin), asked(twin)
    charge = await provider.create_charge(request)
    twin.pay(str(request.order_id))
    twin.day.says = {"status_code": code, "status_message": "Sorry. Our system is recovering from unexpected issues."}
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.refund(request.order_id, charge.reference, amount_idr=25_000, refund_key="k")
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.refund_status(request.order_id, charge.reference, refund_key="k")
