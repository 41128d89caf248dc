"""An issuer's own mark: taken from one file, checked when it is loaded, drawn like the built-in one."""

from __future__ import annotations

import io
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pikepdf
import pytest
from seal_judges import qr_codes, rendered
from seal_orders import SERIAL, order_of
from seal_photos import PHOTOS, photos
from seal_samples import LETTER, classic

from emeterai.seal.mark_file import MarkFileError, load_mark
from emeterai.seal.mark_paths import PathError, path_operators
from emeterai.seal.service import Box, SealEngine, Signer
from emeterai.seal.specimen import specimen

URL = f"https://cek.contoh.example/m?n={SERIAL}"
GOOD = """
label = "CONTOH"
side = 200
url = "https://cek.contoh.example/m?n={serial}"
alternative = "{label}: meterai Rp{duty_idr} nomor {serial}, periksa di {url}"
reason = "{label} Rp{duty_idr} {serial}"
[qr]
x = 10
y = 60
side = 110
colour = "#401020"
[serial]
x = 10
y = 182
width = 180
height = 10
[[shapes]]
path = "M2 2h196v196H2Z"
fill = "#FFF0F4"
stroke = "#D01060"
width = 3
[[shapes]]
path = "m150,80 c10,0 20,10 20,20 s-10,20 -20,20 q-20 0 -20-20 t20,-20z"
fill = "#D01060"
[[words]]
text = "METERAI CONTOH"
x = 12
y = 20
width = 176
height = 14
"""
BAD = {
    "no toml": (lambda text: text + "= 3", "at line"),
    "unknown entry": (lambda text: "opacity = 0.5\n" + text, "opacity"),
    "missing entry": (lambda text: text.replace('label = "CONTOH"', ""), "label"),
    "no colour": (lambda text: text.replace("#D01060", "pink"), "$.shapes[0].stroke"),
    "arc": (lambda text: text.replace("M2 2h196v196H2Z", "M2 2 A5 5 0 0 1 9 9"), "shapes[0].path: arcs"),
    "cut path": (lambda text: text.replace("M2 2h196v196H2Z", "M2 2 L3"), "shapes[0].path: L has too few"),
    "shape without paint": (lambda text: text.replace('fill = "#D01060"\n', ""), "shapes[1] needs fill or stroke"),
    "small code": (lambda text: text.replace("side = 110", "side = 60"), "qr.side must be at least"),
    "code off the mark": (lambda text: text.replace("x = 10\ny = 60", "x = 100\ny = 60"), "qr must lie within"),
    "pale code": (lambda text: text.replace("#401020", "#D0D0D0"), "qr.colour must be dark"),
    "narrow serial": (lambda text: text.replace("width = 180", "width = 50"), "serial.width"),
    "letters that nobody drew": (lambda text: text.replace("METERAI CONTOH", "Meterai"), "cannot be drawn"),
    "unknown name": (lambda text: text.replace("{label}: meterai", "{owner}: meterai"), "alternative may name"),
    "no serial in words": (lambda text: text.replace("Rp{duty_idr} {serial}", "Rp"), "reason must be one line"),
    "reach into values": (lambda text: text.replace("{label} Rp", "{label.__class__} Rp"), "reason may name"),
    "plain http": (lambda text: text.replace("https://cek", "http://cek"), "url must be https"),
    "far point": (lambda text: text.replace("M2 2h196v196H2Z", "M2 2h1e99"), "shapes[0].path: a point lies far"),
}


@pytest.fixture
def mark_file(tmp_path: Path) -> Path:
    """A sound mark file."""
    path = tmp_path / "mark.toml"
    path.write_text(GOOD)
    return path


@pytest.fixture
async def issuer(signer: Signer, mark_file: Path) -> AsyncIterator[SealEngine]:
    """An engine of an issuer with a mark of its own."""
    engine = await SealEngine.start(signer=signer, size_bytes_max=1_000_000, mark=load_mark(mark_file))
    yield engine
    await engine.close()


async def test_the_issuers_mark_is_drawn_and_read(issuer: SealEngine, tmp_path: Path) -> None:
    """Its artwork is seen, its words are announced, its code leads to its address, from paper and from photos."""
    path = tmp_path / "letter.pdf"
    path.write_bytes(classic(LETTER))
    made = await issuer.seal(path, order_of(box=Box(200, 300, 280, 380)))
    sealed = path.read_bytes() + made.tail
    picture = rendered(sealed, dpi=150)
    assert [URL] == [text for text, _ in qr_codes(picture)]
    read = [[text for text, _ in qr_codes(photo)] for photo in photos(rendered(sealed, dpi=300), middle=(1000, 2091))]
    assert 0.95 * PHOTOS <= sum(texts == [URL] for texts in read)
    with pikepdf.open(io.BytesIO(sealed)) as pdf:
        field = pdf.Root.AcroForm.Fields[0]
        assert f"CONTOH: meterai Rp10000 nomor {SERIAL}, periksa di {URL}" == str(field.Contents)
        assert f"CONTOH Rp10000 {SERIAL}" == str(field.V.Reason)
        art = field.AP.N.Resources.XObject.Art.read_bytes().decode()
    assert {"q", "J", "j", "rg", "RG", "w", "m", "l", "c", "h", "f", "B", "S", "re", "Q"} >= set(
        re.findall(r"[A-Za-z]+", art)
    )


@pytest.mark.parametrize("name", BAD)
def test_a_mark_file_that_cannot_be_used_says_why(name: str, mark_file: Path) -> None:
    """Each fault is named with its entry when the file is loaded, not when the first stamp is made."""
    change, words = BAD[name]
    mark_file.write_text(change(GOOD))
    with pytest.raises(MarkFileError, match="mark file: ") as error:
        load_mark(mark_file)
    assert words in str(error.value)


def test_without_a_file_the_mark_is_the_specimen(tmp_path: Path) -> None:
    """Nothing configured: SPECIMEN; a file that is not there is an error, not a specimen."""
    assert specimen() is load_mark(None)
    with pytest.raises(MarkFileError):
        load_mark(tmp_path / "nothing.toml")


def test_too_much_artwork_is_refused(mark_file: Path) -> None:
    """Every sealed file carries the art, so it has a bound."""
    noise = random.Random(1)
    points = " ".join(f"L{noise.uniform(0, 200):.2f} {noise.uniform(0, 200):.2f}" for _ in range(9_000))
    mark_file.write_text(GOOD + f'[[shapes]]\npath = "M0 0 {points}"\nfill = "#000000"\n')
    with pytest.raises(MarkFileError, match="packed"):
        load_mark(mark_file)


@pytest.mark.parametrize(
    ("data", "operators"),
    [
        ("M1 2L3-4", "1 2 m 3 -4 l"),
        ("m1,2 3,4z", "1 2 m 4 6 l h"),
        ("M0 0H5V6h-1v-1Z", "0 0 m 5 0 l 5 6 l 4 6 l 4 5 l h"),
        ("M0 0C1 1 2 1 3 0S5-1 6 0", "0 0 m 1 1 2 1 3 0 c 4 -1 5 -1 6 0 c"),
        ("M0 0Q3 3 6 0T12 0", "0 0 m 2 2 4 2 6 0 c 8 -2 10 -2 12 0 c"),
        ("M.5.5 1e1 2", "0.5 0.5 m 10 2 l"),
    ],
)
def test_svg_paths_become_pdf_paths(data: str, operators: str) -> None:
    """Absolute and relative commands, those that mirror a handle, numbers without room between them."""
    assert operators == path_operators(data, lambda x, y: (x, y))


@pytest.mark.parametrize("data", ["", "L1 1", "M1", "M1 2 3", "1 2", "Mx", "M1 2 R3", "M0 0Z5", "M1 2 L", "M1 2;"])
def test_other_path_data_is_refused(data: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(PathError):
        path_operators(data, lambda x, y: (x, y))
