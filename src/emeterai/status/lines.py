"""A public line: the sums of one minute, the digest of the line before it, and a signature over both.

What is signed is the text of the line as it was published, byte for byte (Ed25519, RFC 8032). Pure: no clock, no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FIRST_PREVIOUS = "0" * 64
"""What the first line says of the line before it."""
_GAP = timedelta(seconds=150)
"""Lines are a minute apart; more than this between two is told as a gap."""


class Line(msgspec.Struct, frozen=True):
    """The sums of one minute, in stamps; `broken` rules did not hold; `previous` is SHA-256 of the line before."""

    number: int
    at: datetime
    bought: int
    available: int
    held: int
    used: int
    refunded: int
    broken: int
    previous: str


class SignedLine(msgspec.Struct, frozen=True):
    """A line as it is published: its exact text, the signature over its UTF-8 bytes and the public key, both in hex."""

    line: str
    signature: str
    key: str


class SignedLines(msgspec.Struct, frozen=True):
    """Published lines, oldest first; `before` asks for those before them and is null at the first."""

    lines: list[SignedLine]
    before: int | None


class Proof(msgspec.Struct, frozen=True):
    """What verifying some lines found. `faults` is empty when every line is as it was published.

    `previous` is what the first line says of the line before it, `digest` what the line after the last has to say.
    """

    lines: int
    first: int | None
    last: int | None
    since: datetime | None
    until: datetime | None
    keys: list[str]
    gaps: int
    broken: int
    faults: list[str]
    previous: str | None
    digest: str | None


def digest_of(line: str) -> str:
    """What the next line says of this one."""
    return hashlib.sha256(line.encode()).hexdigest()


def is_late(line: Line, now: datetime) -> bool:
    """Whether the line after this newest one is missing, so that nothing has been checked since."""
    return now - line.at > _GAP


def sign(line: Line, key: Ed25519PrivateKey) -> SignedLine:
    """The line as it is published."""
    text = msgspec.json.encode(line)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SignedLine(text.decode(), key.sign(text).hex(), public.hex())


def public_pem(key: bytes) -> bytes:
    """A public key of 32 bytes as `openssl` reads it (SubjectPublicKeyInfo in PEM, RFC 8410)."""
    public = Ed25519PublicKey.from_public_bytes(key)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def verify_lines(signed: Sequence[SignedLine], *, key: str | None = None) -> Proof:
    """Verify lines in their order: each signature, by `key` when it is given, the chain, and the sum of each line.

    Gaps in time and broken rules are counted and are no faults: the lines tell them honestly.
    """
    faults: list[str] = []
    lines: list[Line] = []
    gaps = 0
    for index, one in enumerate(signed):
        line = _read(one, key, faults)
        if line is None:
            continue
        if lines and (line.number != lines[-1].number + 1 or line.previous != digest_of(signed[index - 1].line)):
            faults.append(f"line {line.number} does not follow line {lines[-1].number}")
        gaps += bool(lines) and line.at - lines[-1].at > _GAP
        lines.append(line)
    return Proof(
        lines=len(lines),
        first=lines[0].number if lines else None,
        last=lines[-1].number if lines else None,
        since=lines[0].at if lines else None,
        until=lines[-1].at if lines else None,
        keys=sorted({one.key for one in signed}),
        gaps=gaps,
        broken=sum(line.broken > 0 for line in lines),
        faults=faults,
        previous=lines[0].previous if lines else None,
        digest=digest_of(signed[-1].line) if lines else None,
    )


def joined(older: Proof, newer: Proof) -> Proof:
    """What verifying both at once would have found; `newer` is of the lines that come right after those of `older`."""
    if not (older.lines and newer.lines):
        one = newer if newer.lines else older
        return msgspec.structs.replace(one, faults=[*older.faults, *newer.faults])
    follows = older.last is not None and newer.first == older.last + 1 and newer.previous == older.digest
    break_of = [] if follows else [f"line {newer.first} does not follow line {older.last}"]
    assert newer.since is not None
    assert older.until is not None
    return Proof(
        lines=older.lines + newer.lines,
        first=older.first,
        last=newer.last,
        since=older.since,
        until=newer.until,
        keys=sorted({*older.keys, *newer.keys}),
        gaps=older.gaps + newer.gaps + (newer.since - older.until > _GAP),
        broken=older.broken + newer.broken,
        faults=[*older.faults, *break_of, *newer.faults],
        previous=older.previous,
        digest=newer.digest,
    )


def _read(one: SignedLine, key: str | None, faults: list[str]) -> Line | None:
    """A line whose signature and sum are right; its faults are noted, None when it cannot be read at all."""
    try:
        line = msgspec.json.decode(one.line, type=Line)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key or one.key)).verify(
            bytes.fromhex(one.signature), one.line.encode()
        )
    except (msgspec.DecodeError, ValueError):
        faults.append(f"not a line: {one.line[:60]}")
        return None
    except InvalidSignature:
        faults.append(f"line {line.number} is not signed by the key {(key or one.key)[:16]}")
    if line.broken == 0 and line.bought != line.available + line.held + line.used + line.refunded:
        faults.append(f"line {line.number} does not add up and says that no rule is broken")
    if line.number == 1 and line.previous != FIRST_PREVIOUS:
        faults.append("line 1 names a line before it")
    return line
