"""A QR code as pages draw it: one SVG path."""

from __future__ import annotations

from emeterai.purchase.model import Channel, PaymentCode
from emeterai.seal.qr import QUIET_MODULES, qr_path


def qr_picture(code: PaymentCode | None) -> dict[str, object] | None:
    """`side` in modules with its quiet border, and `path` in these units, origin top left; None without a QR code."""
    return qr_of(code.text) if code is not None and code.channel is Channel.QRIS else None


def qr_of(text: str) -> dict[str, object]:
    """The same for any text."""
    side, operators = qr_path(text)
    numbers = [int(word) for word in operators.split() if word != b"re"]
    rectangles = zip(*[iter(numbers)] * 4, strict=True)
    path = "".join(
        f"M{x + QUIET_MODULES} {side - y - height + QUIET_MODULES}h{width}v{height}h-{width}z"
        for x, y, width, height in rectangles
    )
    return {"side": side + 2 * QUIET_MODULES, "path": path}
