"""What follows a seal in a file, part by part: each by its kind, with the name of who signed and what is wrong with it.

Used inside the opener only. A part is another seal of ours, or one update by somebody else that is read by its bytes
(updates.py), compared object by object (comparison.py), and looked at where it shows on a page (pictures.py).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pikepdf
from pikepdf import Array, Dictionary, Pdf

from emeterai.seal.comparison import Difference, NewField, compare
from emeterai.seal.model import LaterPart, PartKind
from emeterai.seal.others import TIMESTAMP, OtherSignatureError, check_other
from emeterai.seal.page_tree import pages_of
from emeterai.seal.pictures import Place, UndrawnError, covered_by
from emeterai.seal.touched import TooMuchError
from emeterai.seal.updates import Update, UpdateError, read_update

PARTS_MAX = 60
_READING_ERRORS = (
    *(pikepdf.PdfError, pikepdf.PasswordError, pikepdf.DataDecodingError),
    *(ValueError, TypeError, AttributeError, LookupError, OverflowError, RuntimeError),
)
_OBJECTS_MAX = 250_000
"""So many objects of all revisions together are compared; a hundred thousand take two seconds."""
_HEADER_WINDOW = 1024
_KINDS: tuple[PartKind, ...] = ("signature", "document_timestamp", "signature_field", "validation_data")
"""What an update may bring; the first of these names it. Metadata may only come along."""


@dataclass(frozen=True, slots=True)
class OurTail:
    """A seal or an addendum of ours that holds: where it ends, and the serial or the level that it brings."""

    end: int
    kind: Literal["stamp", "document_timestamp", "validation_data"]
    name: str = ""
    level: str = "B-B"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file behind its first seal."""

    start: int
    end: int
    facts: LaterPart
    level: str = "B-B"
    """The level to which an addendum of ours raises the seals before it."""


def parts_after(content: bytes, position: int, tails: Mapping[int, OurTail]) -> list[Part]:
    """The parts from `position` to the end; `tails` by where they begin."""
    parts: list[Part] = []
    objects_left = _OBJECTS_MAX
    while position < len(content):
        tail = tails.get(position)
        if tail is not None and tail.end > position:
            part = Part(position, tail.end, LaterPart(tail.kind, tail.name), tail.level)
        elif len(parts) >= PARTS_MAX:
            part = _unknown(position, len(content), "too_much_added")
        else:
            part, objects = _by_somebody(content, position, tails, objects_max=objects_left)
            objects_left -= objects
        parts.append(part)
        position = part.end
    return parts


def _unknown(start: int, end: int, fault: str) -> Part:
    return Part(start, end, LaterPart("unknown", changes=[fault]))


def _by_somebody(content: bytes, position: int, tails: Mapping[int, OurTail], *, objects_max: int) -> tuple[Part, int]:
    """One update that is not ours, and how many objects were looked at.

    When it cannot be read, the part is everything up to our next seal.
    """
    until = min((start for start in tails if start > position), default=len(content))
    header_offset = max(0, content.find(b"%PDF-", 0, _HEADER_WINDOW))
    try:
        update = read_update(content, position, header_offset=header_offset)
        end = _end_of(content, update.end, tails)
        with _opened(content, position) as before, _opened(content, end) as after:
            difference = compare(before, after, update, header_offset=header_offset, objects_max=objects_max)
            facts = _judged(content, update, difference, after, end=end)
            return Part(position, end, facts), difference.objects
    except UpdateError as error:
        fault = str(error)
    except TooMuchError:
        fault = "too_much_added"
    except _READING_ERRORS:
        # What the libraries say of a hostile file is one thing to us: nobody can tell what was added.
        fault = "additions_not_readable"
    return _unknown(position, until, fault), 0


def _opened(content: bytes, end: int) -> Pdf:
    """The file as it was when it ended at `end`, exactly as written."""
    return pikepdf.open(
        io.BytesIO(content[:end]), attempt_recovery=False, suppress_warnings=True, inherit_page_attributes=False
    )


def _end_of(content: bytes, end: int, tails: Mapping[int, OurTail]) -> int:
    """One line end behind `%%EOF` belongs to the update, unless a seal of ours says that the file ended before it."""
    line_end = next((one for one in (b"\r\n", b"\n", b"\r") if content.startswith(one, end)), b"")
    return end if end in tails else end + len(line_end)


def _judged(content: bytes, update: Update, difference: Difference, after: Pdf, *, end: int) -> LaterPart:
    kinds: list[PartKind] = ["validation_data"] if difference.validation_data else []
    faults, names = list(difference.faults), []
    for field in difference.fields:
        try:
            kind, name = _signature_of(content, update, field, end=end)
        except OtherSignatureError as error:
            faults.append(str(error))
            continue
        kinds.append(kind)
        names += [name] if name else []
    if difference.fields and not faults:
        faults += _faults_seen(content, update.start, end, _places(after, difference.fields))
    brought = [kind for kind in _KINDS if kind in kinds]
    if not faults and not brought:
        faults.append("metadata_changed" if difference.metadata else "bytes_added_after_seal")
    return LaterPart("unknown" if faults else brought[0], ", ".join(names), [*dict.fromkeys(faults)])


def _signature_of(content: bytes, update: Update, field: NewField, *, end: int) -> tuple[PartKind, str]:
    """Kind and name of a new signature. Raises OtherSignatureError when it does not hold."""
    if field.signature is None:
        return "signature_field", ""
    written = update.objects.get(field.signature[0])
    if written is None or b"/Contents" not in written.entries:
        raise OtherSignatureError("later_signature_wrong")
    contents = b"".join(written.entries[b"/Contents"])
    slot_start = content.find(contents, written.start, written.end)
    slot = (slot_start, slot_start + len(contents))
    name = check_other(content, written.entries, slot=slot, end=end)
    is_timestamp = b"".join(written.entries.get(b"/SubFilter", ())) == TIMESTAMP
    return "document_timestamp" if is_timestamp else "signature", name


def _places(after: Pdf, fields: list[NewField]) -> list[Place]:
    """Where the widgets of new signatures are on the pages; those without size are seen by nobody."""
    widgets = {objgen for field in fields for objgen in field.widgets}
    places = []
    for index, objgen in enumerate(pages_of(after)):
        annotations = after.get_object(objgen).get("/Annots")
        for one in annotations if isinstance(annotations, Array) else ():
            if isinstance(one, Dictionary) and one.objgen in widgets:
                x0, y0, x1, y1 = (float(side) for side in one.Rect)
                if x0 != x1 and y0 != y1:
                    places.append(Place(index, (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))))
    return places


def _faults_seen(content: bytes, start: int, end: int, places: list[Place]) -> list[str]:
    if not places:
        return []
    try:
        return covered_by(content[:start], content[:end], places)
    except UndrawnError:
        return ["additions_not_readable"]
