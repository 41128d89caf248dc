"""What two people decide about money. The audit ends every test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from counters import Till, midtrans, till
from returning import audit, books, cases_of, let_clock_decide, paid_order, returns_of, states_of, work_returns, write

from emeterai.core.ledger import Balance, Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase.model import Channel, Order
from emeterai.purchase.returns_model import Action, Return
from twins.midtrans_twin import MidtransTwin
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


async def differing(shop: Till[Any], pays: int, quantity: int = 2) -> tuple[Order, Return]:
    """An order for which another amount came, and what is undecided about it."""
    order = await shop.order(quantity)
    shop.twin.day.pays = pays
    shop.twin.pay(str(order.id))
    shop.twin.day.pays = None
    await shop.twin.deliver(shop.hear)
    (back,) = await returns_of(shop.purchase, order)
    return order, back


async def decided(shop: Till[Any], subject: UUID, action: Action, **more: Any) -> None:
    """Ani proposes, Budi approves."""
    proposal = await shop.purchase.cases.propose(subject, action, note="mutasi bank 22/11", by=ANI, **more)
    await shop.purchase.cases.decide(proposal.id, by=BUDI, approved=True)


async def test_money_for_whole_stamps_becomes_quota_when_two_people_say_so(shop: Till[Any]) -> None:
    """Paid for three instead of two: three stamps, their tax and their fee."""
    order, back = await differing(shop, 37_500)
    await decided(shop, back.id, Action.CREDIT)
    assert [("amount_differs", "credited")] == await states_of(shop.purchase, order)
    assert Balance(bought=3) == await shop.ledger.balance(order.account_id)
    assert {"seen": 37_500, "duty": 30_000, "fee": 7_500} == await books(shop.db)
    await let_clock_decide(shop.purchase, shop.db)
    assert [("amount_differs", "credited")] == await states_of(shop.purchase, order)


async def test_stamps_of_money_that_differed_can_be_handed_back(shop: Till[Any]) -> None:
    """Not before it is quota; then in full, all three for which it paid, and no more."""
    order, back = await differing(shop, 37_500)
    returns, quarantined = shop.purchase.returns, await shop.purchase.order(order.account_id, order.id)
    with pytest.raises(Refused, match="return_not_paid"):
        await returns.hand_back(order.account_id, order.id, 1)
    await decided(shop, back.id, Action.CREDIT)
    assert 3 == await returns.still_returnable(quarantined)
    with pytest.raises(Refused, match="return_quantity_invalid"):
        await returns.hand_back(order.account_id, order.id, 4)
    assert await returns.hand_back(order.account_id, order.id, 3)
    assert 0 == await returns.still_returnable(quarantined)
    await work_returns(shop.purchase, shop.db)
    await shop.twin.deliver(shop.hear)
    assert {"seen": 37_500, "returned": 37_500} == await books(shop.db)
    assert [] == await cases_of(shop.purchase, order)


async def test_money_that_pays_for_no_whole_stamps_can_only_go_back(shop: Till[Any]) -> None:
    """Nothing is rounded."""
    order, back = await differing(shop, 24_999)
    with pytest.raises(Refused, match="credit_not_whole"):
        await shop.purchase.cases.propose(back.id, Action.CREDIT, note="?", by=ANI)
    await decided(shop, back.id, Action.RETURN)
    await work_returns(shop.purchase, shop.db)
    assert [("amount_differs", "returned")] == await states_of(shop.purchase, order)


async def test_nobody_decides_alone(shop: Till[Any]) -> None:
    """Neither by the verbs nor behind them: the database itself refuses."""
    order, back = await differing(shop, 37_500)
    proposal = await shop.purchase.cases.propose(back.id, Action.CREDIT, note="tiga", by=ANI)
    with pytest.raises(Refused, match="proposal_own"):
        await shop.purchase.cases.decide(proposal.id, by=ANI, approved=True)
    with pytest.raises(asyncpg.CheckViolationError):
        await write(shop.db, "UPDATE purchase.proposals SET decided_by = $1, approved = true, decided_at = now()", ANI)
    assert [("amount_differs", "undecided")] == await states_of(shop.purchase, order)


async def test_nobody_has_a_say_about_the_money_of_his_own_order(shop: Till[Any]) -> None:
    """A member of staff buys too: others propose, and others decide, either way."""
    order, back = await differing(shop, 37_500)
    cases, buyer = shop.purchase.cases, order.account_id
    with pytest.raises(Refused, match="case_own"):
        await cases.propose(back.id, Action.CREDIT, note="uang saya", by=buyer)
    proposal = await cases.propose(back.id, Action.CREDIT, note="tiga", by=ANI)
    for approved in (True, False):
        with pytest.raises(Refused, match="case_own"):
            await cases.decide(proposal.id, by=buyer, approved=approved)
    assert [("amount_differs", "undecided")] == await states_of(shop.purchase, order)
    assert (await cases.decide(proposal.id, by=BUDI, approved=True)).approved


async def test_a_proposal_is_decided_once_and_one_waits_at_a_time(shop: Till[Any]) -> None:
    """Ten approvals at once are one credit."""
    order, back = await differing(shop, 37_500)
    proposal = await shop.purchase.cases.propose(back.id, Action.CREDIT, note="tiga", by=ANI)
    with pytest.raises(Refused, match="proposal_waits"):
        await shop.purchase.cases.propose(back.id, Action.RETURN, note="kembali", by=BUDI)
    decisions = [shop.purchase.cases.decide(proposal.id, by=BUDI, approved=True) for _ in range(10)]
    outcomes = await asyncio.gather(*decisions, return_exceptions=True)
    assert 9 == sum(isinstance(one, Refused) for one in outcomes)
    assert 3 == (await shop.ledger.balance(order.account_id)).bought


async def test_a_rejected_proposal_changes_nothing_and_stays_on_record(shop: Till[Any]) -> None:
    """Who, what, why; then another one may be made."""
    order, back = await differing(shop, 37_500)
    proposal = await shop.purchase.cases.propose(back.id, Action.CREDIT, note="tiga", by=ANI)
    await shop.purchase.cases.decide(proposal.id, by=BUDI, approved=False)
    assert [("amount_differs", "undecided")] == await states_of(shop.purchase, order)
    await decided(shop, back.id, Action.RETURN)
    record = await shop.purchase.cases.record([back.id])
    assert [(ANI, BUDI, False), (ANI, BUDI, True)] == [(it.proposed_by, it.decided_by, it.approved) for it in record]


async def test_the_clock_does_not_wait_for_a_proposal(shop: Till[Any]) -> None:
    """Proposed, and nobody decided in time: the money goes back, and the proposal has been overtaken."""
    order, back = await differing(shop, 37_500)
    proposal = await shop.purchase.cases.propose(back.id, Action.CREDIT, note="tiga", by=ANI)
    await let_clock_decide(shop.purchase, shop.db)
    with pytest.raises(Refused, match="proposal_overtaken"):
        await shop.purchase.cases.decide(proposal.id, by=BUDI, approved=True)
    assert [("no_quota_in_time", "returned")] == await states_of(shop.purchase, order)
    assert 0 == (await shop.ledger.balance(order.account_id)).bought


async def test_what_the_provider_cannot_return_is_paid_by_hand_with_proof(shop: Till[Any]) -> None:
    """A virtual account: two people vouch for a bank transfer, and the books say that the money has left."""
    order = await paid_order(shop, channel=Channel.VIRTUAL_ACCOUNT)
    back = await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    assert back is not None
    await work_returns(shop.purchase, shop.db)
    await decided(shop, back.id, Action.PAID_OUT)
    (ended,) = await returns_of(shop.purchase, order)
    assert ("returned", "mutasi bank 22/11") == (ended.state.value, ended.proof)
    assert {"seen": 25_000, "returned": 25_000} == await books(shop.db)


async def test_what_the_provider_has_returned_after_all_is_not_paid_by_hand_too(shop: Till[Any]) -> None:
    """It fell silent, people took over, and the refund had been made: it is looked up before money leaves again."""
    order = await paid_order(shop)
    back = await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    assert back is not None
    shop.twin.day = BadDay(fails_after_doing=99, loses=True)
    await work_returns(shop.purchase, shop.db)
    shop.twin.day = BadDay(down=True)
    await write(shop.db, "UPDATE purchase.returns SET asked_at = now() - interval '8 days'")
    await work_returns(shop.purchase, shop.db)
    assert [("quota_returned", "needs_care")] == await states_of(shop.purchase, order)
    shop.twin.day = BadDay()
    proposal = await shop.purchase.cases.propose(back.id, Action.PAID_OUT, note="transfer", by=ANI)
    with pytest.raises(Refused, match="proposal_overtaken"):
        await shop.purchase.cases.decide(proposal.id, by=BUDI, approved=True)
    (ended,) = await returns_of(shop.purchase, order)
    assert ("returned", None) == (ended.state.value, ended.proof)


async def test_staff_may_have_the_provider_asked_again(shop: Till[Any]) -> None:
    """With the same key, so that nothing is returned twice."""
    order = await paid_order(shop)
    back = await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    assert back is not None
    shop.twin.day.declines_refunds = True
    await work_returns(shop.purchase, shop.db)
    shop.twin.day.declines_refunds = False
    await decided(shop, back.id, Action.ASK_AGAIN)
    await work_returns(shop.purchase, shop.db)
    assert [("quota_returned", "returned")] == await states_of(shop.purchase, order)


async def reversed_order(shop: Till[Any], quantity: int = 2) -> tuple[Order, UUID]:
    """An order whose money was quota when the provider took it back, and its case."""
    order = await paid_order(shop, quantity)
    shop.twin.move(str(order.id), "chargeback")
    await shop.twin.deliver(shop.hear)
    (case,) = await cases_of(shop.purchase, order)
    return order, case.id


async def test_stamps_are_taken_back_only_while_they_are_available_and_by_two_people(shop: Till[Any]) -> None:
    """Two bought, one handed on: at most one comes back, its tax and fee make the loss smaller, nothing is negative."""
    order, case = await reversed_order(shop)
    for quantity in (0, 3):
        with pytest.raises(Refused, match="take_back_too_much"):
            await shop.purchase.cases.propose(case, Action.TAKE_BACK, note="chargeback", by=ANI, quantity=quantity)
    await decided(shop, case, Action.TAKE_BACK, quantity=1)
    assert Balance(bought=2, refunded=1) == await shop.ledger.balance(order.account_id)
    assert {"duty": 10_000, "fee": 2_500, "taken": 12_500} == await books(shop.db)
    with pytest.raises(Refused, match="proposal_overtaken"):
        await shop.purchase.cases.propose(case, Action.TAKE_BACK, note="lagi", by=ANI, quantity=1)
    with pytest.raises(Refused, match="return_in_care"):
        await shop.purchase.returns.hand_back(order.account_id, order.id, 1)


async def test_stamps_that_were_spent_between_proposal_and_decision_are_not_taken(shop: Till[Any]) -> None:
    """Decided again under the lock."""
    order, case = await reversed_order(shop)
    proposal = await shop.purchase.cases.propose(case, Action.TAKE_BACK, note="chargeback", by=ANI, quantity=2)
    subject, someone = new_id(), new_id()
    await shop.ledger.post(
        [
            Transfer(new_id(), Kind.GIVE, Reason.SOLD, 1, account=order.account_id, subject=subject),
            Transfer(new_id(), Kind.RECEIVE, Reason.SOLD, 1, account=someone, subject=subject),
        ]
    )
    with pytest.raises(Refused, match="take_back_too_much"):
        await shop.purchase.cases.decide(proposal.id, by=BUDI, approved=True)
    assert 1 == (await shop.ledger.balance(order.account_id)).available


async def test_what_waits_is_listed_with_its_proposals(shop: Till[Any]) -> None:
    """Returns, cases, orders; unknown things are refused by name."""
    order, back = await differing(shop, 37_500)
    reversed_one, case = await reversed_order(shop)
    proposal = await shop.purchase.cases.propose(back.id, Action.CREDIT, note="tiga", by=ANI)
    waiting = await shop.purchase.cases.waiting()
    assert ([back.id], [case]) == ([it.id for it in waiting.returns], [it.id for it in waiting.cases])
    assert ({order.id, reversed_one.id}, [proposal.id]) == (set(waiting.orders), [it.id for it in waiting.proposals])
    with pytest.raises(Refused, match="case_unknown"):
        await shop.purchase.cases.propose(new_id(), Action.CLOSE, note="?", by=ANI)
    with pytest.raises(Refused, match="proposal_unknown"):
        await shop.purchase.cases.decide(new_id(), by=ANI, approved=True)
    await decided(shop, case, Action.CLOSE)
    assert [] == (await shop.purchase.cases.waiting()).cases
