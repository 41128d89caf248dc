"""The signature dictionary of a seal (ISO 32000-2, 12.8.1), in one fixed layout that is written and recognised here.

The verifier finds seals by this layout in the bytes themselves, so that no trick with cross-references can show it
another dictionary than the one that was signed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from emeterai.seal.encryption import FileCipher

_HEAD = (
    b"%d 0 obj\n<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/ETSI.CAdES.detached/Name%s/M(D:%s+00'00')/Reason%s"
    b"/EMTR_Serial(%s)/EMTR_OriginalSize %d/EMTR_Duty %d"
)
_HEAD_ENCIPHERED = (
    b"%d 0 obj\n<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/ETSI.CAdES.detached/Name%s/M%s/Reason%s\n"
    b"%%/M(D:%s+00'00')/Reason()/EMTR_Serial(%s)\n/EMTR_OriginalSize %d/EMTR_Duty %d"
)
"""In an encrypted file strings are enciphered; a comment says in the clear, and signed, what a verifier must read."""
FOOT = b">>\nendobj\n"
TRACE = b"/EMTR_Serial"
"""What every seal carries in the clear; its presence without a valid seal means that somebody tampered."""
PATTERN = re.compile(
    rb"/M\(D:(\d{14})\+00'00'\)/Reason[^\r\n]{1,400}?/EMTR_Serial\(([A-Z0-9]{1,64})\)\n?/EMTR_OriginalSize (\d{1,10})"
    rb"/EMTR_Duty (\d{1,10})/ByteRange\[0 (\d{1,10}) {0,9} (\d{1,10}) {0,9} (\d{1,10}) {0,9}\]/Contents<([0-9A-F]*)>>>"
)
_SERIAL = re.compile(r"[A-Z0-9]{1,64}")


class SealFacts(msgspec.Struct, frozen=True):
    """What a signature dictionary says: sealed under the signature, so true when that is valid."""

    serial: str
    sealed_at: datetime
    original_size_bytes: int
    duty_idr: int


class SealFound(msgspec.Struct, frozen=True):
    """A seal as found in the bytes of a file; nothing about it is checked yet."""

    facts: SealFacts
    byte_range: tuple[int, int, int]
    """Where the slot begins, where it ends, how many bytes follow it."""
    slot_start: int
    slot_end: int
    contents: bytes


def check_serial(serial: str) -> None:
    """Raise ValueError unless the serial can stand in a seal: 1 to 64 of A-Z0-9."""
    if not _SERIAL.fullmatch(serial):
        raise ValueError("a serial is 1 to 64 characters A-Z0-9")


def signature_head(number: int, facts: SealFacts, *, name: str, reason: str, cipher: FileCipher | None = None) -> bytes:
    """The dictionary up to what `byte_range_entry` writes."""
    check_serial(facts.serial)
    moment = facts.sealed_at.astimezone(UTC).strftime("%Y%m%d%H%M%S").encode()
    numbers = (facts.original_size_bytes, facts.duty_idr)
    name_text, reason_text = text_string(name, number, cipher), text_string(reason, number, cipher)
    serial = facts.serial.encode()
    if cipher is None:
        return _HEAD % (number, name_text, moment, reason_text, serial, *numbers)
    moment_text = text_string(f"D:{moment.decode()}+00'00'", number, cipher)
    return _HEAD_ENCIPHERED % (number, name_text, moment_text, reason_text, moment, serial, *numbers)


def byte_range_entry(start: int, end: int, rest: int) -> bytes:
    """What goes between the head and the slot: all but the slot is signed. Its length is always the same."""
    return b"/ByteRange[0 %-10d %-10d %-10d]/Contents" % (start, end, rest)


def text_string(text: str, number: int = 0, cipher: FileCipher | None = None) -> bytes:
    """A PDF text string (ISO 32000-2, 7.9.2.2) on one line; enciphered for the object `number` if there is a cipher."""
    is_plain = text.isascii() and text.isprintable()
    if cipher is not None:
        return cipher.string(text.encode() if is_plain else b"\xfe\xff" + text.encode("utf-16-be"), number)
    if is_plain:
        return b"(" + text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode() + b")"
    return b"<FEFF" + text.encode("utf-16-be").hex().upper().encode() + b">"


def find_seals(content: bytes) -> list[SealFound]:
    """Every seal written in `content`, in the order of its bytes, valid or not."""
    found = []
    for match in PATTERN.finditer(content):
        moment, serial, original_size, duty, *byte_range, _ = match.groups()
        try:
            sealed_at = datetime.fromisoformat(f"{moment[:8].decode()}T{moment[8:].decode()}Z")
            contents = bytes.fromhex(match[8].decode())
        except ValueError:
            continue
        start, end, rest = (int(value) for value in byte_range)
        found.append(
            SealFound(
                facts=SealFacts(serial.decode(), sealed_at, int(original_size), int(duty)),
                byte_range=(start, end, rest),
                slot_start=match.start(8) - 1,
                slot_end=match.end(8) + 1,
                contents=contents,
            )
        )
    return found
