"""The order that the tests of the sealing engine give unless they say otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from emeterai.seal.service import SealedTail, SealOrder

SEALED_AT = datetime.now(UTC).replace(microsecond=0)
"""Within the life of the test authority, which is made today."""
SERIAL = "K7Q0M2XW9ZP4RT1BVD8J5S"

SealBytes = Callable[..., Awaitable[tuple[bytes, SealedTail]]]


def order_of(serial: str = SERIAL, **changes: object) -> SealOrder:
    """An order with a sensible default for everything."""
    values = {"verify_url": f"https://meterai.example/v/{serial}", "sealed_at": SEALED_AT} | changes
    return SealOrder(serial=serial, **values)  # type: ignore[arg-type]
