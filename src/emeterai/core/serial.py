"""Serial numbers: 22 characters A-Z0-9 from a secret block, with a check character; unguessable, never a counter.

A serial is `BBBBB` (the block) + 16 characters drawn by HMAC from the block's key and the place within it + one
check character of ISO/IEC 7064:2003, MOD 37,36 (the hybrid system for alphanumeric strings). Who knows one serial,
or a million, learns nothing about the next; who mistypes one character is told at once, and who swaps two neighbours
is told 629 times in 630.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SERIAL_LENGTH = 22
BLOCK_LENGTH = 5
_DRAWN_LENGTH = SERIAL_LENGTH - BLOCK_LENGTH - 1
BLOCK_NUMBER_MAX = 36**BLOCK_LENGTH - 1
_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_DRAWN_SPACE = 36**_DRAWN_LENGTH


@dataclass(frozen=True, slots=True)
class SerialBlock:
    """A block of serials, given to a channel in advance: its public number, its secret key (32 bytes) and its size."""

    number: int
    key: bytes
    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.number <= BLOCK_NUMBER_MAX:
            raise ValueError(f"block number {self.number} is out of range")
        if len(self.key) < 32:
            raise ValueError("a block key has at least 32 bytes")

    @property
    def prefix(self) -> str:
        """The five characters that every serial of this block begins with."""
        return _base36(self.number, BLOCK_LENGTH)

    def serial(self, place: int) -> str:
        """The serial at `place` (0 <= place < size) of this block. Equal places give equal serials."""
        if not 0 <= place < self.size:
            raise ValueError(f"place {place} is outside block {self.number}")
        digest = hmac.new(self.key, place.to_bytes(8, "big"), hashlib.sha256).digest()
        # 256 bits reduced to 16 characters (82.7 bits): the bias of the remainder is below 2**-173.
        drawn = _base36(int.from_bytes(digest, "big") % _DRAWN_SPACE, _DRAWN_LENGTH)
        payload = self.prefix + drawn
        return payload + check_character(payload)


def check_character(payload: str) -> str:
    """The ISO/IEC 7064 MOD 37,36 check character of `payload`, which holds A-Z0-9 only."""
    product = 36
    for character in payload:
        total = (product + _VALUE[character]) % 36 or 36
        product = total * 2 % 37
    return ALPHABET[(37 - product) % 36]


def is_serial(text: str) -> bool:
    """True when `text` has the form of a serial and its check character is right. Says nothing about its existence."""
    return (
        len(text) == SERIAL_LENGTH
        and all(character in _VALUE for character in text)
        and check_character(text[:-1]) == text[-1]
    )


def block_number_of(serial: str) -> int:
    """The number of the block that `serial` belongs to."""
    return int(serial[:BLOCK_LENGTH], 36)


def tidy_serial(typed: str) -> str:
    """What a person typed, without blanks and hyphens, in capitals: compare this, show `grouped_serial`."""
    return "".join(typed.split()).replace("-", "").upper()


def _base36(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, value = divmod(number, 36)
        characters.append(ALPHABET[value])
    return "".join(reversed(characters))
