"""Pages drawn by PDFium: what an addition hides, and small pictures of a page as sealed and as it is now.

Used inside the opener only.
"""

from __future__ import annotations

import ctypes
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from emeterai.seal.model import Pictures
from emeterai.seal.pdfium import pdfium

PICTURE_SIZE_BYTES_MAX = 40_000
_PICTURE_WIDTH = 360
_PICTURE_WIDTH_MIN = 90
_PIXELS_A_POINT = 1.5
_SIDE_MAX = 1_300
_PAGES_COMPARED_MAX = 20
_PLACES_MAX = 20
_SHARE_OF_PAGE_MAX = 0.25
_LEVELS = 64
"""So many of 255 levels of grey tell ink from paper, and what changed from what did not."""
_CELL = 4
_CELLS_COVERED_MAX = 6
_FRAME = b"\x99"
_GREY, _BGR = 1, 2
_WITH_ANNOTATIONS, _REVERSED_BYTES = 0x01, 0x10
_FEW_COLOURS = bytes(min(255, (level + 8) // 17 * 17) for level in range(256))


class UndrawnError(Exception):
    """PDFium does not open the file or draw the page."""


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle in user space on a page, counted from 0."""

    page: int
    sides: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Document:
    """An open document, and what draws its fields."""

    handle: Any
    form: Any


@dataclass(frozen=True, slots=True)
class _Page:
    """A loaded page of a document, with its size as seen."""

    handle: Any
    form: Any
    width_pt: float
    height_pt: float


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A grey page, and a rectangle of it in pixels from the top left."""

    pixels: bytes
    width: int
    height: int
    box: tuple[int, int, int, int]


def covered_by(before: bytes, after: bytes, places: list[Place]) -> list[str]:
    """Names of what is wrong with how additions look: ink hidden, too large, or pages changed elsewhere.

    Raises UndrawnError.
    """
    if len(places) > _PLACES_MAX:
        return ["too_much_added"]
    faults = []
    with _opened(before) as sealed, _opened(after) as now:
        for place in places:
            faults += _faults_of(_drawn(sealed, place), _drawn(now, place))
    return faults


def pictures_of(sealed: bytes, now: bytes) -> Pictures:
    """The first page that looks different, else the first, from both files. Raises UndrawnError.

    Each picture has at most PICTURE_SIZE_BYTES_MAX.
    """
    with _opened(sealed) as one, _opened(now) as other:
        index = _first_different(one, other)
        return Pictures(index + 1, _picture(one, index), _picture(other, index))


def _faults_of(before: _Drawn, after: _Drawn) -> list[str]:
    if (before.width, before.height, before.box) != (after.width, after.height, after.box):
        return ["page_geometry_changed"]
    x0, y0, x1, y1 = before.box
    if (x1 - x0) * (y1 - y0) > _SHARE_OF_PAGE_MAX * before.width * before.height:
        return ["signature_covers_page"]
    for row in range(before.height):
        start, end = row * before.width, (row + 1) * before.width
        spans = ((start, start + x0), (start + x1, end)) if y0 <= row < y1 else ((start, end),)
        if any(before.pixels[low:high] != after.pixels[low:high] for low, high in spans):
            return ["page_looks_changed"]
    return ["content_covered"] if _hidden_cells(before, after) > _CELLS_COVERED_MAX else []


def _hidden_cells(before: _Drawn, after: _Drawn) -> int:
    """How many small squares with something drawn in them are no longer legible."""
    x0, y0, x1, y1 = before.box
    inside = b"".join(before.pixels[row * before.width + x0 : row * before.width + x1] for row in range(y0, y1))
    if not inside:
        return 0
    paper = Counter(inside).most_common(1)[0][0]
    hidden = 0
    for top in range(y0, y1, _CELL):
        rows = [row * before.width for row in range(top, min(top + _CELL, y1))]
        for left in range(x0, x1, _CELL):
            right = min(left + _CELL, x1)
            old = b"".join(before.pixels[row + left : row + right] for row in rows)
            if max(old) - min(old) <= _LEVELS:
                continue
            new = b"".join(after.pixels[row + left : row + right] for row in rows)
            hidden += _is_hidden(old, new, paper)
    return hidden


def _is_hidden(old: bytes, new: bytes, paper: int) -> bool:
    """Ink that became paper, or paper around the ink that became ink."""
    pairs = list(zip(old, new, strict=True))
    ink = [abs(one - other) <= _LEVELS for one, other in pairs if abs(one - paper) > _LEVELS]
    blank = [abs(one - other) <= _LEVELS for one, other in pairs if abs(one - paper) <= _LEVELS]
    return sum(ink) < 0.7 * len(ink) or sum(blank) < 0.3 * len(blank)


def _drawn(document: _Document, place: Place) -> _Drawn:
    with _page(document, place.page) as page:
        scale = min(_PIXELS_A_POINT, _SIDE_MAX / max(page.width_pt, page.height_pt))
        width, height = max(1, round(page.width_pt * scale)), max(1, round(page.height_pt * scale))
        pixels = _pixels(page, width, height, _GREY)
        x0, y0, x1, y1 = place.sides
        corners = [_pixel_of(page, width, height, point) for point in ((x0, y0), (x1, y1))]
        (left, right), (top, bottom) = (sorted(sides) for sides in zip(*corners, strict=True))
        # Edges are drawn softly, up to two pixels beyond the rectangle.
        box = (
            *(min(max(low - 2, 0), side) for low, side in ((left, width), (top, height))),
            *(min(max(high + 3, 0), side) for high, side in ((right, width), (bottom, height))),
        )
        return _Drawn(pixels, width, height, box)


def _pixel_of(page: _Page, width: int, height: int, point: tuple[float, float]) -> tuple[int, int]:
    right, down = ctypes.c_int(), ctypes.c_int()
    pdfium().FPDF_PageToDevice(page.handle, 0, 0, width, height, 0, *point, ctypes.byref(right), ctypes.byref(down))
    return right.value, down.value


def _first_different(one: _Document, other: _Document) -> int:
    pages: int = min(pdfium().FPDF_GetPageCount(document.handle) for document in (one, other))
    for index in range(min(pages, _PAGES_COMPARED_MAX)):
        if _thumbnail(one, index, _PICTURE_WIDTH) != _thumbnail(other, index, _PICTURE_WIDTH):
            return index
    return 0


def _picture(document: _Document, index: int) -> bytes:
    width = _PICTURE_WIDTH
    while True:
        png = _png(*_framed(*_thumbnail(document, index, width)))
        if len(png) <= PICTURE_SIZE_BYTES_MAX:
            return png
        width = width * 3 // 4
        if width < _PICTURE_WIDTH_MIN:
            raise UndrawnError


def _framed(pixels: bytes, width: int, height: int) -> tuple[bytes, int, int]:
    """The picture with a grey line around it, since white pages lie on white pages."""
    stride = width * 3
    line, end = _FRAME * stride, (height - 1) * stride
    inside = (_FRAME * 3 + pixels[at + 3 : at + stride - 3] + _FRAME * 3 for at in range(stride, end, stride))
    return b"".join((line, *inside, line)) if height > 1 else pixels, width, height


def _thumbnail(document: _Document, index: int, width: int) -> tuple[bytes, int, int]:
    """The pixels of a page (RGB, few colours) as wide as asked, its width and height."""
    with _page(document, index) as page:
        height = max(1, min(2 * width, round(width * page.height_pt / page.width_pt)))
        return _pixels(page, width, height, _BGR).translate(_FEW_COLOURS), width, height


def _pixels(page: _Page, width: int, height: int, kind: int) -> bytes:
    library = pdfium()
    stride = width * (3 if kind == _BGR else 1)
    pixels = ctypes.create_string_buffer(b"\xff" * (stride * height), stride * height)
    bitmap = library.FPDFBitmap_CreateEx(width, height, kind, pixels, stride)
    if not bitmap:
        raise UndrawnError
    try:
        how = (0, 0, width, height, 0, _WITH_ANNOTATIONS | (_REVERSED_BYTES if kind == _BGR else 0))
        library.FPDF_RenderPageBitmap(bitmap, page.handle, *how)
        library.FPDF_FFLDraw(page.form, bitmap, page.handle, *how)
    finally:
        library.FPDFBitmap_Destroy(bitmap)
    return pixels.raw


@contextmanager
def _opened(content: bytes) -> Iterator[_Document]:
    library = pdfium()
    document = library.FPDF_LoadMemDocument64(content, len(content), None)
    if not document:
        raise UndrawnError
    info = library.FPDF_FORMFILLINFO(version=2)
    # Fields and their marks are drawn by the form's environment only; without scripts it does nothing else.
    form = library.FPDFDOC_InitFormFillEnvironment(document, info)
    try:
        yield _Document(document, form)
    finally:
        library.FPDFDOC_ExitFormFillEnvironment(form)
        library.FPDF_CloseDocument(document)


@contextmanager
def _page(document: _Document, index: int) -> Iterator[_Page]:
    library = pdfium()
    page = library.FPDF_LoadPage(document.handle, index)
    if not page:
        raise UndrawnError
    library.FORM_OnAfterLoadPage(page, document.form)
    try:
        width_pt, height_pt = library.FPDF_GetPageWidthF(page), library.FPDF_GetPageHeightF(page)
        if not (width_pt > 0 and height_pt > 0 and max(width_pt, height_pt) < 200 * min(width_pt, height_pt)):
            raise UndrawnError
        yield _Page(page, document.form, width_pt, height_pt)
    finally:
        library.FORM_OnBeforeClosePage(page, document.form)
        library.FPDF_ClosePage(page)


def _png(pixels: bytes, width: int, height: int) -> bytes:
    """An RGB picture as PNG (ISO 15948)."""
    stride = width * 3
    rows = [b"\x00" + pixels[at : at + stride] for at in range(0, len(pixels), stride)]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
