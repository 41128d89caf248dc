"""The geometry of a page, inherited attributes included, as forgiving as viewers are. Used inside the opener only."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

from pikepdf import Array, Dictionary, Object

from emeterai.seal.model import Geometry

_LETTER = (0.0, 0.0, 612.0, 792.0)
_ANCESTORS_MAX = 64
_UNIT_MAX = 1_000.0


def page_geometry(page: Object) -> Geometry:
    """What is seen: the CropBox within the MediaBox, turned by /Rotate, scaled by /UserUnit (ISO 32000-2, 7.7.3.3)."""
    media = _rectangle(_inherited(page, "/MediaBox")) or _LETTER
    crop = _rectangle(_inherited(page, "/CropBox")) or media
    seen = (max(media[0], crop[0]), max(media[1], crop[1]), min(media[2], crop[2]), min(media[3], crop[3]))
    if seen[0] >= seen[2] or seen[1] >= seen[3]:
        seen = media
    turn = _number(_inherited(page, "/Rotate")) or 0.0
    unit = _number(page.get("/UserUnit")) or 1.0
    return Geometry(
        *seen,
        rotate=int(turn) % 360 if turn % 90 == 0 else 0,
        user_unit=unit if 0 < unit <= _UNIT_MAX else 1.0,
    )


def _inherited(page: Object, key: str) -> object:
    """The page's own entry or its nearest ancestor's; a loop of parents ends the search."""
    node: object = page
    for _ in range(_ANCESTORS_MAX):
        if not isinstance(node, Dictionary):
            return None
        value = node.get(key)
        if value is not None:
            return value
        node = node.get("/Parent")
    return None


def _rectangle(value: object) -> tuple[float, float, float, float] | None:
    """Four finite numbers that span an area, corners in order; None for anything else."""
    if not isinstance(value, Array) or len(value) < 4:
        return None
    numbers = [_number(value[index]) for index in range(4)]
    if None in numbers:
        return None
    ax, ay, bx, by = (number or 0.0 for number in numbers)
    rectangle = (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))
    return rectangle if rectangle[0] < rectangle[2] and rectangle[1] < rectangle[3] else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = float(value)
    return number if isfinite(number) else None
