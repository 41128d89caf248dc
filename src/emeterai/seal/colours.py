"""Which colours the mark may use on a file: device colours need an output intent that tells what they are (PDF/A).

Used inside the opener only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pikepdf
from pikepdf import Array, Dictionary, Object, Stream

_METADATA_SIZE_BYTES_MAX = 262_144
_RGB_COMPONENTS = 3
_CLAIM = b"pdfaid"
"""The namespace in which metadata claims that a file is PDF/A (ISO 19005-2, 6.6.4)."""


def wants_calibrated(catalog: Object) -> bool:
    """Whether device RGB and grey would end the form of PDF/A (ISO 19005-1, 6.2.3.3; 19005-2, 6.2.4.3).

    So it is where the output intent is for other than RGB, and where there is none though the file claims to be PDF/A.
    """
    try:
        components = list(_intended(catalog))
        return _RGB_COMPONENTS not in components if components else _claims_pdf_a(catalog)
    except (pikepdf.PdfError, zlib.error):
        return False


def _intended(catalog: Object) -> Iterator[object]:
    """The number of components of each output intent's profile."""
    intents = catalog.get("/OutputIntents")
    for intent in intents if isinstance(intents, Array) else ():
        profile = intent.get("/DestOutputProfile") if isinstance(intent, Dictionary) else None
        if isinstance(profile, Stream):
            yield profile.get("/N")


def _claims_pdf_a(catalog: Object) -> bool:
    metadata = catalog.get("/Metadata")
    if not isinstance(metadata, Stream):
        return False
    content = metadata.read_raw_bytes()
    if metadata.get("/Filter") == "/FlateDecode":
        content = zlib.decompressobj().decompress(content, _METADATA_SIZE_BYTES_MAX)
    return _CLAIM in content[:_METADATA_SIZE_BYTES_MAX]
