"""Free room on a page: squares that hide nothing, near where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from emeterai.seal.ink import Ink
from emeterai.seal.model import MARK_SIDE_PT, Box

SIDES_PT = (MARK_SIDE_PT, 66.0, 54.0)
"""The sizes that are tried, from the one people know to the smallest that can be read."""
_CORNER_PT = 36.0
_EDGE_PT = 9.0
_CLEAR_PT = 2.0
_STEP_PT = 9.0
_REACH_PT = 153.0
_OVER_STEP_PT = 5.0


class Sheet:
    """One page as seen. A place is *free* when not a trace is drawn there, *covered* when something stands out."""

    def __init__(self, traces: Ink, bold: Ink, size_pt: tuple[float, float]) -> None:
        self._traces = traces
        self._bold = bold
        self._size_pt = size_pt

    @property
    def size_pt(self) -> tuple[float, float]:
        """Width and height of the page."""
        return self._size_pt

    def is_covered(self, box: Box) -> bool:
        """Whether a mark here would hide something; not what it only touches."""
        return not self._bold.is_blank(_grown(box, -1.0))

    def is_free(self, box: Box) -> bool:
        """Whether a mark here lies on the page and stands clear of everything."""
        return self._on_page(box) and self._traces.is_blank(_grown(box, _CLEAR_PT))

    def bands(self, x0: float, x1: float, *, top: float, bottom: float) -> list[tuple[float, float, bool]]:
        """The strip between x0 and x1, from the top down, as bands (top, bottom, inked)."""
        return self._traces.bands(x0, x1, top=top, bottom=bottom)

    def middle_of_ink(self) -> float:
        """Half way between the highest and the lowest that is drawn on the page."""
        inked = self._traces.height() or (0, self._size_pt[1])
        return sum(inked) / 2

    def first_free(self, boxes: Iterator[Box]) -> Box | None:
        """The first of some squares that is free."""
        return next((box for box in boxes if self.is_free(box)), None)

    def over(self, word: Box) -> Box | None:
        """The free square that hides the middle of a printed word, or comes close; larger and nearer ones first."""
        middle_x, middle_y = (word.x0 + word.x1) / 2, (word.y0 + word.y1) / 2
        for side in SIDES_PT:
            moves = _moves(_OVER_STEP_PT, side / 2 + 4)
            if found := self.first_free(_square(middle_x + x, middle_y + y, side) for x, y in moves):
                return found
        return None

    def near(self, square: Box, *, sides: Sequence[float], reach_pt: float = _REACH_PT) -> Box | None:
        """The free square nearest to a wanted one, within reach; a smaller one only when no larger one is free."""
        middle_x, middle_y = (square.x0 + square.x1) / 2, (square.y0 + square.y1) / 2
        for side in sides:
            moves = _moves(_STEP_PT, reach_pt)
            if found := self.first_free(_square(middle_x + x, middle_y + y, side) for x, y in moves):
                return found
        return None

    def anywhere(self) -> Box | None:
        """A free square in a corner, bottom right first, else nearest to one of them."""
        for side in SIDES_PT:
            if found := self.first_free(self._corners(side)):
                return found
            for corner in self._corners(side):
                if found := self.near(corner, sides=(side,)):
                    return found
        return None

    def _corners(self, side: float) -> Iterator[Box]:
        width, height = self._size_pt
        far_x, far_y = width - _CORNER_PT - side / 2, height - _CORNER_PT - side / 2
        near = _CORNER_PT + side / 2
        for x, y in ((far_x, near), (near, near), (far_x, far_y), (near, far_y)):
            yield _square(x, y, side)

    def _on_page(self, box: Box) -> bool:
        width, height = self._size_pt
        edge = max(0.0, min(_EDGE_PT, (min(width, height) - (box.x1 - box.x0)) / 2))
        return box.x0 >= edge and box.y0 >= edge and box.x1 <= width - edge and box.y1 <= height - edge


@cache
def _moves(step_pt: float, reach_pt: float) -> list[tuple[float, float]]:
    """Shifts on a grid within reach, the shortest first; down and to the right before up and to the left."""
    count = int(reach_pt / step_pt)
    grid = [step_pt * index for index in range(-count, count + 1)]
    moves = [(x, y) for x in grid for y in grid if x * x + y * y <= reach_pt * reach_pt]
    return sorted(moves, key=lambda move: (move[0] ** 2 + move[1] ** 2, move[1], -move[0]))


def _square(x: float, y: float, side: float) -> Box:
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def _grown(box: Box, by: float) -> Box:
    return Box(box.x0 - by, box.y0 - by, box.x1 + by, box.y1 + by)
