"""The picture of a plan: the crowd, the speed of the line, and how long people wait, as plain SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from emeterai.core.planning import STEP_S, LineSeen

_WIDTH, _HEIGHT, _MARGIN, _GAP = 1_000, 300, 56, 40
_COLOURS = ("#1f618d", "#b9770e", "#c0392b", "#7d3c98")
_POINTS_MAX = 1_200
_HOUR_S = 3_600.0


def picture_of(
    arrivals: Sequence[float], per_s: float, lines: Mapping[str, LineSeen], deadline: datetime, *, makes: str
) -> str:
    """Two charts over the same days: stamps asked for a second, and the wait in hours for each of the `lines`.

    `makes` says in words what the line makes, and with what.
    """
    crowd = [came / STEP_S for came in arrivals]
    waits_h = {name: [wait_s / _HOUR_S for wait_s in line.waits_s] for name, line in lines.items()}
    frame = f'viewBox="0 0 {_WIDTH} {2 * _HEIGHT + _GAP}" font-family="sans-serif" font-size="13"'
    highest_h = max(max(values) for values in waits_h.values()) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>',
        f'<rect width="{_WIDTH}" height="{2 * _HEIGHT + _GAP}" fill="#ffffff"/>',
        *_chart(0, {"asked for": crowd}, max(crowd), f"stamps a second; {makes}", deadline),
        _level(per_s, max(crowd)),
        *_chart(
            _HEIGHT + _GAP, waits_h, highest_h, "hours that whoever comes then waits, by part of the plan", deadline
        ),
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _chart(top: int, series: Mapping[str, list[float]], highest: float, title: str, deadline: datetime) -> list[str]:
    floor, steps = top + _HEIGHT - _MARGIN, len(next(iter(series.values())))
    parts = [f'<text x="{_MARGIN}" y="{top + 20}">{title}</text>']
    for place, (name, values) in enumerate(series.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        points = " ".join(_points(values, highest, floor))
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
            f'<text x="{_WIDTH - _MARGIN - 90 * (len(series) - place)}" y="{top + 20}" fill="{colour}">{name}</text>',
        ]
    across = (_WIDTH - 2 * _MARGIN) / steps
    a_day = 86_400 // STEP_S
    opening = deadline - timedelta(seconds=STEP_S * steps)
    for step in range(0, steps, a_day * max(1, steps // a_day // 8)):
        day = opening + timedelta(seconds=STEP_S * step)
        at = _MARGIN + step * across
        parts.append(f'<text x="{at:.1f}" y="{floor + 20}" text-anchor="middle">{day:%d %b}</text>')
    for part in (0.0, 0.5, 1.0):
        at = floor - part * (_HEIGHT - 2 * _MARGIN)
        parts += [
            f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{at:.1f}" y2="{at:.1f}" stroke="#dddddd"/>',
            f'<text x="{_MARGIN - 8}" y="{at + 4:.1f}" text-anchor="end">{part * highest:,.3g}</text>',
        ]
    return parts


def _points(values: list[float], highest: float, floor: int) -> list[str]:
    """The line of the chart; of many values in a row the highest is shown, so that no peak is lost."""
    across, up = (_WIDTH - 2 * _MARGIN) / len(values), (_HEIGHT - 2 * _MARGIN) / highest
    each = max(1, len(values) // _POINTS_MAX)
    return [
        f"{_MARGIN + at * across:.1f},{floor - max(values[at : at + each]) * up:.1f}"
        for at in range(0, len(values), each)
    ]


def _level(per_s: float, highest: float) -> str:
    at = _HEIGHT - _MARGIN - per_s / highest * (_HEIGHT - 2 * _MARGIN)
    return (
        f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{at:.1f}" y2="{at:.1f}" '
        'stroke="#148f77" stroke-dasharray="6 4"/>'
    )
