"""The money's way back: seen money that is no quota, and quota that is handed back. The audit ends every test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from counters import Till, midtrans, till, xendit
from returning import audit, books, cases_of, let_clock_decide, paid_order, returns_of, states_of, work_returns, write

from emeterai.core.ledger import Balance, Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase import returns_store, steps
from emeterai.purchase.jobs import sweep_returns
from emeterai.purchase.model import Channel
from twins.midtrans_twin import MidtransTwin
from twins.payment_twin import BadDay
from twins.xendit_twin import XenditTwin


class Died(BaseException):
    """A process that ends here."""


@pytest.fixture(params=["midtrans", "xendit"])
async def shop(db: Database, request: pytest.FixtureRequest) -> AsyncIterator[Till[Any]]:
    """A shop that sells through one real kind of provider."""
    twin = MidtransTwin() if request.param == "midtrans" else XenditTwin()
    provider = midtrans(twin) if isinstance(twin, MidtransTwin) else xendit(twin)
    yield till(db, twin, [provider])
    await provider.close()
    await audit(db)


def given_back(shop: Till[Any]) -> int:
    """How many rupiah the twin has given back, over all charges."""
    if isinstance(shop.twin, MidtransTwin):
        return sum(sum(charge.refunds.values()) for charge in shop.twin.charges.values())
    refunds = [refund for one in shop.twin.requests.values() for refund in one.refunds.values()]
    return sum(refund["amount"] for refund in refunds if refund["status"] == "SUCCEEDED")


async def test_unused_quota_goes_back_in_full(shop: Till[Any]) -> None:
    """Tax and fee are taken back, the stamps leave at once, and the money leaves when the provider has returned it."""
    order = await paid_order(shop)
    back = await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    assert back is not None
    assert Balance(bought=2, refunded=2) == await shop.ledger.balance(order.account_id)
    assert {"seen": 25_000, "owed": 25_000} == await books(shop.db)
    await work_returns(shop.purchase, shop.db)
    assert {"seen": 25_000, "returned": 25_000} == await books(shop.db)
    assert 25_000 == given_back(shop)
    (ended,) = await returns_of(shop.purchase, order)
    assert ended.created_at <= ended.asked_at <= ended.ended_at  # type: ignore[operator]
    assert "returned" == ended.state.value


async def test_a_part_of_an_order_goes_back_and_then_the_rest(shop: Till[Any]) -> None:
    """One stamp of three, then the other two; then there is nothing left to hand back."""
    order = await paid_order(shop, 3)
    for quantity in (1, 2):
        await shop.purchase.returns.hand_back(order.account_id, order.id, quantity)
        await work_returns(shop.purchase, shop.db)
        await shop.twin.deliver(shop.hear)
    assert 37_500 == given_back(shop)
    assert {"seen": 37_500, "returned": 37_500} == await books(shop.db)
    with pytest.raises(Refused, match="return_already_made"):
        await shop.purchase.returns.hand_back(order.account_id, order.id, 1)
    assert [] == await cases_of(shop.purchase, order)


async def test_what_may_not_be_handed_back_is_refused_and_nothing_changes(shop: Till[Any]) -> None:
    """Not paid, none, too many, used meanwhile, somebody else's."""
    waiting = await shop.order()
    order = await paid_order(shop)
    hand_back = shop.purchase.returns.hand_back
    with pytest.raises(Refused, match="return_not_paid"):
        await hand_back(waiting.account_id, waiting.id, 1)
    for quantity in (0, -1, 3):
        with pytest.raises(Refused, match="return_quantity_invalid"):
            await hand_back(order.account_id, order.id, quantity)
    assert None is await hand_back(new_id(), order.id, 1)
    subject = new_id()
    passed_on = [
        Transfer(new_id(), Kind.GIVE, Reason.SOLD, 1, account=order.account_id, subject=subject),
        Transfer(new_id(), Kind.RECEIVE, Reason.SOLD, 1, account=new_id(), subject=subject),
    ]
    await shop.ledger.post(passed_on)
    with pytest.raises(Refused, match="return_not_available"):
        await hand_back(order.account_id, order.id, 2)
    assert [] == await states_of(shop.purchase, order)


async def test_the_same_key_is_one_return_even_at_once(shop: Till[Any]) -> None:
    """Twenty requests with one key are one return; the same key for another wish is refused."""
    order = await paid_order(shop, 4)
    returns = shop.purchase.returns
    made = await asyncio.gather(
        *(returns.hand_back(order.account_id, order.id, 1, idempotency_key="k") for _ in range(20))
    )
    assert 1 == len({back.id for back in made if back})
    with pytest.raises(Refused, match="idempotency_key_reused"):
        await returns.hand_back(order.account_id, order.id, 2, idempotency_key="k")
    assert 3 == (await shop.ledger.balance(order.account_id)).available


async def test_no_more_than_there_is_goes_back_however_many_ask_at_once(shop: Till[Any]) -> None:
    """Ten requests for one stamp each of an order of four."""
    order = await paid_order(shop, 4)
    returns = shop.purchase.returns
    made = await asyncio.gather(
        *(returns.hand_back(order.account_id, order.id, 1) for _ in range(10)), return_exceptions=True
    )
    assert 4 == sum(not isinstance(one, Refused) for one in made)
    await work_returns(shop.purchase, shop.db)
    assert 50_000 == given_back(shop)


@pytest.mark.parametrize("lie", [{"pays": 24_999}, {"pays": 37_500}])
async def test_money_that_differs_is_owed_and_goes_back_when_nobody_decides(shop: Till[Any], lie: Any) -> None:
    """The refund clock: posted when it is seen, returned by itself when its time is over."""
    order = await shop.order()
    shop.twin.day = BadDay(**lie)
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    amount = lie["pays"]
    assert [("amount_differs", "undecided")] == await states_of(shop.purchase, order)
    assert {"seen": amount, "owed": amount} == await books(shop.db)
    await sweep_returns(shop.purchase)
    assert [("amount_differs", "undecided")] == await states_of(shop.purchase, order)
    await let_clock_decide(shop.purchase, shop.db)
    assert [("no_quota_in_time", "returned")] == await states_of(shop.purchase, order)
    assert {"seen": amount, "returned": amount} == await books(shop.db)
    assert (amount, ("quarantined", 0)) == (given_back(shop), await shop.state_of(order))


async def test_money_that_is_not_whole_rupiah_is_left_to_people_and_never_posted(shop: Till[Any]) -> None:
    """Another currency: nothing is guessed."""
    order = await shop.order()
    shop.twin.day.currency = "USD"
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    await let_clock_decide(shop.purchase, shop.db)
    (back,) = await returns_of(shop.purchase, order)
    assert ("needs_care", "not_whole_rupiah", None) == (back.state.value, back.trouble, back.amount_idr)
    assert {} == await books(shop.db)


async def test_an_answer_that_is_lost_after_the_refund_was_made_is_not_a_second_refund(shop: Till[Any]) -> None:
    """Done and then 500, again and again: asked with the same key until the answer comes."""
    order = await paid_order(shop)
    await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    shop.twin.day.fails_after_doing = 9
    for _ in range(3):
        await work_returns(shop.purchase, shop.db)
    shop.twin.day.fails_after_doing = 0
    await work_returns(shop.purchase, shop.db)
    assert 25_000 == given_back(shop)
    assert [("quota_returned", "returned")] == await states_of(shop.purchase, order)


@pytest.mark.parametrize("day", [{"down": True}, {"slow_s": 0.5}, {"garbage": True}, {"refuses": 99}])
async def test_a_provider_that_is_away_is_asked_later(shop: Till[Any], day: dict[str, Any]) -> None:
    """It stays asked, with a time for the next try; then the money goes back."""
    order = await paid_order(shop)
    await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    shop.twin.day = BadDay(**day)
    await work_returns(shop.purchase, shop.db)
    assert [("quota_returned", "asked")] == await states_of(shop.purchase, order)
    shop.twin.day = BadDay()
    await sweep_returns(shop.purchase)
    assert 0 == given_back(shop)
    await work_returns(shop.purchase, shop.db)
    assert [("quota_returned", "returned")] == await states_of(shop.purchase, order)


async def test_a_provider_that_never_answers_leaves_it_to_people_at_last(shop: Till[Any]) -> None:
    """After the configured silence it is not asked for ever."""
    order = await paid_order(shop)
    await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    shop.twin.day.down = True
    await work_returns(shop.purchase, shop.db)
    await write(shop.db, "UPDATE purchase.returns SET asked_at = now() - interval '8 days'")
    await work_returns(shop.purchase, shop.db)
    (back,) = await returns_of(shop.purchase, order)
    assert ("needs_care", "no_answer") == (back.state.value, back.trouble)
    assert 0 == await sweep_returns(shop.purchase)


async def test_a_refund_that_takes_its_time_is_not_done_before_the_provider_says_so(shop: Till[Any]) -> None:
    """Pending at the provider: owed here; told or asked, it is returned once."""
    order = await paid_order(shop)
    await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    shop.twin.day.refunds_slowly = True
    for _ in range(2):
        await work_returns(shop.purchase, shop.db)
    assert [("quota_returned", "asked")] == await states_of(shop.purchase, order)
    assert {"seen": 25_000, "owed": 25_000} == await books(shop.db)
    shop.twin.finish_refunds()
    shop.twin.day.doubles = True
    await shop.twin.deliver(shop.hear)
    await sweep_returns(shop.purchase)
    assert [("quota_returned", "returned")] == await states_of(shop.purchase, order)
    assert ({"seen": 25_000, "returned": 25_000}, []) == (await books(shop.db), await cases_of(shop.purchase, order))


async def test_a_refund_that_is_refused_is_left_to_people(shop: Till[Any]) -> None:
    """With the provider's own word for why; the money stays owed."""
    order = await paid_order(shop)
    await shop.purchase.returns.hand_back(order.account_id, order.id, 1)
    shop.twin.day.declines_refunds = True
    await work_returns(shop.purchase, shop.db)
    (back,) = await returns_of(shop.purchase, order)
    assert "needs_care" == back.state.value
    assert back.trouble in {"midtrans_412", "insufficient_balance"}
    assert 12_500 == (await books(shop.db))["owed"]


async def test_what_was_paid_to_a_virtual_account_needs_the_payer_s_account(shop: Till[Any]) -> None:
    """There is no way back online: nobody is asked in vain, and the trouble says what is needed."""
    order = await paid_order(shop, channel=Channel.VIRTUAL_ACCOUNT)
    assert Channel.VIRTUAL_ACCOUNT is (order.code.channel if order.code else None)
    await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    await work_returns(shop.purchase, shop.db)
    (back,) = await returns_of(shop.purchase, order)
    assert ("needs_care", "virtual_account") == (back.state.value, back.trouble)


async def test_money_taken_back_by_the_payer_s_bank_closes_the_return_that_was_owed(shop: Till[Any]) -> None:
    """A chargeback of money that we owed anyway: the payer has it, and it is not returned once more."""
    order = await shop.order()
    shop.twin.day.pays = 24_999
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    if isinstance(shop.twin, MidtransTwin):
        shop.twin.move(str(order.id), "chargeback")
    else:
        shop.twin.move(str(order.id), "REVERSED", "payment.failure")
    await shop.twin.deliver(shop.hear)
    assert [("amount_differs", "returned")] == await states_of(shop.purchase, order)
    assert ({"seen": 24_999, "returned": 24_999}, []) == (await books(shop.db), await cases_of(shop.purchase, order))


@pytest.mark.parametrize("place", ["refund", "confirm"])
async def test_a_steward_that_dies_between_two_steps_leaves_the_rest_to_the_next(
    shop: Till[Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the provider returned the money and before that was on record: returned once, posted once."""
    order = await paid_order(shop)
    await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    provider = shop.purchase._providers.named(shop.name)

    async def dies(*_: Any, **__: Any) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(provider if place == "refund" else steps, place, dies)
        with pytest.raises(Died):
            await sweep_returns(shop.purchase)
    assert [("quota_returned", "asked")] == await states_of(shop.purchase, order)
    assert (0 if place == "refund" else 25_000) == given_back(shop)
    await work_returns(shop.purchase, shop.db)
    assert [("quota_returned", "returned")] == await states_of(shop.purchase, order)
    assert (25_000, {"seen": 25_000, "returned": 25_000}) == (given_back(shop), await books(shop.db))


async def test_two_stewards_at_once_try_once(shop: Till[Any]) -> None:
    """The try is claimed before the provider is asked."""
    order = await paid_order(shop)
    await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    (back,) = await returns_store.returns_to_try(shop.db, 10)
    await asyncio.gather(*(shop.purchase.returns._work(back, shop.purchase.looking.look_at) for _ in range(5)))
    assert 1 == (await returns_of(shop.purchase, order))[0].tries
    assert 25_000 == given_back(shop)


async def test_the_charge_of_an_order_that_ended_is_cancelled_at_the_provider_once(shop: Till[Any]) -> None:
    """Best effort: nobody can pay it by mistake any more. A provider that is away is not asked for ever."""
    order, other = await shop.order(), await shop.order()
    await shop.purchase.cancel(order.account_id, order.id)
    assert 1 == await shop.purchase.close_charges()
    shop.twin.pay(str(order.id))
    await shop.sweep(order)
    assert ("cancelled", 0) == await shop.state_of(order)
    await shop.purchase.cancel(other.account_id, other.id)
    shop.twin.day.down = True
    assert [1, 0] == [await shop.purchase.close_charges(), await shop.purchase.close_charges()]


async def test_an_order_that_the_provider_never_answers_about_becomes_a_case_and_is_asked_no_more(
    shop: Till[Any],
) -> None:
    """It has a hard end, and somebody is told."""
    order = await shop.order()
    shop.twin.day.garbage = True
    await write(shop.db, "UPDATE purchase.orders SET expires_at = now() - interval '6 days'")
    await shop.sweep(order)
    assert [] == await cases_of(shop.purchase, order)
    await write(shop.db, "UPDATE purchase.orders SET expires_at = now() - interval '8 days'")
    await shop.sweep(order)
    (case,) = await cases_of(shop.purchase, order)
    assert "no_answer" == case.kind.value
    assert None is await shop.db.fetchval("SELECT next_check_at FROM purchase.orders")


async def test_the_buyer_chooses_the_channel_where_the_amount_allows_it(shop: Till[Any]) -> None:
    """A small order to a virtual account, a large one not by QRIS."""
    chosen = await shop.order(1, channel=Channel.VIRTUAL_ACCOUNT)
    usual = await shop.order(1)
    assert ["virtual_account", "qris"] == [one.code.channel.value for one in (chosen, usual) if one.code]
    with pytest.raises(Refused, match="order_channel_invalid"):
        await shop.order(1000, channel=Channel.QRIS)


async def test_news_of_a_refund_is_a_reason_to_ask_and_nothing_else(db: Database) -> None:
    """Xendit's token proves nothing: a notification that says SUCCEEDED of a refund is asked about."""
    twin = XenditTwin()
    provider = xendit(twin)
    shop = till(db, twin, [provider])
    order = await paid_order(shop)
    back = await shop.purchase.returns.hand_back(order.account_id, order.id, 2)
    assert back is not None
    twin.day.refunds_slowly = True
    await work_returns(shop.purchase, db)
    lie = {**next(iter(twin.requests[str(order.id)].refunds.values())), "status": "SUCCEEDED"}
    twin._tell_refund(lie)
    await twin.deliver(shop.hear)
    assert ["return_heard"] == await shop.outcomes(back.id)
    await sweep_returns(shop.purchase)
    assert [("quota_returned", "asked")] == await states_of(shop.purchase, order)
    await provider.close()
    assert utc_now() > back.created_at
