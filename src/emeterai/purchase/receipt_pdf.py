"""The PDF of a receipt: one page of A5, in Helvetica, which every reader has (ISO 32000-2, 9.6.2.2)."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pikepdf
from pikepdf import Dictionary, Name, String

from emeterai.purchase.receipts import Receipt
from emeterai.seal.qr import QUIET_MODULES, qr_path
from emeterai.web.formats import moment, number, rupiah

_WIDTH_PT, _HEIGHT_PT, _MARGIN_PT = 420.0, 595.0, 36.0
_QR_SIDE_PT = 84.0
_GREY = "0.35 g"
_BLACK = "0 g"
# The widths of Helvetica's characters from the blank to the tilde, in thousandths of the size.
_WIDTHS = (
    *(278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278),
    *(556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556),
    *(1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778),
    *(667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556),
    *(333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556),
    *(556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584),
)
_BOLD_WIDER = 1.02
"""Helvetica-Bold is at most so much wider in the characters that are set right-aligned here."""


def receipt_pdf(receipt: Receipt, *, specimen: bool) -> bytes:
    """The receipt as a PDF; `specimen` says across its head that no real money is meant."""
    sheet = _Sheet()
    if specimen:
        sheet.text("SPESIMEN - untuk mencoba, tanpa uang sungguhan", size_pt=8, colour=_GREY, down_pt=0)
    sheet.text("Bukti pembayaran", size_pt=20, bold=True, down_pt=26)
    sheet.text("Receipt", size_pt=9, colour=_GREY, down_pt=13)
    sheet.down_pt(14)
    sheet.fact("Penerbit", receipt.issuer, english="Issued by")
    sheet.fact("Nomor bukti", receipt.number, english="Receipt number")
    sheet.fact("Nomor pesanan", receipt.order_number, english="Order number")
    sheet.fact("Dibayar", moment(receipt.paid_at), english="Paid")
    sheet.fact("Melalui", f"{receipt.channel} ({receipt.provider})", english="Through")
    sheet.rule()
    quantity = f"{number(receipt.quantity)} meterai"
    sheet.fact("Jumlah meterai", quantity, english="Stamps")
    duty = f"Bea meterai, {rupiah(receipt.duty_each_idr)} per meterai"
    sheet.fact(duty, rupiah(receipt.duty_idr), english="Stamp duty")
    sheet.fact("Biaya layanan", rupiah(receipt.fee_idr), english="Service fee")
    sheet.rule()
    sheet.fact("Jumlah", rupiah(receipt.total_idr), english="Total", bold=True)
    for line in _wrapped(f"Terbilang: {receipt.total_in_words}.", size_pt=9, width_pt=_WIDTH_PT - 2 * _MARGIN_PT):
        sheet.text(line, size_pt=9, down_pt=13)
    sheet.rule()
    sheet.check(receipt)
    return _saved(sheet.content, title=f"Bukti pembayaran {receipt.number}")


@dataclass(slots=True)
class _Sheet:
    """A page that is written from its top down."""

    y_pt: float = _HEIGHT_PT - _MARGIN_PT
    parts: list[str] = field(default_factory=list)

    @property
    def content(self) -> bytes:
        """The content stream."""
        return "\n".join(self.parts).encode("cp1252", "replace")

    def down_pt(self, distance_pt: float) -> None:
        """Go on lower."""
        self.y_pt -= distance_pt

    def text(
        self,
        text: str,
        *,
        size_pt: float,
        down_pt: float,
        x_pt: float = _MARGIN_PT,
        bold: bool = False,
        colour: str = _BLACK,
    ) -> None:
        """Write a line `down_pt` below the last."""
        self.y_pt -= down_pt
        font = "F2" if bold else "F1"
        self.parts.append(f"BT {colour} /{font} {size_pt:g} Tf {x_pt:.2f} {self.y_pt:.2f} Td ({_escaped(text)}) Tj ET")

    def fact(self, name: str, value: str, *, english: str, bold: bool = False) -> None:
        """Write what something is, in both languages, and at the right margin its value."""
        size_pt = 12 if bold else 10
        self.text(name, size_pt=size_pt, down_pt=20, bold=bold)
        x_pt = _WIDTH_PT - _MARGIN_PT - _width_pt(value, size_pt) * (_BOLD_WIDER if bold else 1)
        self.text(value, size_pt=size_pt, down_pt=0, x_pt=x_pt, bold=bold)
        self.text(english, size_pt=7.5, down_pt=10, colour=_GREY)

    def rule(self) -> None:
        """Draw a line across."""
        self.y_pt -= 9
        right_pt = _WIDTH_PT - _MARGIN_PT
        self.parts.append(f"0.75 G 0.6 w {_MARGIN_PT:g} {self.y_pt:.2f} m {right_pt:g} {self.y_pt:.2f} l S")

    def check(self, receipt: Receipt) -> None:
        """Say how anyone who is given this can check it, beside the QR code that leads there."""
        top_pt = self.y_pt - 10
        modules, path = qr_path(receipt.verify_url)
        module_pt = _QR_SIDE_PT / (modules + 2 * QUIET_MODULES)
        x_pt = _WIDTH_PT - _MARGIN_PT - _QR_SIDE_PT + QUIET_MODULES * module_pt
        y_pt = top_pt - _QR_SIDE_PT + QUIET_MODULES * module_pt
        self.parts.append(f"q {module_pt:.5f} 0 0 {module_pt:.5f} {x_pt:.2f} {y_pt:.2f} cm 0 g\n{path.decode()}f Q")
        width_pt = _WIDTH_PT - 2 * _MARGIN_PT - _QR_SIDE_PT - 8
        self.y_pt -= 8
        said = (
            (f"Periksa bukti ini: pindai kode QR, lalu isi kode {receipt.tracking_code}.", 9.0, _BLACK),
            (receipt.verify_url, 8.0, _BLACK),
            (f"To check this receipt, scan the QR code and enter code {receipt.tracking_code}.", 7.5, _GREY),
        )
        for text, size_pt, colour in said:
            for line in _wrapped(text, size_pt=size_pt, width_pt=width_pt):
                self.text(line, size_pt=size_pt, down_pt=size_pt + 4, colour=colour)


def _width_pt(text: str, size_pt: float) -> float:
    inside = [ord(letter) - 32 for letter in text]
    return sum(_WIDTHS[place] if 0 <= place < len(_WIDTHS) else 600 for place in inside) * size_pt / 1000


def _wrapped(text: str, *, size_pt: float, width_pt: float) -> list[str]:
    """The text in lines that fit; a word that is too long, such as an address, is broken."""
    lines = [""]
    for word in text.split():
        for piece in _pieces(word, size_pt=size_pt, width_pt=width_pt):
            joined = f"{lines[-1]} {piece}".strip()
            if _width_pt(joined, size_pt) <= width_pt:
                lines[-1] = joined
            else:
                lines.append(piece)
    return lines


def _pieces(word: str, *, size_pt: float, width_pt: float) -> list[str]:
    pieces = [""]
    for letter in word:
        if _width_pt(pieces[-1] + letter, size_pt) > width_pt:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _saved(content: bytes, *, title: str) -> bytes:
    with pikepdf.new() as pdf:
        page = pdf.add_blank_page(page_size=(_WIDTH_PT, _HEIGHT_PT))
        page.obj.Resources = Dictionary(Font=Dictionary(F1=_font("Helvetica"), F2=_font("Helvetica-Bold")))
        page.obj.Contents = pdf.make_stream(content)
        pdf.Root.Lang = String("id-ID")
        pdf.Root.ViewerPreferences = Dictionary(DisplayDocTitle=True)
        pdf.docinfo["/Title"] = title
        file = io.BytesIO()
        pdf.save(file, deterministic_id=True)
        return file.getvalue()


def _font(name: str) -> pikepdf.Object:
    return Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name("/" + name), Encoding=Name.WinAnsiEncoding)
