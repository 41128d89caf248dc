"""The mark can be read by people, scanners and screen readers, and keeps PDF/A's rules of form."""

from __future__ import annotations

import io
import re
import zlib

import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seal_judges import qr_codes, rendered
from seal_orders import SERIAL, SealBytes, order_of
from seal_photos import PHOTOS, photos
from seal_samples import LETTER, classic, objects_of_a_letter

from emeterai.seal.glyphs import glyph_width, text_path
from emeterai.seal.service import Box
from emeterai.seal.specimen import specimen

PATH_OPERATORS = set("q Q cm w J j m l c h re f S B W n g RG rg Do".split())  # noqa: SIM905 - reads best
URL = f"https://meterai.example/v/{SERIAL}"


@pytest.mark.parametrize("dpi", [110, 150, 200, 300])
async def test_the_qr_code_is_read_from_a_rendering(dpi: int, seal: SealBytes) -> None:
    """At the resolutions of screens and scanners the default mark is read."""
    sealed, _ = await seal(classic(LETTER))
    assert [URL] == [text for text, _ in qr_codes(rendered(sealed, dpi=dpi))]


async def test_the_smallest_mark_is_read_from_a_print(seal: SealBytes) -> None:
    """A mark of 19 mm is read at 300 dpi, what an office scanner sees."""
    sealed, _ = await seal(classic(LETTER), box=Box(100, 100, 154, 154))
    assert [URL] == [text for text, _ in qr_codes(rendered(sealed, dpi=300))]


async def test_the_qr_code_is_read_from_photos_of_a_phone(seal: SealBytes) -> None:
    """Of a fixed number of simulated photos, at least 95 of 100 are read, and none as anything else."""
    sealed, _ = await seal(classic(LETTER), box=Box(200, 300, 280, 380))
    read = [[text for text, _ in qr_codes(photo)] for photo in photos(rendered(sealed, dpi=300), middle=(1000, 2091))]
    assert {URL} == {text for texts in read for text in texts}
    assert 0.95 * PHOTOS <= sum(texts == [URL] for texts in read)


async def test_the_mark_keeps_the_form_of_pdf_a(seal: SealBytes) -> None:
    """No fonts, no transparency, no pictures: only paths in device colours (ISO 19005-2, 6.2)."""
    sealed, facts = await seal(classic(LETTER))
    assert not re.search(rb"/(SMask|CA|ca|BM|ExtGState|Image|Group)\b", facts.tail)
    with pikepdf.open(io.BytesIO(sealed)) as pdf:
        appearance = pdf.Root.AcroForm.Fields[0].AP.N
        assert ["/XObject"] == list(appearance.Resources)
        assert "/Resources" not in appearance.Resources.XObject.Art
        content = appearance.read_bytes() + b"\n" + appearance.Resources.XObject.Art.read_bytes()
        operators = {
            str(instruction.operator) for instruction in pikepdf.parse_content_stream(pdf.make_stream(content))
        }
    assert operators <= PATH_OPERATORS


PROFILE = b"<</N %d/Length 4>>stream\nICC.\nendstream"
CLAIM = b"<</Type/Metadata/Subtype/XML/Length 6>>stream\npdfaid\nendstream"
INTENT = b"/OutputIntents[<</Type/OutputIntent/S/GTS_PDFA1/DestOutputProfile 6 0 R>>]"
OUTPUT_INTENTS = {
    "none": (b"", b"null", False),
    "RGB": (INTENT, PROFILE % 3, False),
    "CMYK": (INTENT, PROFILE % 4, True),
    "grey": (INTENT, PROFILE % 1, True),
    "none, though it claims to be PDF/A": (b"/Metadata 6 0 R", CLAIM, True),
    "a profile that is none": (INTENT, b"[]", False),
}


@pytest.mark.parametrize("name", OUTPUT_INTENTS)
async def test_the_colours_of_the_mark_respect_the_output_intent(name: str, seal: SealBytes) -> None:
    """Where it is not for RGB, what the mark draws in device colours is given a meaning (ISO 19005-2, 6.2.4.3)."""
    catalog, extra, calibrated = OUTPUT_INTENTS[name]
    sealed, _ = await seal(classic(objects_of_a_letter(catalog=catalog, extra={6: extra})))
    with pikepdf.open(io.BytesIO(sealed)) as pdf:
        appearance = pdf.Root.AcroForm.Fields[0].AP.N
        for form in (appearance, appearance.Resources.XObject.Art):
            colours = form.get("/Resources", pikepdf.Dictionary()).get("/ColorSpace", pikepdf.Dictionary())
            assert (["/DefaultGray", "/DefaultRGB"] if calibrated else []) == sorted(colours.keys())
    assert [URL] == [text for text, _ in qr_codes(rendered(sealed))]


async def test_the_mark_is_announced_to_screen_readers(seal: SealBytes) -> None:
    """The alternative text says what it is, that it is a specimen, its serial and where to check it."""
    sealed, _ = await seal(classic(LETTER))
    with pikepdf.open(io.BytesIO(sealed)) as pdf:
        field = pdf.Root.AcroForm.Fields[0]
        for text in (str(field.TU), str(field.Contents)):
            assert all(part in text for part in ("Meterai elektronik", "SPECIMEN", SERIAL, URL))


def test_the_art_says_specimen_and_is_small() -> None:
    """The art is drawn once, under 3 kB, since millions of tails carry it."""
    assert "SPECIMEN" == specimen().label
    assert len(specimen().art) < 3_000
    assert specimen() is specimen()


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=64))
def test_every_serial_is_drawn_within_the_mark(serial: str) -> None:
    """Whatever its letters and length, the serial stays inside the border, above the lower edge, below the QR code."""
    line = zlib.decompress(specimen().overlay(order_of(serial))).decode().rpartition("Q\n")[2]
    scale, cell, y = map(float, re.match(r"([\d.]+) 0 0 [\d.]+ ([\d.]+) ([\d.]+) cm", line).groups())  # type: ignore[union-attr]
    for drawn in line.split("\n")[1:]:
        points = re.findall(r"(-?\d+) (-?\d+) [mlc]\b", drawn)
        assert all(5 <= cell + int(px) * scale <= 75 and 4 <= y + int(py) * scale <= 10 for px, py in points)
        cell += float(re.search(r"1 0 0 1 ([\d.]+) 0 cm|$", drawn)[1] or 0) * scale  # type: ignore[index]


def test_similar_characters_are_drawn_apart() -> None:
    """0 and O, 1 and I, 5 and S, 8 and B cannot be taken for each other."""
    for one, other in ("0O", "1I", "5S", "8B", "2Z"):
        drawn = [text_path(character, x=0, y=0, height=6, width=4) for character in (one, other)]
        assert drawn[0] != drawn[1]
    assert glyph_width("I") < glyph_width("M")
