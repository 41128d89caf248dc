"""Chains of public lines, signed by a key of the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from emeterai.status.lines import FIRST_PREVIOUS, Line, SignedLine, digest_of, sign

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (1, 2))
START = datetime(2026, 11, 21, tzinfo=UTC)


def chain(count: int, *, key: Ed25519PrivateKey = KEY, minutes: int = 1, **changes: int) -> list[SignedLine]:
    """So many lines, a minute apart."""
    made: list[SignedLine] = []
    for number in range(1, count + 1):
        sums = {"bought": 10, "available": 4, "held": 3, "used": 2, "refunded": 1, "broken": 0} | changes
        previous = digest_of(made[-1].line) if made else FIRST_PREVIOUS
        at = START + timedelta(minutes=minutes * number)
        made.append(sign(Line(number=number, at=at, previous=previous, **sums), key))
    return made
