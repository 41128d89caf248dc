"""Midtrans's own Python client works against our twin of Midtrans: what it reads there it would read from Midtrans.

The client knows the real service; the twin knows only what we read about it. Where they differ, the twin is wrong, and
with it perhaps the adapter that was tried against it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from counters import asked
from midtransclient import CoreApi
from midtransclient.error_midtrans import MidtransAPIError
from shops import listening

from emeterai.purchase.midtrans import MidtransProvider
from emeterai.purchase.model import Channel
from emeterai.purchase.provider import VIRTUAL_ACCOUNT
from running import free_port
from twins.midtrans_twin import MidtransTwin, moment

AMOUNT_IDR = 25_000


@dataclass
class Desk:
    """Midtrans's client at a twin that listens on a port. The client waits, so it is asked in a thread."""

    twin: MidtransTwin
    core: Any
    url: str

    async def charge(self, order_id: str, **wishes: Any) -> dict[str, Any]:
        """A charge of QRIS, unless the wishes say something else."""
        details = {"order_id": order_id, "gross_amount": AMOUNT_IDR}
        asked = {"payment_type": "qris", "transaction_details": details, "qris": {"acquirer": "gopay"}} | wishes
        return await self.ask(self.core.charge, asked)

    async def account(self, order_id: str, bank: str = "bca") -> dict[str, Any]:
        """A charge by virtual account."""
        return await self.charge(order_id, payment_type="bank_transfer", bank_transfer={"bank": bank})

    async def ask(self, verb: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        """What the client says."""
        return await asyncio.to_thread(verb, *arguments)

    async def refused(self, verb: Callable[..., dict[str, Any]], *arguments: Any) -> tuple[int, str]:
        """The HTTP status, and the status code in the body, with which the client raises its error."""
        with pytest.raises(MidtransAPIError) as error:
            await self.ask(verb, *arguments)
        words = error.value.api_response_dict
        assert {"status_code", "status_message", "id"} == set(words)
        assert words["status_code"] in error.value.message
        return error.value.http_status_code, words["status_code"]


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """The client, with the twin's address in place of the sandbox's; whatever proxy there is has no part in it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    twin, port = MidtransTwin(), free_port()
    core = CoreApi(is_production=False, server_key=twin.key)
    core.api_config.CORE_SANDBOX_BASE_URL = f"http://127.0.0.1:{port}"
    async with listening(twin, port):
        yield Desk(twin, core, core.api_config.CORE_SANDBOX_BASE_URL)


def in_jakarta(text: str) -> datetime:
    """A time of Midtrans, which leaves out its zone."""
    return datetime.fromisoformat(f"{text}+07:00")


async def test_a_qris_charge(desk: Desk) -> None:
    """It is pending, has a code and a picture of it, and says when it ends in Jakarta's time."""
    said = await desk.charge("pesanan-1", custom_expiry={"expiry_duration": 30, "unit": "minute"})
    assert ("201", "pending", "accept") == (said["status_code"], said["transaction_status"], said["fraud_status"])
    assert ("pesanan-1", "25000.00", "IDR") == (said["order_id"], said["gross_amount"], said["currency"])
    assert ("qris", "gopay") == (said["payment_type"], said["acquirer"])
    assert "QRIS transaction is created" == said["status_message"]
    assert str(UUID(said["transaction_id"])) == said["transaction_id"]
    assert said["qr_string"].startswith("000201")
    (action,) = said["actions"]
    assert ("generate-qr-code", "GET") == (action["name"], action["method"])
    assert action["url"].endswith(f"/v2/qris/{said['transaction_id']}/qr-code")
    assert desk.twin.now == in_jakarta(said["transaction_time"])
    assert timedelta(minutes=30) == in_jakarta(said["expiry_time"]) - in_jakarta(said["transaction_time"])
    assert not {"signature_key", "settlement_time", "issuer"} & set(said)


@pytest.mark.parametrize("bank", ["bca", "bni", "bri"])
async def test_a_virtual_account_charge(desk: Desk, bank: str) -> None:
    """A number at the bank that was asked for, for a day."""
    said = await desk.account("pesanan-1", bank)
    assert ("201", "pending", "bank_transfer") == (
        said["status_code"],
        said["transaction_status"],
        said["payment_type"],
    )
    (account,) = said["va_numbers"]
    assert (bank, True) == (account["bank"], account["va_number"].isdigit())
    assert "Success, Bank Transfer transaction is created" == said["status_message"]
    assert timedelta(days=1) == in_jakarta(said["expiry_time"]) - in_jakarta(said["transaction_time"])
    assert not {"qr_string", "actions", "acquirer"} & set(said)


async def test_the_status_by_order_and_by_transaction(desk: Desk) -> None:
    """Pending is 201, settled 200; whose money it was is said when there is some. Both names lead to the same."""
    charged = await desk.charge("pesanan-1")
    status = desk.core.transactions.status
    before = await desk.ask(status, "pesanan-1")
    assert ("201", "pending") == (before["status_code"], before["transaction_status"])
    desk.twin.pass_time(seconds=40)
    desk.twin.pay("pesanan-1")
    by_order, by_transaction = [await desk.ask(status, name) for name in ("pesanan-1", charged["transaction_id"])]
    assert by_order == by_transaction
    assert ("200", "settlement") == (by_order["status_code"], by_order["transaction_status"])
    assert "Success, transaction is found" == by_order["status_message"]
    assert (charged["transaction_id"], "25000.00") == (by_order["transaction_id"], by_order["gross_amount"])
    assert ("gopay", moment(desk.twin.now)) == (by_order["issuer"], by_order["settlement_time"])
    signed = f"pesanan-120025000.00{desk.twin.key}".encode()
    assert hashlib.sha512(signed).hexdigest() == by_order["signature_key"]


async def test_cancelling(desk: Desk) -> None:
    """A pending one is cancelled with 200, once; the order may be charged again, and the first keeps its own id."""
    charged, cancel = await desk.charge("pesanan-1"), desk.core.transactions.cancel
    said = await desk.ask(cancel, "pesanan-1")
    assert ("200", "cancel") == (said["status_code"], said["transaction_status"])
    assert ("Success, transaction is canceled", charged["transaction_id"]) == (
        said["status_message"],
        said["transaction_id"],
    )
    assert (200, "412") == await desk.refused(cancel, "pesanan-1")
    again = await desk.charge("pesanan-1")
    assert charged["transaction_id"] != again["transaction_id"]
    states = [
        (await desk.ask(desk.core.transactions.status, name))["transaction_status"]
        for name in ("pesanan-1", again["transaction_id"], charged["transaction_id"])
    ]
    assert ["pending", "pending", "cancel"] == states


async def test_what_is_paid_is_neither_cancelled_nor_expired_nor_judged(desk: Desk) -> None:
    """412, and it stays settled; approving and denying are for cards that may be stolen."""
    await desk.account("pesanan-1")
    desk.twin.pay("pesanan-1")
    verbs = desk.core.transactions
    for verb in (verbs.cancel, verbs.expire, verbs.approve, verbs.deny):
        assert (200, "412") == await desk.refused(verb, "pesanan-1")
    assert "settlement" == (await desk.ask(verbs.status, "pesanan-1"))["transaction_status"]


async def test_expiring(desk: Desk) -> None:
    """By wish or by its time: 407, which the client takes for an answer and not for an error."""
    await desk.charge("pesanan-1")
    await desk.account("pesanan-2")
    said = await desk.ask(desk.core.transactions.expire, "pesanan-1")
    assert ("407", "expire") == (said["status_code"], said["transaction_status"])
    desk.twin.pass_time(days=2)
    for order in ("pesanan-1", "pesanan-2"):
        found = await desk.ask(desk.core.transactions.status, order)
        assert ("407", "expire") == (found["status_code"], found["transaction_status"])


async def test_refunds(desk: Desk) -> None:
    """In part, by either of its two ways, once for each key; then no more than was paid, and all is told."""
    await desk.charge("pesanan-1")
    verbs = desk.core.transactions
    first = {"refund_key": "kembali-1", "amount": 10_000, "reason": "salah beli"}
    assert (200, "412") == await desk.refused(verbs.refund, "pesanan-1", first)
    desk.twin.pay("pesanan-1")
    said = [await desk.ask(verbs.refund, "pesanan-1", first) for _ in range(2)]
    assert said[0] == said[1]
    assert ("200", "partial_refund") == (said[0]["status_code"], said[0]["transaction_status"])
    assert "Success, refund request is approved" == said[0]["status_message"]
    assert ("kembali-1", "10000.00", True) == (
        said[0]["refund_key"],
        said[0]["refund_amount"],
        isinstance(said[0]["refund_chargeback_id"], int),
    )
    assert (200, "414") == await desk.refused(verbs.refund, "pesanan-1", {"refund_key": "k", "amount": 15_001})
    rest = await desk.ask(verbs.refundDirect, "pesanan-1", {"refund_key": "kembali-2", "amount": 15_000})
    assert ("refund", "15000.00") == (rest["transaction_status"], rest["refund_amount"])
    found = await desk.ask(verbs.status, "pesanan-1")
    assert ("refund", "25000.00") == (found["transaction_status"], found["refund_amount"])
    assert ["kembali-1", "kembali-2"] == [one["refund_key"] for one in found["refunds"]]


async def test_a_virtual_account_has_no_way_back(desk: Desk) -> None:
    """Neither way: its money goes back by hand."""
    await desk.account("pesanan-1")
    desk.twin.pay("pesanan-1")
    for verb in (desk.core.transactions.refund, desk.core.transactions.refundDirect):
        assert (200, "413") == await desk.refused(verb, "pesanan-1", {"refund_key": "k", "amount": AMOUNT_IDR})


@pytest.mark.parametrize("as_text", [False, True])
async def test_a_notification_is_checked_by_asking(desk: Desk, *, as_text: bool) -> None:
    """The client asks about the transaction that a notification names, and believes the answer only."""
    await desk.charge("pesanan-1")
    desk.twin.pay("pesanan-1")
    pending, settled = [json.loads(letter.body) for letter in desk.twin.post]
    assert ("pending", "settlement") == (pending["transaction_status"], settled["transaction_status"])
    for told in (pending, settled):
        found = await desk.ask(desk.core.transactions.notification, json.dumps(told) if as_text else told)
        assert "settlement" == found["transaction_status"]
    same = settled.keys() - {"status_message"}
    assert {name: settled[name] for name in same} == {name: found[name] for name in same}
    assert "midtrans payment notification" == settled["status_message"]


async def test_a_lie_in_a_notification_is_found_out(desk: Desk) -> None:
    """It says paid, and nothing is; or it names what is not there."""
    await desk.charge("pesanan-1")
    (told,) = [json.loads(letter.body) for letter in desk.twin.post]
    check = desk.core.transactions.notification
    found = await desk.ask(check, told | {"transaction_status": "settlement", "status_code": "200"})
    assert ("201", "pending") == (found["status_code"], found["transaction_status"])
    assert (200, "404") == await desk.refused(check, told | {"transaction_id": str(uuid4())})


async def test_notifications_go_where_the_charge_says(desk: Desk) -> None:
    """By a header of the client; its check of a notification sends that header's name and value in the address."""
    desk.core.api_config.custom_headers = {"X-Override-Notification": "https://toko.example/kabar"}
    charged = await desk.charge("pesanan-1")
    assert "https://toko.example/kabar" == desk.twin.charges["pesanan-1"].notify_url
    found = await desk.ask(desk.core.transactions.notification, charged)
    assert charged["transaction_id"] == found["transaction_id"]


async def test_a_wrong_key(desk: Desk) -> None:
    """401, by HTTP and in the body, for whatever is asked, and nothing is done."""
    await desk.charge("pesanan-1")
    desk.core.api_config.server_key = "kunci-lain"
    verbs = desk.core.transactions
    for verb in (verbs.status, verbs.cancel, verbs.expire, verbs.refund):
        assert (401, "401") == await desk.refused(verb, "pesanan-1")
    assert (401, "401") == await desk.refused(desk.core.charge, {"payment_type": "qris"})
    assert ["pending"] == [charge.status for charge in desk.twin.charges.values()]


async def test_an_unknown_order(desk: Desk) -> None:
    """404 in the body of an answer that went well, as HTTP has it."""
    verbs = desk.core.transactions
    for verb in (verbs.status, verbs.cancel, verbs.expire, verbs.refund, verbs.refundDirect):
        assert (200, "404") == await desk.refused(verb, "tidak-ada")


@pytest.mark.parametrize("state", ["pending", "settlement"])
async def test_an_order_is_charged_once(desk: Desk, state: str) -> None:
    """406 while it can be paid and once it is, by whichever channel; the first charge is as it was."""
    charged = await desk.charge("pesanan-1")
    if state == "settlement":
        desk.twin.pay("pesanan-1")
    details = {"order_id": "pesanan-1", "gross_amount": AMOUNT_IDR}
    for kind in ("qris", "bank_transfer"):
        again = {"payment_type": kind, "transaction_details": details}
        assert (200, "406") == await desk.refused(desk.core.charge, again)
    found = await desk.ask(desk.core.transactions.status, "pesanan-1")
    assert (charged["transaction_id"], state) == (found["transaction_id"], found["transaction_status"])


@pytest.mark.parametrize("amount", [0, -1, "25000", None, 2.5])
async def test_an_amount_that_is_none(desk: Desk, amount: object) -> None:
    """400, and no charge."""
    details = {"order_id": "pesanan-1", "gross_amount": amount}
    wish = {"payment_type": "qris", "transaction_details": details}
    assert (200, "400") == await desk.refused(desk.core.charge, wish)
    assert (200, "404") == await desk.refused(desk.core.transactions.status, "pesanan-1")


async def test_no_wish_at_all(desk: Desk) -> None:
    """500 in the body, where one would expect 400."""
    assert (200, "500") == await desk.refused(desk.core.charge, None)


async def test_both_clients_see_the_same_transaction(desk: Desk) -> None:
    """What our adapter charges and refunds, Midtrans's client finds, under the same ids and keys."""
    provider = MidtransProvider(desk.url, desk.twin.key, bank="bca", now=lambda: desk.twin.now)
    for amount_idr, channel in ((AMOUNT_IDR, Channel.QRIS), (10_000_001, Channel.VIRTUAL_ACCOUNT)):
        request = asked(desk.twin, amount_idr=amount_idr, channel=channel)
        ours = await provider.create_charge(request)
        found = await desk.ask(desk.core.transactions.status, str(request.order_id))
        assert (ours.reference, f"{amount_idr}.00") == (found["transaction_id"], found["gross_amount"])
        desk.twin.pay(str(request.order_id))
        back = await provider.refund(request.order_id, ours.reference, amount_idr=amount_idr, refund_key="kembali")
        found = await desk.ask(desk.core.transactions.status, ours.reference)
        told = await provider.refund_status(request.order_id, ours.reference, refund_key="kembali")
        if amount_idr == AMOUNT_IDR:
            assert ("refund", "kembali") == (found["transaction_status"], found["refunds"][0]["refund_key"])
            assert ("done", "done") == (back.state, told.state)
        else:
            assert ("settlement", "bca") == (found["transaction_status"], found["va_numbers"][0]["bank"])
            assert ("declined", VIRTUAL_ACCOUNT) == (back.state, told.trouble)
    await provider.close()
