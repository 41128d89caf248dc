"""Large object numbers in small files. Used inside the opener only.

qpdf believes in no object number above a third of the file's size and drops such objects without a word, so that what
refers to them would be rewritten as null. Blanks behind the end, in the copy that qpdf reads, make it believe.
"""

from __future__ import annotations

import re

_BYTES_FOR_A_NUMBER = 3
_NUMBER_MAX = 8_388_607
"""The largest object number of any reader (ISO 32000-1, annex C)."""
_STARTXREF = re.compile(rb"startxref\s+\d{1,12}")
_OBJECT = re.compile(rb"(\d{1,7})\s+\d{1,5}\s+obj\b")


def is_doubted(number: int, size_bytes: int) -> bool:
    """Whether qpdf would not believe in an object number that a file of that size may well have."""
    return size_bytes < number * _BYTES_FOR_A_NUMBER and number <= _NUMBER_MAX


def with_room(content: bytes, number: int) -> bytes:
    """The file with blanks behind its end, as many as that object number needs, and its end again behind them."""
    ends = _STARTXREF.findall(content[-2_048:])
    end = ends[-1] + b"\n%%EOF\n" if ends else b""
    return content + b"\n" + b" " * (number * _BYTES_FOR_A_NUMBER - len(content)) + b"\n" + end


def highest_written(content: bytes) -> int:
    """The highest number at the head of an object in the bytes, whatever a cross-reference says."""
    return max((int(found) for found in _OBJECT.findall(content) if int(found) <= _NUMBER_MAX), default=0)
