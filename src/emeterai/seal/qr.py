"""The QR code as vector: zxing-cpp computes the modules, here they become rectangles of one path."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, cast

import zxingcpp

QUIET_MODULES = 4
"""The empty border that a QR code needs on each side (ISO/IEC 18004, 6.3.8)."""
_BITS = bytes.maketrans(b"\x00\xff", b"10")
_RUNS = [
    [(run.start(), run.end() - run.start()) for run in re.finditer("1+", f"{pattern:08b}")] for pattern in range(256)
]
"""For each pattern of eight modules, where its dark runs begin and how long they are."""
# Fixed, since choosing one of the eight masks takes 0.17 of 0.19 ms. Readers know it from the code itself; of 900 small
# blurred renderings this mask is read in 899, the chosen ones in 881.
_MASK = 2


def qr_path(content: str) -> tuple[int, bytes]:
    """The number of modules on a side, and `re` operators in units of one module, origin bottom left.

    Rectangles touch within one path, so that no renderer shows seams between them.
    """
    barcode = zxingcpp.create_barcode(content, zxingcpp.BarcodeFormat.QRCode, ec_level="M", data_mask=_MASK)
    pixels = memoryview(cast("Any", barcode.to_image(scale=1, add_quiet_zones=False)))
    side = pixels.shape[0] if pixels.shape is not None else 0
    # All modules as bits, dark is 1, filled up to whole bytes: every byte then is a look-up of finished operators.
    groups = _operators(side)
    bits = int(pixels.tobytes().translate(_BITS).ljust(8 * len(groups), b"0"), 2)
    return side, b"".join([group[byte] for group, byte in zip(groups, bits.to_bytes(len(groups)), strict=True)])


@cache
def _operators(side: int) -> list[list[bytes]]:
    """For each eight modules, counted row by row from the top left, the operators of the dark runs of every pattern.

    A code of 33 modules has 137 groups, which take 4 MB and 0.05 s once; a code costs 0.01 ms then.
    """
    return [_group(*divmod(start, side), side) for start in range(0, side * side, 8)]


def _group(row: int, x: int, side: int) -> list[bytes]:
    """The operators of every pattern of eight modules from `x` in a row; what goes on in the next row begins anew."""
    y, beyond = side - 1 - row, 0xFF >> (side - x)
    return [
        _rectangles(pattern & ~beyond, x, y) + _rectangles(pattern & beyond, x - side, y - 1) for pattern in range(256)
    ]


def _rectangles(pattern: int, x: int, y: int) -> bytes:
    return b"".join([b"%d %d %d 1 re\n" % (x + start, y, size) for start, size in _RUNS[pattern]])
