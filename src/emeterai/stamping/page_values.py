"""Documents and stamps as the templates of the pages want them; the comment at the top of each is the contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from emeterai.seal.model import Report
from emeterai.stamping.model import Document, Stamp

NOTES = {
    "signed": (
        "Berkas ini sudah memuat tanda tangan digital. Tanda tangan itu tetap sah.",
        "This file already carries a digital signature. It stays valid.",
    ),
    "stamped": (
        "Berkas ini sudah memuat e-meterai. Meterai lain hanya menambah; yang lama tetap sah.",
        "This file already carries a stamp. Another one only adds to it; the old one stays valid.",
    ),
    "certified": (
        "Pembuat dokumen ini mengunci isinya, tetapi mengizinkan tanda tangan. Meterai boleh dibubuhkan.",
        "The author certified this document and allows signatures. It can be stamped.",
    ),
    "encrypted": (
        "Berkas ini dibatasi oleh pemiliknya. Berkas bermeterai tetap dibatasi dengan cara yang sama.",
        "The owner of this file restricted it. The stamped file stays restricted in the same way.",
    ),
    "repaired": (
        "Susunan berkas ini rusak dan sudah kami perbaiki sejauh terbaca. Pastikan jumlah halaman dan isinya lengkap.",
        "The structure of this file was damaged; we mended it as far as it can be read. Make sure nothing is missing.",
    ),
    "form": (
        "Berkas ini memuat formulir isian. Isi dulu sebelum dibubuhi; sesudahnya berkas jangan diubah lagi.",
        "This file has fields to fill in. Fill them in before stamping; do not change the file afterwards.",
    ),
    "xfa": (
        "Formulir XFA berkas ini tidak ditampilkan semua pembaca PDF. Cetak ke PDF biasa, lalu unggah hasilnya.",
        "Not every PDF reader shows the XFA form of this file. Print it to an ordinary PDF and upload that.",
    ),
}
"""The codes of `Report.notes` in words."""


def is_landscape(report: Report, page: int) -> bool:
    """Whether a page is wider than high; one whose size the report leaves out is taken to be like the last."""
    sizes = report.page_sizes_pt
    width, height = sizes[page - 1] if page < len(sizes) else sizes[-1]
    return width > height


def document_value(document: Document) -> dict[str, Any]:
    """A document as the pages show it."""
    return {
        "id": document.id,
        "name": document.name,
        "size_bytes": document.size_bytes,
        "received_bytes": document.received_bytes,
        "digest": document.digest.hex() if document.digest else "",
        "created_at": document.created_at,
        "state": document.state.value,
        "pages": document.report.pages if document.report else 0,
        "wants_password": document.wants_password,
    }


def note_values(document: Document) -> list[dict[str, str]]:
    """What is worth knowing about a file, in words."""
    codes = document.report.notes if document.report else []
    return [dict(zip(("id", "en"), NOTES[code], strict=True)) for code in codes if code in NOTES]


def stamp_values(stamps: Sequence[Stamp]) -> list[dict[str, Any]]:
    """Stamps as the lists show them."""
    return [
        {"id": stamp.id, "serial": stamp.serial, "state": stamp.state.value, "created_at": stamp.held_at}
        for stamp in stamps
    ]


def progress_value(stamp: Stamp, hold_life_s: float) -> dict[str, Any]:
    """A stamp under way or given back, as its page shows it: of the four steps the first, holding, is finished."""
    return {
        "id": stamp.id,
        "document_id": stamp.document_id,
        "document_name": stamp.document_name,
        "state": stamp.state.value,
        "step": 1,
        "created_at": stamp.held_at,
        "deadline_at": stamp.held_at + timedelta(seconds=hold_life_s),
        "given_back_at": stamp.ended_at,
    }


def result_value(stamp: Stamp) -> dict[str, Any]:
    """A sealed stamp as its page shows it."""
    assert stamp.sealed_digest is not None
    return {
        "id": stamp.id,
        "document_id": stamp.document_id,
        "document_name": stamp.document_name,
        "serial": stamp.serial,
        "sealed_at": stamp.sealed_at,
        "page": stamp.page,
        "digest": stamp.sealed_digest.hex(),
        "size_bytes": stamp.sealed_size_bytes,
    }
