"""A seal made for trial: is the file still one when a tail of this plan is appended? Used inside the opener only.

Damage can make qpdf see one object in the place of another, so that the tail would replace what it must keep.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import BinaryIO

from emeterai.seal.document import opened
from emeterai.seal.model import Box, Plan, SealOrder
from emeterai.seal.refusals import PDF_BROKEN
from emeterai.seal.specimen import specimen
from emeterai.seal.tail import build_tail

_ORDER = SealOrder(serial="0" * 22, verify_url="", sealed_at=datetime(2000, 1, 1, tzinfo=UTC))
_BOX = Box(0, 0, 80, 80)
_SLOT_SIZE_BYTES = 16


def rehearse(plan: Plan, original: BinaryIO, *, password: str | None) -> None:
    """Append a tail with nothing in its slot and read that back. Raises Refused: pdf_broken when it is not found."""
    unsigned = build_tail(
        plan,
        _ORDER,
        mark=specimen(),
        box=_BOX,
        overlay=b"",
        original_sha256=bytes(32),
        signer_name="",
        cms_size_bytes_max=_SLOT_SIZE_BYTES,
    )
    original.seek(0)
    content = original.read() + unsigned.filled(b"")
    start, rest = plan.size_bytes + len(unsigned.before), len(unsigned.after)
    with opened(io.BytesIO(content), size_bytes_max=len(content), password=password) as document:
        found = document.newest_seal(plan.page)
    if found.byte_range != [0, start, len(content) - rest, rest] or not found.mark_on_page:
        raise PDF_BROKEN()
