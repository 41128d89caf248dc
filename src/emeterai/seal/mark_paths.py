"""SVG path data as PDF path operators, so that an issuer's artwork can be taken over from any drawing program."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import isfinite

_TOKEN = re.compile(r"\s*,?\s*([A-Za-z]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
_COUNTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}
Point = tuple[float, float]
Place = Callable[[float, float], Point]


class PathError(ValueError):
    """Path data that cannot be drawn; the text says where and why."""


def path_operators(data: str, place: Place) -> str:
    """Operators for SVG path data (SVG 1.1, 8.3) without arcs; `place` turns its points into the mark's.

    Raises PathError.
    """
    pen = _Pen(place)
    parts: list[str] = []
    for command, numbers in _commands(data):
        if not parts and command.upper() != "M":
            raise PathError("a path begins with M")
        parts.append(pen.draw(command, numbers))
    if not parts:
        raise PathError("the path is empty")
    return " ".join(parts)


def _commands(data: str) -> Iterator[tuple[str, list[float]]]:
    """Each command with its numbers; numbers that go on repeat the command, after M as L."""
    command, drawn = "", True
    numbers: list[float] = []
    for word in _tokens(data):
        if word.isalpha():
            if numbers or not drawn:
                raise PathError(f"{command} has too few numbers")
            command, drawn = word, word in "Zz"
            if drawn:
                yield command, []
            continue
        if command in {"", "Z", "z"}:
            raise PathError(f"the number {word} follows no command that takes one")
        numbers.append(float(word))
        if len(numbers) == _COUNTS[command.upper()]:
            yield command, numbers
            command, numbers, drawn = {"M": "L", "m": "l"}.get(command, command), [], True
    if numbers or not drawn:
        raise PathError(f"{command} has too few numbers")


def _tokens(data: str) -> Iterator[str]:
    text, at = data.rstrip(), 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise PathError(f"{text[at : at + 12]!r} cannot be read")
        word = match[1]
        if word in {"A", "a"}:
            raise PathError("arcs (A) must be turned into curves first")
        if word.isalpha() and word.upper() not in _COUNTS:
            raise PathError(f"{word} is no command")
        yield word
        at = match.end()


class _Pen:
    """Draws command after command; knows where it is, where the figure began and the handle that S and T mirror."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._at: Point = (0.0, 0.0)
        self._start: Point = (0.0, 0.0)
        self._handle: tuple[str, Point] = ("", (0.0, 0.0))

    def draw(self, command: str, numbers: list[float]) -> str:
        """The operators of one command."""
        kind = command.upper()
        points = self._points(kind, numbers, relative=command.islower())
        if kind == "Z":
            self._at, self._handle = self._start, ("", self._start)
            return "h"
        if kind in "MLHV":
            self._at, self._handle = points[-1], ("", points[-1])
            if kind == "M":
                self._start = self._at
            return f"{self._text(self._at)} {'m' if kind == 'M' else 'l'}"
        return self._curve(kind, points)

    def _points(self, kind: str, numbers: list[float], *, relative: bool) -> list[Point]:
        x, y = self._at if relative else (0.0, 0.0)
        if kind == "H":
            return [(x + numbers[0], self._at[1])]
        if kind == "V":
            return [(self._at[0], y + numbers[0])]
        return [(x + numbers[index], y + numbers[index + 1]) for index in range(0, len(numbers), 2)]

    def _curve(self, kind: str, points: list[Point]) -> str:
        start, end = self._at, points[-1]
        if kind in "CS":
            first = points[0] if kind == "C" else self._mirrored("C")
            second = points[-2]
            self._handle = ("C", second)
        else:
            middle = points[0] if kind == "Q" else self._mirrored("Q")
            self._handle = ("Q", middle)
            first, second = (_between(corner, middle) for corner in (start, end))
        self._at = end
        return f"{self._text(first)} {self._text(second)} {self._text(end)} c"

    def _mirrored(self, kind: str) -> Point:
        (x, y), (hx, hy) = self._at, self._handle[1]
        return (2 * x - hx, 2 * y - hy) if self._handle[0] == kind else self._at

    def _text(self, point: Point) -> str:
        x, y = self._place(*point)
        if not (isfinite(x) and isfinite(y) and abs(x) < 1e5 and abs(y) < 1e5):
            raise PathError("a point lies far outside the drawing")
        return f"{_short(x)} {_short(y)}"


def _between(corner: Point, middle: Point) -> Point:
    """A handle of the cubic curve that is the same as a quadratic one."""
    return corner[0] + (middle[0] - corner[0]) * 2 / 3, corner[1] + (middle[1] - corner[1]) * 2 / 3


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
