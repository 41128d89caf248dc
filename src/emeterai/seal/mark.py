"""The visible mark: the issuer's vector art, and on it for each document the serial and the QR code.

One unit is one point of the 80-point default; viewers scale it to the box. No fonts, no transparency (PDF/A).
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache

from emeterai.seal.glyphs import GRID_HEIGHT, glyph_path, glyph_width
from emeterai.seal.model import MARK_SIDE_PT, SealOrder
from emeterai.seal.qr import QUIET_MODULES, qr_path

SIDE = MARK_SIDE_PT
"""The side of the square on which a mark is drawn."""
ALTERNATIVE = "Meterai elektronik {label} Rp{duty_idr}, nomor seri {serial}. Periksa di {url}"
_CELL_WIDTH = 6.0
"""The width of a serial's character with the room beside it, on the grid of glyphs."""
_STEPS = 10
"""Into so many steps each unit of that grid is parted, 0.05 points in print."""
_SERIAL_WEIGHT_PT = 0.5
_DECIMALS = re.compile(r"-?\d+\.\d+")
_NOWHERE = re.compile(r"(?<![-\d])(-?\d+ -?\d+) ([mlc]) \1 l\b")
REASON = "Meterai elektronik Rp{duty_idr}, {label}, nomor seri {serial}"


@dataclass(frozen=True, slots=True)
class Room:
    """A rectangle of the mark's square, from its lower left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark as its issuer wants it. The templates may name `{label}`, `{duty_idr}`, `{serial}` and `{url}`."""

    label: str
    art: bytes
    """What is the same on every document: a zlib-compressed content stream."""
    qr: Room
    serial: Room
    serial_colour: str
    """Operands and operator that set the colour of strokes."""
    qr_colour: str = "0 g"
    """Operands and operator that set the colour of areas."""
    alternative: str = ALTERNATIVE
    reason: str = REASON
    url: str = ""
    """Where the QR code leads, with `{serial}`; empty: where the order says."""

    def overlay(self, order: SealOrder) -> bytes:
        """The part of one document: the art is called first, then serial and QR are drawn. A compressed stream."""
        modules, path = qr_path(self.address(order))
        module = self.qr.width / (modules + 2 * QUIET_MODULES)
        quiet = QUIET_MODULES * module
        content = b"/Art Do\nq %.5f 0 0 %.5f %.5f %.5f cm\n%b\n%bf\nQ\n%b" % (
            module,
            module,
            self.qr.x + quiet,
            self.qr.y + quiet,
            self.qr_colour.encode(),
            path,
            self._line(order.serial),
        )
        # A small window costs half the time of the usual one, and no size on so small a content.
        packer = zlib.compressobj(1, zlib.DEFLATED, 12, 5)
        return packer.compress(content) + packer.flush()

    def address(self, order: SealOrder) -> str:
        """What the QR code of an order says."""
        return self.url.replace("{serial}", order.serial) if self.url else order.verify_url

    def alternative_text(self, order: SealOrder) -> str:
        """What a screen reader says for the mark."""
        return self._worded(self.alternative, order)

    def reason_text(self, order: SealOrder) -> str:
        """Why the file was signed, as the signature says it."""
        return self._worded(self.reason, order)

    def _line(self, serial: str) -> bytes:
        """The serial, each character in the middle of its cell: drawn there, then the origin moves to the next cell."""
        cell = self.serial.width / max(len(serial), 1)
        scale = min(self.serial.height / GRID_HEIGHT, cell / _CELL_WIDTH) / _STEPS
        onwards = b" S 1 0 0 1 %g 0 cm\n" % (cell / scale)
        return b"%.5f 0 0 %.5f %.3f %.3f cm 1 J 1 j %b %.2f w\n%b S" % (
            scale,
            scale,
            self.serial.x + cell / 2,
            self.serial.y,
            self.serial_colour.encode(),
            _SERIAL_WEIGHT_PT / scale,
            onwards.join([_character(character) for character in serial]),
        )

    def _worded(self, template: str, order: SealOrder) -> str:
        return template.format(label=self.label, duty_idr=order.duty_idr, serial=order.serial, url=self.address(order))


def packed(content: str) -> bytes:
    """The content stream of a mark's art, compressed as far as it goes, since it is done once."""
    return zlib.compress(content.encode(), 9)


@lru_cache(maxsize=256)
def _character(character: str) -> bytes:
    """A character around x = 0 in whole steps: short numbers, the same ones at every place, are quickly packed."""
    path = glyph_path(character, x=-glyph_width(character) * _STEPS / 2, y=0, scale=_STEPS)
    stepped = _DECIMALS.sub(lambda number: f"{float(number[0]):.0f}", path)
    return _NOWHERE.sub(r"\1 \2", stepped).encode()
