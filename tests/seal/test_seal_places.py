"""The mark stands upright at the asked place of the page as people see it, whatever the page's geometry."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seal_judges import qr_codes, rendered
from seal_orders import SealBytes, order_of
from seal_samples import LETTER, MUSEUM, classic, objects_of_a_letter, with_pikepdf

from emeterai.core.refusal import Refused
from emeterai.seal.model import Geometry
from emeterai.seal.place import SIDE_PT_MIN, rectangle_on_page, resolve_box
from emeterai.seal.service import PLACES, Box, SealEngine

# The middle of the QR code in the mark, as parts of its side from the left and from the top.
QR_MIDDLE = (0.3375, 0.46)
DPI = 150
FINDER_TOLERANCE_PT = 4


def seen(box: Box, height_pt: float) -> tuple[float, float]:
    """Where the QR code of a mark in `box` must be, in points from the top left of the page as seen."""
    side = box.x1 - box.x0
    return box.x0 + QR_MIDDLE[0] * side, height_pt - box.y1 + QR_MIDDLE[1] * side


@pytest.mark.parametrize("turn", [0, 90, 180, 270, -90, 450])
@pytest.mark.parametrize("box", ["", "/CropBox[100 200 500 800]", "/MediaBox[-300 -400 295 442]"])
async def test_the_mark_is_upright_at_the_asked_place(turn: int, box: str, seal: SealBytes) -> None:
    """On a turned, cropped or shifted page the mark is where the asked box is on the page as seen, and upright."""
    content = classic(objects_of_a_letter(page=f"/Rotate {turn}{box}".encode()))
    sealed, facts = await seal(content, box=Box(60, 90, 160, 190))
    assert Box(60, 90, 160, 190) == facts.box

    picture = rendered(sealed, dpi=DPI)
    ((_, (x, y)),) = qr_codes(picture)
    expected = seen(facts.box, picture.height / DPI * 72)
    assert expected == pytest.approx((x / DPI * 72, y / DPI * 72), abs=FINDER_TOLERANCE_PT)
    # The dark SPECIMEN band lies below the QR code only when the mark is upright.
    scale = DPI / 72
    band = picture.getpixel((int((60 + 8) * scale), int(picture.height - (90 + 18) * scale)))
    assert isinstance(band, tuple)
    assert max(band) < 100


async def test_the_user_unit_scales_the_page_as_seen(seal: SealBytes) -> None:
    """With /UserUnit 2 a page of 595 units is 1190 points wide, and an 80-point mark takes 40 units."""
    sealed, facts = await seal(classic(objects_of_a_letter(page=b"/UserUnit 2")), place="bottom-left")
    assert Box(36, 36, 116, 116) == facts.box
    assert b"/Rect[18.000 18.000 58.000 58.000]" in sealed


@pytest.mark.parametrize("place", PLACES)
async def test_every_preset_place_is_on_the_page(place: str, engine: SealEngine, tmp_path: Path) -> None:
    """Each preset gives the default square of 80 points, wholly on the page."""
    path = tmp_path / "file.pdf"
    path.write_bytes(classic(LETTER))
    found = await engine.placement(path, order_of(place=place))
    page, box = found.page, found.box
    assert 1 == page
    assert (80, 80) == (box.x1 - box.x0, box.y1 - box.y0)
    assert box.x0 >= 0
    assert box.x1 <= 595
    assert box.y0 >= 0
    assert box.y1 <= 842


async def test_the_mark_goes_on_the_asked_page_of_many(seal: SealBytes) -> None:
    """Page 7 of 300 gets the mark, and no other page does."""
    sealed, facts = await seal(MUSEUM["300 pages"], page=7)
    assert 7 == facts.page
    assert [0, 1, 0, 0] == [len(qr_codes(rendered(sealed, index))) for index in (5, 6, 7, 299)]


async def test_the_last_of_5000_pages_is_placed_and_sealed(seal: SealBytes) -> None:
    """A very long document is no special case."""
    _, facts = await seal(with_pikepdf(pages=5_000), page=3_000)
    assert 3_000 == facts.page


REFUSED_ORDERS = {
    "page 0": ({"page": 0}, "page_not_in_document"),
    "page -1": ({"page": -1}, "page_not_in_document"),
    "page 99": ({"page": 99}, "page_not_in_document"),
    "box right of the page": ({"box": Box(560, 10, 640, 90)}, "box_off_page"),
    "box below the page": ({"box": Box(10, -20, 90, 60)}, "box_off_page"),
    "box of nonsense": ({"box": Box(float("nan"), 0, 100, 100)}, "box_off_page"),
    "endless box": ({"box": Box(0, 0, float("inf"), 100)}, "box_off_page"),
    "tiny box": ({"box": Box(10, 10, 40, 40)}, "box_too_small"),
    "unknown place": ({"place": "somewhere"}, "place_unknown"),
}


@pytest.mark.parametrize("name", REFUSED_ORDERS)
async def test_an_impossible_place_is_refused_by_name(name: str, engine: SealEngine, tmp_path: Path) -> None:
    """Placing and sealing refuse the same orders with the same code, and the sentences can be read."""
    changes, code = REFUSED_ORDERS[name]
    path = tmp_path / "file.pdf"
    path.write_bytes(classic(LETTER))
    for verb in (engine.placement, engine.seal):
        with pytest.raises(Refused) as refused:
            await verb(path, order_of(**changes))
        assert refused.value.code == code
        assert "{" not in refused.value.id + refused.value.en


async def test_a_box_with_swapped_corners_means_the_same_box(engine: SealEngine, tmp_path: Path) -> None:
    """Integrators swap Y values; the rectangle is the same."""
    path = tmp_path / "file.pdf"
    path.write_bytes(classic(LETTER))
    straight = await engine.placement(path, order_of(box=Box(100, 100, 200, 200)))
    swapped = await engine.placement(path, order_of(box=Box(100, 200, 200, 100)))
    assert straight == swapped


@pytest.mark.parametrize("size", [(40, 30), (300, 72), (54, 54), (60, 400)])
async def test_on_a_small_page_the_mark_is_smaller(size: tuple[int, int], engine: SealEngine, tmp_path: Path) -> None:
    """It fills a page that is smaller than the smallest mark; what placing finds is not refused later, when paid."""
    path = tmp_path / "file.pdf"
    path.write_bytes(classic(objects_of_a_letter(page=b"/MediaBox[0 0 %d %d]" % size)))
    found = await engine.placement(path, order_of())
    assert min(SIDE_PT_MIN, *size) <= found.box.x1 - found.box.x0 <= min(size)
    assert 0 <= min(found.box.x0, found.box.y0)
    assert found.box == (await engine.seal(path, order_of(box=found.box))).box


SIZES = st.floats(60, 3_000)


@given(SIZES, SIZES, st.sampled_from((0, 90, 180, 270)), st.floats(0.1, 10), st.sampled_from(PLACES))
def test_a_square_on_the_page_as_seen_is_a_square_on_the_page(
    width: float, height: float, rotate: int, unit: float, place: str
) -> None:
    """For every geometry, a preset place lies on the page, and keeps its area when turned into user space."""
    geometry = Geometry(-10, 20, -10 + width, 20 + height, rotate, unit)
    box = resolve_box(geometry, None, place)
    x0, y0, x1, y1 = rectangle_on_page(box, geometry)
    assert (box.x1 - box.x0) / unit == pytest.approx(x1 - x0)
    assert (box.y1 - box.y0) / unit == pytest.approx(y1 - y0)
    assert x0 >= geometry.x0 - 0.01
    assert x1 <= geometry.x1 + 0.01
    assert y0 >= geometry.y0 - 0.01
    assert y1 <= geometry.y1 + 0.01


@given(SIZES, SIZES, st.tuples(*[st.floats(-100, 3_100)] * 4))
def test_any_box_is_refused_or_filled_by_a_square_within_it(
    width: float, height: float, sides: tuple[float, float, float, float]
) -> None:
    """A box is either refused by name or holds the whole square of the mark."""
    box = Box(*sides)
    try:
        square = resolve_box(Geometry(0, 0, width, height, 0, 1), box, "auto")
    except Refused as refused:
        assert refused.code in {"box_off_page", "box_too_small"}  # noqa: PT017 - both outcomes are right
        return
    assert square.x1 - square.x0 == pytest.approx(square.y1 - square.y0)
    assert square.x1 - square.x0 >= SIDE_PT_MIN - 1e-6
    assert square.x0 >= min(box.x0, box.x1) - 1e-6
    assert square.y1 <= max(box.y0, box.y1) + 1e-6


async def test_pages_that_share_their_annotations_do_not_share_the_mark(seal: SealBytes) -> None:
    """Two pages with one array of annotations: the mark stands on the asked page only."""
    objects = objects_of_a_letter(page=b"/Annots 7 0 R", extra={7: b"[]"})
    objects[2] = b"<</Type/Pages/Kids[3 0 R 6 0 R]/Count 2/MediaBox[0 0 595 842]>>"
    objects[6] = objects[3]
    sealed, _ = await seal(classic(objects), page=2)
    assert [0, 1] == [len(qr_codes(rendered(sealed, index))) for index in (0, 1)]
