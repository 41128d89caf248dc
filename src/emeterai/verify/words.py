"""Codes of changes and kinds of additions in plain words, Indonesian and English, as the result page says them."""

from __future__ import annotations

from collections.abc import Iterable

_BYTES = (
    "Isi berkas yang disegel sendiri telah diubah.",
    "The very bytes that were sealed were altered.",
)
_SEAL = (
    "Segelnya rusak atau dipindahkan dari dokumen lain.",
    "The seal is damaged or was moved here from another document.",
)
_PAGES = (
    "Isi, gambar, huruf, atau ukuran halaman diubah.",
    "The content, pictures, fonts or size of pages were changed.",
)
_COVERED = (
    "Sesuatu ditaruh di atas isi halaman sehingga isinya tertutup.",
    "Something was laid over a page so that its content is hidden.",
)
_ANNOTATIONS = (
    "Catatan, gambar, atau meterai di halaman ditambah, diubah, atau dibuang.",
    "Notes, pictures or stamps on a page were added, changed or removed.",
)
_FORM = ("Formulirnya diisi atau diubah.", "Its form was filled in or changed.")
_SIGNATURE = (
    "Tanda tangan yang ditambahkan kemudian tidak sah atau tidak dikenali.",
    "A signature that was added later does not hold or is of an unknown kind.",
)
_HIDDEN = (
    "Bagian tersembunyi ditambahkan, yang dapat tampil berbeda di pembaca lain.",
    "Hidden parts were added, which another reader may show differently.",
)
_ADDED = ("Data lain ditambahkan di belakang segel.", "Other data was added behind the seal.")
_AUTHORITY = (
    "Satu segel di dalamnya bukan dari kami.",
    "One of the seals in it is not ours.",
)

CHANGES: dict[str, tuple[str, str]] = {
    "bytes_changed": _BYTES,
    **dict.fromkeys(("slot_wrong", "signature_wrong", "byte_range_wrong", "timestamp_wrong"), _SEAL),
    "certificate_not_ours": _AUTHORITY,
    **dict.fromkeys(
        (
            "page_content_changed",
            "page_resources_changed",
            "page_geometry_changed",
            "page_changed",
            "page_looks_changed",
            "pages_changed",
            "layers_changed",
            "object_changed",
            "object_removed",
            "catalog_changed",
            "catalog_replaced",
            "structure_changed",
        ),
        _PAGES,
    ),
    **dict.fromkeys(("content_covered", "signature_covers_page"), _COVERED),
    **dict.fromkeys(("annotation_added", "annotation_changed", "annotation_removed", "action_added"), _ANNOTATIONS),
    **dict.fromkeys(("form_changed", "form_value_changed"), _FORM),
    **dict.fromkeys(
        ("later_signature_wrong", "later_signature_not_understood", "signature_changed", "permissions_changed"),
        _SIGNATURE,
    ),
    **dict.fromkeys(
        (
            "hidden_objects",
            "object_twice_in_update",
            "object_malformed",
            "cross_reference_wrong",
            "stream_length_wrong",
            "additions_not_readable",
            "too_much_added",
        ),
        _HIDDEN,
    ),
    **dict.fromkeys(("bytes_added_after_seal", "metadata_changed", "names_changed"), _ADDED),
}
"""Every code that a report can carry."""

KINDS: dict[str, tuple[str, str]] = {
    "stamp": ("Meterai kami yang lain", "Another stamp of ours"),
    "signature": ("Tanda tangan orang lain", "A signature by somebody else"),
    "document_timestamp": ("Cap waktu", "A timestamp"),
    "validation_data": ("Data pemeriksaan tanda tangan", "Data for checking signatures"),
    "signature_field": ("Tempat tanda tangan yang kosong", "An empty place for a signature"),
    "unknown": ("Perubahan", "A change"),
}
"""What can follow a seal."""


def sentences(codes: Iterable[str]) -> list[tuple[str, str]]:
    """What some codes say, each sentence once, in the order of the codes."""
    return [*dict.fromkeys(CHANGES.get(code, _ADDED) for code in codes)]
