"""Voucher codes, and the states of a voucher: what is printed, how it is read back, and the only moves there are.

A code is 15 characters of Crockford's base 32, 75 bits drawn by HMAC from the secret key of its batch and the voucher's
number, and one check character. It says nothing about its batch: who holds a thousand codes knows nothing of the next.

The check character is the one that makes the weighted sum of all sixteen zero in the field of 32 elements. The
weights are powers of a generator, all different, so every single wrong character is found, every two characters that
changed places wherever they are, and every double `AA` typed as `BB`. (The check of serials, MOD 37,36, misses one
swap of neighbours in 630: its alphabet of 36 is no field.)
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O and U."""
CODE_LENGTH = 16
GROUP_LENGTH = 4
DRAWN_LENGTH = CODE_LENGTH - 1
_BITS = 5
_FIELD = 0b100101
"""x^5 + x^2 + 1, primitive over GF(2): x generates all 31 elements other than zero."""
_READ_AS = {**{character: value for value, character in enumerate(ALPHABET)}, "O": 0, "I": 1, "L": 1}
_DRAWN_SPACE = 2 ** (_BITS * DRAWN_LENGTH)


class VoucherState(StrEnum):
    """Where a voucher is. `redeemed` and `void` are final."""

    MADE = "made"
    """Printed, worth nothing yet: a sheet that is lost on its way to the counter opens nothing."""
    ACTIVE = "active"
    """Sold at the till: whoever has the code may redeem it."""
    REDEEMED = "redeemed"
    VOID = "void"
    """Voided by its owner; its units are in the stock again."""


class VoucherMove(StrEnum):
    """What can happen to a voucher."""

    ACTIVATE = "activate"
    REDEEM = "redeem"
    VOID = "void"


_S, _M = VoucherState, VoucherMove
VOUCHER_MOVES: dict[tuple[VoucherState, VoucherMove], VoucherState] = {
    (_S.MADE, _M.ACTIVATE): _S.ACTIVE,
    (_S.ACTIVE, _M.REDEEM): _S.REDEEMED,
    (_S.MADE, _M.VOID): _S.VOID,
    (_S.ACTIVE, _M.VOID): _S.VOID,
}


def after_voucher_move(state: VoucherState, move: VoucherMove) -> VoucherState | None:
    """The state after `move`, or None when the table does not know the move: then nothing changes."""
    return VOUCHER_MOVES.get((state, move))


def movable(move: VoucherMove) -> list[VoucherState]:
    """The states from which `move` leads on."""
    return [state for state, known in VOUCHER_MOVES if known is move]


@dataclass(frozen=True, slots=True)
class CodeBook:
    """All codes of one batch: its secret key (32 bytes) and how many vouchers it has."""

    key: bytes
    size: int

    def __post_init__(self) -> None:
        if len(self.key) < 32:
            raise ValueError("the key of a batch has at least 32 bytes")

    def code(self, number: int) -> str:
        """The code of voucher `number` (1 to size), without hyphens. Equal numbers give equal codes."""
        if not 1 <= number <= self.size:
            raise ValueError(f"there is no voucher {number} in a batch of {self.size}")
        digest = hmac.new(self.key, number.to_bytes(8, "big"), hashlib.sha256).digest()
        return code_of(int.from_bytes(digest, "big") % _DRAWN_SPACE)

    def codes(self) -> list[str]:
        """Every code, from voucher 1 on."""
        return [self.code(number) for number in range(1, self.size + 1)]


def code_of(drawn: int) -> str:
    """The code of 75 drawn bits, with its check character."""
    values = [drawn >> _BITS * place & 31 for place in range(DRAWN_LENGTH - 1, -1, -1)]
    characters = "".join(ALPHABET[value] for value in values)
    return characters + check_character(characters)


def check_character(drawn: str) -> str:
    """The character that follows these fifteen: the weighted sum of all sixteen is zero, the last weight is one."""
    total = 0
    for character in drawn:
        total = _times_x(total ^ ALPHABET.index(character))
    return ALPHABET[total]


def is_code(tidy: str) -> bool:
    """True when `tidy` has the form of a code and its check character is right. Says nothing about its existence."""
    return (
        len(tidy) == CODE_LENGTH
        and all(character in ALPHABET for character in tidy)
        and check_character(tidy[:-1]) == tidy[-1]
    )


def tidy_code(typed: str) -> str:
    """What a person typed, a scanner sent or a link held after its `#`, as the code that it means.

    Blanks and hyphens go, small letters become capitals, O is read as 0, I and L as 1: nothing else is guessed.
    """
    tail = typed.rpartition("#")[2].upper()
    kept = "".join(
        character for character in tail if not character.isspace() and character not in "-\u2010\u2011\u2013"
    )
    return "".join(ALPHABET[_READ_AS[character]] if character in _READ_AS else character for character in kept)


def grouped_code(code: str) -> str:
    """A code as people read it aloud: four groups of four."""
    return "-".join(code[start : start + GROUP_LENGTH] for start in range(0, len(code), GROUP_LENGTH))


def _times_x(value: int) -> int:
    doubled = value << 1
    return doubled ^ _FIELD if doubled >> _BITS else doubled
