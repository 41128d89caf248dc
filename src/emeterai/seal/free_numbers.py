"""Which object numbers a tail may take: free ones that nothing in the file refers to. Used inside the opener only."""

from __future__ import annotations

import io
import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from pikepdf import Pdf

from emeterai.seal.refusals import PDF_NUMBERS_EXHAUSTED

NUMBER_MAX = 4_194_000
"""PDFium reads no object with a number above 4,194,304."""
_BLOCK = 10
_NEEDED = 6
_BLOCKS_MAX = 200
_IN_OBJECT_STREAM = 2


def first_free_number(pdf: Pdf, written: Mapping[tuple[int, int], Any], file: BinaryIO) -> int:
    """The first of six numbers above every object of the file to which nothing in it refers, not even in vain.

    A reference to an object that does not exist means null; it must not come to mean the mark. Raises Refused:
    pdf_numbers_exhausted.
    """
    number = max(max((number for number, _ in written), default=0), _declared(pdf)) + 1
    packed = sorted({entry.obj_stream_number for entry in written.values() if entry.type == _IN_OBJECT_STREAM})
    with _mapped(file) as content:
        for _ in range(_BLOCKS_MAX):
            # Six numbers of one decade differ in the last digit only, so one quick search finds them all.
            if number % _BLOCK > _BLOCK - _NEEDED:
                number += _BLOCK - number % _BLOCK
            if number + _NEEDED > NUMBER_MAX:
                break
            if not any(_refers(part, number) for part in _parts(pdf, content, packed)):
                return number
            number += _BLOCK - number % _BLOCK
    raise PDF_NUMBERS_EXHAUSTED()


def _declared(pdf: Pdf) -> int:
    """The highest number that the trailer declares; a senseless one is not taken at its word."""
    size = pdf.trailer.get("/Size", 0)
    return size - 1 if isinstance(size, int) and 0 < size < NUMBER_MAX - _BLOCK else 0


def _parts(pdf: Pdf, content: mmap.mmap | bytes, packed: list[int]) -> Iterator[mmap.mmap | bytes]:
    yield content
    for number in packed:
        yield pdf.get_object(number, 0).read_bytes()


def _refers(content: mmap.mmap | bytes, number: int) -> bool:
    last = number % _BLOCK
    decade = b"%d" % (number // _BLOCK) if number >= _BLOCK else b""
    return re.search(rb"%b[%d-%d]\s+0+\s+R\b" % (decade, last, last + _NEEDED - 1), content) is not None


@contextmanager
def _mapped(file: BinaryIO) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file without reading them all at once; those in memory as they are."""
    if isinstance(file, io.BytesIO):
        yield file.getvalue()
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content
