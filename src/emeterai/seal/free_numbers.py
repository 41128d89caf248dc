"""Which object numbers a tail may take: free ones that nothing in the file refers to. Used inside the opener only."""

from __future__ import annotations

import io
import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, BinaryIO

from pikepdf import Pdf, Stream

from emeterai.seal.large_numbers import is_doubted
from emeterai.seal.refusals import PDF_NUMBERS_EXHAUSTED

NUMBER_MAX = 4_194_000
"""PDFium reads no object with a number above 4,194,304."""
_DECLARED_MAX = 8_388_608
FOR_A_SEAL = 6
"""How many new objects a tail has at most."""
_BLOCKS_MAX = 200
_PLAIN, _IN_OBJECT_STREAM = 1, 2
_HEADER_WINDOW = 1_024
_LONG_SIZE_BYTES = 65_536
_SPARSE_SIZE_BYTES = 4_096
_STREAM = re.compile(rb">>\s*stream\r?\n")


def first_free_number(
    pdf: Pdf, written: Mapping[tuple[int, int], Any], file: BinaryIO, *, size_bytes: int, needed: int = FOR_A_SEAL
) -> int:
    """The first of `needed` numbers above every object of the file to which nothing in it refers, not even in vain.

    A reference to an object that does not exist means null; it must not come to mean the mark. Raises Refused:
    pdf_numbers_exhausted.
    """
    number = max((number for number, _ in written), default=0) + 1
    if not is_doubted(declared_numbers(pdf) - 1, size_bytes):
        number = max(number, declared_numbers(pdf))  # below it numbers may be free that were used before
    packed = sorted({entry.obj_stream_number for entry in written.values() if entry.type == _IN_OBJECT_STREAM})
    block = _block(needed)
    with _mapped(file) as content:
        spans = _spans(pdf, written, content)
        for _ in range(_BLOCKS_MAX):
            # Numbers of one decade differ in the last digit only, so one quick search finds a reference to any.
            if number % block > block - needed:
                number += block - number % block
            if number + needed > NUMBER_MAX:
                break
            reference = _reference(number, block)
            if not any(reference.search(content, *span) for span in spans) and not any(
                reference.search(pdf.get_object(stream, 0).read_bytes()) for stream in packed
            ):
                return number
            number += block - number % block
    raise PDF_NUMBERS_EXHAUSTED()


def _block(needed: int) -> int:
    """The smallest power of ten with room for so many numbers and a little choice of where they begin."""
    block = 10
    while block < needed + 4:
        block *= 10
    return block


def declared_numbers(pdf: Pdf) -> int:
    """How many object numbers the trailer declares; 0 when what it says makes no sense."""
    size = pdf.trailer.get("/Size", 0)
    return size if isinstance(size, int) and 0 < size <= _DECLARED_MAX else 0


def _spans(pdf: Pdf, written: Mapping[tuple[int, int], Any], content: mmap.mmap | bytes) -> list[tuple[int, int]]:
    """Where in the bytes of a file references may stand: everywhere, save in the data of its long streams."""
    if len(content) < _SPARSE_SIZE_BYTES * len(written):
        return [(0, len(content))]  # looking at so many objects would take longer than searching all the bytes
    header_offset = max(0, content.find(b"%PDF-", 0, _HEADER_WINDOW))
    heads = sorted((entry.offset + header_offset, key) for key, entry in written.items() if entry.type == _PLAIN)
    spans, position = [], 0
    for (offset, key), (following, _) in pairwise([*heads, (len(content), (0, 0))]):
        head = _STREAM.search(content, offset, following) if following - offset > _LONG_SIZE_BYTES else None
        size_bytes = _data_size_bytes(pdf, key) if head else 0
        if head and size_bytes and head.end() + size_bytes <= following:
            spans.append((position, head.end()))
            position = head.end() + size_bytes
    return [*spans, (position, len(content))]


def _data_size_bytes(pdf: Pdf, key: tuple[int, int]) -> int:
    """The size of a stream's data in the file; 0 when that is not said, or qpdf did not find the data's end there."""
    stream = pdf.get_object(key)
    size_bytes = stream.get("/Length") if isinstance(stream, Stream) else None
    return size_bytes if isinstance(size_bytes, int) and size_bytes > 0 else 0


def _reference(number: int, block: int) -> re.Pattern[bytes]:
    """What finds a reference to a number from `number` to the end of its block."""
    prefix = b"%d" % (number // block) if number >= block else b""
    digits = b"[%d-9]" % (number % block) if block == 10 else b"[0-9]{%d}" % (len(str(block)) - 1)
    return re.compile(rb"%b%b\s+0+\s+R\b" % (prefix, digits))


@contextmanager
def _mapped(file: BinaryIO) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file without reading them all at once; those in memory as they are."""
    if isinstance(file, io.BytesIO):
        yield file.getvalue()
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content
