"""Paper to write test letters on: several fonts and manners of writing text, pictures, frames; one page or more."""

from __future__ import annotations

import io
import random
import struct
from dataclasses import dataclass
from functools import cache
from typing import Literal

import pikepdf
from pikepdf import Array, Dictionary, Name
from PIL import Image, ImageDraw, ImageFont

Manner = Literal["plain", "words", "kerned", "cid"]
"""How text is shown: a line at once, word by word, in TJ arrays with kerning, or glyph numbers of an embedded font."""
MANNERS: tuple[Manner, ...] = ("plain", "words", "kerned", "cid")
Area = tuple[float, float, float, float]
_BASE = {"plain": "Times-Roman", "words": "Helvetica", "kerned": "Courier", "cid": "Aileron"}
_UNITS = 1000


@dataclass(frozen=True)
class Letter:
    """A made letter: its bytes, on which page its stamp belongs, and where on it as seen the middle may lie."""

    name: str
    content: bytes
    page: int
    areas: list[Area]
    exempt: list[Area]
    """Printed stamp words and their frames, which a stamp is meant to hide."""


class Paper:
    """Pages under the pen; y counts from the bottom, in points."""

    def __init__(self, manner: Manner, *, width: float = 595, height: float = 842, size: float = 11) -> None:
        self.width, self.height, self.size = width, height, size
        self.left = 72.0
        self.y = height - 72
        self.leading = size * 1.35
        self._manner = manner
        self._base = _BASE[manner]
        self._pdf = pikepdf.new()
        self._font = self._make_font()
        self._parts: list[bytes] = []
        self._pictures: dict[str, pikepdf.Object] = {}
        self.exempt: list[Area] = []

    def text(self, x: float, text: str, *, y: float | None = None, at: str = "left", size: float | None = None) -> Area:
        """Write one line with its left end, middle or right end at x; the rectangle that it takes."""
        y, size = self.y if y is None else y, size or self.size
        width = self.length(text, size)
        x -= {"left": 0.0, "middle": width / 2, "right": width}[at]
        self._parts.append(self._shown(text, x, y, size))
        return (x, y - 0.25 * size, x + width, y + 0.8 * size)

    def lines(self, *texts: str, x: float | None = None, at: str = "left") -> None:
        """Write lines downwards from the present height."""
        for text in texts:
            self.text(self.left if x is None else x, text, at=at)
            self.y -= self.leading

    def skip(self, lines: float = 1.0) -> None:
        """Leave lines empty."""
        self.y -= lines * self.leading

    def body(self, lines: int, *, x: float | None = None, width: float | None = None) -> None:
        """Write lines of running text, a paragraph, that fill the width between the margins."""
        width = width or self.width - 2 * self.left
        noise = random.Random(f"{lines} {self.y}")
        for _ in range(lines):
            text = noise.choice(_WORDS).capitalize()
            while self.length(text + " tanda", self.size) < width:
                text += " " + noise.choice(_WORDS)
            self.lines(text, x=x)

    def stamp_word(self, x: float, y: float, *texts: str, framed: str = "") -> Area:
        """Print the words at which a stamp goes around the middle x, y, with a frame or without."""
        areas = [
            self.text(x, text, y=y + (len(texts) / 2 - 0.8 - row) * 10, at="middle", size=8.5)
            for row, text in enumerate(texts)
        ]
        area = _around(areas)
        if framed:
            area = (x - 36, y - 30, x + 36, y + 30)
            dash = {"solid": "[] 0 d", "dotted": "[2 2] 0 d"}[framed]
            self.draw(f"q 0.7 w {dash} {area[0]} {area[1]} 72 60 re S Q")
        self.exempt.append((area[0] - 3, area[1] - 3, area[2] + 3, area[3] + 3))
        return area

    def draw(self, operators: str) -> None:
        """Draw with bare operators."""
        self._parts.append(operators.encode())

    def picture(self, picture: Image.Image, area: Area) -> None:
        """Place a picture."""
        stream = io.BytesIO()
        picture.convert("RGB").save(stream, "JPEG", quality=70)
        name = f"/Im{len(self._pictures)}"
        self._pictures[name] = self._pdf.make_stream(
            stream.getvalue(),
            Type=Name.XObject, Subtype=Name.Image, Width=picture.width, Height=picture.height,
            ColorSpace=Name.DeviceRGB, BitsPerComponent=8, Filter=Name.DCTDecode,
        )  # fmt: skip
        x0, y0, x1, y1 = area
        self.draw(f"q {x1 - x0:.2f} 0 0 {y1 - y0:.2f} {x0:.2f} {y0:.2f} cm {name} Do Q")

    def end_page(self, **entries: object) -> None:
        """Finish this page and start the next."""
        self._pdf.add_blank_page(page_size=(self.width, self.height))
        page = self._pdf.pages[-1]
        page.Resources = Dictionary(Font=Dictionary(F1=self._font), XObject=Dictionary(self._pictures))
        page.Contents = self._pdf.make_stream(b"\n".join(self._parts))
        for key, value in entries.items():
            page.obj[f"/{key}"] = value
        self._parts, self.y = [], self.height - 72

    def finished(self) -> bytes:
        """The file; what is on the page under the pen belongs to it."""
        if self._parts:
            self.end_page()
        target = io.BytesIO()
        self._pdf.save(target)
        return target.getvalue()

    def length(self, text: str, size: float) -> float:
        """How wide a line is, in points."""
        if self._base == "Courier":
            return len(text) * 0.6 * size
        narrow = 0.93 if self._base == "Times-Roman" else 1.0  # a little more than the font really takes
        return face().getlength(text) / _UNITS * size * narrow

    def _shown(self, text: str, x: float, y: float, size: float) -> bytes:
        if self._manner == "words":
            parts = []
            for word in text.split(" "):
                parts.append(f"BT /F1 {size} Tf 1 0 0 1 {x:.2f} {y:.2f} Tm {_literal(word)} Tj ET")
                x += self.length(word + " ", size)
            return "\n".join(parts).encode("latin-1")
        if self._manner == "kerned":
            pieces = " ".join(f"{_literal(text[at : at + 2])} {-12 if at % 4 else 9}" for at in range(0, len(text), 2))
            return f"BT /F1 {size} Tf {x:.2f} {y:.2f} Td [{pieces}] TJ ET".encode("latin-1")
        if self._manner == "cid":
            numbers = "".join(f"{glyphs().get(ord(character), 0):04X}" for character in text)
            return f"BT /F1 {size} Tf {x:.2f} {y:.2f} Td <{numbers}> Tj ET".encode()
        return f"BT /F1 {size} Tf {x:.2f} {y:.2f} Td {_literal(text)} Tj ET".encode("latin-1")

    def _make_font(self) -> pikepdf.Object:
        if self._manner != "cid":
            font = Dictionary(
                Type=Name.Font, Subtype=Name.Type1, BaseFont=Name("/" + self._base), Encoding=Name.WinAnsiEncoding
            )
            return self._pdf.make_indirect(font)
        program = self._pdf.make_stream(face().font_bytes)
        descriptor = Dictionary(
            Type=Name.FontDescriptor, FontName=Name("/AAAAAA+Aileron"), Flags=4, Ascent=900, Descent=-250,
            FontBBox=Array([-200, -300, 1200, 1000]), ItalicAngle=0, CapHeight=700, StemV=80,
            FontFile2=self._pdf.make_indirect(program),
        )  # fmt: skip
        widths = [item for code, glyph in glyphs().items() for item in (glyph, Array([_width(code)]))]
        descendant = Dictionary(
            Type=Name.Font, Subtype=Name.CIDFontType2, BaseFont=Name("/AAAAAA+Aileron"), W=Array(widths), DW=500,
            CIDSystemInfo=Dictionary(Registry=b"Adobe", Ordering=b"Identity", Supplement=0),
            FontDescriptor=self._pdf.make_indirect(descriptor), CIDToGIDMap=Name.Identity,
        )  # fmt: skip
        lines = "\n".join(f"<{glyph:04X}> <{code:04X}>" for code, glyph in glyphs().items())
        unicode_map = (
            f"1 begincodespacerange <0000> <FFFF> endcodespacerange {len(glyphs())} beginbfchar {lines} endbfchar"
        )
        font = Dictionary(
            Type=Name.Font, Subtype=Name.Type0, BaseFont=Name("/AAAAAA+Aileron"), Encoding=Name("/Identity-H"),
            DescendantFonts=Array([self._pdf.make_indirect(descendant)]),
            ToUnicode=self._pdf.make_stream(unicode_map.encode()),
        )  # fmt: skip
        return self._pdf.make_indirect(font)


def signature(*, width: int = 260, height: int = 110) -> Image.Image:
    """A picture of a signature on white."""
    picture = Image.new("L", (width, height), 255)
    pen, noise = ImageDraw.Draw(picture), random.Random(7)
    points = [(12 + step * (width - 24) / 24, noise.uniform(0.08, 0.92) * height) for step in range(25)]
    pen.line(points, fill=20, width=4, joint="curve")
    return picture


def scanned(page: Image.Image, *, shade: float = 0.0) -> Image.Image:
    """A page as a scanner or a phone sees it: grey, grainy, and darker towards one corner by `shade`."""
    grain = Image.effect_noise(page.size, 14)
    paper = Image.blend(page.convert("L"), grain, 0.12).point(lambda level: level * 0.96)
    if not shade:
        return paper
    slope = Image.linear_gradient("L").resize(page.size)
    return Image.composite(paper, paper.point(lambda level: level * (1 - shade)), slope)


def written(lines: list[tuple[float, float, str]], *, size: tuple[int, int] = (1240, 1754)) -> Image.Image:
    """A white page, 150 dpi, with lines of text at (x, y from the top) in hundredths of its sides."""
    page = Image.new("L", size, 255)
    pen = ImageDraw.Draw(page)
    for x, y, text in lines:
        pen.text((x * size[0] / 100, y * size[1] / 100), text, fill=25, font=ImageFont.load_default(24))
    return page


@cache
def face() -> ImageFont.FreeTypeFont:
    """The free face that Pillow brings, one thousand units to the em."""
    found = ImageFont.load_default(_UNITS)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


@cache
def glyphs() -> dict[int, int]:
    """The face's glyph numbers by character, from its character map (OpenType, cmap format 4)."""
    data = face().font_bytes
    tables = struct.unpack_from(">H", data, 4)[0]
    entries = (struct.unpack_from(">4sLLL", data, 12 + 16 * index) for index in range(tables))
    cmap = next(offset for tag, _, offset, _ in entries if tag == b"cmap")
    for index in range(struct.unpack_from(">H", data, cmap + 2)[0]):
        table = cmap + struct.unpack_from(">L", data, cmap + 8 + 8 * index)[0]
        if struct.unpack_from(">H", data, table)[0] == 4:
            return dict(_segments(data, table))
    raise AssertionError("the face has no character map of the usual kind")


def _segments(data: bytes, table: int) -> list[tuple[int, int]]:
    doubled = struct.unpack_from(">H", data, table + 6)[0]
    found = []
    for at in range(table + 14, table + 14 + doubled, 2):
        end, start = struct.unpack_from(">H", data, at)[0], struct.unpack_from(">H", data, at + doubled + 2)[0]
        delta, offset = (struct.unpack_from(">H", data, at + times * doubled + 2)[0] for times in (2, 3))
        for code in range(start, min(end, 0xFFFE) + 1):
            glyph = code
            if offset:
                place = at + 3 * doubled + 2 + offset + 2 * (code - start)
                glyph = struct.unpack_from(">H", data, place)[0]
            found.append((code, (glyph + delta) & 0xFFFF))
    return found


def _width(code: int) -> int:
    return round(face().getlength(chr(code)))


def _literal(text: str) -> str:
    return "(" + text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") + ")"


def _around(areas: list[Area]) -> Area:
    return (
        min(area[0] for area in areas), min(area[1] for area in areas),
        max(area[2] for area in areas), max(area[3] for area in areas),
    )  # fmt: skip


_TEXT = (
    "dengan ini saya menyatakan bahwa seluruh data dan dokumen yang disampaikan adalah benar serta bersedia menerima"
    " akibat hukum sesuai peraturan perundang-undangan di atas meterai cukup apabila kemudian hari terbukti tidak benar"
    " surat ini dibuat rangkap dua bermeterai agar dapat dipergunakan sebagaimana mestinya oleh para pihak"
)
_WORDS = _TEXT.split()
