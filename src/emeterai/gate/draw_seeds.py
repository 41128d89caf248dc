"""The seeds of draws as they stand in the database: until a draw is made nobody who reads the database can compute it.

A lane has one draw for good (migration 0023 sees to it), also when its opening is postponed: so the lane names the
opening.
"""

from __future__ import annotations

from emeterai.core.draw import SEED_BYTES
from emeterai.infra.ciphers import BoundCipher

_PURPOSE = b"emeterai: seeds of draws"
_VERSION = b"\x01"


class DrawSeeds:
    """Enciphers and deciphers. `secret` is the gate's: the same for every steward of this installation."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = BoundCipher(secret, _PURPOSE)

    def enciphered(self, lane: str, seed: bytes) -> bytes:
        """A seed as it is kept until the draw."""
        return _VERSION + self._cipher.enciphered(seed, lane.encode())

    def deciphered(self, lane: str, kept: bytes) -> bytes | None:
        """The seed; None when it is another lane's, was altered, or was enciphered under another secret.

        A seed of 32 bytes is one that was drawn, and is public, or one of a version that kept them as they were.
        """
        if len(kept) == SEED_BYTES:
            return kept
        if not kept.startswith(_VERSION):
            return None
        return self._cipher.deciphered(kept[len(_VERSION) :], lane.encode())
