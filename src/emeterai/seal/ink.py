"""Where something is drawn on a page: a map of small squares, each inked or blank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from math import ceil, floor

from emeterai.seal.model import Box

_TRACE_LEVELS, _BOLD_LEVELS = 10, 48
"""By how many of 255 levels of grey a square differs from the paper to be a trace of ink, and to stand out."""
_NOISY_TRACE_LEVELS, _NOISY_BOLD_LEVELS = 36, 60
_CLEAN_SHARE = 0.5
"""On drawn pages at least this share of the squares has exactly the paper's colour; on photographed ones it has not."""
_SPECKS_MAX = 3
_WHITE = 255
_SAMPLE = 17
_TILE = 32
_PAPER_RANGE_LEVELS = 70


class Ink:
    """A map of a page as seen, `scale` squares to a point, rows from the top. Boxes are in points from the bottom."""

    def __init__(self, squares: bytearray, *, width: int, height: int, scale: float, specks: int = 0) -> None:
        self._squares = squares
        self._width = width
        self._height = height
        self._scale = scale
        self._specks = specks

    def is_blank(self, box: Box) -> bool:
        """Whether nothing is drawn in a box, save for specks of dust on a photographed page."""
        left = self._specks
        for start, end in self._rows(box):
            if self._squares.find(1, start, end) >= 0:
                left -= self._squares.count(1, start, end)
                if left < 0:
                    return False
        return True

    def fill(self, box: Box) -> None:
        """Take a box for inked."""
        for start, end in self._rows(box):
            self._squares[start:end] = b"\x01" * (end - start)

    def clear(self, box: Box) -> None:
        """Take a box for blank."""
        for start, end in self._rows(box):
            self._squares[start:end] = bytes(end - start)

    def bands(self, x0: float, x1: float, *, top: float, bottom: float) -> list[tuple[float, float, bool]]:
        """The strip between x0 and x1 from `top` down to `bottom` as bands (top, bottom, inked) in points."""
        first, last = self._row_of(top), self._row_of(bottom)
        start, end = max(0, floor(x0 * self._scale)), min(self._width, ceil(x1 * self._scale))
        found: list[tuple[float, float, bool]] = []
        for row in range(max(0, first), min(self._height, last)):
            at = row * self._width
            inked = self._squares.find(1, at + start, at + end) >= 0
            low = (self._height - row - 1) / self._scale
            if found and found[-1][2] == inked:
                found[-1] = (found[-1][0], low, inked)
            else:
                found.append((low + 1 / self._scale, low, inked))
        return found

    def height(self) -> tuple[float, float] | None:
        """The lower edge of the lowest ink and the upper edge of the highest in points; None when all is blank."""
        highest, lowest = self._squares.find(1), self._squares.rfind(1)
        if highest < 0:
            return None
        above, below = highest // self._width, lowest // self._width + 1
        return (self._height - below) / self._scale, (self._height - above) / self._scale

    def _row_of(self, y: float) -> int:
        return self._height - ceil(y * self._scale)

    def _rows(self, box: Box) -> Iterator[tuple[int, int]]:
        x0, x1 = max(0, floor(box.x0 * self._scale)), min(self._width, max(ceil(box.x1 * self._scale), 1))
        top = max(0, self._height - ceil(box.y1 * self._scale))
        bottom = min(self._height, max(self._height - floor(box.y0 * self._scale), top + 1))
        return ((row * self._width + x0, row * self._width + x1) for row in range(top, bottom))


def ink_of(pixels: bytearray, *, width: int, height: int, scale: float) -> tuple[Ink, Ink]:
    """Every trace on a grey picture of a page, and only what stands out from the paper, whatever its colour."""
    sample = pixels[::_SAMPLE]
    enough = _CLEAN_SHARE * len(sample)
    paper = _WHITE if sample.count(_WHITE) >= enough else Counter(sample).most_common(1)[0][0]
    clean = sample.count(paper) >= enough
    if clean:
        maps = [pixels.translate(_apart(paper, by)) for by in (_TRACE_LEVELS, _BOLD_LEVELS)]
    else:
        maps = _darker_by_tile(pixels, width, _bright_level(Counter(sample)))
    specks = 0 if clean else _SPECKS_MAX
    traces, bold = (Ink(squares, width=width, height=height, scale=scale, specks=specks) for squares in maps)
    return traces, bold


@lru_cache(maxsize=64)
def _apart(paper: int, by: int) -> bytes:
    """The table that makes 1 of every level further than `by` from the paper's, and 0 of the others."""
    return bytes(abs(level - paper) > by for level in range(256))


@lru_cache(maxsize=512)
def _darker(paper: int, by: int) -> bytes:
    return bytes(paper - level > by for level in range(256))


def _darker_by_tile(pixels: bytearray, width: int, bright: int) -> list[bytearray]:
    """The shade of photographed paper changes from place to place; each tile is measured against its own paper."""
    traces, bold = bytearray(len(pixels)), bytearray(len(pixels))
    for top in range(0, len(pixels), width * _TILE):
        rows = range(top, min(top + width * _TILE, len(pixels)), width)
        for left in range(0, width, _TILE):
            size = min(_TILE, width - left)
            sample = b"".join(pixels[row + left : row + left + size : 3] for row in rows)
            local = sorted(sample)[len(sample) * 4 // 5]
            # A tile much darker than the page is no paper at all but a picture.
            paper = local if local >= bright - _PAPER_RANGE_LEVELS else bright
            for squares, by in ((traces, _NOISY_TRACE_LEVELS), (bold, _NOISY_BOLD_LEVELS)):
                table = _darker(paper, by)
                for row in rows:
                    squares[row + left : row + left + size] = pixels[row + left : row + left + size].translate(table)
    return [traces, bold]


def _bright_level(levels: Counter[int]) -> int:
    """The level that four fifths of the page are not brighter than: its paper."""
    seen, enough = 0, levels.total() * 4 // 5
    for level in range(256):
        seen += levels[level]
        if seen >= enough:
            return level
    return 255
