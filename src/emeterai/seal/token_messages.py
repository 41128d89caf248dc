"""What the parent and the process of a token say to each other, each message behind its length (4 bytes)."""

from __future__ import annotations

import struct

import msgspec

LENGTH = struct.Struct(">I")
MESSAGE_SIZE_BYTES_MAX = 65_536


class Opening(msgspec.Struct, frozen=True):
    """Which key of which token, and the PIN that opens it."""

    module: str
    token_label: str
    key_label: str
    pin: str


class Answer(msgspec.Struct, frozen=True):
    """A signature (empty after an opening), or why there is none."""

    signature: bytes = b""
    fault: str = ""


def frame(body: bytes) -> bytes:
    """One message as it goes over the socket."""
    return LENGTH.pack(len(body)) + body
