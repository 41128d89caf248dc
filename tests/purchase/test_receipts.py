"""Receipts: what a paid order cost, in figures and in words, for its owner only."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pikepdf
import pypdfium2
import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from shops import Shop, refuse, token_of

from emeterai.accounts.callers import SignInFirst, redirect_to_sign_in
from emeterai.core.refusal import Refused
from emeterai.infra.ids import new_id
from emeterai.purchase import receipt_routes
from emeterai.purchase.receipt_pdf import receipt_pdf
from emeterai.purchase.receipts import Receipt, Receipts, in_words, receipt_of
from emeterai.purchase.service import Order
from emeterai.purchase.tracking import tracking_code
from emeterai.web.credentials import SESSION_COOKIE


@pytest.fixture
async def owner(shop: Shop) -> tuple[str, UUID]:
    """Somebody with an account: the session's token, and the account."""
    token = await token_of(shop, "siti@contoh.id")
    return token, (await shop.accounts.identify(token)).account_id


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the receipts."""
    app = Litestar(
        [*receipt_routes.controllers], exception_handlers={SignInFirst: redirect_to_sign_in, Exception: refuse}
    )
    app.state["services"] = shop
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:
        yield http


async def paid(shop: Shop, account: UUID, quantity: int = 3) -> Order:
    """A paid order."""
    order = await shop.purchase.create_order(account, quantity)
    await shop.notify(order)
    return await shop.purchase.order(account, order.id)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "nol"),
        (1, "satu"),
        (11, "sebelas"),
        (19, "sembilan belas"),
        (20, "dua puluh"),
        (100, "seratus"),
        (111, "seratus sebelas"),
        (1_000, "seribu"),
        (1_999, "seribu sembilan ratus sembilan puluh sembilan"),
        (10_000, "sepuluh ribu"),
        (11_000, "sebelas ribu"),
        (101_000, "seratus satu ribu"),
        (25_500, "dua puluh lima ribu lima ratus"),
        (1_000_000, "satu juta"),
        (12_345_678, "dua belas juta tiga ratus empat puluh lima ribu enam ratus tujuh puluh delapan"),
        (1_000_000_001, "satu miliar satu"),
    ],
)
def test_numbers_in_words(number: int, words: str) -> None:
    """As a receipt has them: one hundred and one thousand with "se"."""
    assert words == in_words(number)


_DIGITS = "nol satu dua tiga empat lima enam tujuh delapan sembilan"
_VALUES = {
    **{word: value for value, word in enumerate(_DIGITS.split())},
    "sepuluh": 10,
    "sebelas": 11,
}


def number_of(words: str) -> int:
    """Read the words again, by other rules than they were written with."""
    total = part = digit = 0
    scales = {"ribu": 10**3, "juta": 10**6, "miliar": 10**9, "triliun": 10**12}
    for word in words.replace("seratus", "satu ratus").replace("seribu", "satu ribu").split():
        if word in _VALUES:
            part, digit = part + digit, _VALUES[word]
        elif word == "belas":
            part, digit = part + digit + 10, 0
        elif word in {"puluh", "ratus"}:
            part, digit = part + digit * {"puluh": 10, "ratus": 100}[word], 0
        else:
            total, part, digit = total + (part + digit) * scales[word], 0, 0
    return total + part + digit


@given(st.integers(0, 10**15 - 1))
def test_words_say_the_number(number: int) -> None:
    """Every amount, read again."""
    assert number == number_of(in_words(number))


def test_what_cannot_be_written_is_an_error() -> None:
    """Below zero and beyond fifteen digits there are no amounts."""
    for number in (-1, 10**15):
        with pytest.raises(ValueError, match="words"):
            in_words(number)


async def test_a_receipt_tells_tax_and_fee_apart(shop: Shop, owner: tuple[str, UUID]) -> None:
    """And how anyone can check it."""
    order = await paid(shop, owner[1])
    receipt = await Receipts(shop.purchase, shop.settings).receipt(owner[1], order.id)
    assert (30_000, 7_500, 37_500) == (receipt.duty_idr, receipt.fee_idr, receipt.total_idr)
    assert "tiga puluh tujuh ribu lima ratus rupiah" == receipt.total_in_words
    assert receipt.number.startswith("BP-2")
    assert receipt.number.endswith(order.number)
    assert tracking_code(order.id, order.payment_transfer) == receipt.tracking_code
    assert f"{shop.settings.base_url}/lacak?nomor={order.number}" == receipt.verify_url


async def test_only_paid_orders_have_one_and_only_for_their_owner(shop: Shop, owner: tuple[str, UUID]) -> None:
    """Somebody else's order is unknown, one without money has none yet."""
    receipts = Receipts(shop.purchase, shop.settings)
    order = await paid(shop, owner[1])
    with pytest.raises(Refused, match="order_unknown"):
        await receipts.receipt(new_id(), order.id)
    open_order = await shop.purchase.place_order(owner[1], 1)
    with pytest.raises(Refused, match="receipt_not_yet"):
        await receipts.receipt(owner[1], open_order.id)


def picture(pdf: bytes) -> tuple[str, list[str]]:
    """What a reader sees on the page: its text, and what its QR codes say."""
    document = pypdfium2.PdfDocument(pdf)
    page = document[0]
    text = page.get_textpage().get_text_range()
    codes = [found.text for found in zxingcpp.read_barcodes(page.render(scale=3).to_pil())]
    assert 1 == len(document)
    document.close()
    return text, codes


async def test_the_pdf_says_the_same(shop: Shop, owner: tuple[str, UUID]) -> None:
    """Every line of it, read by another library; the QR code leads to the tracker."""
    receipt = receipt_of(await paid(shop, owner[1]), base_url=shop.settings.base_url)
    content = receipt_pdf(receipt, specimen=True)
    text, codes = picture(content)
    for shown in (receipt.number, receipt.order_number, "Rp30.000", "Rp7.500", "Rp37.500", "SPESIMEN", "Biaya layanan"):
        assert shown in text
    assert receipt.total_in_words in " ".join(text.split())
    assert receipt.tracking_code in text
    assert [receipt.verify_url] == codes
    assert "SPESIMEN" not in picture(receipt_pdf(receipt, specimen=False))[0]
    with pikepdf.open(io.BytesIO(content)) as pdf:
        assert [] == pdf.check_pdf_syntax()
        assert receipt.number in str(pdf.docinfo["/Title"])


def test_the_largest_amount_and_a_long_address_fit_the_page() -> None:
    """Nothing runs off the paper: every character is found within it."""
    receipt = Receipt(
        number="BP-20261121-4F7K-2M9Q",
        issuer="emeterai, meterai.example",
        order_id=new_id(),
        order_number="4F7K-2M9Q",
        paid_at=datetime(2026, 11, 21, tzinfo=UTC),
        quantity=1_000_000_000,
        duty_each_idr=10_000,
        duty_idr=777_777_777_777_777,
        fee_idr=0,
        total_idr=777_777_777_777_777,
        total_in_words=f"{in_words(777_777_777_777_777)} rupiah",
        channel="Virtual account BNI",
        provider="Midtrans",
        tracking_code="0417",
        verify_url=f"https://{'meterai.' * 12}example/lacak?nomor=4F7K-2M9Q",
    )
    page = pypdfium2.PdfDocument(receipt_pdf(receipt, specimen=True))[0]
    text = page.get_textpage()
    boxes = [text.get_charbox(place) for place in range(text.count_chars())]
    width, height = page.get_size()
    assert all(left >= 30 and right <= width - 30 for left, _, right, _ in boxes)
    assert all(bottom >= 20 and top <= height for _, bottom, _, top in boxes)


async def test_programs_choose_the_form(shop: Shop, owner: tuple[str, UUID], client: httpx.AsyncClient) -> None:
    """JSON, or a PDF by `Accept`; a stranger gets neither."""
    order, bearer = await paid(shop, owner[1]), {"authorization": f"Bearer {owner[0]}"}
    path = f"/v1/orders/{order.id}/receipt"
    found = await client.get(path, headers=bearer)
    assert (200, 37_500, "no-store") == (found.status_code, found.json()["total_idr"], found.headers["cache-control"])
    for accept, pdf in (
        ("application/pdf", True),
        ("application/pdf;q=0.1, application/json", False),
        ("*/*", False),
        ("text/html", False),
    ):
        answer = await client.get(path, headers={**bearer, "accept": accept})
        assert pdf == answer.content.startswith(b"%PDF"), accept
    assert 401 == (await client.get(path)).status_code
    other = {"authorization": f"Bearer {await token_of(shop, 'budi@contoh.id')}"}
    assert 404 == (await client.get(path, headers=other)).status_code


async def test_people_have_a_page_and_a_file(shop: Shop, owner: tuple[str, UUID], client: httpx.AsyncClient) -> None:
    """The page leads to the file; both want a person."""
    order = await paid(shop, owner[1])
    client.cookies.set(SESSION_COOKIE, owner[0])
    page = await client.get(f"/pesanan/{order.id}/bukti")
    assert "Terbilang: tiga puluh tujuh ribu lima ratus rupiah." in page.text
    assert f"/pesanan/{order.id}/bukti.pdf" in page.text
    file = await client.get(f"/pesanan/{order.id}/bukti.pdf")
    assert f'filename="bukti-{order.number}.pdf"' in file.headers["content-disposition"]
    assert file.content.startswith(b"%PDF")
    client.cookies.clear()
    assert 303 == (await client.get(f"/pesanan/{order.id}/bukti")).status_code
