"""Programmes of grants: their states, how an identity is hashed, what a grant that ends becomes. Pure rules.

An agency buys quota beforehand, sets it aside in a programme and grants it to its applicants, each of whom claims once.
When the programme ends, what nobody claimed and what nobody used goes back to the agency.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from enum import StrEnum
from typing import NamedTuple

IDENTITY_DIGITS = 16
SALT_BYTES = 32
HASH_BYTES = 32
_SCRYPT_COST, _SCRYPT_BLOCK, _SCRYPT_MEMORY_BYTES = 4096, 8, 16 * 1024 * 1024
_PUNCTUATION = re.compile(r"[\s.\-\u2010-\u2015]+")
_IDENTITY = re.compile(r"[1-9]\d{5}(?:0[1-9]|[12]\d|3[01]|4[1-9]|[56]\d|7[01])(?:0[1-9]|1[0-2])\d{6}", re.ASCII)


class ProgrammeState(StrEnum):
    """Where a programme is. `ended` is final."""

    OPEN = "open"
    """Grants may be claimed as long as it has units."""
    ENDING = "ending"
    """No more claims; what was not used is going back."""
    ENDED = "ended"
    """Every unit is accounted for."""


class ProgrammeMove(StrEnum):
    """What can happen to a programme."""

    END_EARLY = "end_early"
    OVERDUE = "overdue"
    ALL_RETURNED = "all_returned"


PROGRAMME_MOVES: dict[tuple[ProgrammeState, ProgrammeMove], ProgrammeState] = {
    (ProgrammeState.OPEN, ProgrammeMove.END_EARLY): ProgrammeState.ENDING,
    (ProgrammeState.OPEN, ProgrammeMove.OVERDUE): ProgrammeState.ENDING,
    (ProgrammeState.ENDING, ProgrammeMove.ALL_RETURNED): ProgrammeState.ENDED,
}
"""The table of a programme's states: (state, move) to the next state. What is not here changes nothing."""


def after_programme_move(state: ProgrammeState, move: ProgrammeMove) -> ProgrammeState | None:
    """The state after `move`, or None when the table does not know the move."""
    return PROGRAMME_MOVES.get((state, move))


class Split(NamedTuple):
    """What a grant became when its programme ended, in stamps: used + returned + kept is what was granted."""

    used: int
    returned: int
    kept: int
    """Neither used since nor available now: it became money again, or is on its way into a stamp."""


def split_of_grant(granted: int, *, used_since: int, available: int) -> Split:
    """What goes back of a grant: min(available, granted - used since the claim).

    Whatever the person used since counts as the grant's first, so nobody pays for what was granted.
    """
    used = min(granted, used_since)
    returned = min(available, granted - used)
    return Split(used, returned, granted - used - returned)


def tidy_identity(typed: str) -> str | None:
    """An identity number (NIK) as its sixteen digits, or None when it cannot be one.

    Blanks, dots and hyphens go. The digits are district, day of birth (a woman's with 40 added), month, year, number.
    """
    digits = _PUNCTUATION.sub("", unicodedata.normalize("NFKC", typed[:64]))
    return digits if _IDENTITY.fullmatch(digits) else None


def identity_hash(identity: str, salt: bytes) -> bytes:
    """What a list holds of an identity: scrypt (RFC 7914) of its sixteen ASCII digits, 32 bytes.

    N = 4096, r = 8, p = 1; `salt` are the 32 bytes of the programme, which its agency knows. It takes about 7 ms and
    4 MB, on purpose.
    """
    return hashlib.scrypt(
        identity.encode("ascii"),
        salt=salt,
        n=_SCRYPT_COST,
        r=_SCRYPT_BLOCK,
        p=1,
        maxmem=_SCRYPT_MEMORY_BYTES,
        dklen=HASH_BYTES,
    )
