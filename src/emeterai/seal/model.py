"""The values of the sealing engine: what callers give, what they get, and what crosses the opener's pipe."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from emeterai.seal.encryption import FileCipher

PLACES = (
    "auto",
    "bottom-right",
    "bottom-center",
    "bottom-left",
    "middle-right",
    "middle-center",
    "middle-left",
    "top-right",
    "top-center",
    "top-left",
)
"""Preset places on the page as seen. `auto` is where people expect a stamp: see `Placement`."""
MARK_SIDE_PT = 80.0
"""The side of the mark where nothing else is asked or needed: 28 mm."""

PlaceReason = Literal["asked", "word", "signature_block", "preset", "near", "corner", "unread"]
Outcome = Literal["genuine", "changed", "not_ours"]


class Box(msgspec.Struct, frozen=True):
    """A rectangle in points (1/72 inch) on the page as seen, origin bottom left."""

    x0: float
    y0: float
    x1: float
    y1: float


class Report(msgspec.Struct):
    """What an inspected file is. Sealing it will not be refused, save for a wrong page or box."""

    pages: int
    size_bytes: int
    pdf_version: str
    signatures: int
    """Signatures of any kind that the file already carries."""
    page_sizes_pt: list[tuple[float, float]]
    """Width and height as seen, of at most the first 50 pages and the last."""
    notes: list[str]
    """Codes of things worth knowing: `signed`, `stamped`, `certified`, `form`, `xfa`, `encrypted`, `repaired`."""
    repaired: bool = False
    """Only qpdf can read the file: what `repair` makes of it is what can be sealed, and what this report is about."""
    plan: bytes = b""
    """How to append a seal on the last page, for `SealOrder.plan`; empty when it is large or the file is encrypted."""
    place: Placement | None = None
    """Where a mark goes that is ordered for no page and no place; None when the pages could not be looked at."""


class SealOrder(msgspec.Struct, frozen=True):
    """What to seal into a file, and where. `page` counts from 1, None is the last; `box` goes before `place`."""

    serial: str
    verify_url: str
    sealed_at: datetime
    page: int | None = None
    box: Box | None = None
    place: str = "auto"
    duty_idr: int = 10_000
    password: str | None = None
    """Opens the file when it is locked; the sealed file stays locked. Written nowhere."""
    plan: bytes = b""
    """`Report.plan` of the very same bytes: then the file need not be opened again to be sealed on that page."""


class Placement(msgspec.Struct, frozen=True):
    """Where an order's mark will stand, and why there.

    `reason`: the box that was `asked`; a printed `word` such as "Materai" at which stamps go; a `signature_block`; the
    `preset` place, or a free place `near` it; a free `corner`; `unread` when the page could not be looked at, so that
    nothing is known of what the mark covers.
    """

    page: int
    box: Box
    covers: bool
    """Whether the mark would hide text, a picture or a drawing. The printed word itself is meant to be hidden."""
    reason: PlaceReason
    free_box: Box | None = None
    """Where a mark that covers something could go instead, on the same page."""


class SealedTail(msgspec.Struct, frozen=True):
    """The bytes to append to the original, and the facts of the sealed file (original + tail)."""

    tail: bytes
    sealed_size_bytes: int
    sealed_sha256: bytes
    original_sha256: bytes
    page: int
    box: Box
    """The square that the mark fills."""
    level: str
    """The PAdES level reached (ETSI EN 319 142-1): `B-B`."""


class StampFacts(msgspec.Struct):
    """What one stamp in a file proves. Not `intact`: the rest is only claimed; `changes_after` says what is wrong."""

    serial: str
    sealed_at: datetime | None
    original_sha256: str
    """Hex digest of the bytes before this seal."""
    covers_whole_file: bool
    signer: str
    certificate_sha256: str
    level: str
    intact: bool
    changes_after: list[str]
    sealed_size_bytes: int = 0
    """The file as it was sealed is its first so many bytes; 0 when the seal does not hold."""


class Pictures(msgspec.Struct, frozen=True):
    """One page of a file as it was sealed and as it is now, both as small PNG."""

    page: int
    """Counted from 1: the first page that looks different, else the first."""
    sealed_png: bytes
    now_png: bytes


PartKind = Literal["stamp", "signature", "document_timestamp", "validation_data", "signature_field", "unknown"]


class LaterPart(msgspec.Struct):
    """What was added behind the first seal that holds, in the order of the file.

    All kinds but `unknown` leave the document as it was sealed; `changes` names what an unknown one did.
    """

    kind: PartKind
    name: str = ""
    """The serial of a stamp; the name in the certificate of a signature, which nobody checked here."""
    changes: list[str] = []


class VerifyReport(msgspec.Struct):
    """Is this file a genuine stamped document, exactly as it was sealed?"""

    outcome: Outcome
    stamps: list[StampFacts]
    later: list[LaterPart] = []


class Geometry(msgspec.Struct, frozen=True):
    """One page: its visible rectangle in user space, the turn (0, 90, 180, 270 clockwise), the unit in points."""

    x0: float
    y0: float
    x1: float
    y1: float
    rotate: int
    user_unit: float

    @property
    def seen_size_pt(self) -> tuple[float, float]:
        """Width and height in points of the page as seen."""
        width, height = (self.x1 - self.x0) * self.user_unit, (self.y1 - self.y0) * self.user_unit
        return (height, width) if self.rotate in (90, 270) else (width, height)


class Rewrite(msgspec.Struct, frozen=True):
    """An object of the original that the tail replaces; `body` is its whole new text."""

    number: int
    generation: int
    body: bytes


class Plan(msgspec.Struct, frozen=True):
    """All that is needed to append a seal to one file without looking into it again (ISO 32000-2, 7.5.6)."""

    size_bytes: int
    header_offset: int
    """Bytes before `%PDF-`; offsets in cross-references count from there."""
    previous_xref: int
    xref_is_stream: bool
    first_number: int
    """The first free object number; the new objects take this and the following ones, see `NewNumbers`."""
    page: int
    page_reference: str
    geometry: Geometry
    rewrites: list[Rewrite]
    new_form: bool
    """The file has no form yet: the tail brings one, at `NewNumbers.form`."""
    trailer: bytes
    """`/Root` and, if present, `/Info` and `/Encrypt`, ready to be written."""
    id_first: bytes
    """The permanent half of the file identifier; empty when the file has none."""
    cipher: FileCipher | None = None
    """How strings and streams are enciphered, when the file is encrypted."""
    numbers_declared: int = 0
    """`/Size` of the original's trailer, when it makes sense: in an update it may grow only."""
    calibrated: bool = False
    """The mark's colours must not be those of a device: the file is PDF/A and its output intent is not for RGB."""


class NewNumbers(msgspec.Struct, frozen=True):
    """The object numbers of what a tail adds, counted from the first free one."""

    widget: int
    signature: int
    mark: int
    art: int
    form: int
    """Used when the tail brings a form; a cross-reference stream takes the next number that is free then."""

    @classmethod
    def from_first(cls, first: int) -> NewNumbers:
        """The numbers that follow `first`, in the fixed order that opener and writer share."""
        return cls(first, first + 1, first + 2, first + 3, first + 4)
