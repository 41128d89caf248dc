"""The codes of a batch as they are handed out, once: sheets of 3 x 8 labels on A4 as PDF, and CSV.

Black on white, no emblem and no picture of a stamp: a voucher is not one. Texts are in the viewer's own Helvetica and
Courier (ISO 32000-2, 9.6.2.2), QR codes are vectors. Lengths are in points, origin bottom left.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pikepdf
from pikepdf import Array, Dictionary, Name, String

from emeterai.core.voucher_code import CODE_LENGTH, grouped_code
from emeterai.purchase.voucher_model import Batch
from emeterai.seal.qr import QUIET_MODULES, qr_path
from emeterai.web.formats import number

COLUMNS, ROWS = 3, 8
LABELS_A_SHEET = COLUMNS * ROWS
_WIDTH, _HEIGHT = 595.28, 841.89
_SIDE, _HEAD, _FOOT = 28.0, 56.0, 42.0
"""What stays free at the left and right, above and below the labels: no printer prints up to the edge."""
_LABEL_WIDTH = (_WIDTH - 2 * _SIDE) / COLUMNS
_LABEL_HEIGHT = (_HEIGHT - _HEAD - _FOOT) / ROWS
_QR_SIDE = 70.0
_TEXT_X = _QR_SIDE + 9
_TEXT_WIDTH = _LABEL_WIDTH - _TEXT_X - 7
_FONTS = {"/R": "Helvetica", "/B": "Helvetica-Bold", "/C": "Courier-Bold"}
_EM_OF = {"R": 0.56, "B": 0.6, "C": 0.6}
"""How wide a character is taken to be at most on average, in parts of the size of its letters."""
_GREY = "0.35 g"
_BLACK = "0 g"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is the same on every sheet of an installation: where vouchers are redeemed, and whether it is a specimen."""

    redeem_url: str
    specimen: bool

    def link(self, code: str) -> str:
        """What the QR code of a voucher says. The code is behind the `#`, so that it comes into nobody's log."""
        return f"{self.redeem_url}#{code}"

    @property
    def address(self) -> str:
        """Where to go, as a person types it."""
        return self.redeem_url.partition("://")[2] or self.redeem_url


def codes_csv(sheet: Sheet, batch: Batch, codes: Sequence[str]) -> bytes:
    """One line for each voucher (RFC 4180): its number, grouped code, units and link."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["number", "code", "units", "url"])
    for index, code in enumerate(codes, 1):
        writer.writerow([index, grouped_code(code), batch.units, sheet.link(code)])
    return text.getvalue().encode()


def sheets_pdf(sheet: Sheet, batch: Batch, codes: Sequence[str]) -> bytes:
    """The sheets of a batch as PDF, to be printed at their own size and cut along the dashed lines."""
    with pikepdf.new() as pdf:
        fonts = {
            name: pdf.make_indirect(
                Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name(f"/{base}"), Encoding=Name.WinAnsiEncoding)
            )
            for name, base in _FONTS.items()
        }
        resources = pdf.make_indirect(Dictionary(Font=Dictionary(fonts)))
        for content in _pages(sheet, batch, codes):
            page = pdf.add_blank_page(page_size=(_WIDTH, _HEIGHT))
            page.obj.Resources = resources
            page.obj.Contents = pdf.make_stream(content)
        pdf.Root.Lang = String("id-ID")
        pdf.Root.ViewerPreferences = Dictionary(
            PrintScaling=Name("/None"), DisplayDocTitle=True, Enforce=Array([Name.PrintScaling])
        )
        pdf.docinfo["/Title"] = f"Voucer kuota e-meterai, paket {batch.number}"
        file = io.BytesIO()
        pdf.save(file, compress_streams=True, recompress_flate=False)
        return file.getvalue()


def _pages(sheet: Sheet, batch: Batch, codes: Sequence[str]) -> Iterator[bytes]:
    sheets = -(-len(codes) // LABELS_A_SHEET)
    for index in range(sheets):
        first = index * LABELS_A_SHEET
        parts = [*_frame(sheet, batch, sheet_number=index + 1, sheets=sheets), _cutting_lines()]
        for place, code in enumerate(codes[first : first + LABELS_A_SHEET]):
            row, column = divmod(place, COLUMNS)
            x, y = _SIDE + column * _LABEL_WIDTH, _HEIGHT - _HEAD - (row + 1) * _LABEL_HEIGHT
            parts.append(f"q 1 0 0 1 {x:.2f} {y:.2f} cm")
            parts += _label(sheet, batch, code=code, voucher=first + place + 1)
            parts.append("Q")
        yield "\n".join(parts).encode("cp1252")


def _frame(sheet: Sheet, batch: Batch, *, sheet_number: int, sheets: int) -> Iterator[str]:
    """What stands above and below the labels: which batch, which sheet, and what to do, in both languages."""
    top, right = _HEIGHT - 26, _SIDE + 2 * _LABEL_WIDTH
    title = f"Voucer kuota e-meterai{f': {batch.label}' if batch.label else ''}"
    yield _text("B", 12, title, x=_SIDE, y=top, room=2 * _LABEL_WIDTH - 12)
    yield _text("R", 7.5, "Jaga seperti uang tunai. Berlaku setelah diaktifkan di kasir.", x=_SIDE, y=top - 12)
    english = "Keep them like cash. Good once activated at the till."
    yield _text("R", 6.5, english, x=_SIDE, y=top - 20.5, colour=_GREY)
    yield _text("B", 9, f"Paket {batch.number}", x=right, y=top, room=_LABEL_WIDTH)
    of_all = f"Lembar {sheet_number} dari {sheets}: {number(batch.vouchers)} voucer @ {number(batch.units)} kuota"
    yield _text("R", 7.5, of_all, x=right, y=top - 12, room=_LABEL_WIDTH)
    english = f"Sheet {sheet_number} of {sheets}: {batch.vouchers} vouchers of {batch.units} units"
    yield _text("R", 6.5, english, x=right, y=top - 20.5, room=_LABEL_WIDTH, colour=_GREY)
    how = f"Menukar: buka {sheet.address}, masuk, ketik 16 huruf dan angka. Sekali saja. Kuota tidak kedaluwarsa."
    yield _text("R", 7.5, how, x=_SIDE, y=25, room=_WIDTH - 2 * _SIDE)
    how = f"To redeem: open {sheet.address}, sign in, type the 16 letters and digits. Once only. Quota never expires."
    yield _text("R", 6.5, how, x=_SIDE, y=16, room=_WIDTH - 2 * _SIDE, colour=_GREY)


def _cutting_lines() -> str:
    low, high = _FOOT, _HEIGHT - _HEAD
    lines = [
        f"{_SIDE + column * _LABEL_WIDTH:.2f} {low - 6:.2f} m {_SIDE + column * _LABEL_WIDTH:.2f} {high + 6:.2f} l"
        for column in range(COLUMNS + 1)
    ]
    lines += [
        f"{_SIDE - 8:.2f} {low + row * _LABEL_HEIGHT:.2f} m {_WIDTH - _SIDE + 8:.2f} {low + row * _LABEL_HEIGHT:.2f} l"
        for row in range(ROWS + 1)
    ]
    return f"q 0.55 G 0.4 w [2.5 2.5] 0 d {' '.join(lines)} S Q"


def _label(sheet: Sheet, batch: Batch, *, code: str, voucher: int) -> Iterator[str]:
    """One voucher, from its own lower left corner: the QR code at the left, all that people read beside it."""
    top, half = _LABEL_HEIGHT - 14, CODE_LENGTH // 2
    yield _qr(sheet.link(code), x=3, y=_LABEL_HEIGHT - _QR_SIDE - 3)
    if sheet.specimen:
        yield f"q {_BLACK} {_TEXT_X - 2:.2f} {top - 3:.2f} {_TEXT_WIDTH + 2:.2f} 9.5 re f Q"
        yield _text("B", 6, "SPESIMEN, TANPA NILAI", x=_TEXT_X + 1, y=top - 0.5, room=_TEXT_WIDTH, colour="1 g")
    else:
        yield _text("B", 6.5, "VOUCER KUOTA E-METERAI", x=_TEXT_X, y=top, room=_TEXT_WIDTH)
    stamps = "1 stamp" if batch.units == 1 else f"{batch.units} stamps"
    yield _text("B", 15, f"{number(batch.units)} kuota", x=_TEXT_X, y=top - 17, room=_TEXT_WIDTH)
    yield _text("R", 6, f"untuk {number(batch.units)} meterai / {stamps}", x=_TEXT_X, y=top - 25, room=_TEXT_WIDTH)
    yield _text("C", 15.2, grouped_code(code[:half]), x=_TEXT_X, y=top - 41, room=_TEXT_WIDTH)
    yield _text("C", 15.2, grouped_code(code[half:]), x=_TEXT_X, y=top - 55.5, room=_TEXT_WIDTH)
    yield _text("R", 6.5, f"Tukar di / redeem at {sheet.address}", x=9, y=14, room=_LABEL_WIDTH - 18)
    origin = f"No. {voucher} / {batch.vouchers}   Paket {batch.number}"
    yield _text("R", 6, origin, x=9, y=6.5, room=_LABEL_WIDTH - 18, colour=_GREY)


def _qr(content: str, *, x: float, y: float) -> str:
    modules, path = qr_path(content)
    module = _QR_SIDE / (modules + 2 * QUIET_MODULES)
    quiet = QUIET_MODULES * module
    return f"q {_BLACK} {module:.5f} 0 0 {module:.5f} {x + quiet:.3f} {y + quiet:.3f} cm\n{path.decode()}f\nQ"


def _text(
    font: str, size: float, text: str, *, x: float, y: float, room: float | None = None, colour: str = _BLACK
) -> str:
    """A line of text, smaller where it would not fit into `room`; what the fonts do not have becomes a "?"."""
    written = text.encode("cp1252", "replace").decode("cp1252")
    if room is not None:
        size = min(size, room / (_EM_OF[font] * max(len(written), 1)))
    safe = written.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT {colour} /{font} {size:.2f} Tf {x:.2f} {y:.2f} Td ({safe}) Tj ET"
