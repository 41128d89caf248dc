"""`auto` finds the place that people mean on letters in the usual forms; no mark hides text unless that was asked."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seal_judges import rendered
from seal_letters import letters
from seal_orders import order_of
from seal_paper import Paper, scanned, written
from seal_samples import MUSEUM
from seal_verdicts import judged

from emeterai.seal.model import PLACES, Box, Geometry, Placement
from emeterai.seal.place import box_as_seen, rectangle_on_page
from emeterai.seal.service import SealEngine, Signer

RIGHT_SHARE_MIN = 0.95
"""Of the letters that the tests make; docs/decisions says how many are right today."""


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[bytes], Path]:
    """Puts bytes into a file."""

    def keep(content: bytes) -> Path:
        path = tmp_path / "file.pdf"
        path.write_bytes(content)
        return path

    return keep


async def test_auto_is_right_on_letters_in_the_usual_forms(engine: SealEngine, kept: Callable[[bytes], Path]) -> None:
    """Of 30 forms in four manners of writing, at least the stated share; and not one mark stands on text."""
    verdicts = [judged(letter, await engine.placement(kept(letter.content), order_of())) for letter in letters()]
    assert 120 <= len(verdicts)
    assert [] == [verdict.name for verdict in verdicts if verdict.covers]
    wrong = [verdict.name for verdict in verdicts if not verdict.right]
    assert RIGHT_SHARE_MIN * len(verdicts) <= len(verdicts) - len(wrong), wrong


@pytest.mark.parametrize("name", MUSEUM)
async def test_every_odd_file_gets_a_place_on_its_page(
    name: str, engine: SealEngine, kept: Callable[[bytes], Path]
) -> None:
    """Whatever the file's structure, the mark lies on the page as seen and hides nothing."""
    found = await engine.placement(kept(MUSEUM[name]), order_of())
    assert found.page >= 1
    assert (False, True) == (found.covers, found.box.x0 >= 0 and found.box.y0 >= 0)


def full_of_text(*, dark: bool = False) -> bytes:
    """A page with text from edge to edge, or all dark."""
    paper = Paper("words", size=11)
    paper.left, paper.y = 4, 836
    if dark:
        paper.draw("0.2 g 0 0 595 842 re f 0.9 g")
    paper.body(56)
    paper.end_page()
    return paper.finished()


async def test_an_asked_box_on_text_is_said_to_cover_it(engine: SealEngine, kept: Callable[[bytes], Path]) -> None:
    """The asked box stays as it was asked; beside it stands the nearest free one, and that one covers nothing."""
    paper = Paper("plain")
    paper.body(10)
    paper.end_page()
    path = kept(paper.finished())
    asked = Box(80, 690, 160, 770)
    found = await engine.placement(path, order_of(box=asked))
    assert (asked, True, "asked") == (found.box, found.covers, found.reason)
    assert found.free_box is not None
    again = await engine.placement(path, order_of(box=found.free_box))
    assert (found.free_box, False, None) == (again.box, again.covers, again.free_box)


async def test_a_preset_place_with_text_gives_way_to_a_free_one_near_it(
    engine: SealEngine, kept: Callable[[bytes], Path]
) -> None:
    """Nobody is refused for a line of text in a corner; the mark moves, as little as it must."""
    paper = Paper("kerned")
    paper.y = 800
    paper.lines("Nomor surat 14/XI/2026", x=40)
    paper.end_page()
    found = await engine.placement(kept(paper.finished()), order_of(place="top-left"))
    assert (False, "near") == (found.covers, found.reason)
    assert found.box.y1 < 800
    assert found.box.x0 < 60 + 80


@pytest.mark.parametrize("place", PLACES)
async def test_a_page_without_a_free_place_is_said_to_be_covered(
    place: str, engine: SealEngine, kept: Callable[[bytes], Path]
) -> None:
    """Where no mark can stand free, it stands where it was asked, and the answer says that it covers."""
    found = await engine.placement(kept(full_of_text()), order_of(place=place))
    assert (True, None) == (found.covers, found.free_box)


async def test_a_second_mark_stands_beside_the_first(engine: SealEngine, kept: Callable[[bytes], Path]) -> None:
    """A sealed file sealed again by `auto`: the marks do not overlap."""
    content = next(letter.content for letter in letters() if letter.name.startswith("candidate"))
    boxes = []
    for _ in range(2):
        path = kept(content)
        boxes.append((await engine.placement(path, order_of())).box)
        content += (await engine.seal(path, order_of(box=boxes[-1]))).tail
    first, second = boxes
    assert first.x1 <= second.x0 or second.x1 <= first.x0 or first.y1 <= second.y0 or second.y1 <= first.y0


async def test_dark_pages_have_free_places_too(engine: SealEngine, kept: Callable[[bytes], Path]) -> None:
    """What counts is what stands out from the page's own colour."""
    paper = Paper("plain")
    paper.draw("0.15 g 0 0 595 842 re f 1 g")
    paper.body(20)
    paper.end_page()
    found = await engine.placement(kept(paper.finished()), order_of())
    assert (False, "corner", 36.0) == (found.covers, found.reason, found.box.y0)


async def test_a_scan_full_of_text_keeps_its_text(engine: SealEngine, kept: Callable[[bytes], Path]) -> None:
    """A picture of a page counts like the page: the mark goes where the paper is blank."""
    lines = [
        (8.0, 45 + 2.0 * row, "dengan ini saya menyatakan bahwa seluruh data adalah benar " * 2) for row in range(26)
    ]
    paper = Paper("plain")
    paper.picture(scanned(written(lines), shade=0.2), (0, 0, 595, 842))
    paper.end_page()
    content = paper.finished()
    found = await engine.placement(kept(content), order_of())
    assert not found.covers
    assert found.box.y0 > 842 * 0.55


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (30, 50, 500, 700)])
async def test_what_is_free_is_free_as_seen(
    rotate: int, crop: tuple[int, ...] | None, engine: SealEngine, kept: Callable[[bytes], Path]
) -> None:
    """Turned and cropped pages are looked at as people see them."""
    paper = Paper("plain")
    paper.body(25)
    paper.end_page(Rotate=rotate, **({"CropBox": pikepdf.Array(crop)} if crop else {}))
    content = paper.finished()
    found = await engine.placement(kept(content), order_of())
    box, picture = found.box, rendered(content, dpi=72).convert("L")
    cut = (round(box.x0), round(picture.height - box.y1), round(box.x1), round(picture.height - box.y0))
    assert (False, 255) == (found.covers, picture.crop(cut).getextrema()[0])


async def test_a_page_that_cannot_be_looked_at_still_gets_a_place(
    signer: Signer, kept: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that takes too long to draw costs its opener, not the stamp: the place follows from the geometry."""
    monkeypatch.setattr("emeterai.seal.reader._LOOKING_S", 0.5)
    with pikepdf.new() as pdf:
        pdf.add_blank_page(page_size=(595, 842))
        pdf.pages[0].Contents = pdf.make_stream(b"0.1 w " + b"0 0 m 595 842 l 0 842 l 595 0 l B*\n" * 300_000)
        target = io.BytesIO()
        pdf.save(target)
    engine = await SealEngine.start(signer=signer, size_bytes_max=25_000_000)
    try:
        found = await engine.placement(kept(target.getvalue()), order_of())
        assert Placement(1, Box(479, 36, 559, 116), covers=False, reason="unread") == found
        assert (await engine.placement(kept(full_of_text()), order_of())).covers
    finally:
        await engine.close()


SIDES = st.floats(-2_000, 2_000)


@given(st.tuples(*[SIDES] * 4), st.sampled_from((0, 90, 180, 270)), st.floats(0.1, 10))
def test_as_seen_and_on_the_page_are_each_others_reverse(
    sides: tuple[float, float, float, float], rotate: int, unit: float
) -> None:
    """A box as seen, put on the page and seen again, is the same box."""
    geometry = Geometry(-10, 20, 590, 870, rotate, unit)
    box = Box(min(sides[0], sides[2]), min(sides[1], sides[3]), max(sides[0], sides[2]), max(sides[1], sides[3]))
    again = box_as_seen(rectangle_on_page(box, geometry), geometry)
    for name in ("x0", "y0", "x1", "y1"):
        assert getattr(box, name) == pytest.approx(getattr(again, name), abs=1e-6)
