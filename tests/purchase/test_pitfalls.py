"""The fifteen pitfalls of taking money through payment providers, each by its number. The audit ends every test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from counters import Till, asked, midtrans, till, xendit
from litestar import Litestar
from returning import audit, books, cases_of, paid_order, returns_of, states_of, work_returns, write
from shops import WAIT_S, Shop, listening, token_of, until

from emeterai.core.refusal import Refused
from emeterai.core.returning import SecondPayment
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.logs import configure_logging
from emeterai.purchase.jobs import sweep_orders
from emeterai.purchase.model import Order
from emeterai.purchase.routes import NotificationsController
from emeterai.purchase.xendit import XenditProvider
from emeterai.web.credentials import SESSION_COOKIE
from running import free_port
from twins.midtrans_twin import MidtransTwin, moment, signature
from twins.payment_twin import BadDay
from twins.xendit_twin import XenditTwin


@dataclass
class Two:
    """A shop with Midtrans before Xendit."""

    shop: Till[MidtransTwin]
    first: MidtransTwin
    second: XenditTwin

    async def hear_second(self, headers: dict[str, str], body: bytes) -> int:
        """Take what Xendit tells."""
        self.shop.name = "xendit"
        try:
            return await self.shop.hear(headers, body)
        finally:
            self.shop.name = "midtrans"

    async def paid_at_both(self, quantity: int = 2, **wishes: Any) -> Order:
        """An order whose first charge nobody saw, since its answer was lost: paid at the second, then at the first."""
        self.first.day.fails_after_doing = 3
        order = await self.shop.order(quantity, **wishes)
        assert "xendit" == order.provider
        self.second.pay(str(order.id))
        await self.second.deliver(self.hear_second)
        assert ("paid", quantity) == await self.shop.state_of(order)
        self.first.pay(str(order.id))
        await self.first.deliver(self.shop.hear)
        return order


class SilentLine(httpx.AsyncBaseTransport):
    """A line to a twin on which it says nothing while `speaks` is not set; `asked` once somebody waits for that."""

    def __init__(self, twin: XenditTwin) -> None:
        self._line = twin.transport()
        self.asked, self.speaks = asyncio.Event(), asyncio.Event()
        self.speaks.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on when the twin may speak."""
        if not self.speaks.is_set():
            self.asked.set()
            await self.speaks.wait()
        return await self._line.handle_async_request(request)


@pytest.fixture
async def two(db: Database) -> AsyncIterator[Two]:
    """Two providers at once."""
    first, second = MidtransTwin(), XenditTwin(now=utc_now())
    providers = [midtrans(first), xendit(second)]
    yield Two(till(db, first, [*providers]), first, second)
    for provider in providers:
        await provider.close()
    await audit(db)


@pytest.fixture
def one(two: Two) -> Till[MidtransTwin]:
    """The shop, where Midtrans alone matters."""
    return two.shop


async def test_pitfall_01_the_browser_s_return_proves_nothing(open_shop: Shop) -> None:
    """Somebody comes back from the pay page with the words that a payer comes back with: the order still waits."""
    token = await token_of(open_shop, "siti@contoh.id")
    base_url, cookies = open_shop.settings.base_url, {SESSION_COOKIE: token}
    async with httpx.AsyncClient(base_url=base_url, cookies=cookies, trust_env=False) as browser:
        made = await browser.post("/v1/orders", json={"quantity": 2}, headers={"authorization": f"Bearer {token}"})
        order = made.json()
        lies = {"kembali": "1", "status_code": "200", "transaction_status": "settlement", "order_id": order["id"]}
        page = await browser.get(f"/pesanan/{order['id']}", params=lies)
    assert "Sudah membayar?" in page.text
    assert "awaiting_payment" == await open_shop.db.fetchval("SELECT state FROM purchase.orders")
    assert 0 == await open_shop.db.fetchval("SELECT count(*) FROM ledger.transfers")


async def test_pitfall_02_the_amount_is_hashed_as_it_came(one: Till[MidtransTwin]) -> None:
    """25000.00 is signed; the same number in another spelling has another signature and is forged."""
    order = await one.order()
    one.twin.pay(str(order.id))
    told = json.loads(one.twin.post[-1].body)
    assert 401 == await one.hear({}, json.dumps(told | {"gross_amount": "25000"}).encode())
    unquoted = json.dumps(told).replace('"25000.00"', "25000.00").encode()
    assert await one.hear({}, unquoted) in {400, 401}
    assert ("awaiting_payment", 0) == await one.state_of(order)
    assert 200 == await one.hear({}, json.dumps(told).encode())
    assert ("paid", 2) == await one.state_of(order)


async def test_pitfall_03_a_payment_is_credited_once(one: Till[MidtransTwin]) -> None:
    """Capture, then settlement, each doubled, all at once, while the sweep asks too."""
    order = await one.order()
    one.twin.day.doubles = True
    one.twin.pay(str(order.id), "capture")
    one.twin.move(str(order.id), "settlement")
    letters, one.twin.post = one.twin.post, []
    heard = (one.hear(letter.headers, letter.body) for letter in letters)
    await asyncio.gather(*heard, one.sweep(order), one.purchase.settle_from_status(order))
    assert ("paid", 2) == await one.state_of(order)
    assert ({"seen": 25_000, "duty": 20_000, "fee": 5_000}, []) == (
        await books(one.db),
        await states_of(one.purchase, order),
    )


async def test_pitfall_04_a_deny_after_settlement_is_a_case_and_no_negative_balance(one: Till[MidtransTwin]) -> None:
    """The loss is posted, the quota stays, and told twice it is one case."""
    order = await paid_order(one)
    one.twin.day.doubles = True
    one.twin.move(str(order.id), "deny")
    await one.twin.deliver(one.hear)
    await one.purchase.settle_from_status(order)
    (case,) = await cases_of(one.purchase, order)
    assert ("taken_back", 25_000) == (case.kind.value, case.amount_idr)
    assert {"duty": 20_000, "fee": 5_000, "taken": 25_000} == await books(one.db)
    assert ("paid", 2) == await one.state_of(order)


async def test_pitfall_05_pending_never_overwrites_settled(one: Till[MidtransTwin]) -> None:
    """The last one first."""
    order = await one.order()
    one.twin.pay(str(order.id))
    one.twin.day.reorders = True
    await one.twin.deliver(one.hear)
    assert ("paid", 2) == await one.state_of(order)


@pytest.mark.parametrize("pays", [None, 24_999])
async def test_pitfall_06_money_in_the_last_second_is_quota_or_goes_back(
    one: Till[MidtransTwin], pays: int | None
) -> None:
    """Expired here while the money arrived there: exact it is quota, otherwise it is owed; never nothing."""
    order = await one.order()
    one.twin.day = BadDay(loses=True, pays=pays)
    one.twin.pay(str(order.id))
    one.twin.day.down = True
    await one.end_time(order)
    await write(one.db, "UPDATE purchase.orders SET checks = 100")
    await one.sweep(order)
    assert ("expired", 0) == await one.state_of(order)
    assert await one.db.fetchval("SELECT next_check_at <= changed_at + interval '1 minute' FROM purchase.orders")
    one.twin.day = BadDay()
    await one.sweep(order)
    if pays is None:
        assert ("paid", 2) == await one.state_of(order)
    else:
        assert {"seen": 24_999, "owed": 24_999} == await books(one.db)


@pytest.mark.parametrize("lie", [{"pays": 24_999}, {"pays": 25_001}, {"currency": "USD"}])
async def test_pitfall_07_amount_and_currency_are_compared(one: Till[MidtransTwin], lie: dict[str, Any]) -> None:
    """Other money is shown, never guessed, never quota by itself."""
    order = await one.order()
    one.twin.day = BadDay(**lie)
    one.twin.pay(str(order.id))
    await one.twin.deliver(one.hear)
    assert ("quarantined", 0) == await one.state_of(order)
    assert 1 == len(await returns_of(one.purchase, order))


async def test_pitfall_08_a_notification_is_answered_before_it_is_worked(two: Two) -> None:
    """Over HTTP: the answer is there and the notification on record while the provider, which is asked about it, still
    says nothing. When it speaks the work is done.
    """
    line = SilentLine(two.second)
    provider = XenditProvider(
        "https://api.xendit.example", two.second.key, callback_token=two.second.token, transport=line
    )
    shop = till(two.shop.db, two.second, [provider])
    order = await shop.order()
    two.second.pay(str(order.id))
    (letter,) = (one for one in two.second.post if b"payment.capture" in one.body)
    line.speaks.clear()
    app, port = Litestar([NotificationsController]), free_port()
    app.state["services"] = shop
    async with listening(app, port), httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as http:
        address = f"http://127.0.0.1:{port}/v1/payments/xendit/notifications"
        answer = await http.post(address, content=letter.body, headers=letter.headers)
        await line.asked.wait()
        assert (200, [None]) == (answer.status_code, await shop.outcomes(order.id))
        line.speaks.set()
        await until(lambda: shop.state_of(order), lambda state: state == ("paid", 2))
    await provider.close()


async def test_pitfall_09_what_is_never_told_is_asked_in_bounded_steps_that_grow(one: Till[MidtransTwin]) -> None:
    """Nobody told us: the sweep asks. The pauses are jittered, they grow, and they have an upper bound."""
    order = await one.order()
    one.twin.day.loses = True
    pauses = []
    for checks in (0, 3, 30):
        async with one.db.transaction() as tx:
            await tx.execute("UPDATE purchase.orders SET checks = $1, next_check_at = now()", checks)
        await sweep_orders(one.purchase)
        pauses.append(await one.db.fetchval("SELECT extract(epoch FROM next_check_at - now()) FROM purchase.orders"))
    assert pauses[0] < pauses[1] < pauses[2] <= 900 * 1.25
    one.twin.pay(str(order.id))
    await one.sweep(order)
    assert ("paid", 2) == await one.state_of(order)


async def test_pitfall_10_an_order_is_never_used_again_after_it_expired(one: Till[MidtransTwin]) -> None:
    """A new wish is a new order with a new id; the money of the old one is the old one's."""
    account = new_id()
    old = await one.purchase.create_order(account, 2)
    await one.end_time(old)
    await one.sweep(old)
    with pytest.raises(Refused, match="order_not_open"):
        await one.purchase.open_charge(account, old.id)
    new = await one.purchase.create_order(account, 3)
    assert {str(old.id), str(new.id)} == set(one.twin.charges)
    one.twin.charges[str(old.id)].status = "pending"
    one.twin.pay(str(old.id))
    await one.twin.deliver(one.hear)
    assert [("paid", 2), ("awaiting_payment", 2)] == [await one.state_of(each) for each in (old, new)]


async def test_pitfall_11_a_time_without_a_zone_decides_nothing(one: Till[MidtransTwin]) -> None:
    """Their 23:59:59 is Jakarta's and says so nowhere: a charge's end goes as a duration, their times are not read."""
    request = asked(one.twin, life=timedelta(minutes=30))
    provider = one.purchase._providers.named("midtrans")
    await provider.create_charge(request)
    known = one.twin.charges[str(request.order_id)]
    assert abs(known.expires - request.expires_at) <= timedelta(minutes=1)
    order = await one.order()
    one.twin.pay(str(order.id))
    words = json.loads(one.twin.post[-1].body)
    words |= {"settlement_time": "1999-12-31 23:59:59", "transaction_time": moment(utc_now() + timedelta(days=900))}
    assert 200 == await one.hear({}, json.dumps(words).encode())
    paid = await one.purchase.order(order.account_id, order.id)
    assert paid.paid_at is not None
    assert paid.created_at <= paid.paid_at <= utc_now()


async def test_pitfall_12_a_body_is_judged_byte_by_byte(shop: Shop) -> None:
    """The sandbox signs the bytes: the same words written anew, with one space more, are forged."""
    order = await shop.purchase.place_order(new_id(), 1)
    headers, body = shop.notification(order)
    again = json.dumps(json.loads(body)).encode()
    assert again != body
    with pytest.raises(Refused, match="notification_forged"):
        await shop.purchase.receive_notification("sandbox", headers, again, now=utc_now())
    assert await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now())


async def test_pitfall_13_no_secret_is_in_a_log_or_on_record(two: Two, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither keys nor tokens, in good news and in bad."""
    configure_logging("json", "info")  # to where this test listens, whatever others have set
    two.first.day.down = True
    order = await two.shop.order()
    two.second.pay(str(order.id))
    await two.second.deliver(two.hear_second)
    await two.hear_second({"x-callback-token": two.second.token + "x"}, b"{}")
    two.second.key = "another"
    await two.shop.purchase.settle_from_status(order)
    told = "".join(capsys.readouterr())
    rows = await two.shop.db.fetch("SELECT headers::text, body FROM purchase.notification_bodies")
    kept = told + "".join(row["headers"] + row["body"].decode() for row in rows)
    assert "notification_worked" in told
    for secret in (two.first.key, two.second.token):
        assert secret not in kept


async def test_pitfall_14_paid_through_two_channels_the_second_payment_goes_back(two: Two) -> None:
    """Seen, posted, and returned by the provider that it came through; told again it is the same."""
    order = await two.paid_at_both()
    assert [("paid_again", "owed")] == await states_of(two.shop.purchase, order)
    two.first.move(str(order.id), "settlement")
    await two.first.deliver(two.shop.hear)
    await work_returns(two.shop.purchase, two.shop.db)
    await two.first.deliver(two.shop.hear)
    assert [("paid_again", "returned")] == await states_of(two.shop.purchase, order)
    assert {"seen": 50_000, "duty": 20_000, "fee": 5_000, "returned": 25_000} == await books(two.shop.db)
    assert [25_000] == list(two.first.charges[str(order.id)].refunds.values())
    assert ("paid", 2) == await two.shop.state_of(order)


async def test_pitfall_14_a_second_payment_is_credited_where_the_buyer_chose_so(two: Two) -> None:
    """The same stamps once more, with their tax and fee."""
    order = await two.paid_at_both(second_payment=SecondPayment.CREDIT)
    assert [("paid_again", "credited")] == await states_of(two.shop.purchase, order)
    assert {"seen": 50_000, "duty": 40_000, "fee": 10_000} == await books(two.shop.db)
    assert 4 == (await two.shop.ledger.balance(order.account_id)).available


async def test_pitfall_14_stamps_of_a_second_payment_can_be_handed_back_too(two: Two) -> None:
    """All four, two at a time, each to the payer that they came from; then there is nothing left."""
    order = await two.paid_at_both(second_payment=SecondPayment.CREDIT)
    returns = two.shop.purchase.returns
    paid = await two.shop.purchase.order(order.account_id, order.id)
    with pytest.raises(Refused) as refused:
        await returns.hand_back(order.account_id, order.id, 3)
    assert ("return_quantity_invalid", 2) == (refused.value.code, refused.value.facts["quantity_max"])
    for left in (2, 2):
        assert left == await returns.still_returnable(paid)
        assert await returns.hand_back(order.account_id, order.id, 2)
    assert 0 == await returns.still_returnable(paid)
    with pytest.raises(Refused, match="return_already_made"):
        await returns.hand_back(order.account_id, order.id, 1)
    await work_returns(two.shop.purchase, two.shop.db)
    await two.first.deliver(two.shop.hear)
    assert {"seen": 50_000, "returned": 50_000} == await books(two.shop.db)
    assert [25_000] == list(two.first.charges[str(order.id)].refunds.values())
    assert [25_000] == [one["amount"] for one in two.second.requests[str(order.id)].refunds.values()]
    assert [] == await cases_of(two.shop.purchase, order)


async def test_pitfall_14_a_second_payment_that_nobody_can_confirm_waits(two: Two) -> None:
    """Before money goes back the provider is asked whether it came: it is down, so the notification waits."""
    two.first.day.fails_after_doing = 3
    order = await two.shop.order()
    two.second.pay(str(order.id))
    await two.second.deliver(two.hear_second)
    two.first.pay(str(order.id))
    two.first.day.down = True
    await two.first.deliver(two.shop.hear)
    assert [] == await states_of(two.shop.purchase, order)
    two.first.day.down = False
    await two.shop.sweep(order)
    assert [("paid_again", "owed")] == await states_of(two.shop.purchase, order)


async def test_pitfall_14_a_signed_lie_about_more_money_is_asked_about(one: Till[MidtransTwin]) -> None:
    """A notification that names a higher sum for money that is known: the provider says otherwise."""
    order = await paid_order(one)
    charge = one.twin.charges[str(order.id)]
    words = one.twin.words(charge) | {"gross_amount": "99000.00"}
    words["signature_key"] = signature(str(order.id), "200", "99000.00", one.twin.key)
    assert 200 == await one.hear({}, json.dumps(words).encode())
    assert [] == await states_of(one.purchase, order)


async def test_pitfall_15_a_provider_that_is_late_in_a_rush_loses_nothing(two: Two) -> None:
    """Notifications leave an hour late and answers come slowly: orders wait, then all are quota, once each."""
    orders = [await two.shop.order() for _ in range(8)]
    two.first.day = BadDay(delays_s=3600, slow_s=0.5)
    for order in orders:
        two.first.pay(str(order.id))
    await two.first.deliver(two.shop.hear)
    assert {("awaiting_payment", 0)} == {await two.shop.state_of(order) for order in orders}
    assert "xendit" == (await two.shop.order()).provider
    two.first.day = BadDay()
    two.first.now += timedelta(hours=1)
    await two.first.deliver(two.shop.hear)
    assert {("paid", 2)} == {await two.shop.state_of(order) for order in orders}


async def test_pitfall_15_a_provider_that_is_late_is_asked_often_around_the_deadline(one: Till[MidtransTwin]) -> None:
    """Paid in time, told by nobody: in the last minutes the next question does not wait for the deadline."""
    order = await one.order()
    one.twin.day = BadDay(loses=True)
    near = "UPDATE purchase.orders SET checks = 100, expires_at = now() + interval '3 minutes'"
    await write(one.db, near)
    await one.sweep(order)
    assert ("awaiting_payment", 0) == await one.state_of(order)
    assert await one.db.fetchval("SELECT next_check_at < expires_at - interval '1 minute' FROM purchase.orders")
    one.twin.pay(str(order.id))
    await one.sweep(order)
    assert ("paid", 2) == await one.state_of(order)
