"""Reading files from people without a key: what a web process needs of the sealing engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import msgspec

from emeterai.core.refusal import Refused
from emeterai.seal.messages import (
    Depict,
    Depicted,
    FindPlace,
    Found,
    Inspect,
    Inspected,
    Locate,
    Located,
    Repair,
    Repaired,
    Verified,
    Verify,
)
from emeterai.seal.model import Box, Geometry, Pictures, Placement, Report, VerifyReport
from emeterai.seal.place import resolve_box
from emeterai.seal.pool import OpenerPool
from emeterai.seal.refusals import PDF_TOO_COMPLEX

TAIL_SIZE_BYTES_MAX = 1_048_576
Roots = Sequence[bytes] | Callable[[], Sequence[bytes]]
"""Certificates (DER), or who knows them now: they change while a service runs."""
_LOOKING_S = 3.0
"""How long looking at a page may take; ordinary ones take two thousandths of it."""


class FileReader:
    """Looks into files, in limited processes only. It can verify seals and cannot make one."""

    def __init__(
        self, pool: OpenerPool, roots: Roots, *, size_bytes_max: int, timestamp_roots: Sequence[bytes] = ()
    ) -> None:
        self._pool = pool
        self._roots = roots if callable(roots) else lambda: roots
        self._timestamp_roots = list(timestamp_roots)
        self._size_bytes_max = size_bytes_max

    @classmethod
    async def open(
        cls,
        roots: Roots,
        *,
        openers: int = 1,
        size_bytes_max: int,
        timeout_s: float = 10,
        timestamp_roots: Sequence[bytes] = (),
    ) -> Self:
        """Start the openers (0.1 s). `roots` are the certificates (DER) that a seal of ours leads to.

        Timestamps count for a seal's level when they lead to one of `timestamp_roots` (DER).
        """
        pool = OpenerPool(openers, timeout_s=timeout_s)
        await pool.start()
        return cls(pool, roots, size_bytes_max=size_bytes_max, timestamp_roots=timestamp_roots)

    @property
    def opener_pids(self) -> list[int]:
        """The process ids of the openers, for supervision."""
        return self._pool.pids

    @property
    def roots(self) -> Sequence[bytes]:
        """The certificates (DER) that a seal of ours leads to, as of now."""
        return self._roots()

    async def inspect(self, path: Path, *, password: str | None = None, wait_s: float | None = None) -> Report:
        """What a file is. Raises Refused when it could not be sealed, so that nobody pays for it.

        When the report says `repaired`, what can be sealed is not the file itself but what `repair` makes of it.
        It waits for a free opener at most `wait_s` (sealer_busy).
        """
        request = Inspect(path_text(path), self._size_bytes_max, password, look=True)
        try:
            answer = await self._pool.ask(request, timeout_s=_LOOKING_S, wait_s=wait_s)
        except Refused as refused:
            if refused.kind is not PDF_TOO_COMPLEX:
                raise
            # Pages that cannot be looked at in time do not make a file one that cannot be sealed.
            answer = await self._pool.ask(msgspec.structs.replace(request, look=False))
            assert isinstance(answer, Inspected)
            # Named here, so that asking for a stamp need not find out again, at the price of another two openers.
            answer.report.place = _unread(answer.report)
        assert isinstance(answer, Inspected)
        return answer.report

    async def repair(self, path: Path, *, password: str | None = None) -> bytes:
        """An unsigned file written anew by qpdf, as far as it can be read; the same bytes each time unless encrypted.

        Raises Refused: pdf_signed_and_broken, pdf_broken, and what `inspect` raises for a file that does not open.
        """
        answer = await self._pool.ask(Repair(path_text(path), self._size_bytes_max, password))
        assert isinstance(answer, Repaired)
        return answer.content

    async def locate(self, path: Path, page: int | None, *, password: str | None = None) -> Geometry:
        """The geometry of a page (None is the last). Raises Refused when the file has no such page."""
        answer = await self._pool.ask(Locate(path_text(path), self._size_bytes_max, page, password))
        assert isinstance(answer, Located)
        return answer.geometry

    async def placement(
        self,
        path: Path,
        *,
        page: int | None = None,
        box: Box | None = None,
        place: str = "auto",
        password: str | None = None,
    ) -> Placement:
        """Where a mark will stand: within `box`, or where `place` means, and whether it would hide anything.

        A file whose pages cannot be looked at in time still gets a place, by its geometry alone. Raises Refused:
        page_not_in_document, box_off_page, box_too_small, place_unknown, and what `locate` raises.
        """
        request = FindPlace(path_text(path), self._size_bytes_max, page, box, place, password)
        try:
            answer = await self._pool.ask(request, timeout_s=_LOOKING_S)
        except Refused as refused:
            if refused.kind is not PDF_TOO_COMPLEX:
                raise
            located = await self._pool.ask(Locate(path_text(path), self._size_bytes_max, page, password))
            assert isinstance(located, Located)
            return Placement(located.page, resolve_box(located.geometry, box, place), covers=False, reason="unread")
        assert isinstance(answer, Found)
        return answer.placement

    async def verify(self, path: Path) -> VerifyReport:
        """Whether a file is genuine and as it was sealed. Raises Refused for what is not a PDF or too large."""
        size_bytes_max = self._size_bytes_max + TAIL_SIZE_BYTES_MAX
        request = Verify(path_text(path), size_bytes_max, list(self._roots()), self._timestamp_roots)
        answer = await self._pool.ask(request)
        assert isinstance(answer, Verified)
        return answer.report

    async def depict(self, path: Path, *, sealed_size_bytes: int) -> Pictures | None:
        """A page of a changed file as it was sealed and as it is now; None when it cannot be drawn in time."""
        request = Depict(path_text(path), self._size_bytes_max + TAIL_SIZE_BYTES_MAX, sealed_size_bytes)
        try:
            answer = await self._pool.ask(request, timeout_s=_LOOKING_S)
        except Refused:
            return None
        assert isinstance(answer, Depicted)
        return answer.pictures

    async def close(self) -> None:
        """End the openers."""
        await self._pool.close()


def _unread(report: Report) -> Placement:
    """The place that the geometry of the last page alone gives."""
    last = Geometry(0, 0, *report.page_sizes_pt[-1], rotate=0, user_unit=1)
    return Placement(report.pages, resolve_box(last, None, "auto"), covers=False, reason="unread")


def path_text(path: Path) -> str:
    """The path as an opener, which works in another folder, finds it. Raises OSError when it is not UTF-8."""
    text = str(path.absolute())
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise OSError("the name of this file, or of a folder above it, is not UTF-8; rename it") from error
    return text
