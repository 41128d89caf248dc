"""The sheets as they come out of the printer: every code can be scanned, and read."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pikepdf
import pypdfium2
import pytest
import zxingcpp

from emeterai.core.voucher_code import CodeBook, grouped_code, is_code, tidy_code
from emeterai.infra.ids import new_id
from emeterai.purchase.voucher_model import VOUCHERS_MAX, Batch, Counts
from emeterai.purchase.voucher_sheets import LABELS_A_SHEET, Sheet, codes_csv, sheets_pdf

SHEET = Sheet("https://meterai.example/voucher", specimen=False)


def batch_of(vouchers: int, *, label: str = "Kantor Pos Bandung") -> tuple[Batch, list[str]]:
    """A batch and its codes."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    batch = Batch(
        id=new_id(),
        stock_id=new_id(),
        label=label,
        vouchers=vouchers,
        units=5,
        counts=Counts(vouchers, 0, 0, 0),
        codes_until=now,
        downloads=0,
        first_downloaded_at=None,
        created_at=now,
    )
    return batch, CodeBook(bytes(range(32)), vouchers).codes()


def scanned(pdf: bytes, *, dpi: int) -> set[str]:
    """What every QR code on every page says, as PDFium draws it at this resolution."""
    document = pypdfium2.PdfDocument(pdf)
    pictures = [page.render(scale=dpi / 72, grayscale=True).to_pil() for page in document]
    return {found.text for picture in pictures for found in zxingcpp.read_barcodes(picture)}


@pytest.mark.parametrize(("vouchers", "dpi"), [(1, 150), (LABELS_A_SHEET, 110), (LABELS_A_SHEET + 1, 150)])
def test_every_code_on_every_sheet_is_scanned(vouchers: int, dpi: int) -> None:
    """Also where the printer is poor; and the scanned link is read as its code."""
    batch, codes = batch_of(vouchers)
    found = scanned(sheets_pdf(SHEET, batch, codes), dpi=dpi)
    assert {f"https://meterai.example/voucher#{code}" for code in codes} == found
    assert set(codes) == {tidy_code(text) for text in found}


def test_the_code_is_behind_the_hash_so_that_no_server_sees_it() -> None:
    """What a browser sends of the link is the same for every voucher."""
    assert "https://meterai.example/voucher" == SHEET.link("X").partition("#")[0]


def test_each_label_says_what_it_is_in_two_languages() -> None:
    """Code in groups, units, number, batch, and where to redeem it."""
    batch, codes = batch_of(2)
    text = pypdfium2.PdfDocument(sheets_pdf(SHEET, batch, codes))[0].get_textpage().get_text_bounded()
    for code in codes:
        first, second = grouped_code(code[:8]), grouped_code(code[8:])
        assert f"{first}\r\n{second}" in text
    for words in (
        "VOUCER KUOTA E-METERAI",
        "untuk 5 meterai / 5 stamps",
        "No. 2 / 2",
        f"Paket {batch.number}",
        "meterai.example/voucher",
        "Berlaku setelah diaktifkan di kasir",
        "Good once activated at the till",
        "Kantor Pos Bandung",
    ):
        assert words in text
    assert "SPESIMEN" not in text


def test_a_specimen_says_so_on_every_label() -> None:
    """Nobody sells one that has no value."""
    batch, codes = batch_of(3)
    pdf = sheets_pdf(Sheet("http://127.0.0.1:8080/voucher", specimen=True), batch, codes)
    text = pypdfium2.PdfDocument(pdf)[0].get_textpage().get_text_bounded()
    assert 3 == text.count("SPESIMEN, TANPA NILAI")


@pytest.mark.parametrize("label", ["(Loket) \\ 3", "中文 loket", "x" * 60, "ß é – …"])
def test_any_name_is_printed_or_replaced(label: str) -> None:
    """Whatever a seller types, the file is whole and the codes are there."""
    batch, codes = batch_of(1, label=label)
    pdf = sheets_pdf(SHEET, batch, codes)
    with pikepdf.open(io.BytesIO(pdf)) as document:
        assert [] == document.check_pdf_syntax()
        assert "/None" == str(document.Root.ViewerPreferences.PrintScaling)
    assert 1 == len(scanned(pdf, dpi=110))


def test_the_largest_batch_is_a_hundred_sheets() -> None:
    """In a file that can be sent on a weak signal."""
    batch, codes = batch_of(VOUCHERS_MAX)
    pdf = sheets_pdf(SHEET, batch, codes)
    assert 100 == len(pypdfium2.PdfDocument(pdf))
    assert len(pdf) < 1_500_000


def test_the_csv_has_a_line_for_each_voucher() -> None:
    """Number, grouped code, units, link."""
    batch, codes = batch_of(3)
    lines = list(csv.reader(io.StringIO(codes_csv(SHEET, batch, codes).decode(), newline="")))
    assert ["number", "code", "units", "url"] == lines[0]
    assert [[str(n), grouped_code(code), "5", SHEET.link(code)] for n, code in enumerate(codes, 1)] == lines[1:]
    assert all(is_code(tidy_code(line[1])) for line in lines[1:])
