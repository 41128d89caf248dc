"""Laying out an addendum: a document timestamp or validation data as an incremental update, with our signature line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from emeterai.seal.addendum import Addendum
from emeterai.seal.model import NewNumbers, Plan
from emeterai.seal.revocation import Evidence
from emeterai.seal.signature import FOOT, text_string
from emeterai.seal.tail import Layout, SlotOverflowError, cross_reference, file_id

_PRINT_AND_LOCKED = 132  # ISO 32000-2, table 167: bits 3 and 8
_WIDTH = 10
_TIMESTAMP = (
    b"%d 0 obj\n<</Type/DocTimeStamp/Filter/Adobe.PPKLite/SubFilter/ETSI.RFC3161/ByteRange[0 %s %s %s]/Contents"
)


@dataclass(frozen=True, slots=True)
class Draft:
    """An addendum with empty slots."""

    content: bytes
    addendum: Addendum

    def filled(self, cms: bytes, token: bytes = b"") -> Draft:
        """The same with our signature, or with a token as well, in its slot. Raises SlotOverflowError."""
        start = self.addendum.previous_size_bytes
        slot, gap = (tuple(one - start for one in span) for span in (self.addendum.slot, self.addendum.gap))
        content = bytearray(self.content)
        if cms:
            content[slot[0] : slot[1]] = _digits(cms, slot[1] - slot[0])
        if token:
            content[gap[0] + 1 : gap[1] - 1] = _digits(token, gap[1] - gap[0] - 2)
        return Draft(bytes(content), self.addendum)

    def parts(self, spans: tuple[tuple[int, int], ...]) -> list[bytes]:
        """Those bytes of some spans of the whole file that are the addendum's."""
        start = self.addendum.previous_size_bytes
        return [self.content[max(0, one - start) : max(0, end - start)] for one, end in spans]


def document_timestamp(
    plan: Plan, *, previous_sha256: bytes, at: datetime, token_size_bytes: int, cms_size_bytes: int
) -> Draft:
    """A document timestamp (ISO 32000-2, 12.8.5) in an invisible field of its own."""
    numbers = NewNumbers.from_first(plan.first_number)
    layout = _begun(plan)
    name = text_string(f"EMETERAI_TIMESTAMP_{numbers.widget}", numbers.widget, plan.cipher)
    layout.add(
        numbers.widget,
        b"<</Type/Annot/Subtype/Widget/FT/Sig/T%b/V %d 0 R/P %b/F %d/Rect[0 0 0 0]>>"
        % (name, numbers.signature, plan.page_reference.encode(), _PRINT_AND_LOCKED),
    )
    if plan.new_form:
        layout.add(numbers.form, b"<</Fields[%d 0 R]/SigFlags 3>>" % numbers.widget)
    layout.offsets[numbers.signature] = (layout.position, 0)
    gap_start = layout.position + len(_timestamp_head(numbers.signature, (0, 0, 0)))
    gap_end = gap_start + 2 * token_size_bytes + 2
    free = numbers.form + 1 if plan.new_form else numbers.signature + 1
    line, after, end = _closing(
        plan,
        layout,
        Addendum("B-T", at, plan.size_bytes, (gap_start, gap_end), (0, 2 * cms_size_bytes), 0),
        position=gap_end + len(FOOT),
        free=free,
        previous_sha256=previous_sha256,
    )
    head = _timestamp_head(numbers.signature, (gap_start, gap_end, end - gap_end))
    slot = b"<" + b"0" * (2 * token_size_bytes) + b">"
    return Draft(b"".join((*layout.parts, head, slot, FOOT, line.line(), after)), line)


def validation_data(
    plan: Plan, evidence: Evidence, *, previous_sha256: bytes, at: datetime, cms_size_bytes: int
) -> Draft:
    """A document security store, or what is added to the one that is there."""
    layout = _begun(plan)
    number = plan.first_number
    for content in (*evidence.certificates, *evidence.crls, *evidence.ocsps):
        number += 1
        encoded = plan.cipher.stream(content, number) if plan.cipher else content
        layout.add(number, b"<</Length %d>>\nstream\n%b\nendstream" % (len(encoded), encoded))
    position = layout.position
    line, after, _ = _closing(
        plan,
        layout,
        Addendum("B-LT", at, plan.size_bytes, (position, position), (0, 2 * cms_size_bytes), 0),
        position=position,
        free=number + 1,
        previous_sha256=previous_sha256,
    )
    return Draft(b"".join((*layout.parts, line.line(), after)), line)


def _begun(plan: Plan) -> Layout:
    layout = Layout(plan.size_bytes)
    for rewrite in plan.rewrites:
        layout.add(rewrite.number, rewrite.body, generation=rewrite.generation)
    return layout


def _closing(
    plan: Plan, layout: Layout, addendum: Addendum, *, position: int, free: int, previous_sha256: bytes
) -> tuple[Addendum, bytes, int]:
    """The addendum with all its positions, the cross-reference behind its line, and where the file ends."""
    room = addendum.slot[1]
    line_size_bytes = len(addendum.line())
    slot_end = position + line_size_bytes - len(b">\n")
    identifier = file_id(plan, previous_sha256, previous_sha256 + addendum.level.encode())
    after = cross_reference(plan, layout.offsets, free=free, position=position + line_size_bytes, file_id=identifier)
    end = position + line_size_bytes + len(after)
    moment = addendum.made_at.astimezone(UTC)
    gap, slot = addendum.gap, (slot_end - room, slot_end)
    return Addendum(addendum.level, moment, addendum.previous_size_bytes, gap, slot, end), after, end


def _timestamp_head(number: int, byte_range: tuple[int, int, int]) -> bytes:
    """Up to its slot; its length does not depend on `byte_range`."""
    return _TIMESTAMP % (number, *(str(value).ljust(_WIDTH).encode() for value in byte_range))


def _digits(content: bytes, room: int) -> bytes:
    digits = content.hex().upper().encode()
    if len(digits) > room:
        raise SlotOverflowError(f"{len(digits) // 2} bytes do not fit a slot of {room // 2}")
    return digits.ljust(room, b"0")
