"""An addendum: what we append to a sealed file later to raise its level. How it is recognised and checked.

An addendum changes objects that already exist (catalog, page), so its bytes alone do not tell whether it is ours or a
forger's. Each therefore carries our signature over the whole file in a comment, which readers skip, in one fixed form:

    %EMTR_Addendum LEVEL MOMENT PREVIOUS_SIZE GAP_START GAP_END SLOT_START SLOT_END END <CMS in hexadecimal>

Signed are a fixed head, so that the signature fits nothing else, and the bytes up to END without the gap (the slot of
a document timestamp, which is filled last) and without the slot of this signature itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from emeterai.seal.cms_check import SealFaultError, Trusted, check_cms, digest_of, leads_to, read_cms
from emeterai.seal.der import element_size
from emeterai.seal.timestamp_token import is_proof

ADDENDA_MAX = 100
HEAD = b"emeterai addendum to a sealed file\n"
LEVELS = ("B-B", "B-T", "B-LT")
"""PAdES levels (ETSI EN 319 142-1, 6) that seals reach here, the lowest first."""
_PATTERN = re.compile(
    rb"\n%EMTR_Addendum (B-L?T) (\d{14}) (\d{10}) (\d{10}) (\d{10}) (\d{10}) (\d{10}) (\d{10}) <([0-9A-F]*)>\n"
)


@dataclass(frozen=True, slots=True)
class Addendum:
    """An addendum as it says it is. Positions are bytes from the start of the file."""

    level: str
    made_at: datetime
    previous_size_bytes: int
    gap: tuple[int, int]
    """The slot of a document timestamp with its angle brackets; empty when there is none."""
    slot: tuple[int, int]
    end: int

    def line(self, cms: bytes = b"") -> bytes:
        """The comment, with the CMS in its slot, or zeros."""
        room = self.slot[1] - self.slot[0]
        return b"".join(
            (
                b"%%EMTR_Addendum %b %b" % (self.level.encode(), self.made_at.strftime("%Y%m%d%H%M%S").encode()),
                b"".join(b" %010d" % one for one in (self.previous_size_bytes, *self.gap, *self.slot, self.end)),
                b" <" + cms.hex().upper().encode().ljust(room, b"0") + b">\n",
            )
        )

    @property
    def signed_spans(self) -> tuple[tuple[int, int], ...]:
        """What its signature covers."""
        return (0, self.gap[0]), (self.gap[1], self.slot[0]), (self.slot[1], self.end)

    @property
    def timestamped_spans(self) -> tuple[tuple[int, int], ...]:
        """What its document timestamp covers."""
        return (0, self.gap[0]), (self.gap[1], self.end)


def raised(level: str, to: str) -> str:
    """The level of a seal after an addendum: validation data add nothing to a seal without a timestamp."""
    return to if LEVELS.index(to) == LEVELS.index(level) + 1 else level


def checked_addenda(content: bytes, trusted: Trusted) -> dict[int, Addendum]:
    """Our addenda in a file that are whole, by the size of what they were appended to."""
    found = (_read(match) for match in _first(content))
    return {one.previous_size_bytes: one for one, contents in found if _is_ours(content, one, contents, trusted)}


def tokens_within(tail: bytes) -> list[bytes]:
    """The tokens of the document timestamps in a tail of ours that stands alone. Raises ValueError."""
    tokens = []
    for addendum, _ in map(_read, _first(tail)):
        start, end = (position - addendum.previous_size_bytes for position in addendum.gap)
        if end > start:
            slot = bytes.fromhex(tail[start + 1 : end - 1].decode())
            tokens.append(slot[: element_size(slot)])
    return tokens


def _first(content: bytes) -> Sequence[re.Match[bytes]]:
    return [match for match, _ in zip(_PATTERN.finditer(content), range(ADDENDA_MAX), strict=False)]


def _read(match: re.Match[bytes]) -> tuple[Addendum, tuple[int, int]]:
    previous, gap_start, gap_end, slot_start, slot_end, end = (int(match[group]) for group in range(3, 9))
    try:
        made_at = datetime.strptime(match[2].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        made_at = datetime.min.replace(tzinfo=UTC)
    addendum = Addendum(match[1].decode(), made_at, previous, (gap_start, gap_end), (slot_start, slot_end), end)
    return addendum, match.span(9)


def _is_ours(content: bytes, addendum: Addendum, contents: tuple[int, int], trusted: Trusted) -> bool:
    edges = (0, addendum.previous_size_bytes, *addendum.gap, *addendum.slot, addendum.end, len(content))
    if addendum.slot != contents or list(edges) != sorted(edges) or content[edges[1] : edges[1] + 1] != b"\n":
        return False
    try:
        cms, certificates = read_cms(bytes.fromhex(content[contents[0] : contents[1]].decode()))
        check_cms(cms, certificates, digest_of(content, *addendum.signed_spans, head=HEAD))
        ours = leads_to(certificates[0], certificates[1:], trusted.seals, moment=addendum.made_at)
        return ours and (addendum.level != "B-T" or _is_timestamped(content, addendum, trusted))
    except (SealFaultError, ValueError):
        return False


def _is_timestamped(content: bytes, addendum: Addendum, trusted: Trusted) -> bool:
    start, end = addendum.gap
    slot = bytes.fromhex(content[start + 1 : end - 1].decode())
    token = slot[: element_size(slot)]
    return is_proof(token, digest_of(content, *addendum.timestamped_spans), roots=trusted.timestamps)
