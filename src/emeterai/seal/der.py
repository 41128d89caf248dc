"""Just enough DER (ITU-T X.690) to write a CMS signature and a timestamp request: tag, length, value."""

from __future__ import annotations

BOOLEAN, INTEGER, OCTET_STRING, NULL, OID, SEQUENCE, SET = 0x01, 0x02, 0x04, 0x05, 0x06, 0x30, 0x31
CONTEXT_0, CONTEXT_1 = 0xA0, 0xA1


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element: `tag`, the definite length, the parts joined."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted text."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = bytearray((first * 40 + second,))
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        body += bytes(reversed(groups))
    return tlv(OID, bytes(body))


def element_size(der: bytes) -> int:
    """The size in bytes of the element that begins `der`. Raises ValueError when it is cut or not DER."""
    head, size = _head_and_content(der)
    if head + size > len(der):
        raise ValueError("the DER element is cut")
    return head + size


def content_of(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the element that begins `der`, and what follows it. Raises ValueError unless it has this tag."""
    end = element_size(der)
    if der[0] != tag:
        raise ValueError("another DER element was expected")
    return der[end - _head_and_content(der)[1] : end], der[end:]


def integer(value: int) -> bytes:
    """An INTEGER that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _head_and_content(der: bytes) -> tuple[int, int]:
    if len(der) < 2 or der[1] == 0x80:
        raise ValueError("not a DER element")
    if der[1] < 0x80:
        return 2, der[1]
    count = der[1] & 0x7F
    return 2 + count, int.from_bytes(der[2 : 2 + count], "big")
