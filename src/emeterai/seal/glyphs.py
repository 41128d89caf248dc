"""Capital letters and figures as strokes, drawn here so that a mark needs no font (PDF/A wants fonts embedded).

A glyph is written on a grid 6 high as strokes parted by `;`, each a chain of points `x,y` or `x,y,radius`; a radius
rounds the corner, a final `z` closes the stroke.
"""

from __future__ import annotations

from functools import lru_cache
from math import hypot

GRID_HEIGHT = 6.0
_ARC = 0.5523  # the handle length with which a cubic curve follows a quarter of a circle
_DRAWN = {
    "A": "0,0 2.1,6 4.2,0; 0.75,1.9 3.45,1.9",
    "B": "2.4,3.2 3.8,3.2,1.4 3.8,6,1.4 0,6 0,0 4.1,0,1.6 4.1,3.2,1.6 0,3.2",
    "C": "4,4.4 4,6,1.6 0,6,2 0,0,2 4,0,1.6 4,1.6",
    "D": "0,0 4.1,0,2.2 4.1,6,2.2 0,6 z",
    "E": "3.6,6 0,6 0,0 3.6,0; 0,3.1 3,3.1",
    "F": "3.6,6 0,6 0,0; 0,3 3,3",
    "G": "4,4.5 4,6,1.5 0,6,2 0,0,2 4.1,0,1.6 4.1,2.8 2.3,2.8",
    "H": "0,0 0,6; 4,0 4,6; 0,3.1 4,3.1",
    "I": "0,6 2,6; 1,6 1,0; 0,0 2,0",
    "J": "0,1.5 0,0,1.5 3.4,0,1.6 3.4,6",
    "K": "0,0 0,6; 3.9,6 0,2.3; 1.4,3.6 4.1,0",
    "L": "0,6 0,0 3.5,0",
    "M": "0,0 0,6 2.5,2 5,6 5,0",
    "N": "0,0 0,6 4,0 4,6",
    "O": "2,0 4.2,0,2.1 4.2,6,2.1 0,6,2.1 0,0,2.1 z",
    "P": "0,0 0,6 4,6,1.7 4,2.6,1.7 0,2.6",
    "Q": "2,0 4.2,0,2.1 4.2,6,2.1 0,6,2.1 0,0,2.1 z; 2.6,1.6 4.4,-0.4",
    "R": "0,0 0,6 4,6,1.7 4,2.7,1.7 0,2.7; 2.2,2.7 4.2,0",
    "S": "3.8,4.7 3.8,6,1.3 0.1,6,1.5 0.1,3.1,1.4 3.9,3.1,1.5 3.9,0,1.5 0,0,1.4 0,1.4",
    "T": "0,6 4,6; 2,6 2,0",
    "U": "0,6 0,0,2 4.1,0,2 4.1,6",
    "V": "0,6 2.1,0 4.2,6",
    "W": "0,6 1.4,0 2.9,5 4.4,0 5.8,6",
    "X": "0,0 4,6; 0,6 4,0",
    "Y": "0,6 2.1,2.9 4.2,6; 2.1,2.9 2.1,0",
    "Z": "0,6 3.9,6 0,0 4,0",
    "0": "1.9,0 3.8,0,1.9 3.8,6,1.9 0,6,1.9 0,0,1.9 z; 1.1,1.9 2.7,4.1",
    "1": "0.2,4.7 1.7,6 1.7,0; 0.3,0 3.1,0",
    "2": "0,4.6 0,6,1.4 3.9,6,1.7 3.9,3.2,1.2 0,0 4,0",
    "3": "0,4.8 0,6,1.2 3.8,6,1.4 3.8,3.2,1.4 1.6,3.2; 2.2,3.2 4,3.2,1.6 4,0,1.6 0,0,1.3 0,1.3",
    "4": "3,0 3,6 0,1.6 4.1,1.6",
    "5": "3.7,6 0.4,6 0.2,3.5 4,3.5,1.7 4,0,1.7 0,0,1.3 0,1.3",
    "6": "3.7,6 2.4,6 0,3.6,1.6 0,0,1.9 4,0,1.8 4,3.5,1.7 0,3.5",
    "7": "0,6 4,6 1.4,0",
    "8": "2,3.2 0.2,3.2,1.4 0.2,6,1.4 3.8,6,1.4 3.8,3.2,1.4 z; 2,3.2 0,3.2,1.6 0,0,1.6 4,0,1.6 4,3.2,1.6 z",
    "9": "0.4,0 1.6,0 4,2.4,1.6 4,6,1.9 0,6,1.8 0,2.5,1.7 4,2.5",
}
GLYPHS = frozenset(_DRAWN) | {" "}
"""The characters that can be drawn."""
_SPACE_WIDTH = 2.4
_UNKNOWN = "0,0 3.6,0 3.6,6 0,6 z"

Point = tuple[float, float, float]


def glyph_width(character: str) -> float:
    """The width of a glyph on the grid, without room beside it."""
    if character == " ":
        return _SPACE_WIDTH
    return max(point[0] for stroke, _ in _strokes(character) for point in stroke)


def glyph_path(character: str, *, x: float, y: float, scale: float) -> str:
    """Path operators that draw a glyph with its lower left corner at x, y; stroke them with round caps and joins."""
    if character == " ":
        return ""
    parts = []
    for points, closed in _strokes(character):
        placed = [(x + px * scale, y + py * scale, radius * scale) for px, py, radius in points]
        parts.append(rounded_path(placed, closed=closed))
    return " ".join(parts)


def text_path(text: str, *, x: float, y: float, height: float, width: float) -> str:
    """Path operators for a line of capitals `height` high, spread over exactly `width` from x."""
    scale = height / GRID_HEIGHT
    widths = [glyph_width(character) * scale for character in text]
    gap = (width - sum(widths)) / max(len(text) - 1, 1)
    parts = []
    for character, glyph_width_pt in zip(text, widths, strict=True):
        parts.append(glyph_path(character, x=x, y=y, scale=scale))
        x += glyph_width_pt + gap
    return " ".join(part for part in parts if part)


def rounded_path(points: list[Point], *, closed: bool) -> str:
    """Path operators through `points` (x, y, corner radius); a closed path starts and ends at the first point."""
    x, y, _ = points[0]
    parts = [f"{_number(x)} {_number(y)} m"]
    chain = [*points, points[0]] if closed else points
    for before, corner, after in zip(chain, chain[1:], chain[2:], strict=False):
        parts.append(_corner(before, corner, after))
    if closed:
        parts.append("h")
    else:
        parts.append(f"{_number(chain[-1][0])} {_number(chain[-1][1])} l")
    return " ".join(parts)


def _corner(before: Point, corner: Point, after: Point) -> str:
    x, y, radius = corner
    if not radius:
        return f"{_number(x)} {_number(y)} l"
    start, start_handle = _towards(corner, before, radius)
    end, end_handle = _towards(corner, after, radius)
    numbers = (*start_handle, *end_handle, *end)
    return f"{_number(start[0])} {_number(start[1])} l {' '.join(map(_number, numbers))} c"


def _towards(corner: Point, other: Point, radius: float) -> tuple[tuple[float, float], tuple[float, float]]:
    x, y, _ = corner
    length = hypot(other[0] - x, other[1] - y)
    step_x, step_y = (other[0] - x) / length * radius, (other[1] - y) / length * radius
    return (x + step_x, y + step_y), (x + step_x * (1 - _ARC), y + step_y * (1 - _ARC))


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


@lru_cache(maxsize=64)
def _strokes(character: str) -> list[tuple[list[Point], bool]]:
    strokes = []
    for drawn in _DRAWN.get(character, _UNKNOWN).split(";"):
        words = drawn.split()
        closed = words[-1] == "z"
        points: list[Point] = []
        for word in words[:-1] if closed else words:
            x, y, *radius = (float(number) for number in word.split(","))
            points.append((x, y, radius[0] if radius else 0.0))
        strokes.append((points, closed))
    return strokes
