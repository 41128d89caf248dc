"""Small PDF files that tests make: the letter that people send, and odd ones."""

from __future__ import annotations

import io
import secrets

import pikepdf

PASSWORD = "kunci-yang-panjang-é"
"""Opens what `locked` makes."""


def letter(*, pages: int = 1, size_bytes: int = 0, text: str | None = None) -> bytes:
    """A letter that no other test has: one line a page; padded to about `size_bytes` with noise nobody sees."""
    words = text or f"Surat {secrets.token_hex(8)}"
    with pikepdf.new() as pdf:
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        for number in range(1, pages + 1):
            pdf.add_blank_page(page_size=(595, 842))
            page = pdf.pages[-1]
            page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
            page.Contents = pdf.make_stream(f"BT /F1 12 Tf 72 760 Td ({words} {number}) Tj ET".encode())
        if size_bytes:
            pdf.Root.Padding = pdf.make_indirect(pdf.make_stream(secrets.token_bytes(size_bytes)))
        target = io.BytesIO()
        pdf.save(target, compress_streams=False)
    return target.getvalue()


def letter_in_streams() -> bytes:
    """The same letter with object streams and a cross-reference stream (PDF 1.5)."""
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(letter())) as pdf:
        pdf.save(target, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    return target.getvalue()


def locked(content: bytes, *, user: str = PASSWORD) -> bytes:
    """The same PDF encrypted (AES-256); with an empty `user` password its owner restricted it, and it opens for all."""
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        pdf.save(target, encryption=pikepdf.Encryption(owner="pemilik", user=user))
    return target.getvalue()
