"""What a person sees on the pages of a file, as PDFium sees it: text with its places, thin lines, ink.

Used inside the opener only. PDFium is the one library here that reads any font and draws any page; it answers in a
millisecond, and what it cannot bear costs an opener, never a stamp (docs/decisions).
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from emeterai.seal.ink import Ink, ink_of
from emeterai.seal.layout import Words, surrounding
from emeterai.seal.model import Box, Geometry
from emeterai.seal.pdfium import pdfium
from emeterai.seal.place import box_as_seen

_PIXELS_A_POINT = 0.5
_PIXELS_A_SIDE_MAX = 1_700
_CHARACTERS_MAX = 40_000
_LINES_MAX = 80
_OBJECTS_MAX = 3_000
_ANNOTATIONS_MAX = 500
_THIN_PT = 3.0
_COLUMN_GAP = 1.6
"""A gap wider than so many heights of its characters parts a line into columns."""
_WORD = re.compile(r"\S+")
_GREY, _WITH_ANNOTATIONS, _PATH = 1, 0x01, 2  # FPDFBitmap_Gray, FPDF_ANNOT, FPDF_PAGEOBJ_PATH
_LINK, _POPUP = 2, 16  # FPDF_ANNOT_LINK, FPDF_ANNOT_POPUP


class UnseenError(Exception):
    """PDFium cannot show this file or page as qpdf understands it."""


@contextmanager
def seen(path: str, *, pages: int, password: str | None = None) -> Iterator[Sight]:
    """Open a file for as long as the block runs. Raises UnseenError, also when the number of pages is another."""
    library = pdfium()
    document = library.FPDF_LoadDocument(path.encode(), password.encode() if password else None)
    if not document:
        raise UnseenError
    try:
        if library.FPDF_GetPageCount(document) != pages:
            raise UnseenError
        yield Sight(document)
    finally:
        library.FPDF_CloseDocument(document)


class Sight:
    """An opened file."""

    def __init__(self, document: Any) -> None:
        self._document = document

    @contextmanager
    def page(self, number: int, geometry: Geometry) -> Iterator[PageSight]:
        """One page, counted from 1, for as long as the block runs. Raises UnseenError."""
        library = pdfium()
        page = library.FPDF_LoadPage(self._document, number - 1)
        if not page:
            raise UnseenError
        text = library.FPDFText_LoadPage(page)
        try:
            yield PageSight(page, text, geometry)
        finally:
            if text:
                library.FPDFText_ClosePage(text)
            library.FPDF_ClosePage(page)


class PageSight:
    """One loaded page; every place it names is in points on the page as seen, origin bottom left."""

    def __init__(self, page: Any, text: Any, geometry: Geometry) -> None:
        self._page = page
        self._text = text
        self.geometry = geometry

    def lines(self, wanted: Callable[[str], bool]) -> list[Words]:
        """The runs of text on the lines that are `wanted`, split at wide gaps; a bounded number of lines."""
        text = self._whole_text()
        found: list[Words] = []
        for number, match in enumerate(_lines_with(text, wanted)):
            if number >= _LINES_MAX:
                break
            found += self._runs(text, match.start(), match.end())
        return found

    def ink(self) -> tuple[Ink, Ink]:
        """Where something is drawn, annotations included: every trace, and only what stands out. Raises UnseenError."""
        library = pdfium()
        width_pt, height_pt = self.geometry.seen_size_pt
        scale = min(_PIXELS_A_POINT, _PIXELS_A_SIDE_MAX / max(width_pt, height_pt))
        width, height = max(1, round(width_pt * scale)), max(1, round(height_pt * scale))
        self._check_shape(width_pt, height_pt)
        pixels = bytearray(b"\xff") * (width * height)
        shared = (ctypes.c_char * len(pixels)).from_buffer(pixels)
        bitmap = library.FPDFBitmap_CreateEx(width, height, _GREY, shared, width)
        if not bitmap:
            raise UnseenError
        try:
            library.FPDF_RenderPageBitmap(bitmap, self._page, 0, 0, width, height, 0, _WITH_ANNOTATIONS)
        finally:
            library.FPDFBitmap_Destroy(bitmap)
        traces, bold = ink_of(pixels, width=width, height=height, scale=scale)
        for box in self._annotations():
            traces.fill(box)
            bold.fill(box)
        return traces, bold

    def thin_lines(self) -> list[Box]:
        """The straight lines drawn on the page itself, and the four edges of each rectangle that is not filled in."""
        library = pdfium()
        found: list[Box] = []
        for index in range(min(library.FPDFPage_CountObjects(self._page), _OBJECTS_MAX)):
            thing = library.FPDFPage_GetObject(self._page, index)
            if library.FPDFPageObj_GetType(thing) != _PATH:
                continue
            sides = [ctypes.c_float() for _ in range(4)]
            if library.FPDFPageObj_GetBounds(thing, *map(ctypes.byref, sides)):
                x0, y0, x1, y1 = (side.value for side in sides)
                found += _edges(box_as_seen((x0, y0, x1, y1), self.geometry))
        return found

    def _whole_text(self) -> str:
        if not self._text:
            return ""
        library = pdfium()
        count = min(library.FPDFText_CountChars(self._text), _CHARACTERS_MAX)
        if count <= 0:
            return ""
        buffer = (ctypes.c_ushort * (count + 1))()
        written = library.FPDFText_GetText(self._text, 0, count, buffer)
        text = bytes(buffer)[: 2 * max(0, written - 1)].decode("utf-16-le", "replace")
        if len(text) != count:
            # Some characters have no place in that text, but a place on the page: then each is asked for by itself.
            codes = (library.FPDFText_GetUnicode(self._text, index) for index in range(count))
            text = "".join(chr(code) if 0 < code < 0xD800 else "\ufffd" for code in codes)
        return text

    def _runs(self, text: str, start: int, end: int) -> Iterator[Words]:
        words, around = [], None
        for match in _WORD.finditer(text, start, end):
            # Two calls for a word instead of one for each of its characters: calls are what looking at a page costs.
            ends = (self._character(match.start()), self._character(match.end() - 1))
            boxes = [box for box in ends if box is not None]
            if not boxes:
                continue
            box = surrounding(boxes)
            if around is not None and _are_columns(around, box):
                yield Words(" ".join(words), around)
                words, around = [], None
            words.append(match[0])
            around = box if around is None else surrounding((around, box))
        if around is not None:
            yield Words(" ".join(words), around)

    def _character(self, index: int) -> Box | None:
        rectangle = pdfium().FS_RECTF()
        if not pdfium().FPDFText_GetLooseCharBox(self._text, index, ctypes.byref(rectangle)):
            return None
        corners = (rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
        if corners[0] >= corners[2]:
            return None  # a space that PDFium put in between has no extent
        return box_as_seen(corners, self.geometry)

    def _check_shape(self, width_pt: float, height_pt: float) -> None:
        library = pdfium()
        width, height = library.FPDF_GetPageWidthF(self._page), library.FPDF_GetPageHeightF(self._page)
        if not (width > 0 and height > 0) or abs(width / height - width_pt / height_pt) > 0.01 * width_pt / height_pt:
            raise UnseenError

    def _annotations(self) -> Iterator[Box]:
        library = pdfium()
        for index in range(min(library.FPDFPage_GetAnnotCount(self._page), _ANNOTATIONS_MAX)):
            annotation = library.FPDFPage_GetAnnot(self._page, index)
            if not annotation:
                continue
            rectangle = pdfium().FS_RECTF()
            kind = library.FPDFAnnot_GetSubtype(annotation)
            if kind not in {_LINK, _POPUP} and library.FPDFAnnot_GetRect(annotation, ctypes.byref(rectangle)):
                corners = (rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
                yield box_as_seen(corners, self.geometry)
            library.FPDFPage_CloseAnnot(annotation)


def _lines_with(text: str, wanted: Callable[[str], bool]) -> Iterator[re.Match[str]]:
    return (line for line in re.finditer(r"[^\r\n]+", text) if wanted(line[0]))


def _are_columns(left: Box, right: Box) -> bool:
    gap = max(right.x0 - left.x1, left.x0 - right.x1)
    return gap > _COLUMN_GAP * max(right.y1 - right.y0, 6)


def _edges(box: Box) -> list[Box]:
    width, height = box.x1 - box.x0, box.y1 - box.y0
    if width <= _THIN_PT or height <= _THIN_PT:
        return [box]
    return [
        Box(box.x0, box.y0, box.x1, box.y0),
        Box(box.x0, box.y1, box.x1, box.y1),
        Box(box.x0, box.y0, box.x0, box.y1),
        Box(box.x1, box.y0, box.x1, box.y1),
    ]
