"""Independent judges of sealed files: poppler's pdfsig, pyHanko, and PDFium with zxing for what a person sees."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
import pytest
import zxingcpp
from asn1crypto import x509
from PIL import Image
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import DocumentSecurityStore, async_validate_pdf_signature, async_validate_pdf_timestamp
from pyhanko.sign.validation.status import DocumentTimestampStatus, PdfSignatureStatus
from pyhanko_certvalidator import ValidationContext


def require(present: object, what: str) -> None:
    """Skip the test, or fail it on CI, when something that it needs is not on this machine."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"this machine has no {what}")


@dataclass(frozen=True)
class PopplerSignature:
    """What pdfsig says about one signature."""

    field: str
    valid: bool
    whole_document: bool


def judged_by_pdfsig(path: Path) -> list[PopplerSignature]:
    """Every signature of a file as poppler sees it, in the order of the form."""
    tool = shutil.which("pdfsig")
    require(tool, "pdfsig (Debian: poppler-utils)")
    text = subprocess.run([str(tool), str(path)], capture_output=True, check=False).stdout.decode(errors="replace")
    return [
        PopplerSignature(
            field=block.partition("Signature Field Name: ")[2].partition("\n")[0],
            valid="Signature is Valid." in block,
            whole_document="Total document signed" in block and "Not total document signed" not in block,
        )
        for block in text.split("Signature #")[1:]
    ]


async def judged_by_pyhanko(content: bytes, *roots: bytes) -> list[PdfSignatureStatus]:
    """Every signature of a file as pyHanko sees it, with trusted roots (DER), in the order of the revisions."""
    reader = PdfFileReader(io.BytesIO(content), strict=False)
    trusted = [x509.Certificate.load(root) for root in roots]
    return [
        await async_validate_pdf_signature(embedded, ValidationContext(trust_roots=trusted, allow_fetching=False))
        for embedded in reader.embedded_regular_signatures
    ]


async def timestamps_judged_by_pyhanko(content: bytes, *roots: bytes) -> list[DocumentTimestampStatus]:
    """Every document timestamp of a file as pyHanko sees it."""
    reader = PdfFileReader(io.BytesIO(content), strict=False)
    trusted = [x509.Certificate.load(root) for root in roots]
    return [
        await async_validate_pdf_timestamp(embedded, ValidationContext(trust_roots=trusted, allow_fetching=False))
        for embedded in reader.embedded_timestamp_signatures
    ]


async def judged_with_its_own_revocation_data(content: bytes, *roots: bytes) -> list[PdfSignatureStatus]:
    """Every signature as pyHanko sees it from what the file itself holds; what is not proven unrevoked is not valid."""
    reader = PdfFileReader(io.BytesIO(content), strict=False)
    terms = {"trust_roots": [x509.Certificate.load(root) for root in roots], "revocation_mode": "require"}
    store = DocumentSecurityStore.read_dss(reader)
    return [
        await async_validate_pdf_signature(embedded, store.as_validation_context({**terms, "allow_fetching": False}))
        for embedded in reader.embedded_regular_signatures
    ]


def rendered(content: bytes, page: int = 0, *, dpi: int = 150) -> Image.Image:
    """A page as PDFium draws it, forms included."""
    document = pypdfium2.PdfDocument(content)
    document.init_forms()
    picture = document[page].render(scale=dpi / 72).to_pil()
    assert isinstance(picture, Image.Image)
    return picture


def qr_codes(picture: Image.Image) -> list[tuple[str, tuple[float, float]]]:
    """Every QR code in a picture: its text, and its middle in pixels from the top left."""
    found = []
    for barcode in zxingcpp.read_barcodes(picture):
        corners = (barcode.position.top_left, barcode.position.bottom_right)
        middle = (sum(corner.x for corner in corners) / 2, sum(corner.y for corner in corners) / 2)
        found.append((barcode.text, middle))
    return found
