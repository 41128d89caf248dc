"""Where a mark will stand, decided before any quota is touched."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol

from emeterai.core.refusal import RefusalKind
from emeterai.infra.blobs import BlobStore
from emeterai.seal.model import Box, Geometry, Placement, Report
from emeterai.seal.place import resolve_box
from emeterai.seal.refusals import PAGE_NOT_IN_DOCUMENT
from emeterai.stamping.model import Arrived, Document

BOX_COVERS_TEXT = RefusalKind(
    "box_covers_text",
    409,
    "Meterai di sana menutupi tulisan atau gambar di halaman {page}. Pilih tempat lain, atau setujui hal itu.",
    "A stamp there would cover text or a picture on page {page}. Choose another place, or confirm that it may.",
)


class Look(Protocol):
    """Opens a file, in a limited process, to see where a mark goes (seal.reader.FileReader.placement)."""

    def __call__(
        self, path: Path, *, page: int | None, box: Box | None, place: str, password: str | None
    ) -> Awaitable[Placement]:
        """Where the mark will stand and whether it would hide anything."""


async def place_mark(
    document: Document | Arrived,
    blobs: BlobStore,
    look: Look,
    *,
    page: int | None,
    box: Box | None,
    place: str,
    cover: bool = False,
    password: str | None = None,
) -> tuple[int, Box]:
    """The page and the square that are meant, on the page as seen. `cover`: it may hide text or pictures.

    With a `password` the file is opened in any case, so that a wrong one is refused here (`pdf_password_wrong`).

    No page means the one where `auto` finds a place for stamps, else the last. Raises `page_not_in_document`,
    `box_off_page`, `box_too_small`, `place_unknown`, `box_covers_text`; this one names a free box when there is one.
    """
    report = document.report
    assert report is not None
    number = report.pages if page is None else page
    if not 1 <= number <= report.pages:
        raise PAGE_NOT_IN_DOCUMENT(page=number, pages=report.pages)
    size = _known_size_pt(report, number)
    if size is not None:
        # What is wrong by its shape alone is refused without opening the file; what may cover anything needs no look.
        square = resolve_box(Geometry(0, 0, *size, rotate=0, user_unit=1), box, place)
        if cover and password is None and (box is not None or place != "auto"):
            return number, square
    found = report.place if page is None and box is None and place == "auto" and password is None else None
    if found is None:
        async with blobs.as_file(document.base_key) as path:
            found = await look(path, page=page, box=box, place=place, password=password)
    if found.covers and not cover:
        raise BOX_COVERS_TEXT(page=found.page, **_suggestion(found.free_box))
    return found.page, found.box


def _suggestion(free: Box | None) -> dict[str, str]:
    return (
        {} if free is None else {"free_box": ",".join(f"{side:.2f}" for side in (free.x0, free.y0, free.x1, free.y1))}
    )


def _known_size_pt(report: Report, page: int) -> tuple[float, float] | None:
    """The size of a page as seen, when the report names it: it names the first ones and the last."""
    if page == report.pages:
        return report.page_sizes_pt[-1]
    return report.page_sizes_pt[page - 1] if page < len(report.page_sizes_pt) else None
