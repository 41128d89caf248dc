"""Whether a mark stands where people mean it, and on blank paper, judged on a fine rendering of the letter itself."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw
from seal_judges import rendered
from seal_paper import Area, Letter

from emeterai.seal.model import Box, Placement

_DPI = 150
_DARKER_LEVELS = 70
_DUST = 0.002
"""The share of dark points that the grain of a photographed page may leave on blank paper."""


@dataclass(frozen=True)
class Verdict:
    """One letter's outcome."""

    name: str
    right: bool
    covers: bool
    reason: str

    @property
    def form(self) -> str:
        """The form of the letter, without the manner of its writing."""
        return self.name.partition(",")[0]


def judged(letter: Letter, placement: Placement) -> Verdict:
    """Compare a placement with what the letter's maker meant."""
    box = placement.box
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    meant = any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in letter.areas)
    right = meant and placement.page == letter.page
    return Verdict(letter.name, right, covers_text(letter, placement.page, box), placement.reason)


def covers_text(letter: Letter, page: int, box: Box) -> bool:
    """Whether dark points lie under the mark, other than those of printed stamp words and their frames."""
    picture = rendered(letter.content, page - 1, dpi=_DPI).convert("L")
    if page == letter.page:
        for area in letter.exempt:
            ImageDraw.Draw(picture).rectangle(_pixels(area, picture), fill=255)
    under = picture.crop(_pixels((box.x0, box.y0, box.x1, box.y1), picture))
    levels = under.histogram()
    paper = max(range(256), key=lambda level: sum(levels[max(0, level - 6) : level + 7]))
    dark = sum(levels[: max(0, paper - _DARKER_LEVELS)])
    return dark > _DUST * under.width * under.height


def _pixels(area: Area, picture: Image.Image) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (side * _DPI / 72 for side in area)
    return round(x0), round(picture.height - y1), round(x1), round(picture.height - y0)
