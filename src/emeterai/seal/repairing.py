"""Repair: an unsigned file that only qpdf can read is written anew by qpdf. Used inside the opener only."""

from __future__ import annotations

import io
from typing import BinaryIO

import pikepdf

from emeterai.seal.document import open_with_qpdf, read_bounded, refusing_broken
from emeterai.seal.large_numbers import highest_written, is_doubted, with_room
from emeterai.seal.messages import MESSAGE_SIZE_BYTES_MAX
from emeterai.seal.refusals import (
    PDF_BROKEN,
    PDF_NO_PAGES,
    PDF_NUMBERS_EXHAUSTED,
    PDF_SIGNED_AND_BROKEN,
    PDF_TOO_LARGE,
)

MENDABLE = (PDF_BROKEN, PDF_NO_PAGES, PDF_NUMBERS_EXHAUSTED)
"""The refusals of a file as it is that rewriting may end. A file without pages may have some that are lost."""

_ENVELOPE_SIZE_BYTES = 1_024
_SIGNED = b"/ByteRange"
"""A signature's byte range stands in the clear in every signed file: it must be written before it is known."""


def rewritten(source: BinaryIO, *, size_bytes_max: int, password: str | None) -> bytes:
    """The whole file as qpdf writes it anew: content streams byte for byte, still encrypted when it was.

    Raises Refused: pdf_signed_and_broken, since rewriting would end the signature; pdf_broken when there is nothing to
    save; pdf_too_large when the new file is.
    """
    content = read_bounded(source, size_bytes_max=size_bytes_max)
    highest = highest_written(content)
    whole = with_room(content, highest) if is_doubted(highest, len(content)) else content
    with refusing_broken(), open_with_qpdf(io.BytesIO(whole), password=password, attempt_recovery=True) as pdf:
        if len(pdf.pages) == 0:
            raise PDF_NO_PAGES()
        if _SIGNED in content:
            raise PDF_SIGNED_AND_BROKEN()
        if "/Size" not in pdf.trailer:
            pdf.trailer["/Size"] = 1  # qpdf sets it to what is right, but only where there is one
        target = io.BytesIO()
        if pdf.is_encrypted:
            pdf.save(target, compress_streams=False, fix_metadata_version=False, encryption=True)
        else:
            pdf.save(
                target,
                compress_streams=False,
                stream_decode_level=pikepdf.StreamDecodeLevel.none,
                fix_metadata_version=False,
                deterministic_id=True,
            )
    if target.tell() > min(size_bytes_max, MESSAGE_SIZE_BYTES_MAX - _ENVELOPE_SIZE_BYTES):
        raise PDF_TOO_LARGE(size_bytes_max=size_bytes_max)
    return target.getvalue()
