"""Vouchers as people handle them: pages and forms, no JavaScript."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from test_buying_pages import fields_of
from voucher_shop import VoucherShop

from emeterai.infra.database import Database


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[VoucherShop]:
    """A shop with a thousand units; both audits end the test."""
    shop = await VoucherShop.open(db)
    yield shop
    await shop.desk.assert_sound()


@pytest.fixture
async def seller(shop: VoucherShop) -> AsyncIterator[httpx.AsyncClient]:
    """The seller's browser."""
    async with shop.browser("penjual@contoh.id") as client:
        yield client


@pytest.fixture
async def person(shop: VoucherShop) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of somebody with a voucher."""
    async with shop.browser("siti@contoh.id") as client:
        yield client


async def sent(browser: httpx.AsyncClient, page: str, action: str, **typed: str) -> httpx.Response:
    """Fill the form of a page that posts to `action`, and send it."""
    fields = fields_of(await browser.get(page), action) | typed
    return await browser.post(action, data=fields)


async def made(seller: httpx.AsyncClient, vouchers: str = "3") -> tuple[str, list[str]]:
    """Make a batch through the form and download its codes; gives its page and the codes."""
    answer = await sent(seller, "/voucher/paket", "/voucher/paket", vouchers=vouchers, units="5", label="Loket 3")
    assert 303 == answer.status_code, answer.text
    page = answer.headers["location"]
    lines = csv.DictReader(io.StringIO((await sent(seller, page, f"{page}/csv")).text))
    return page, [line["code"] for line in lines]


async def test_a_seller_makes_prints_activates_and_voids(seller: httpx.AsyncClient) -> None:
    """From the form to the counts on the page."""
    page, codes = await made(seller)
    assert 3 == len(codes)
    assert b"%PDF-" == (await sent(seller, page, f"{page}/lembar")).content[:5]
    assert "Sudah diunduh 2 kali" in (await seller.get(page)).text
    done = await sent(seller, page, f"{page}/aktifkan", activate_first="1", activate_last="2")
    assert "2 voucer diaktifkan" in (await seller.get(done.headers["location"])).text
    unsure = await sent(seller, page, f"{page}/batalkan", void_first="2", void_last="3")
    assert (422, True) == (unsure.status_code, "memang menghendakinya" in unsure.text)
    done = await sent(seller, page, f"{page}/batalkan", void_first="2", void_last="3", confirm="1")
    assert "10 kuota kembali ke stok" in (await seller.get(done.headers["location"])).text
    asked = await sent(seller, page, f"{page}/hapus-kode")
    assert (200, True) == (asked.status_code, "Hapus kodenya sekarang?" in asked.text)
    assert "Unduh lembar (PDF)" in (await seller.get(page)).text
    await sent(seller, page, f"{page}/hapus-kode", confirmed="ya")
    assert "Kodenya sudah kami hapus" in (await seller.get(page)).text
    assert page in (await seller.get("/voucher/paket")).text


async def test_the_till_activates_one_after_the_other(seller: httpx.AsyncClient) -> None:
    """The page comes back with the voucher's number and an empty field; a mistyped code says so and stays."""
    _, codes = await made(seller)
    till = "/voucher/kasir"
    assert "Voucer nomor 2" in (await sent(seller, till, till, code=codes[1])).text
    assert "sudah aktif sebelumnya" in (await sent(seller, till, till, code=codes[1])).text
    wrong = await sent(seller, till, till, code=codes[1][:-1])
    assert (422, True) == (wrong.status_code, f'value="{codes[1][:-1]}"' in wrong.text)


async def test_a_person_redeems_and_sees_what_came(seller: httpx.AsyncClient, person: httpx.AsyncClient) -> None:
    """Not before it is activated; then once, however often the form is sent."""
    page, codes = await made(seller)
    early = await sent(person, "/voucher", "/voucher", code=codes[0])
    assert (409, True) == (early.status_code, "belum diaktifkan di kasir" in early.text)
    await sent(seller, page, f"{page}/aktifkan", activate_first="1", activate_last="1")
    form = fields_of(await person.get("/voucher"), "/voucher") | {"code": codes[0].replace("-", " ").lower()}
    answers = [await person.post("/voucher", data=form) for _ in range(2)]
    assert [303, 303] == [answer.status_code for answer in answers]
    shown = await person.get(answers[1].headers["location"])
    assert "5 kuota sudah masuk ke akun Anda" in shown.text
    again = await sent(person, "/voucher", "/voucher", code=codes[0])
    assert "Voucer ini sudah Anda tukarkan pada" in again.text
    assert 404 == (await seller.get(answers[0].headers["location"])).status_code


async def test_too_many_wrong_codes_say_when_to_try_again(person: httpx.AsyncClient) -> None:
    """On the page too, with the header."""
    for _ in range(10):
        await sent(person, "/voucher", "/voucher", code="0000-0000-0000-0000")
    answer = await sent(person, "/voucher", "/voucher", code="0000-0000-0000-0000")
    assert (429, True) == (answer.status_code, "Tunggu 15 menit" in answer.text)
    assert 0 < int(answer.headers["retry-after"]) <= 900


async def test_whoever_looks_without_an_account_is_told_what_to_do(shop: VoucherShop) -> None:
    """The page that the QR code opens asks to sign in and leads back; the sellers' pages send there."""
    async with shop.browser("") as stranger:
        page = await stranger.get("/voucher")
        assert (200, True) == (page.status_code, "/masuk?next=/voucher" in page.text)
        for path in ("/voucher/paket", "/voucher/kasir"):
            assert "/masuk?next=" in (await stranger.get(path)).headers["location"]


async def test_who_keeps_no_stock_is_told_so(person: httpx.AsyncClient) -> None:
    """And is shown where vouchers are redeemed."""
    page = await person.get("/voucher/paket")
    assert "Akun ini tidak memegang stok" in page.text
    assert "Paket voucer saya" not in (await person.get("/voucher")).text


async def test_a_form_that_cannot_be_comes_back_with_its_reason(seller: httpx.AsyncClient) -> None:
    """What was typed is still there."""
    path = "/voucher/paket"
    for typed in ("0", "banyak", "2401", "9" * 30, "2.4"):
        answer = await sent(seller, path, path, vouchers=typed, units="1")
        assert (422, True) == (answer.status_code, f'value="{typed}"' in answer.text)
    poor = await sent(seller, path, path, vouchers="1000", units="1000")
    assert (402, True) == (poor.status_code, "Kuota Anda tidak cukup" in poor.text)
    page, _ = await made(seller)
    for first, last in (("0", "2"), ("2", "1"), ("1", "4"), ("x", "")):
        answer = await sent(seller, page, f"{page}/aktifkan", activate_first=first, activate_last=last)
        assert (422, True) == (answer.status_code, "nomor 1 sampai 3" in answer.text)


async def test_forms_of_others_are_refused(seller: httpx.AsyncClient, person: httpx.AsyncClient) -> None:
    """Without our hidden field nothing is made, handed out, activated, voided or redeemed."""
    page, codes = await made(seller)
    targets = [
        *((seller, f"{page}/{step}") for step in ("lembar", "csv", "hapus-kode", "aktifkan", "batalkan")),
        (seller, "/voucher/paket"),
        (seller, "/voucher/kasir"),
        (person, "/voucher"),
    ]
    for browser, target in targets:
        answer = await browser.post(target, data={"code": codes[0], "confirm": "1"})
        assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])
    assert re.search(r"Belum diaktifkan.*?>3<", (await seller.get(page)).text, re.DOTALL)
