"""The form of tickets and passes: a kind, a lane, some bytes and a MAC over all of them. Pure, and quick.

`KIND.LANE.BODY`: kind and version (`t1`), the lane's name, and the body with its MAC in base64url without padding
(RFC 4648 section 5). The MAC is HMAC-SHA256 cut to 16 bytes (RFC 2104 section 5), its key derived for each kind.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from uuid import UUID

MAC_BYTES = 16
HOLDER_BYTES = 12
TOKEN_LENGTH_MAX = 200
NOBODY = bytes(HOLDER_BYTES)
"""The holder of a ticket or a pass that is bound to no account."""
LANE_NAME = r"[a-z][a-z0-9-]{0,39}"
"""How a lane is named: it is part of an address."""

_LANE = re.compile(LANE_NAME)


def is_lane_name(text: str) -> bool:
    """Whether a lane can be called so."""
    return _LANE.fullmatch(text) is not None


class Signer:
    """Signs and reads the tokens of one kind. `secret` is this installation's, the same in all its web processes."""

    def __init__(self, secret: bytes, kind: str) -> None:
        if len(secret) < 32:
            raise ValueError("the secret of the gate has at least 32 bytes")
        self._key = hmac.digest(secret, b"gate " + kind.encode(), "sha256")
        self._prefix = f"{kind}."

    def sign(self, lane: str, body: bytes) -> str:
        """The token."""
        return f"{self._prefix}{lane}.{_text_of(body + self._mac(lane, body))}"

    def read(self, token: str, *, body_bytes: int) -> tuple[str, bytes] | None:
        """The lane and the body of a token of ours, or None for anything else."""
        if len(token) > TOKEN_LENGTH_MAX or not token.startswith(self._prefix) or not token.isascii():
            return None
        lane, _, signed = token[len(self._prefix) :].partition(".")
        try:
            content = base64.b64decode(signed + "=" * (-len(signed) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body = content[:-MAC_BYTES]
        if len(body) != body_bytes or not hmac.compare_digest(content[-MAC_BYTES:], self._mac(lane, body)):
            return None
        # The last character may hold bits that are not used: of the texts that mean the same, one is ours.
        return (lane, body) if signed == _text_of(content) else None

    def short_mac(self, lane: str, body: bytes, *, bits: int) -> int:
        """The first `bits` bits of the MAC, for codes that people type. A domain of its own."""
        digest = hmac.digest(self._key, b"code " + lane.encode() + b"\0" + body, "sha256")
        return int.from_bytes(digest, "big") >> (256 - bits)

    def holder_of(self, account_id: UUID) -> bytes:
        """What tokens say of an account: a digest that only this installation can make. Never `NOBODY`."""
        return hmac.digest(self._key, b"holder " + account_id.bytes, "sha256")[:HOLDER_BYTES]

    def _mac(self, lane: str, body: bytes) -> bytes:
        return hmac.digest(self._key, b"token " + lane.encode() + b"\0" + body, "sha256")[:MAC_BYTES]


def _text_of(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
