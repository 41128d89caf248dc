"""Plots as plain SVG inside a page: lines over time or over load, readable on a phone."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 44, 36
COLOURS = ("#9c1458", "#1f618d", "#b9770e", "#148f77", "#7d3c98", "#566573")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Named lines. `bands` are parts of the x axis with a word each; `across` are horizontal lines with a word each."""

    title: str
    x_label: str
    lines: Mapping[str, Points]
    bands: list[tuple[float, float, str]] = field(default_factory=list)
    across: dict[str, float] = field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False
    dots: bool = False

    def svg(self) -> str:
        """The picture, with its words for those who cannot see it."""
        scale = _Scale(self)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"',
            f'role="img" aria-label="{html.escape(self.title)}" font-size="11">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'<text x="8" y="15" font-size="13" font-weight="bold">{html.escape(self.title)}</text>',
            *self._bands(scale),
            *_axes(scale, self.x_label),
            *self._across(scale),
            *(
                self._line(scale, points, COLOURS[place % len(COLOURS)])
                for place, points in enumerate(self.lines.values())
            ),
            *self._legend(),
            "</svg>",
        ]
        return "\n".join(parts)

    def _bands(self, scale: _Scale) -> list[str]:
        areas, words = [], []
        for place, (begin, end, word) in enumerate(self.bands):
            left, right = scale.x(begin), scale.x(end)
            colour = "#eee7ec" if place % 2 else "#ffffff"
            middle, height = (left + right) / 2, HEIGHT - TOP - BOTTOM
            areas.append(
                f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{height}" fill="{colour}"/>'
            )
            place_of_word = f'x="{middle:.1f}" y="{TOP + 11}" text-anchor="middle"'
            words.append(f'<text {place_of_word} fill="#666666" font-size="10">{html.escape(word)}</text>')
        return areas + words

    def _across(self, scale: _Scale) -> list[str]:
        return [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{(y := scale.y(value)):.1f}" y2="{y:.1f}" stroke="#777777" '
            f'stroke-dasharray="5 4"/><text x="{WIDTH - RIGHT - 2}" y="{y - 3:.1f}" text-anchor="end" '
            f'fill="#555555">{html.escape(word)}</text>'
            for word, value in self.across.items()
        ]

    def _line(self, scale: _Scale, points: Points, colour: str) -> str:
        places = [(scale.x(x), scale.y(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>' + dots * self.dots

    def _legend(self) -> list[str]:
        parts, left = [], 8.0
        for place, name in enumerate(self.lines):
            colour = COLOURS[place % len(COLOURS)]
            parts.append(
                f'<rect x="{left:.0f}" y="23" width="10" height="10" fill="{colour}"/>'
                f'<text x="{left + 14:.0f}" y="32">{html.escape(name)}</text>'
            )
            left += 26 + 6.2 * len(name)
        return parts


class _Scale:
    """Where a value is on the picture."""

    def __init__(self, plot: Plot) -> None:
        xs = [x for points in plot.lines.values() for x, _ in points] or [0.0, 1.0]
        ys = [y for points in plot.lines.values() for _, y in points] + list(plot.across.values())
        self._log_x, self._log_y = plot.log_x, plot.log_y
        self.x_min, self.x_max = self._fx(min(xs)), self._fx(max(xs))
        low = self._fy(max(1e-3, min((y for y in ys if y > 0), default=1.0))) if plot.log_y else 0.0
        self.y_min = math.floor(low)
        self.y_max = self._fy(max([*ys, 1e-3]))
        self.y_max = math.ceil(self.y_max) if plot.log_y else self.y_max * 1.12

    def x(self, value: float) -> float:
        """From the left."""
        span = self.x_max - self.x_min or 1.0
        return LEFT + (self._fx(value) - self.x_min) / span * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """From the top."""
        span = self.y_max - self.y_min or 1.0
        floor = HEIGHT - BOTTOM
        return floor - (max(self.y_min, self._fy(value)) - self.y_min) / span * (floor - TOP)

    def x_ticks(self) -> list[float]:
        """Values to write at the x axis."""
        return self._ticks(self.x_min, self.x_max, log=self._log_x)

    def y_ticks(self) -> list[float]:
        """Values to write at the y axis."""
        return self._ticks(self.y_min, self.y_max, log=self._log_y)

    def _fx(self, value: float) -> float:
        return math.log10(max(value, 1e-3)) if self._log_x else value

    def _fy(self, value: float) -> float:
        return math.log10(max(value, 1e-3)) if self._log_y else value

    @staticmethod
    def _ticks(low: float, high: float, *, log: bool) -> list[float]:
        if log:
            return [10.0**power for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
        raw = (high - low) / 5 or 1.0
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * times for times in (1, 2, 5, 10) if size * times >= raw)
        return [step * place for place in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def _axes(scale: _Scale, x_label: str) -> list[str]:
    floor = HEIGHT - BOTTOM
    parts = [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" stroke="#333333"/>']
    for value in scale.y_ticks():
        y = scale.y(value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e3e3"/>'
            f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    parts += [
        f'<text x="{scale.x(value):.1f}" y="{floor + 14}" text-anchor="middle">{_short(value)}</text>'
        for value in scale.x_ticks()
    ]
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end" fill="#555555">{html.escape(x_label)}</text>'
    )
    return parts


def _short(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    return f"{value / 1_000:g} k" if value >= 10_000 else f"{value:g}"
