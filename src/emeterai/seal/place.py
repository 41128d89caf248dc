"""Where the mark goes: from an order and the page's geometry to a square on the page as seen, and into user space."""

from __future__ import annotations

from math import isfinite

from emeterai.seal.model import MARK_SIDE_PT, PLACES, Box, Geometry
from emeterai.seal.refusals import BOX_OFF_PAGE, BOX_TOO_SMALL, PLACE_UNKNOWN

SIDE_PT_MIN = 54
"""The smallest mark that may be asked for: 19 mm; on a page that is smaller itself, one as large as the page."""
_MARGIN_PT = 36.0
_TOLERANCE_PT = 0.5
_ROUNDING_PT = 0.01


def resolve_box(geometry: Geometry, box: Box | None, place: str) -> Box:
    """The square that the mark fills, on the page as seen: within the asked box, or at a preset place.

    Raises Refused: box_off_page, box_too_small, place_unknown.
    """
    return _preset(geometry, place) if box is None else _within(geometry, box)


def _within(geometry: Geometry, box: Box) -> Box:
    width, height = geometry.seen_size_pt
    sides = (box.x0, box.y0, box.x1, box.y1)
    inside = (
        all(isfinite(side) for side in sides)
        and min(box.x0, box.x1) >= -_TOLERANCE_PT
        and min(box.y0, box.y1) >= -_TOLERANCE_PT
        and max(box.x0, box.x1) <= width + _TOLERANCE_PT
        and max(box.y0, box.y1) <= height + _TOLERANCE_PT
    )
    if not inside:
        raise BOX_OFF_PAGE(width_pt=f"{width:.0f}", height_pt=f"{height:.0f}")
    side = min(abs(box.x1 - box.x0), abs(box.y1 - box.y0))
    if side < min(SIDE_PT_MIN, width - _ROUNDING_PT, height - _ROUNDING_PT):
        raise BOX_TOO_SMALL(side_pt_min=SIDE_PT_MIN)
    x0, y0 = (box.x0 + box.x1 - side) / 2, (box.y0 + box.y1 - side) / 2
    return Box(x0, y0, x0 + side, y0 + side)


def _preset(geometry: Geometry, place: str) -> Box:
    if place not in PLACES:
        raise PLACE_UNKNOWN(places=", ".join(PLACES))
    width, height = geometry.seen_size_pt
    side = min(MARK_SIDE_PT, width, height)
    margin_x, margin_y = min(_MARGIN_PT, (width - side) / 2), min(_MARGIN_PT, (height - side) / 2)
    row, _, column = ("bottom-right" if place == "auto" else place).partition("-")
    x0 = {"left": margin_x, "center": (width - side) / 2, "right": width - margin_x - side}[column]
    y0 = {"bottom": margin_y, "middle": (height - side) / 2, "top": height - margin_y - side}[row]
    return Box(x0, y0, x0 + side, y0 + side)


def rectangle_on_page(box: Box, geometry: Geometry) -> tuple[float, float, float, float]:
    """The box in the page's own user space, where /Rotate and /UserUnit are undone: x0, y0, x1, y1."""
    unit = geometry.user_unit
    ax, ay, bx, by = box.x0 / unit, box.y0 / unit, box.x1 / unit, box.y1 / unit
    if geometry.rotate == 90:
        corners = (geometry.x1 - ay, geometry.y0 + ax, geometry.x1 - by, geometry.y0 + bx)
    elif geometry.rotate == 180:
        corners = (geometry.x1 - ax, geometry.y1 - ay, geometry.x1 - bx, geometry.y1 - by)
    elif geometry.rotate == 270:
        corners = (geometry.x0 + ay, geometry.y1 - ax, geometry.x0 + by, geometry.y1 - bx)
    else:
        corners = (geometry.x0 + ax, geometry.y0 + ay, geometry.x0 + bx, geometry.y0 + by)
    x, y, other_x, other_y = corners
    return min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y)


def box_as_seen(rectangle: tuple[float, float, float, float], geometry: Geometry) -> Box:
    """A rectangle of the page's own user space on the page as seen, where /Rotate and /UserUnit hold."""
    ax, ay, bx, by = rectangle
    if geometry.rotate == 90:
        corners = (ay - geometry.y0, geometry.x1 - ax, by - geometry.y0, geometry.x1 - bx)
    elif geometry.rotate == 180:
        corners = (geometry.x1 - ax, geometry.y1 - ay, geometry.x1 - bx, geometry.y1 - by)
    elif geometry.rotate == 270:
        corners = (geometry.y1 - ay, ax - geometry.x0, geometry.y1 - by, bx - geometry.x0)
    else:
        corners = (ax - geometry.x0, ay - geometry.y0, bx - geometry.x0, by - geometry.y0)
    unit, (x, y, other_x, other_y) = geometry.user_unit, corners
    return Box(min(x, other_x) * unit, min(y, other_y) * unit, max(x, other_x) * unit, max(y, other_y) * unit)
