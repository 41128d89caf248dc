"""Which object numbers a tail may take: free ones that nothing in the file refers to. Used inside the opener only."""

from __future__ import annotations

import io
import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from pikepdf import Pdf

from emeterai.seal.large_numbers import is_doubted
from emeterai.seal.refusals import PDF_NUMBERS_EXHAUSTED

NUMBER_MAX = 4_194_000
"""PDFium reads no object with a number above 4,194,304."""
_DECLARED_MAX = 8_388_608
FOR_A_SEAL = 6
"""How many new objects a tail has at most."""
_BLOCKS_MAX = 200
_IN_OBJECT_STREAM = 2


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
        for _ in range(_BLOCKS_MAX):
            # Numbers of one decade differ in the last digit only, so one quick search finds a reference to any.
            if number % block > block - needed:
                number += block - number % block
            if number + needed > NUMBER_MAX:
                break
            if not any(_refers(part, number, block) for part in _parts(pdf, content, packed)):
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


def _parts(pdf: Pdf, content: mmap.mmap | bytes, packed: list[int]) -> Iterator[mmap.mmap | bytes]:
    yield content
    for number in packed:
        yield pdf.get_object(number, 0).read_bytes()


def _refers(content: mmap.mmap | bytes, number: int, block: int) -> bool:
    """Whether something refers to a number from `number` to the end of its block."""
    prefix = b"%d" % (number // block) if number >= block else b""
    digits = b"[%d-9]" % (number % block) if block == 10 else b"[0-9]{%d}" % (len(str(block)) - 1)
    return re.search(rb"%b%b\s+0+\s+R\b" % (prefix, digits), content) is not None


@contextmanager
def _mapped(file: BinaryIO) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file without reading them all at once; those in memory as they are."""
    if isinstance(file, io.BytesIO):
        yield file.getvalue()
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content
