"""The picture of `emeterai bench payments`: how long money took to be quota, second by second, in plain SVG."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from storm_books import Reckoning

WIDTH, HEIGHT, MARGIN = 1_200, 420, 56
LAG_MIN_S, LAG_MAX_S = 0.001, 1_000.0
_TICKS_S = {0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1.0: "1 s", 10.0: "10 s", 100.0: "100 s", 1_000.0: "1,000 s"}


@dataclass(frozen=True)
class Run:
    """One rush: when it began (seconds since 1970), how long people bought and until all was quiet, and what came."""

    began_s: float
    bought_s: float
    lasted_s: float
    deeds: list[tuple[float, str]]
    outages: list[tuple[float, float, str]]
    repeats: dict[str, int]
    decisions: dict[str, int]
    found: Reckoning


def write_picture(file: Path, storm: Run, calm: Run) -> Path:
    """Write the picture; gives its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seconds = max(storm.lasted_s, 1.0)
    parts = [*outages(storm, seconds), *frame(seconds)]
    for run, colour in ((calm, "#8fa3ad"), (storm, "#c0392b")):
        parts += line(run, seconds, colour)
    parts += dots(storm, seconds)
    parts += kills(storm, seconds)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
    words = [f'{head} font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', *parts, "</svg>"]
    file.write_text("\n".join([*words, ""]), encoding="utf-8")
    return file


def by_second(run: Run) -> dict[int, list[float]]:
    """The lags of what settled in each second of the rush, in order."""
    found: dict[int, list[float]] = defaultdict(list)
    for at_s, lag_s in run.found.lags_s:
        found[int(at_s - run.began_s)].append(lag_s)
    return {second: sorted(lags) for second, lags in sorted(found.items())}


def line(run: Run, seconds: float, colour: str) -> list[str]:
    """The median of each second, as a line."""
    points = " ".join(
        f"{across(second, seconds):.1f},{up(lags[len(lags) // 2]):.1f}" for second, lags in by_second(run).items()
    )
    return [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>']


def dots(run: Run, seconds: float) -> list[str]:
    """The slowest of each second."""
    return [
        f'<circle cx="{across(second, seconds):.1f}" cy="{up(lags[-1]):.1f}" r="1.4" fill="#5b2c6f"/>'
        for second, lags in by_second(run).items()
    ]


def kills(run: Run, seconds: float) -> list[str]:
    """Every kill as a line from the bottom."""
    floor = HEIGHT - MARGIN
    return [
        f'<line x1="{(x := across(at_s - run.began_s, seconds)):.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor - 22}" '
        f'stroke="#000000" stroke-width="2"><title>{deed}</title></line>'
        for at_s, deed in run.deeds
    ]


def outages(run: Run, seconds: float) -> list[str]:
    """Every outage as a shade, with its name."""
    parts = []
    for from_s, to_s, name in run.outages:
        left, right = across(from_s - run.began_s, seconds), across(to_s - run.began_s, seconds)
        shade = f'x="{left:.1f}" y="{MARGIN}" width="{right - left:.1f}" height="{HEIGHT - 2 * MARGIN}"'
        parts += [f'<rect {shade} fill="#f6ddcc"/>', f'<text x="{left:.1f}" y="{MARGIN - 6}">{name}</text>']
    return parts


def frame(seconds: float) -> list[str]:
    """Axes, ticks and what the colours mean."""
    floor, parts = HEIGHT - MARGIN, []
    for lag_s, text in _TICKS_S.items():
        parts += [
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{up(lag_s):.1f}" y2="{up(lag_s):.1f}" stroke="#e5e5e5"/>',
            f'<text x="{MARGIN - 6}" y="{up(lag_s) + 4:.1f}" text-anchor="end">{text}</text>',
        ]
    for second in range(0, int(seconds) + 1, max(1, round(seconds / 10))):
        parts.append(f'<text x="{across(second, seconds):.1f}" y="{floor + 18}" text-anchor="middle">{second} s</text>')
    legend = (
        ("#c0392b", "median of each second"),
        ("#5b2c6f", "slowest of each second"),
        ("#8fa3ad", "median on a good day"),
        ("#000000", "kill -9"),
    )
    parts += [
        f'<text x="{MARGIN + 190 * place}" y="20" fill="{colour}">{text}</text>'
        for place, (colour, text) in enumerate(legend)
    ]
    return parts


def across(second: float, seconds: float) -> float:
    """Where a second of the rush is."""
    return MARGIN + min(second, seconds) / seconds * (WIDTH - 2 * MARGIN)


def up(lag_s: float) -> float:
    """Where a lag is, on a logarithmic scale."""
    within = min(max(lag_s, LAG_MIN_S), LAG_MAX_S)
    share = (math.log10(within) - math.log10(LAG_MIN_S)) / (math.log10(LAG_MAX_S) - math.log10(LAG_MIN_S))
    return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)
