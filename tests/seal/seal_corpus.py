"""One real file after the other: inspected, repaired if need be, sealed, read back, and judged by everybody."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pikepdf
import pypdfium2
from asn1crypto import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import EmbeddedPdfSignature, async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from seal_judges import judged_by_pdfsig, qr_codes
from seal_orders import SERIAL, order_of

from emeterai.core.refusal import Refused
from emeterai.seal.model import Report, SealedTail
from emeterai.seal.service import SealEngine

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
VALID = "valid"
_MARK_PIXELS = 260


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file. A verdict is `valid`, says that a judge cannot read the original, or what it found."""

    suite: str
    name: str
    code: str
    """`sealed`, or the code of the refusal."""
    opens: bool
    """Whether qpdf opens the file without a password."""
    seconds: float
    repaired: bool = False
    verdicts: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """The judges that could read the original and do not call the sealed file valid."""
        return [f"{who}: {what}" for who, what in self.verdicts.items() if what != VALID and "original" not in what]


def suites(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """The suites of a corpus: each of its folders that holds PDF files, or else the folder itself."""
    folders = [one for one in sorted(folder.iterdir()) if one.is_dir()] or [folder]
    for one in folders:
        files = sorted(path for path in one.rglob("*") if path.suffix.lower() == ".pdf" and path.is_file())
        if files:
            yield one.name, files


async def outcome_of(engine: SealEngine, root: bytes, suite: str, path: Path, folder: Path) -> FileOutcome:
    """What becomes of a file; `folder` is for what is written on the way."""
    logging.getLogger("pyhanko").setLevel(logging.CRITICAL)
    opens, started = _opens(path), time.perf_counter()
    try:
        report, base, sealed = await _sealed(engine, path, folder)
    except Refused as refused:
        return FileOutcome(suite, path.name, refused.code, opens, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    whole = folder / "whole.pdf"
    content = base.read_bytes()
    whole.write_bytes(content + sealed.tail)
    verdicts = {
        "emeterai": (await engine.verify(whole)).outcome.replace("genuine", VALID),
        "pdfsig": _pdfsig(whole, base),
        "pyHanko": await _pyhanko(content + sealed.tail, content, root),
        "PDFium": _pdfium(content + sealed.tail, content, report, sealed),
    }
    return FileOutcome(suite, path.name, "sealed", opens, seconds, report.repaired, verdicts)


async def _sealed(engine: SealEngine, path: Path, folder: Path) -> tuple[Report, Path, SealedTail]:
    report, base, tail = await engine.inspect(path), path, folder / "tail"
    if report.repaired:
        base = folder / "repaired.pdf"
        base.write_bytes(await engine.repair(path))
    sealed = await engine.seal(base, order_of(place="bottom-right"))
    tail.write_bytes(sealed.tail)
    await engine.read_back(base, tail, sealed)
    return report, base, sealed


def _opens(path: Path) -> bool:
    try:
        with pikepdf.open(path):
            return True
    except (pikepdf.PdfError, pikepdf.PasswordError):
        return False


def _pdfsig(whole: Path, base: Path) -> str:
    ours = [one for one in judged_by_pdfsig(whole) if SERIAL in one.field]
    if [(True, True)] == [(one.valid, one.whole_document) for one in ours]:
        return VALID
    try:
        pypdfium2.PdfDocument(base).close()
    except pypdfium2.PdfiumError:
        return "cannot read the original"
    return f"{ours or 'no signature found'}"


async def _pyhanko(sealed: bytes, original: bytes, root: bytes) -> str:
    context = ValidationContext(trust_roots=[x509.Certificate.load(root)], allow_fetching=False)
    try:
        status = await async_validate_pdf_signature(_signatures(sealed)[-1], context)
    except Exception as error:  # noqa: BLE001 - a judge that cannot read a file says so in many ways
        return _unless_original(original, error)
    return VALID if status.bottom_line else status.summary()


def _signatures(content: bytes) -> list[EmbeddedPdfSignature]:
    reader = PdfFileReader(io.BytesIO(content), strict=False)
    if reader.encrypted:
        reader.decrypt("")
    reader.root["/Pages"].get_object()
    return list(reader.embedded_signatures)


def _unless_original(original: bytes, error: Exception) -> str:
    try:
        _signatures(original)
    except Exception as first:  # noqa: BLE001 - as above
        return f"cannot read the original: {type(first).__name__} {first}"[:120]
    return f"{type(error).__name__} {error}"[:120]


def _pdfium(sealed: bytes, original: bytes, report: Report, made: SealedTail) -> str:
    """Whether PDFium draws the mark, and its code can be read, just where it was put."""
    try:
        pypdfium2.PdfDocument(original).close()
    except pypdfium2.PdfiumError as error:
        return f"cannot read the original: {error}"
    with pypdfium2.PdfDocument(sealed) as document:
        document.init_forms()
        page = document[made.page - 1]
        width, height = page.get_size()
        unit = width / report.page_sizes_pt[-1][0]  # PDFium knows no /UserUnit
        box = made.box
        crop = (box.x0 * unit, box.y0 * unit, width - box.x1 * unit, height - box.y1 * unit)
        picture = page.render(
            scale=_MARK_PIXELS / ((box.x1 - box.x0) * unit), crop=tuple(max(0, side - 1) for side in crop)
        ).to_pil()
    found = [text for text, _ in qr_codes(picture)]
    return VALID if found == [f"https://meterai.example/v/{SERIAL}"] else f"the mark is not seen at its place: {found}"
