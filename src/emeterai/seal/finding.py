"""Finding the place that people mean. Used inside the opener only; pure once the page has been seen.

Whatever goes wrong with looking at a page, the answer is a place: the free corner that its geometry alone gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from emeterai.seal.free import Sheet
from emeterai.seal.layout import Anchor, anchors, has_block, may_matter, stamp_words
from emeterai.seal.model import Box, Geometry, Placement
from emeterai.seal.place import resolve_box
from emeterai.seal.sight import PageSight, Sight, UnseenError, seen
from emeterai.seal.signing_space import beside_anchor

_PAGES_MAX = 12
_SEARCH_S = 0.25
"""After so long no further page is searched; the pages seen so far must do."""
_ANCHORS_MAX = 8
_FRAME_PT = 75.0
_EDGE_PT = 1.5

Locate = Callable[[int | None], tuple[int, Geometry]]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the words of one page say."""

    words: list[Box]
    anchors: list[Anchor]


def find_place(
    path: str, locate: Locate, *, pages: int, page: int | None, box: Box | None, place: str, password: str | None = None
) -> Placement:
    """The place that an order means, on the page that it means.

    `locate` tells number and geometry of a page (None: the last). Raises Refused: page_not_in_document, box_off_page,
    box_too_small, place_unknown.
    """
    number, geometry = locate(page)
    square = resolve_box(geometry, box, place)
    with suppress(UnseenError), seen(path, pages=pages, password=password) as sight:
        if box is None and place == "auto":
            return _automatic(sight, locate, page, pages=pages)
        with sight.page(number, geometry) as shown:
            sheet = _sheet(shown, _read(shown))
        return _at_preset(sheet, number, square) if box is None else _as_asked(sheet, number, square)
    return Placement(number, square, covers=False, reason="unread")


def _as_asked(sheet: Sheet, number: int, square: Box) -> Placement:
    if not sheet.is_covered(square):
        return Placement(number, square, covers=False, reason="asked")
    free = sheet.near(square, sides=_sides(square)) or sheet.anywhere()
    return Placement(number, square, covers=True, reason="asked", free_box=free)


def _automatic(sight: Sight, locate: Locate, page: int | None, *, pages: int) -> Placement:
    until = time.monotonic() + _SEARCH_S
    number, reading = page or pages, None
    if page is None and pages > 1:
        number, reading = _page_with_block(sight, locate, pages, until=until)
    found = _on_page(sight, locate, number, reading)
    if found.covers and page is None:
        for other in _searched(pages):
            if time.monotonic() > until:
                break
            elsewhere = _on_page(sight, locate, other, None)
            if not elsewhere.covers:
                return elsewhere
    return found


def _on_page(sight: Sight, locate: Locate, number: int, reading: _Reading | None) -> Placement:
    """The place on one page: at a stamp word, else a signature, else in a corner that is free."""
    geometry = locate(number)[1]
    with sight.page(number, geometry) as shown:
        reading = reading or _read(shown)
        sheet = _sheet(shown, reading)
    for word in reading.words:
        if found := sheet.over(word):
            return Placement(number, found, covers=False, reason="word")
    middle = sheet.middle_of_ink()
    likely = [anchor for anchor in reading.anchors if anchor.is_sure or anchor.box.y1 < middle]
    for anchor in likely[:_ANCHORS_MAX]:
        if found := beside_anchor(sheet, anchor):
            return Placement(number, found, covers=False, reason="signature_block")
    if found := sheet.anywhere():
        return Placement(number, found, covers=False, reason="corner")
    corner = resolve_box(geometry, None, "auto")
    return Placement(number, corner, covers=sheet.is_covered(corner), reason="corner")


def _at_preset(sheet: Sheet, number: int, square: Box) -> Placement:
    if sheet.is_free(square):
        return Placement(number, square, covers=False, reason="preset")
    if near := sheet.near(square, sides=_sides(square)):
        return Placement(number, near, covers=False, reason="near")
    covers = sheet.is_covered(square)
    return Placement(number, square, covers=covers, reason="preset", free_box=sheet.anywhere() if covers else None)


def _page_with_block(sight: Sight, locate: Locate, pages: int, *, until: float) -> tuple[int, _Reading | None]:
    """The last page with a printed stamp word, else the last with a signature block, else the last; and its words."""
    chosen: tuple[int, _Reading | None] | None = None
    for number in _searched(pages):
        with suppress(UnseenError), sight.page(number, locate(number)[1]) as shown:
            reading = _read(shown)
            if reading.words:
                return number, reading
            if chosen is None and has_block(reading.anchors):
                chosen = number, reading
        if time.monotonic() > until:
            break
    return chosen or (pages, None)


def _searched(pages: int) -> Iterator[int]:
    """The last pages, backwards, and the first, where letters are that many annexes follow."""
    yield from range(pages, max(0, pages - _PAGES_MAX), -1)
    if pages > _PAGES_MAX:
        yield 1


def _read(shown: PageSight) -> _Reading:
    lines = shown.lines(may_matter)
    return _Reading(stamp_words(lines), anchors(lines))


def _sheet(shown: PageSight, reading: _Reading) -> Sheet:
    """The page's ink, without that of the printed stamp words and the frames around them, which stamps are to hide."""
    traces, bold = shown.ink()
    if reading.words:
        frames = [_frame_of(line, word) for line in shown.thin_lines() for word in reading.words]
        for box in (*reading.words, *(frame for frame in frames if frame)):
            traces.clear(box)
            bold.clear(box)
    return Sheet(traces, bold, shown.geometry.seen_size_pt)


def _frame_of(line: Box, word: Box) -> Box | None:
    """The part of a drawn line that may frame a printed stamp word; None when it is too far or runs through it."""
    x0, x1 = max(line.x0, word.x0 - _FRAME_PT), min(line.x1, word.x1 + _FRAME_PT)
    y0, y1 = max(line.y0, word.y0 - _FRAME_PT), min(line.y1, word.y1 + _FRAME_PT)
    if x0 > x1 or y0 > y1:
        return None
    return Box(x0 - _EDGE_PT, y0 - _EDGE_PT, x1 + _EDGE_PT, y1 + _EDGE_PT)


def _sides(square: Box) -> tuple[float, ...]:
    """The asked size first, then smaller ones down to the smallest that can be read."""
    side = square.x1 - square.x0
    return tuple(sorted({side, *(smaller for smaller in (66.0, 54.0) if smaller < side)}, reverse=True))
