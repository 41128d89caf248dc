"""Several providers at once: orders go to one that is well, and each is paid once whoever tells of it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import zxingcpp
from counters import Till, midtrans, till, xendit
from PIL import Image
from shops import Shop, token_of

from emeterai.accounts.service import Accounts
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings, SettingsError
from emeterai.ledger.check import check_ledger
from emeterai.purchase.choosing import pay_page_urls, payment_providers
from emeterai.purchase.midtrans import MidtransProvider
from emeterai.web.credentials import SESSION_COOKIE
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles
from twins.midtrans_twin import MidtransTwin
from twins.xendit_twin import XenditTwin


@dataclass
class Two:
    """A shop with Midtrans before Xendit, and a clock for their circuits."""

    shop: Till[MidtransTwin]
    first: MidtransTwin
    second: XenditTwin
    now_s: float = 0.0


@pytest.fixture
async def two(db: Database) -> AsyncIterator[Two]:
    """A shop with two providers. The audit ends the test."""
    first, second = MidtransTwin(), XenditTwin(now=utc_now())
    two: Two
    providers = [midtrans(first, clock=lambda: two.now_s), xendit(second, clock=lambda: two.now_s)]
    two = Two(till(db, first, [*providers]), first, second)
    yield two
    for provider in providers:
        await provider.close()
    report = await check_ledger(db)
    assert report.holds_true, report.rules


async def test_the_first_provider_is_taken_while_it_is_well(two: Two) -> None:
    """In the order of the settings."""
    assert "midtrans" == (await two.shop.order()).provider
    assert [] == two.second.asked


async def test_when_the_first_is_down_another_takes_over_within_the_same_request(two: Two) -> None:
    """The buyer notices nothing, and pays there."""
    two.first.day.down = True
    order = await two.shop.order()
    assert ("xendit", True) == (order.provider, order.is_payable)
    two.second.pay(str(order.id))
    await two.shop.sweep(order)
    assert ("paid", 2) == await two.shop.state_of(order)


async def test_a_provider_that_is_down_is_left_alone_and_found_well_again(two: Two) -> None:
    """Its circuit is open after the first order; the next order does not even try. After a rest it is back."""
    two.first.day.down = True
    await two.shop.order()
    before = len(two.first.asked)
    two.first.day.down = False
    assert "xendit" == (await two.shop.order()).provider
    assert before == len(two.first.asked)
    two.now_s = 15.0
    assert "midtrans" == (await two.shop.order()).provider


async def test_when_all_are_down_the_order_waits_and_nothing_is_owed(two: Two) -> None:
    """The same key goes on with the same order when one of them is back."""
    two.first.day.down = two.second.day.down = True
    account = new_id()
    with pytest.raises(Refused, match="provider_unavailable"):
        await two.shop.purchase.create_order(account, 2, idempotency_key="k")
    (waiting,) = await two.shop.purchase.orders(account)
    two.second.day.down, two.now_s = False, 15.0
    order = await two.shop.purchase.create_order(account, 2, idempotency_key="k")
    assert (waiting.id, "xendit") == (order.id, order.provider)


async def test_a_charge_that_nobody_saw_is_not_lost_money(two: Two) -> None:
    """Opened at the first, which answered 500 each time; the buyer got the second's code. Paid at both: one credit."""
    two.first.day.fails_after_doing = 3
    order = await two.shop.order()
    assert "xendit" == order.provider
    two.second.pay(str(order.id))
    await two.shop.sweep(order)
    two.first.pay(str(order.id))
    await two.first.deliver(two.shop.hear)
    assert ("paid", 2) == await two.shop.state_of(order)


async def test_one_provider_s_token_does_not_settle_another_s_order(two: Two) -> None:
    """Xendit's token proves nothing about an order at Midtrans: Midtrans is asked, and knows of no money."""
    order = await two.shop.order()
    data = {"reference_id": str(order.id), "status": "SUCCEEDED", "request_amount": 25_000}
    content = json.dumps({"event": "payment.capture", "data": data})
    two.shop.name = "xendit"
    assert 200 == await two.shop.hear({"x-callback-token": two.second.token}, content.encode())
    assert ("awaiting_payment", 0) == await two.shop.state_of(order)


async def shown(two: Two, quantity: int) -> tuple[str, str]:
    """An order's page as its buyer sees it, and the order as the API tells it."""
    csrf = Csrf(b"x" * 32, https=False)
    pages = Pages(csrf, specimen=True, static=StaticFiles())
    accounts = Accounts(two.shop.db, session_life_s=3600)
    settings = Settings(public_url="http://shop")
    parts = (two.shop.db, two.shop.ledger, accounts, two.shop.purchase, midtrans(two.first), settings, pages, csrf, b"")
    shop = Shop(*parts)
    token = await token_of(shop, "siti@contoh.id")
    transport = httpx.ASGITransport(shop.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        bearer = {"authorization": f"Bearer {token}"}
        order = await http.post("/v1/orders", json={"quantity": quantity}, headers=bearer)
        http.cookies.set(SESSION_COOKIE, token)
        page = await http.get(f"/pesanan/{order.json()['id']}")
    return page.text, order.text


def read_qr(path: str, side: int) -> str:
    """What a phone reads from the path of a QR code."""
    picture = Image.new("L", (side * 8, side * 8), 255)
    for x, y, width, height in (map(int, each) for each in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-\d+z", path)):
        picture.paste(0, (x * 8, y * 8, (x + width) * 8, (y + height) * 8))
    (found,) = zxingcpp.read_barcodes(picture)
    return found.text


async def test_the_page_of_an_order_shows_the_qris_code_and_a_phone_reads_it(two: Two) -> None:
    """The same text that the API gives."""
    page, order = await shown(two, 2)
    (path,) = re.findall(r'<path d="(M[^"]+z)" fill="#000"', page)
    side = re.findall(r'viewBox="0 0 (\d+) ', page)[-1]
    code = json.loads(order)["payment_code"]
    assert ("qris", code["text"]) == (code["channel"], read_qr(path, int(side)))


async def test_the_page_of_a_large_order_shows_the_virtual_account(two: Two) -> None:
    """Bank and number, the same as in the API."""
    page, order = await shown(two, 1000)
    code = json.loads(order)["payment_code"]
    assert "virtual_account" == code["channel"]
    assert code["text"] in page
    assert "BNI" in page


def secret_file(folder: Path, text: str) -> str:
    """A file with a secret in it."""
    file = folder / "rahasia"
    file.write_text(text, encoding="utf-8")
    return str(file)


async def test_the_settings_choose_the_providers_and_their_order(tmp_path: Path) -> None:
    """Keys come from files: the first line, without its end."""
    file = secret_file(tmp_path, "kunci\nand a note\n")
    settings = Settings(
        data_dir=str(tmp_path),
        payment_providers="midtrans, xendit,sandbox",
        midtrans_server_key_file=file,
        xendit_secret_key_file=file,
        xendit_callback_token_file=file,
    )
    providers = payment_providers(settings)
    for provider in providers:
        await provider.close()
    assert ["midtrans", "xendit", "sandbox"] == [provider.name for provider in providers]
    assert isinstance(providers[0], MidtransProvider)
    assert "kunci" == providers[0]._server_key
    assert (settings.midtrans_url, settings.sandbox_page_url) == pay_page_urls(settings)


def test_a_bank_that_only_one_provider_knows_stops_the_start(tmp_path: Path) -> None:
    """The virtual accounts of all providers are at the same bank."""
    with pytest.raises(SettingsError, match="EMETERAI_PAYMENT_BANK"):
        payment_providers(Settings(data_dir=str(tmp_path), payment_bank="bank sendiri"))


async def test_the_sandbox_is_the_default(tmp_path: Path) -> None:
    """No account anywhere is needed."""
    (provider,) = payment_providers(Settings(data_dir=str(tmp_path)))
    await provider.close()
    assert "sandbox" == provider.name


@pytest.mark.parametrize("names", ["", ",", "paypal", "sandbox,sandbox", "midtrans", "xendit"])
@pytest.mark.parametrize("file", ["", "/nowhere/at/all", "empty"])
def test_settings_that_cannot_work_stop_the_start(tmp_path: Path, names: str, file: str) -> None:
    """An unknown provider, one named twice, a key that is missing, unreadable or empty."""
    file = secret_file(tmp_path, "\n") if file == "empty" else file
    settings = Settings(
        data_dir=str(tmp_path), payment_providers=names, midtrans_server_key_file=file, xendit_secret_key_file=file
    )
    with pytest.raises(SettingsError, match="EMETERAI_"):
        payment_providers(settings)
