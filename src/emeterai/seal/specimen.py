"""The SPECIMEN mark: vector art drawn once, plainly labelled.

It holds no emblem of the state and imitates none; a lawful issuer configures its own art (mark_file.py).
"""

from __future__ import annotations

from functools import cache
from math import cos, pi, sin

from emeterai.seal.glyphs import rounded_path, text_path
from emeterai.seal.mark import SIDE, Mark, Room, packed

LABEL = "SPECIMEN"
_QR = Room(4.2, 20.4, 45.6, 45.6)
_SERIAL = Room(6.4, 4.9, 67.2, 3.7)
_MAGENTA = "0.76 0.05 0.42"
_PALE = "1 0.945 0.972"
_TINT = "0.965 0.73 0.845"
_INK = "0.23 0.02 0.14"
_WHITE = "1 1 1"


@cache
def specimen() -> Mark:
    """The mark that is used when the issuer has configured none."""
    return Mark(label=LABEL, art=packed(_art()), qr=_QR, serial=_SERIAL, serial_colour=f"{_INK} RG")


def _art() -> str:
    return "\n".join(
        (
            "q 1 J 1 j",
            f"{_MAGENTA} RG {_PALE} rg 1.5 w {_frame(0.9, corner=4.2)} B",
            f"q {_frame(1.8, corner=3.4)} W n {_TINT} RG 0.22 w {_waves()} Q",
            f"{_MAGENTA} RG 0.35 w {_frame(2.5, corner=3)} S",
            _band(67.4, 9.2, colour=_MAGENTA),
            f"{_WHITE} RG 0.75 w {text_path('METERAI ELEKTRONIK', x=6.8, y=70, height=4, width=66.4)} S",
            f"{_WHITE} rg {_QR.x} {_QR.y} {_QR.width} {_QR.height} re f",
            f"{_PALE} rg {_circle(63.3, 55.6, 10.2)} f",
            f"{_MAGENTA} RG 0.28 w {_rosette(63.3, 55.6, outer=9.6, inner=3.6)}",
            f"{_INK} RG 0.95 w {text_path('1OOOO', x=52.2, y=36.8, height=5.1, width=22.4)} S",
            f"{_INK} RG 0.55 w {text_path('SEPULUH', x=52.2, y=30.6, height=3.1, width=22.2)} S",
            f"{text_path('RIBU', x=52.2, y=26.1, height=3.1, width=11.2)} S",
            f"{text_path('RUPIAH', x=52.2, y=21.6, height=3.1, width=17.8)} S",
            _band(10.6, 8.6, colour=_INK),
            f"{_WHITE} RG 1.15 w {text_path(LABEL, x=13, y=12.2, height=5.4, width=54)} S",
            "Q",
        )
    )


def _frame(inset: float, *, corner: float) -> str:
    low, high = inset, SIDE - inset
    middle = SIDE / 2
    corners = [(high, low, corner), (high, high, corner), (low, high, corner), (low, low, corner)]
    return rounded_path([(middle, low, 0.0), *corners], closed=True)


def _band(y: float, height: float, *, colour: str) -> str:
    left, right, radius = 4.2, SIDE - 4.2, 1.4
    corners = [(right, y, radius), (right, y + height, radius), (left, y + height, radius), (left, y, radius)]
    return f"{colour} rg {rounded_path([(SIDE / 2, y, 0.0), *corners], closed=True)} f"


def _waves() -> str:
    """Fine interlaced waves, as on paper of value. One line drawn again and again compresses well."""
    lines = []
    for height in (2.6, -2.6):
        parts = ["0 0 m"]
        for column in range(8):
            x, turn = column * 10, height if column % 2 == 0 else -height
            parts.append(f"{x + 3.6:.1f} {turn} {x + 6.4:.1f} {turn} {x + 10} 0 c")
        lines.append(" ".join(parts))
    return " ".join(f"{' '.join(lines)} S 1 0 0 1 0 4 cm" for _ in range(21))


def _rosette(x: float, y: float, *, outer: float, inner: float) -> str:
    """A guilloche rosette: one petal from `inner` to `outer` and back, turned on until the line closes."""
    petals, turns, steps = 26, 9, 24
    middle, swing = (outer + inner) / 2, (outer - inner) / 2
    whole = 2 * pi * turns / petals
    points = []
    for step in range(steps + 1):
        angle, radius = whole * step / steps, middle - swing * cos(2 * pi * step / steps)
        points.append(f"{radius * cos(angle):.2f} {radius * sin(angle):.2f}")
    petal = f"{points[0]} m {' l '.join(points[1:])} l S"
    turn = f"{cos(whole):.6f} {sin(whole):.6f} {-sin(whole):.6f} {cos(whole):.6f} 0 0 cm"
    return f"q 1 0 0 1 {x} {y} cm {' '.join(f'{petal} {turn}' for _ in range(petals))} Q"


def _circle(x: float, y: float, radius: float) -> str:
    square = [(x + radius, y - radius), (x + radius, y + radius), (x - radius, y + radius), (x - radius, y - radius)]
    return rounded_path([(x, y - radius, 0.0), *((px, py, radius) for px, py in square)], closed=True)
