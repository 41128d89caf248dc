"""Where a mark will stand, decided before any quota is touched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from emeterai.infra.blobs import BlobStore
from emeterai.seal.model import Box, Geometry, Report
from emeterai.seal.place import resolve_box
from emeterai.seal.refusals import PAGE_NOT_IN_DOCUMENT
from emeterai.stamping.model import Document

Locate = Callable[[Path, int], Awaitable[Geometry]]
"""Opens a file, in a limited process, to look at one page."""


async def place_mark(
    document: Document, blobs: BlobStore, locate: Locate, *, page: int | None, box: Box | None, place: str
) -> tuple[int, Box]:
    """The page and the square that are meant, on the page as seen; no page means the last.

    Raises `page_not_in_document`, `box_off_page`, `box_too_small`, `place_unknown`.
    """
    report = document.report
    assert report is not None
    number = report.pages if page is None else page
    if not 1 <= number <= report.pages:
        raise PAGE_NOT_IN_DOCUMENT(page=number, pages=report.pages)
    size = _known_size_pt(report, number)
    if size is None:
        async with blobs.as_file(document.base_key) as path:
            geometry = await locate(path, number)
    else:
        geometry = Geometry(0, 0, *size, rotate=0, user_unit=1)
    return number, resolve_box(geometry, box, place)


def _known_size_pt(report: Report, page: int) -> tuple[float, float] | None:
    """The size of a page as seen, when the report names it: it names the first ones and the last."""
    if page == report.pages:
        return report.page_sizes_pt[-1]
    return report.page_sizes_pt[page - 1] if page < len(report.page_sizes_pt) else None
