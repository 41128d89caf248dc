"""Midtrans: our adapter against a twin that speaks its formats, on good days and on bad ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from counters import Till, asked, midtrans, till
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.ordering import ChargeState, Seen
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.check import check_ledger
from emeterai.purchase.midtrans import MidtransProvider
from emeterai.purchase.model import Channel, Notice
from twins.midtrans_twin import MidtransTwin, moment, signature
from twins.payment_twin import BadDay

ORDER = "0190d1a0-0000-7000-8000-000000000001"
KEY = "kunci-server-uji"


@pytest.fixture
def twin() -> MidtransTwin:
    """A Midtrans on a good day."""
    return MidtransTwin()


@pytest.fixture
async def shop(db: Database, twin: MidtransTwin) -> AsyncIterator[Till[MidtransTwin]]:
    """A shop that sells through Midtrans. The audit ends the test."""
    provider = midtrans(twin)
    yield till(db, twin, [provider])
    await provider.close()
    report = await check_ledger(db)
    assert report.holds_true, report.rules


def body(**changes: Any) -> bytes:
    """A settlement of QRIS, signed rightly over what it says."""
    words: dict[str, Any] = {
        "transaction_type": "on-us",
        "transaction_time": "2026-11-22 23:59:59",
        "transaction_status": "settlement",
        "transaction_id": "9aed5972-5b6a-401e-894b-a32c91ed1a3a",
        "status_code": "200",
        "settlement_time": "2026-11-22 23:59:59",
        "payment_type": "qris",
        "order_id": ORDER,
        "gross_amount": "10000.00",
        "fraud_status": "accept",
        "currency": "IDR",
    } | changes
    signed = [str(words[name]) for name in ("order_id", "status_code", "gross_amount")]
    return json.dumps({"signature_key": signature(*signed, KEY)} | words).encode()


def read(content: bytes) -> Notice:
    """What our side reads."""
    return MidtransProvider("https://api.midtrans.example", KEY).parse_notification({}, content, now=utc_now())


def refusal(content: bytes) -> str:
    """Why our side does not read it."""
    with pytest.raises(Refused) as refused:
        read(content)
    return refused.value.code


def test_the_documented_example_of_a_signature_is_right() -> None:
    """Order 1111, code 200, 100000.00: the twin and the adapter agree on the documented order of fields."""
    content = body(order_id="1111", gross_amount="100000.00")
    assert Decimal("100000.00") == read(content).amount


def test_the_amount_is_hashed_as_the_text_that_came_and_read_afterwards() -> None:
    """The text 10000.00 is ten thousand rupiah; the same number written otherwise has another signature (pitfall 2)."""
    assert Decimal(10_000) == read(body()).amount
    for text in ("10000", "10000.0", "1e4"):
        content = body(gross_amount=text, signature_key=signature(ORDER, "200", "10000.00", KEY))
        assert "notification_forged" == refusal(content)


@pytest.mark.parametrize(
    "fields",
    [
        ("200", ORDER, "10000.00"),
        (ORDER, "10000.00", "200"),
        ("10000.00", "200", ORDER),
    ],
)
def test_a_signature_over_the_fields_in_another_order_is_forged(fields: tuple[str, str, str]) -> None:
    """Order, code, amount, key: nothing else."""
    assert "notification_forged" == refusal(body(signature_key=signature(*fields, KEY)))


@pytest.mark.parametrize("name", ["order_id", "status_code", "gross_amount"])
def test_what_is_signed_cannot_be_changed(name: str) -> None:
    """The other order, the other code, the other amount."""
    words = json.loads(body())
    other = {"order_id": ORDER[:-1] + "2", "status_code": "201", "gross_amount": "99999.00"}[name]
    assert "notification_forged" == refusal(json.dumps(words | {name: other}).encode())


@pytest.mark.parametrize("code", ["201", "202", "407"])
def test_a_settlement_counts_only_with_the_code_of_success(code: str) -> None:
    """The status is not signed: with the signature of a pending notice nobody makes a settlement."""
    assert "notification_forged" == refusal(body(status_code=code))


@pytest.mark.parametrize("key", ["", "0" * 128, "é", None, 7])
def test_a_missing_or_nonsensical_signature_is_refused(key: object) -> None:
    """Whatever stands there."""
    assert refusal(body(signature_key=key)) in {"notification_forged", "notification_unreadable"}


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"status_code": 200}', b"[" * 100_000])
def test_a_body_that_is_no_notification_is_refused(content: bytes) -> None:
    """With a word, not with a crash."""
    assert refusal(content) in {"notification_forged", "notification_unreadable"}


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_body_crashes_the_reader(content: bytes) -> None:
    """It is refused."""
    assert refusal(content) in {"notification_forged", "notification_unreadable"}


@pytest.mark.parametrize(
    "nonsense",
    [
        *({"gross_amount": text} for text in ("NaN", "-1.00", "x")),
        *({"currency": text} for text in ("rupiah", "")),
        {"transaction_status": ""},
    ],
)
def test_a_signed_notification_that_makes_no_sense_is_refused(nonsense: dict[str, str]) -> None:
    """It is not on record, so it comes again, and the sweep finds the truth meanwhile."""
    assert "notification_unreadable" == refusal(body(**nonsense))


@pytest.mark.parametrize(
    ("status", "code", "fraud", "state"),
    [
        ("pending", "201", "accept", ChargeState.PENDING),
        ("authorize", "200", "accept", ChargeState.PENDING),
        ("capture", "200", "accept", ChargeState.SETTLED),
        ("capture", "200", "challenge", ChargeState.PENDING),
        ("settlement", "200", "accept", ChargeState.SETTLED),
        ("settlement", "200", "deny", ChargeState.PENDING),
        ("expire", "407", "accept", ChargeState.EXPIRED),
        ("cancel", "200", "accept", ChargeState.CANCELLED),
        ("deny", "202", "accept", ChargeState.REVERSED),
        ("refund", "200", "accept", ChargeState.REVERSED),
        ("partial_refund", "200", "accept", ChargeState.REVERSED),
        ("chargeback", "200", "accept", ChargeState.REVERSED),
        ("invented_tomorrow", "200", "accept", ChargeState.PENDING),
    ],
)
def test_each_status_has_one_meaning(status: str, code: str, fraud: str, state: ChargeState) -> None:
    """A status that is new to us, and money that is under suspicion, are no money."""
    changes = {} if state is ChargeState.SETTLED else {"settlement_time": ""}
    assert state is read(body(transaction_status=status, status_code=code, fraud_status=fraud, **changes)).state


def test_fields_that_we_do_not_know_change_nothing() -> None:
    """They add some every year."""
    assert read(body()) == read(body(acquirer="gopay", new_field={"deep": [1]}, reference_id="r"))


def test_a_duplicate_has_the_same_event_id_and_another_status_or_amount_has_another() -> None:
    """So that a duplicate is known, and a lie about it is not taken for one."""
    same = {read(body()).event_id, read(body(settlement_time="2026-11-23 00:00:01")).event_id}
    others = {read(body(**change)).event_id for change in (
        {"transaction_status": "refund"}, {"gross_amount": "10000.0"}, {"currency": "USD"}, {"transaction_id": "x"},
        {"transaction_status": "partial_refund", "refund_amount": "1.00"},
        {"transaction_status": "partial_refund", "refund_amount": "2.00"},
    )}  # fmt: skip
    assert (1, 6) == (len(same), len(others - same))


def test_a_notice_keeps_no_secret() -> None:
    """Neither the server key nor a header is among what is kept."""
    assert KEY not in repr(read(body()))
    assert {} == read(body()).headers


async def test_a_qris_charge_gives_its_code_and_a_second_request_the_same(twin: MidtransTwin) -> None:
    """One transaction, announced to the address that belongs to this provider."""
    provider, request = midtrans(twin), asked(twin)
    charge = await provider.create_charge(request)
    assert charge == await provider.create_charge(request)
    (known,) = twin.charges.values()
    assert (known.id, Channel.QRIS) == (charge.reference, charge.code.channel if charge.code else None)
    assert (25_000, request.notify_url) == (known.amount, known.notify_url)
    assert request.order_url == charge.pay_url


async def test_a_charge_by_virtual_account_gives_its_number(twin: MidtransTwin) -> None:
    """A number at a bank."""
    charge = await midtrans(twin).create_charge(asked(twin, channel=Channel.VIRTUAL_ACCOUNT))
    assert charge.code is not None
    assert (Channel.VIRTUAL_ACCOUNT, "BNI", True) == (charge.code.channel, charge.code.bank, charge.code.text.isdigit())


async def test_an_order_that_is_known_already_is_found_again_and_not_charged_twice(twin: MidtransTwin) -> None:
    """Their memory of keys ends after five minutes, then they say 406: the transaction of the order is asked for."""
    provider = midtrans(twin)
    for channel in Channel:
        request = asked(twin, channel=channel)
        first = await provider.create_charge(request)
        twin.pass_time(minutes=6)
        again = await provider.create_charge(request)
        assert first.reference == again.reference
        assert again.pay_url.endswith("/qr-code") if channel is Channel.QRIS else first == again


async def test_a_charge_that_was_opened_before_the_500_is_not_opened_twice(twin: MidtransTwin) -> None:
    """The same idempotency key goes along with each try."""
    twin.day.fails_after_doing = 2
    await midtrans(twin).create_charge(asked(twin))
    assert 1 == len(twin.charges)
    assert ["POST /v2/charge"] * 3 == twin.asked


async def test_a_charge_ends_no_later_than_its_order_whatever_zone_anybody_is_in(twin: MidtransTwin) -> None:
    """The time goes as a duration: 23:59 in Jakarta is 16:59 in UTC, and neither is written (pitfalls 6 and 11)."""
    request = asked(twin, life=timedelta(minutes=30, seconds=59))
    await midtrans(twin).create_charge(request)
    (known,) = twin.charges.values()
    assert timedelta(minutes=30) == known.expires - twin.now
    assert known.expires <= request.expires_at
    assert "2026-11-23 00:29:00" == moment(known.expires)


async def test_a_status_is_asked_by_order_and_answered_in_our_words(twin: MidtransTwin) -> None:
    """Pending, then settled with what came."""
    provider, request = midtrans(twin), asked(twin)
    charge = await provider.create_charge(request)
    before = await provider.status(request.order_id, charge.reference)
    twin.pay(str(request.order_id))
    after = await provider.status(request.order_id, charge.reference)
    assert Seen(ChargeState.PENDING, Decimal(25_000), "IDR") == before
    assert Seen(ChargeState.SETTLED, Decimal(25_000), "IDR") == after


async def test_a_transaction_that_is_unknown_there_has_no_money(twin: MidtransTwin) -> None:
    """404 is an answer: nothing was paid, and the provider is well."""
    provider, request = midtrans(twin), asked(twin)
    seen = await provider.status(request.order_id, "r")
    assert Seen(ChargeState.PENDING, Decimal(0), "IDR") == seen
    assert provider.is_healthy


async def test_a_status_of_another_order_is_no_answer(twin: MidtransTwin) -> None:
    """A transaction belongs to one order; under another one it proves nothing (pitfall 10)."""
    provider, request = midtrans(twin), asked(twin)
    charge = await provider.create_charge(request)
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.status(new_id(), charge.reference)


@pytest.mark.parametrize(
    "day", [{"down": True}, {"slow_s": 5.0}, {"garbage": True}, {"refuses": 99}, {"refuses": 99, "refusal": 429}]
)
async def test_on_a_bad_day_the_answer_is_provider_unavailable(twin: MidtransTwin, day: dict[str, Any]) -> None:
    """For charges and for questions; with a dead line the circuit is open then."""
    provider, request = midtrans(twin), asked(twin)
    twin.day = BadDay(**day)
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.create_charge(request)
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.status(request.order_id, "r")


async def test_a_wrong_key_is_found_out_at_the_first_request(twin: MidtransTwin) -> None:
    """Refused there, unavailable here, and asked once."""
    provider = midtrans(twin)
    twin.key = "another"
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.create_charge(asked(twin))
    assert 1 == len(twin.asked)


async def test_paid_is_credited_once_however_often_it_is_told(shop: Till[MidtransTwin]) -> None:
    """Doubled, and captured before it was settled (pitfall 3)."""
    order = await shop.order()
    shop.twin.day.doubles = True
    shop.twin.pay(str(order.id), "capture")
    shop.twin.move(str(order.id), "settlement")
    assert {200} == set(await shop.twin.deliver(shop.hear))
    assert ("paid", 2) == await shop.state_of(order)


async def test_pending_after_settlement_changes_nothing(shop: Till[MidtransTwin]) -> None:
    """The last one first (pitfall 5)."""
    order = await shop.order()
    shop.twin.pay(str(order.id))
    shop.twin.day.reorders = True
    await shop.twin.deliver(shop.hear)
    assert ("paid", 2) == await shop.state_of(order)
    assert ["paid", "unchanged"] == await shop.outcomes(order.id)


async def test_a_lost_notification_is_made_good_by_asking(shop: Till[MidtransTwin]) -> None:
    """Nobody told us (pitfall 9)."""
    order = await shop.order()
    shop.twin.day.loses = True
    shop.twin.pay(str(order.id))
    await shop.sweep(order)
    assert ("paid", 2) == await shop.state_of(order)


@pytest.mark.parametrize("lie", [{"pays": 24_999}, {"pays": 25_001}, {"currency": "USD"}])
@pytest.mark.parametrize("loses", [False, True])
async def test_money_that_differs_is_put_aside(shop: Till[MidtransTwin], lie: dict[str, Any], *, loses: bool) -> None:
    """Told or asked: never guessed (pitfall 7)."""
    order = await shop.order()
    shop.twin.day = BadDay(loses=loses, **lie)
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    await shop.sweep(order)
    assert ("quarantined", 0) == await shop.state_of(order)


async def test_paid_at_the_last_second_and_told_after_the_end_is_quota(shop: Till[MidtransTwin]) -> None:
    """Expired here, settled there: settled wins (pitfall 6)."""
    order = await shop.order()
    shop.twin.day.loses = True
    shop.twin.pay(str(order.id))
    shop.twin.day.down = True
    await shop.end_time(order)
    await shop.sweep(order)
    assert ("expired", 0) == await shop.state_of(order)
    shop.twin.day.down = False
    shop.twin.move(str(order.id), "settlement")
    shop.twin.day.loses = False
    shop.twin.move(str(order.id), "settlement")
    await shop.twin.deliver(shop.hear)
    assert ("paid", 2) == await shop.state_of(order)


@pytest.mark.parametrize("taking", ["deny", "refund", "partial_refund", "chargeback"])
async def test_a_reversal_after_settlement_is_a_case_and_no_negative_balance(
    shop: Till[MidtransTwin], taking: str
) -> None:
    """The quota stays; the notification says `reversed` (pitfall 4)."""
    order = await shop.order()
    shop.twin.pay(str(order.id))
    shop.twin.move(str(order.id), taking)
    await shop.twin.deliver(shop.hear)
    assert ("paid", 2) == await shop.state_of(order)
    assert "reversed" == (await shop.outcomes(order.id))[-1]


async def test_a_settlement_that_arrives_after_its_reversal_is_not_believed(shop: Till[MidtransTwin]) -> None:
    """Reordered: the provider is asked which came last, and says that there is no money."""
    order = await shop.order()
    shop.twin.pay(str(order.id))
    shop.twin.move(str(order.id), "deny")
    shop.twin.day.reorders = True
    await shop.twin.deliver(shop.hear)
    assert ("cancelled", 0) == await shop.state_of(order)


async def test_a_notification_that_was_not_taken_comes_again_by_the_schedule(shop: Till[MidtransTwin]) -> None:
    """After 503: 2, 10, 30 and 90 minutes later; then it is the sweep's work (pitfall 9)."""
    order = await shop.order()
    shop.twin.post.clear()
    shop.twin.pay(str(order.id))
    heard = []

    async def busy(headers: dict[str, str], content: bytes) -> int:
        heard.append(content)
        return 503

    for minutes in (0, 2, 10, 30, 90, 210):
        shop.twin.now += timedelta(minutes=minutes)
        await shop.twin.deliver(busy)
    assert (5, 1) == (len(heard), len(set(heard)))
    await shop.sweep(order)
    assert ("paid", 2) == await shop.state_of(order)


async def test_a_charge_expired_there_expires_here(shop: Till[MidtransTwin]) -> None:
    """Told by the provider; an order is paid under a new id or not at all."""
    order = await shop.order()
    shop.twin.pass_time(days=2)
    await shop.twin.deliver(shop.hear)
    assert ("expired", 0) == await shop.state_of(order)
