"""The room in which a person signs, below the words that ask for it and above the name: stamps go into or beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emeterai.seal.free import SIDES_PT, Sheet
from emeterai.seal.layout import Anchor
from emeterai.seal.model import MARK_SIDE_PT, Box

_DEPTH_PT = 190.0
_SIGNING_PT_MIN = 24.0
"""A blank band at least so high is room to sign; a lower one is the space between two lines."""
_LINE_PT_MAX = 20.0
_LINES_MAX = 4
_HEADING_PT_MAX = 70.0
_WIDTH_PT_MIN = 40.0
_INSIDE_PT_MIN = 60.0
_OPEN_PT = 90.0
_CLEAR_PT = 3.0
_BESIDE_PT = 8.0
_BESIDE_STEP_PT = 7.0
_BESIDE_STEPS = 12


@dataclass(frozen=True, slots=True)
class _Space:
    """A band to sign in; `signed` when a signature, or something else that is no text, is in it already."""

    x0: float
    x1: float
    top: float
    bottom: float
    signed: bool


def beside_anchor(sheet: Sheet, anchor: Anchor) -> Box | None:
    """The square for a stamp at one signature: in the room to sign if that is high enough, else left or right of it."""
    space = _above(sheet, anchor.box) if anchor.kind == "name" else _below(sheet, anchor)
    if space is None:
        return None
    if not space.signed and (found := sheet.first_free(_inside(space, _INSIDE_PT_MIN))):
        return found
    if found := sheet.first_free(_beside(space)):
        return found
    return None if space.signed else sheet.first_free(_inside(space, SIDES_PT[-1]))


def _below(sheet: Sheet, anchor: Anchor) -> _Space | None:
    """The room below the words, after at most a few further lines of them ("Direktur Utama")."""
    box = anchor.box
    x0, x1 = _strip(box)
    bands = sheet.bands(x0, x1, top=box.y0 - 1, bottom=max(0, box.y0 - _DEPTH_PT))
    lines = 0
    for top, bottom, inked in bands:
        if box.y0 - top > _HEADING_PT_MAX:
            return None
        if inked and top - bottom > _LINE_PT_MAX:
            return _Space(x0, x1, top, bottom, signed=True)
        if inked:
            lines += 1
            if lines > _LINES_MAX:
                return None
        elif top - bottom >= _SIGNING_PT_MIN:
            return _room(
                _Space(x0, x1, top, bottom, signed=False), box, lines, is_last=bottom == bands[-1][1], anchor=anchor
            )
    return None


def _room(space: _Space, box: Box, lines: int, *, is_last: bool, anchor: Anchor) -> _Space | None:
    if not is_last:
        return space
    if not anchor.is_sure:
        return None
    if lines:
        # Nothing follows: what came after the words was the name, and there is no room in between.
        return _Space(space.x0, space.x1, box.y0 + _LINE_PT_MAX, space.top, signed=True)
    return _Space(space.x0, space.x1, space.top, max(space.bottom, space.top - _OPEN_PT), signed=False)


def _above(sheet: Sheet, box: Box) -> _Space | None:
    """The room above a line of dots or a name in brackets."""
    x0, x1 = _strip(box)
    bands = sheet.bands(x0, x1, top=min(sheet.size_pt[1], box.y1 + _DEPTH_PT), bottom=box.y1 + 1)
    if not bands:
        return None
    top, bottom, inked = bands[-1]
    if inked or top - bottom < _SIGNING_PT_MIN:
        return None
    return _Space(x0, x1, min(top, bottom + _OPEN_PT), bottom, signed=False)


def _strip(box: Box) -> tuple[float, float]:
    short = max(0.0, _WIDTH_PT_MIN - (box.x1 - box.x0)) / 2
    return box.x0 - short, box.x1 + short


def _inside(space: _Space, side_min: float) -> Iterator[Box]:
    """Squares in the room to sign, as large as its height allows; at its left, then in its middle, at its right."""
    room = space.top - space.bottom - 2 * _CLEAR_PT
    side = min(MARK_SIDE_PT, room)
    if side < side_min:
        return
    y0 = (space.top + space.bottom - side) / 2
    middle = (space.x0 + space.x1 - side) / 2
    for x0 in (space.x0, middle, space.x1 - side, space.x0 - side / 2, space.x0 - side):
        yield Box(x0, y0, x0 + side, y0 + side)


def _beside(space: _Space) -> Iterator[Box]:
    """Squares left of the room to sign, then right of it, at its height; larger ones first, nearer ones first."""
    middle = (space.top + space.bottom) / 2
    for side in SIDES_PT:
        y0 = max(middle - side / 2, 1.0)
        for step in range(_BESIDE_STEPS):
            x1 = space.x0 - _BESIDE_PT - step * _BESIDE_STEP_PT
            yield Box(x1 - side, y0, x1, y0 + side)
        for step in range(_BESIDE_STEPS):
            x0 = space.x1 + _BESIDE_PT + step * _BESIDE_STEP_PT
            yield Box(x0, y0, x0 + side, y0 + side)
