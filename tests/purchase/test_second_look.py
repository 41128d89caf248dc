"""What a second look at the money found: nothing is no money, nothing goes back twice, nobody waits for the hopeless.

The audit ends every test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from counters import Till, midtrans, till, xendit
from returning import audit, books, cases_of, paid_order, returns_of, states_of, work_returns, write
from shops import Shop

from emeterai.core.ordering import ChargeState, OrderMove, Seen, order_move
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase.jobs import sweep_orders
from emeterai.purchase.model import Order, Source
from emeterai.purchase.providers import Providers
from emeterai.purchase.returns_model import Action
from emeterai.purchase.settlement_files import LineOutcome, SettlementFiles
from twins.midtrans_twin import MidtransTwin
from twins.payment_twin import BadDay
from twins.xendit_twin import XenditTwin

ANI, BUDI = new_id(), new_id()
HEADER = "order_id,charge_id,state,amount,currency,settled_at\n"


@pytest.fixture
async def counter(db: Database) -> AsyncIterator[Till[MidtransTwin]]:
    """A shop that sells through Midtrans."""
    twin = MidtransTwin()
    provider = midtrans(twin)
    yield till(db, twin, [provider])
    await provider.close()
    await audit(db)


@pytest.fixture
async def asking_counter(db: Database) -> AsyncIterator[Till[XenditTwin]]:
    """A shop that sells through Xendit, whose notifications are asked about."""
    twin = XenditTwin()
    provider = xendit(twin)
    yield till(db, twin, [provider])
    await provider.close()
    await audit(db)


def settled(amount: object, currency: str = "IDR") -> Seen:
    """Settled money."""
    return Seen(ChargeState.SETTLED, Decimal(str(amount)), currency)


async def test_a_settlement_of_nothing_is_no_money(shop: Shop) -> None:
    """The order waits on, and the real money that comes after it is quota, not a second payment."""
    order = await shop.purchase.create_order(new_id(), 2)
    assert "unchanged" == await shop.notify(order, amount="0.00")
    assert "awaiting_payment" == await shop.state_of(order)
    assert "paid" == await shop.notify(order)
    assert OrderMove.EXPIRE is order_move(settled(0), 25_000, overdue=True)


async def test_broken_rupiah_that_are_told_in_two_ways_are_put_aside_once(counter: Till[Any]) -> None:
    """People are shown one payment and that its provider contradicts itself, not two payments."""
    order = await counter.order()
    for amount in ("25000.50", "25000.75"):
        await counter.purchase.apply_seen(order.id, settled(amount), order.charge)
    assert [("amount_differs", "needs_care")] == await states_of(counter.purchase, order)
    assert ["contradicted"] == [case.kind.value for case in await cases_of(counter.purchase, order)]


async def test_money_that_was_proven_without_its_name_is_not_a_second_payment_when_it_is_named(shop: Shop) -> None:
    """A settlement file of another provider than the order's knows no transaction; its notification, later, does."""
    order = await shop.purchase.create_order(new_id(), 2)
    paid, outcome = await shop.purchase.apply_seen(order.id, settled(order.total_idr), Source("xendit"))
    assert ("paid", None) == (outcome, paid.paid_reference)
    _, outcome = await shop.purchase.apply_seen(order.id, settled(order.total_idr), Source("xendit", "pr-1"))
    assert "unchanged" == outcome
    assert [] == await returns_of(shop.purchase, order)


async def test_one_notification_that_cannot_be_worked_stops_no_sweep(shop: Shop) -> None:
    """A bug about one order is raised, and seen; the other orders of the same sweep are quota all the same."""
    broken, other = [await shop.purchase.create_order(new_id(), 2) for _ in range(2)]
    headers, body = shop.notification(broken)
    await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now())
    await write(shop.db, "UPDATE purchase.orders SET duty_transfer = fee_transfer WHERE id = $1", broken.id)
    await write(shop.db, "UPDATE purchase.notifications SET received_at = now() - interval '1 minute'")
    await shop.provider.pay(other.provider_reference or "")
    await shop.check_is_due(other)
    with pytest.raises(RuntimeError, match="transfer_id_reused"):
        await sweep_orders(shop.purchase)
    assert ["awaiting_payment", "paid"] == [await shop.state_of(order) for order in (broken, other)]


async def test_a_charge_that_is_recorded_after_its_order_was_cancelled_is_cancelled_too(
    counter: Till[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The buyer gives up while the provider is opening the charge."""
    account = new_id()
    order = await counter.purchase.place_order(account, 2)
    charge = Providers.charge

    async def slowly(providers: Providers, charged: Order, **how: Any) -> Any:
        opened = await charge(providers, charged, **how)
        await counter.purchase.cancel(account, charged.id)
        return opened

    monkeypatch.setattr(Providers, "charge", slowly)
    await counter.purchase.open_charge(account, order.id)
    assert 1 == await counter.purchase.close_charges()
    assert "cancel" == counter.twin.charges[str(order.id)].status


async def test_those_about_which_a_provider_is_silent_keep_no_notification_waiting(asking_counter: Till[Any]) -> None:
    """The sweep goes on after the last one, however few it takes at a time, and begins anew at the end."""
    order = await asking_counter.order()
    asking_counter.twin.day = BadDay(down=True)
    asking_counter.twin.pay(str(order.id))
    await asking_counter.twin.deliver(asking_counter.hear)
    asking_counter.twin.requests[str(order.id)].reference_id = str(stranger := new_id())
    asking_counter.twin.tell(str(order.id), "payment.capture")
    await asking_counter.twin.deliver(asking_counter.hear)
    await write(asking_counter.db, "UPDATE purchase.notifications SET outcome = NULL, worked_at = NULL")
    await write(asking_counter.db, "UPDATE purchase.notifications SET received_at = now() - interval '1 minute'")
    for _ in range(2):
        await asking_counter.purchase.work_unworked(limit=1)
    assert [None] == await asking_counter.outcomes(order.id)
    assert ["unknown_order"] == await asking_counter.outcomes(stranger)
    asking_counter.twin.requests[str(order.id)].reference_id = str(order.id)
    asking_counter.twin.day = BadDay()
    for _ in range(2):
        await asking_counter.purchase.work_unworked(limit=1)
    assert ["paid"] == await asking_counter.outcomes(order.id)


async def test_a_notification_about_which_the_provider_never_answers_becomes_a_case(asking_counter: Till[Any]) -> None:
    """After the time of silence people hear of it, and nobody is asked for ever."""
    order = await asking_counter.order()
    asking_counter.twin.day = BadDay(down=True)
    asking_counter.twin.pay(str(order.id))
    await asking_counter.twin.deliver(asking_counter.hear)
    assert [None] == await asking_counter.outcomes(order.id)
    await write(asking_counter.db, "UPDATE purchase.notifications SET received_at = now() - interval '8 days'")
    await asking_counter.purchase.work_unworked()
    assert ["no_answer"] == await asking_counter.outcomes(order.id)
    assert ["no_answer"] == [case.kind.value for case in await cases_of(asking_counter.purchase, order)]
    assert 0 == await asking_counter.purchase.work_unworked()


async def test_money_that_the_payer_s_bank_took_is_not_paid_out_by_hand_too(counter: Till[Any]) -> None:
    """The refund was refused, and the news of the chargeback was lost: it is found before two people pay."""
    order = await paid_order(counter)
    back = await counter.purchase.returns.hand_back(order.account_id, order.id, 2)
    assert back is not None
    counter.twin.day.declines_refunds = True
    await work_returns(counter.purchase, counter.db)
    assert [("quota_returned", "needs_care")] == await states_of(counter.purchase, order)
    counter.twin.move(str(order.id), "chargeback")
    proposal = await counter.purchase.cases.propose(back.id, Action.PAID_OUT, note="transfer", by=ANI)
    with pytest.raises(Refused, match="proposal_overtaken"):
        await counter.purchase.cases.decide(proposal.id, by=BUDI, approved=True)
    (ended,) = await returns_of(counter.purchase, order)
    assert ("returned", None) == (ended.state.value, ended.proof)
    assert {"seen": 25_000, "returned": 25_000} == await books(counter.db)


@pytest.mark.parametrize("reference", ["../../balance", "pr-1?x=", "pr\x001", "p" * 201])
async def test_a_transaction_whose_name_cannot_be_one_is_not_put_into_an_address(
    asking_counter: Till[Any], reference: str
) -> None:
    """Whoever knows the fixed token can write anything: what goes into a path of the provider is looked at first."""
    order = await asking_counter.order()
    words = {"event": "payment.capture", "data": {"payment_request_id": reference, "reference_id": str(order.id)}}
    headers = {"x-callback-token": asking_counter.twin.token}
    assert 400 == await asking_counter.hear(headers, msgspec.json.encode(words))


HOSTILE = {
    "a time at the end of time": "{order},c,settlement,25000,IDR,9999-12-31T23:59:59-05:00",
    "nothing": "{order},c,settlement,0.00,IDR,2026-01-01",
    "a name that steers the terminal": "{order},c\x1b[2Jd,settlement,25000,IDR,2026-01-01",
    "a name that the database refuses": "{order},c\x00d,settlement,25000,IDR,2026-01-01",
    "a currency that the database refuses": "{order},c,pending,25000,I\x00R,2026-01-01",
    "a long name": "{order}," + "c" * 300 + ",cancel,25000,IDR,2026-01-01",
    "a time that takes time to read": "{order},c,settlement,25000,IDR,2" + " " * 4_000 + "x",
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=list(HOSTILE))
async def test_no_line_of_a_file_stops_the_others(shop: Shop, tmp_path: Any, line: str) -> None:
    """Whatever stands on one line, it is noted, its order is left alone, and the next line is credited."""
    odd, good = [await shop.purchase.create_order(new_id(), 2) for _ in range(2)]
    file = tmp_path / "laporan.csv"
    last = f"{good.id},{good.provider_reference},settlement,25000,IDR,2026-01-01\n"
    file.write_text(HEADER + line.format(order=odd.id) + "\n" + last)
    report = await SettlementFiles(shop.db, shop.purchase).load(file, "sandbox")
    assert ["awaiting_payment", "paid"] == [await shop.state_of(order) for order in (odd, good)]
    assert 2 == report.lines
    assert all(one.reference.isprintable() and one.detail.isprintable() for one in report.noted)
    assert {LineOutcome.UNREADABLE, LineOutcome.NOT_SETTLED} & {total.outcome for total in report.totals}
