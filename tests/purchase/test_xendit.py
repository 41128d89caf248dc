"""Xendit: our adapter against a twin that speaks its formats. Its notifications are followed up, never believed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from counters import Till, asked, till, xendit
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.ordering import ChargeState, Seen
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.check import check_ledger
from emeterai.purchase.model import Channel, Notice
from emeterai.purchase.xendit import XenditProvider
from twins.payment_twin import BadDay
from twins.xendit_twin import Format, XenditTwin

TOKEN = "token-pemberitahuan-uji"
FORMATS: tuple[Format, ...] = ("payment.capture", "qr.payment", "fixed virtual account")


@pytest.fixture
def twin() -> XenditTwin:
    """A Xendit on a good day."""
    return XenditTwin()


@pytest.fixture
async def shop(db: Database, twin: XenditTwin) -> AsyncIterator[Till[XenditTwin]]:
    """A shop that sells through Xendit. The audit ends the test."""
    provider = xendit(twin)
    yield till(db, twin, [provider])
    await provider.close()
    report = await check_ledger(db)
    assert report.holds_true, report.rules


def read(content: bytes, *, token: str | None = TOKEN) -> Notice:
    """What our side reads."""
    provider = XenditProvider("https://api.xendit.example", "kunci", callback_token=TOKEN)
    headers = {} if token is None else {"x-callback-token": token}
    return provider.parse_notification(headers, content, now=utc_now())


async def told(twin: XenditTwin, form: Format) -> tuple[dict[str, Any], str]:
    """What the twin says of a payment, and of which order."""
    request = asked(twin)
    await xendit(twin).create_charge(request)
    twin.pay(str(request.order_id), form)
    return json.loads(twin.post[-1].body), str(request.order_id)


def forged(order_id: object, **changes: Any) -> bytes:
    """What somebody who has seen the token can write."""
    data = {"payment_id": "py-1", "payment_request_id": "pr-1", "status": "SUCCEEDED", "request_amount": 25_000}
    return json.dumps({"event": "payment.capture", "data": data | {"reference_id": str(order_id)} | changes}).encode()


@pytest.mark.parametrize("form", FORMATS)
async def test_each_format_names_its_order_and_its_money(twin: XenditTwin, form: Format) -> None:
    """The fixed virtual account has no status: that it is told means that it was paid."""
    words, order_id = await told(twin, form)
    notice = read(json.dumps(words).encode())
    assert (order_id, Decimal(25_000), "IDR") == (str(notice.order_id), notice.amount, notice.currency)
    assert ChargeState.SETTLED is notice.state


@pytest.mark.parametrize("form", FORMATS)
async def test_fields_that_we_do_not_know_change_nothing(twin: XenditTwin, form: Format) -> None:
    """And a duplicate has the same event id."""
    words, _ = await told(twin, form)
    assert read(json.dumps(words).encode()) == read(json.dumps(words | {"new": {"deep": [1]}}).encode())


@pytest.mark.parametrize("form", FORMATS)
async def test_a_field_that_is_null_is_a_field_that_is_left_out(twin: XenditTwin, form: Format) -> None:
    """At any depth: what has no value is written in either way."""
    words, _ = await told(twin, form)
    data = words.get("data", words)
    data |= {name: None for name in ("id", "payment_id", "request_amount") if name not in data}
    assert ChargeState.SETTLED is read(json.dumps(words | {"event_id": None}).encode()).state


async def test_an_answer_with_a_null_is_read(shop: Till[XenditTwin], monkeypatch: pytest.MonkeyPatch) -> None:
    """A charge is opened and asked about, and its money is quota."""
    respond = XenditTwin.respond

    def with_null(twin: XenditTwin, *asked: Any) -> Any:
        status, words = respond(twin, *asked)
        return status, {"latest_payment_id": None, "captures": None} | words

    monkeypatch.setattr(XenditTwin, "respond", with_null)
    order = await shop.order()
    shop.twin.pay(str(order.id))
    await shop.sweep(order)
    assert ("paid", 2) == await shop.state_of(order)


@pytest.mark.parametrize("token", [None, "", "Token-pemberitahuan-uji", TOKEN + " ", "é"])
def test_without_the_right_token_nothing_is_read(token: str | None) -> None:
    """401, whatever the body says."""
    with pytest.raises(Refused, match="notification_forged"):
        read(forged(new_id()), token=token)


def test_a_provider_without_a_token_reads_nothing() -> None:
    """An empty token would be known to everybody."""
    provider = XenditProvider("https://api.xendit.example", "kunci", callback_token="")
    with pytest.raises(Refused, match="notification_forged"):
        provider.parse_notification({"x-callback-token": ""}, forged(new_id()), now=utc_now())


def test_the_token_is_not_kept(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in what is stored with the notification nor in a log (pitfall 13)."""
    notice = read(forged(new_id()))
    out, err = capfd.readouterr()
    assert TOKEN not in f"{notice!r}{out}{err}"
    assert {} == notice.headers


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_body_crashes_the_reader(content: bytes) -> None:
    """It is refused."""
    with pytest.raises(Refused, match="notification_unreadable"):
        read(content)


async def test_a_charge_gives_its_code_and_a_second_request_the_same(twin: XenditTwin) -> None:
    """One payment request for an order, by the channel that is asked for."""
    provider = xendit(twin)
    for channel, bank in [(Channel.QRIS, ""), (Channel.VIRTUAL_ACCOUNT, "BNI")]:
        request = asked(twin, channel=channel)
        charge = await provider.create_charge(request)
        assert charge == await provider.create_charge(request)
        assert charge.code is not None
        assert (channel, bank, request.order_url) == (charge.code.channel, charge.code.bank, charge.pay_url)
    assert 2 == len(twin.requests)


async def test_a_charge_that_was_opened_before_the_500_is_not_opened_twice(twin: XenditTwin) -> None:
    """The same idempotency key goes along with each try."""
    twin.day.fails_after_doing = 2
    await xendit(twin).create_charge(asked(twin))
    assert (1, 3) == (len(twin.requests), len(twin.asked))


async def test_an_account_ends_with_its_order(twin: XenditTwin) -> None:
    """Its time is written in UTC, with a zone (pitfall 11)."""
    request = asked(twin, channel=Channel.VIRTUAL_ACCOUNT, life=timedelta(minutes=30))
    await xendit(twin).create_charge(request)
    (known,) = twin.requests.values()
    assert request.expires_at == known.expires


async def test_what_came_in_is_what_counts_and_not_what_was_asked(twin: XenditTwin) -> None:
    """A payment request says what was asked; its payment says what was captured (pitfall 7)."""
    provider, request = xendit(twin), asked(twin)
    charge = await provider.create_charge(request)
    assert ChargeState.PENDING is (await provider.status(request.order_id, charge.reference)).state
    twin.day.pays = 24_000
    twin.pay(str(request.order_id))
    seen = await provider.status(request.order_id, charge.reference)
    assert Seen(ChargeState.SETTLED, Decimal(24_000), "IDR") == seen


async def test_an_unknown_request_has_no_money_and_another_order_s_is_no_answer(twin: XenditTwin) -> None:
    """404 is an answer; a mix-up is none."""
    provider, request = xendit(twin), asked(twin)
    seen = await provider.status(request.order_id, "pr-unknown")
    assert Seen(ChargeState.PENDING, Decimal(0), "IDR") == seen
    charge = await provider.create_charge(request)
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.status(new_id(), charge.reference)


@pytest.mark.parametrize("day", [{"down": True}, {"slow_s": 5.0}, {"garbage": True}, {"refuses": 99}])
async def test_on_a_bad_day_the_answer_is_provider_unavailable(twin: XenditTwin, day: dict[str, Any]) -> None:
    """For charges and for questions."""
    provider, request = xendit(twin), asked(twin)
    twin.day = BadDay(**day)
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.create_charge(request)
    with pytest.raises(Refused, match="provider_unavailable"):
        await provider.status(request.order_id, "r")


@pytest.mark.parametrize("form", FORMATS)
async def test_paid_is_credited_once_in_whatever_format_it_is_told(shop: Till[XenditTwin], form: Format) -> None:
    """Doubled, and told again in another format (pitfall 3)."""
    order = await shop.order()
    shop.twin.day.doubles = True
    shop.twin.pay(str(order.id), form)
    for other in FORMATS:
        shop.twin.tell(str(order.id), other)
    assert {200} == set(await shop.twin.deliver(shop.hear))
    assert ("paid", 2) == await shop.state_of(order)


async def test_whoever_knows_the_token_cannot_make_money(shop: Till[XenditTwin]) -> None:
    """A notification with the right token and an invented payment: the provider is asked, and knows of none."""
    order = await shop.order()
    assert 200 == await shop.hear({"x-callback-token": TOKEN}, forged(order.id))
    assert ("awaiting_payment", 0) == await shop.state_of(order)


async def test_a_notification_that_lies_about_its_amount_does_no_harm(shop: Till[XenditTwin]) -> None:
    """What counts is the answer to our own question."""
    order = await shop.order()
    shop.twin.day.loses = True
    shop.twin.pay(str(order.id))
    await shop.hear({"x-callback-token": TOKEN}, forged(order.id, request_amount=1, status="FAILED"))
    assert ("paid", 2) == await shop.state_of(order)


@pytest.mark.parametrize("lie", [{"pays": 24_999}, {"pays": 25_001}, {"currency": "USD"}])
async def test_money_that_differs_is_put_aside(shop: Till[XenditTwin], lie: dict[str, Any]) -> None:
    """Never guessed (pitfall 7)."""
    order = await shop.order()
    shop.twin.day = BadDay(**lie)
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    assert ("quarantined", 0) == await shop.state_of(order)


async def test_a_notification_waits_while_the_provider_cannot_be_asked(shop: Till[XenditTwin]) -> None:
    """It is on record and answered; the sweep follows it up when the provider is back."""
    order = await shop.order()
    shop.twin.pay(str(order.id))
    shop.twin.day.down = True
    assert [200] == await shop.twin.deliver(shop.hear)
    assert ([None], ("awaiting_payment", 0)) == (await shop.outcomes(order.id), await shop.state_of(order))
    shop.twin.day.down = False
    await shop.sweep(order)
    assert ("paid", 2) == await shop.state_of(order)
    assert None is not (await shop.outcomes(order.id))[0]


async def test_a_lost_notification_is_made_good_by_asking(shop: Till[XenditTwin]) -> None:
    """What timed out is never sent again, so we ask (pitfall 9)."""
    order = await shop.order()
    shop.twin.pay(str(order.id))

    async def slow(headers: dict[str, str], content: bytes) -> int:
        raise TimeoutError

    assert [0] == await shop.twin.deliver(slow)
    assert [] == shop.twin.post
    await shop.sweep(order)
    assert ("paid", 2) == await shop.state_of(order)


async def test_a_reversal_after_settlement_is_a_case_and_no_negative_balance(shop: Till[XenditTwin]) -> None:
    """The quota stays; the notification says `reversed` (pitfall 4)."""
    order = await shop.order()
    shop.twin.pay(str(order.id))
    await shop.twin.deliver(shop.hear)
    shop.twin.move(str(order.id), "REVERSED", "payment.failure")
    await shop.twin.deliver(shop.hear)
    assert ("paid", 2) == await shop.state_of(order)
    assert ["paid", "reversed"] == await shop.outcomes(order.id)


async def test_a_request_that_ends_without_money_ends_the_order(shop: Till[XenditTwin]) -> None:
    """Told by the provider, and confirmed by it."""
    order = await shop.order()
    shop.twin.pass_time(days=3)
    await shop.twin.deliver(shop.hear)
    assert ("expired", 0) == await shop.state_of(order)
