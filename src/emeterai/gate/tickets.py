"""Tickets: a number in the line of one lane, signed, so that whoever holds it can prove it with everything else down.

The ticket of somebody who is signed in names the account (by a digest); every other ticket belongs to whoever has it
or its *recovery code*: the same facts, short enough to be written down, with a shorter MAC. Pure: no clock, no I/O.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from emeterai.gate.tokens import NOBODY, Signer, is_lane_name

NUMBER_MAX = 2**30 - 1
"""A lane gives at most so many numbers: a thousand million."""
CODE_LENGTH = 20
_BODY = struct.Struct(">IQ12sII")
_EPOCH_S = 1_767_225_600  # 1 January 2026, 0:00 UTC: where the time in recovery codes begins
_TIME_BITS, _NUMBER_BITS, _MAC_BITS = 29, 30, 41
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_PAIR_PLACES = tuple(range(5 * (CODE_LENGTH - 2), -1, -10))
_ALIKE = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_UNKNOWN = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in a line. `holder` is `NOBODY` for one without an account.

    `low_s` and `high_s` are the wait that was promised with it; None where nobody could tell, or after recovery.
    """

    lane: str
    number: int
    issued_ms: int
    holder: bytes = NOBODY
    low_s: int | None = None
    high_s: int | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether it belongs to no account."""
        return self.holder == NOBODY

    @property
    def subject(self) -> bytes:
        """Who holds it, as passes and revocations say it: the account's digest, or the number."""
        return number_subject(self.number) if self.is_anonymous else self.holder


def number_subject(number: int) -> bytes:
    """How a ticket without an account is named: no account's digest begins with eight zero bytes."""
    return number.to_bytes(len(NOBODY), "big")


class TicketPress:
    """Signs and reads tickets and their recovery codes."""

    def __init__(self, secret: bytes) -> None:
        self._signer = Signer(secret, "t1")

    def holder_of(self, account_id: UUID) -> bytes:
        """How tickets and passes name an account."""
        return self._signer.holder_of(account_id)

    def sign(self, ticket: Ticket) -> str:
        """The ticket as text: about 80 characters."""
        body = _BODY.pack(ticket.number, ticket.issued_ms, ticket.holder, _or(ticket.low_s), _or(ticket.high_s))
        return self._signer.sign(ticket.lane, body)

    def read(self, text: str) -> Ticket | None:
        """The ticket behind a text that we signed, or None."""
        found = self._signer.read(text, body_bytes=_BODY.size)
        if found is None:
            return None
        lane, body = found
        number, issued_ms, holder, low_s, high_s = _BODY.unpack(body)
        return Ticket(lane, number, issued_ms, holder, _known(low_s), _known(high_s))

    def code_of(self, ticket: Ticket) -> str:
        """The recovery code of a ticket without an account: four groups of five letters and digits."""
        facts = self._code_facts(ticket.number, ticket.issued_ms // 1000 - _EPOCH_S)
        value = (facts << _MAC_BITS) | self._code_mac(ticket.lane, facts)
        text = "".join([_PAIRS[value >> place & 1023] for place in _PAIR_PLACES])
        return f"{text[:5]}-{text[5:10]}-{text[10:15]}-{text[15:]}"

    def recovered(self, lane: str, code: str) -> Ticket | None:
        """The ticket behind a recovery code of this lane, or None. Case, hyphens, and O for 0 do not matter."""
        text = code.upper().translate(_ALIKE)
        if len(text) != CODE_LENGTH or not is_lane_name(lane) or any(letter not in _ALPHABET for letter in text):
            return None
        value = 0
        for letter in text:
            value = value << 5 | _ALPHABET.index(letter)
        facts, mac = value >> _MAC_BITS, value & ((1 << _MAC_BITS) - 1)
        if mac != self._code_mac(lane, facts):
            return None
        seconds = facts & ((1 << _TIME_BITS) - 1)
        return Ticket(lane, facts >> _TIME_BITS, (seconds + _EPOCH_S) * 1000)

    def _code_facts(self, number: int, seconds: int) -> int:
        if not 0 <= number <= NUMBER_MAX or not 0 <= seconds < 1 << _TIME_BITS:
            raise ValueError("a recovery code holds a number below 2^30 and a time of 2026 to 2042")
        return number << _TIME_BITS | seconds

    def _code_mac(self, lane: str, facts: int) -> int:
        return self._signer.short_mac(lane, facts.to_bytes(8, "big"), bits=_MAC_BITS)


def _or(seconds: int | None) -> int:
    return _UNKNOWN if seconds is None else min(seconds, _UNKNOWN - 1)


def _known(seconds: int) -> int | None:
    return None if seconds == _UNKNOWN else seconds
