"""The tail: the incremental update that is appended to the original (ISO 32000-2, 7.5.6). Written here, byte by byte.

Nothing of the original is looked at: a `Plan` from the opener says all that is needed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import cos, radians, sin

from emeterai.seal.mark import Mark
from emeterai.seal.model import Box, NewNumbers, Plan, SealOrder
from emeterai.seal.place import rectangle_on_page
from emeterai.seal.signature import FOOT, SealFacts, byte_range_entry, signature_head, text_string

_PRINT_AND_LOCKED = 132  # ISO 32000-2, table 167: bits 3 and 8
_ID_SIZE_BYTES = 16
_CALIBRATED = (
    b"/ColorSpace<</DefaultGray[/CalGray<</WhitePoint[.9505 1 1.089]/Gamma 2.2>>]"
    b"/DefaultRGB[/CalRGB<</WhitePoint[.9505 1 1.089]/Gamma[2.2 2.2 2.2]"
    b"/Matrix[.4124 .2126 .0193 .3576 .7152 .1192 .1805 .0722 .9505]>>]>>"
)
"""What device colours then mean: those of sRGB (ISO 32000-2, 8.6.5.6)."""


class SlotOverflowError(Exception):
    """The signature is larger than the slot that was computed for it."""


@dataclass(frozen=True, slots=True)
class UnsignedTail:
    """A tail around its empty slot. The slot's angle brackets are not signed, nor is what stands between them."""

    before: bytes
    slot_size_bytes: int
    after: bytes

    def filled(self, cms: bytes) -> bytes:
        """The finished tail. Raises SlotOverflowError when the signature does not fit its slot."""
        room = self.slot_size_bytes - 2
        digits = cms.hex().upper().encode()
        if len(digits) > room:
            raise SlotOverflowError(f"{len(digits) // 2} bytes do not fit a slot of {room // 2}")
        return b"".join((self.before, b"<", digits.ljust(room, b"0"), b">", self.after))


def build_tail(
    plan: Plan,
    order: SealOrder,
    *,
    mark: Mark,
    box: Box,
    overlay: bytes,
    original_sha256: bytes,
    signer_name: str,
    cms_size_bytes_max: int,
) -> UnsignedTail:
    """Lay out the tail for one order; `box` is the mark's square on the page as seen, `overlay` its own drawing."""
    numbers = NewNumbers.from_first(plan.first_number)
    layout = Layout(plan.size_bytes)
    for rewrite in plan.rewrites:
        layout.add(rewrite.number, rewrite.body, generation=rewrite.generation)
    layout.add(numbers.art, _art_object(plan, mark, numbers))
    layout.add(numbers.mark, _mark_object(plan, overlay, numbers))
    layout.add(numbers.widget, _widget(plan, order, numbers, mark=mark, box=box))
    if plan.new_form:
        layout.add(numbers.form, b"<</Fields[%d 0 R]/SigFlags 3>>" % numbers.widget)

    facts = SealFacts(order.serial, order.sealed_at, plan.size_bytes, order.duty_idr)
    head = signature_head(
        numbers.signature, facts, name=signer_name, reason=mark.reason_text(order), cipher=plan.cipher
    )
    layout.offsets[numbers.signature] = (layout.position, 0)
    slot_start = layout.position + len(head) + len(byte_range_entry(0, 0, 0))
    slot_end = slot_start + 2 * cms_size_bytes_max + 2
    after = FOOT + cross_reference(
        plan,
        layout.offsets,
        free=numbers.form + plan.new_form,
        position=slot_end + len(FOOT),
        file_id=_file_id(plan, original_sha256, order),
    )
    before = b"".join((*layout.parts, head, byte_range_entry(slot_start, slot_end, len(after))))
    return UnsignedTail(before, slot_end - slot_start, after)


class Layout:
    """Objects one after the other, with the offset of each."""

    def __init__(self, original_size_bytes: int) -> None:
        self.parts = [b"\n"]
        self.position = original_size_bytes + 1
        self.offsets: dict[int, tuple[int, int]] = {}

    def add(self, number: int, body: bytes, *, generation: int = 0) -> None:
        """Put an object after the others."""
        self.offsets[number] = (self.position, generation)
        text = b"%d %d obj\n%b\nendobj\n" % (number, generation, body)
        self.parts.append(text)
        self.position += len(text)


def _form_stream(plan: Plan, number: int, content: bytes, entries: bytes) -> bytes:
    if plan.cipher is not None:
        content = plan.cipher.stream(content, number)
    return b"<</Type/XObject/Subtype/Form%b/Filter/FlateDecode/Length %d>>\nstream\n%b\nendstream" % (
        entries,
        len(content),
        content,
    )


def _art_object(plan: Plan, mark: Mark, numbers: NewNumbers) -> bytes:
    resources = b"/Resources<<%b>>" % _CALIBRATED if plan.calibrated else b""
    return _form_stream(plan, numbers.art, mark.art, b"/BBox[0 0 80 80]" + resources)


def _mark_object(plan: Plan, overlay: bytes, numbers: NewNumbers) -> bytes:
    turn = radians(plan.geometry.rotate)
    c, s = round(cos(turn)), round(sin(turn))
    entries = b"/BBox[0 0 80 80]/Matrix[%d %d %d %d 0 0]/Resources<</XObject<</Art %d 0 R>>%b>>" % (
        c, s, -s, c, numbers.art, _CALIBRATED if plan.calibrated else b"",
    )  # fmt: skip
    return _form_stream(plan, numbers.mark, overlay, entries)


def _widget(plan: Plan, order: SealOrder, numbers: NewNumbers, *, mark: Mark, box: Box) -> bytes:
    alternative = text_string(mark.alternative_text(order), numbers.widget, plan.cipher)
    return (
        b"<</Type/Annot/Subtype/Widget/FT/Sig/T%b/TU%b/Contents%b/V %d 0 R/P %s/F %d"
        b"/Rect[%.3f %.3f %.3f %.3f]/AP<</N %d 0 R>>>>"
    ) % (
        text_string(f"EMETERAI_{order.serial}_{numbers.widget}", numbers.widget, plan.cipher),
        alternative,
        alternative,
        numbers.signature,
        plan.page_reference.encode(),
        _PRINT_AND_LOCKED,
        *rectangle_on_page(box, plan.geometry),
        numbers.mark,
    )


def _file_id(plan: Plan, original_sha256: bytes, order: SealOrder) -> bytes:
    """Both halves of /ID: the first stays what it was; the second follows from the original and the order."""
    return file_id(
        plan, original_sha256, original_sha256 + order.serial.encode() + order.sealed_at.isoformat().encode()
    )


def file_id(plan: Plan, original_sha256: bytes, seed: bytes) -> bytes:
    """/ID with a second half that follows from `seed`; the first half, once there is one, never changes."""
    # The key of an encrypted file hangs on the first half (ISO 32000-2, 7.6.4.3): where it is empty it stays so.
    first = plan.id_first if plan.cipher else plan.id_first or original_sha256[:_ID_SIZE_BYTES]
    second = hashlib.sha256(seed).digest()[:_ID_SIZE_BYTES]
    return b"[<%s><%s>]" % (first.hex().encode(), second.hex().encode())


def cross_reference(
    plan: Plan, offsets: dict[int, tuple[int, int]], *, free: int, position: int, file_id: bytes
) -> bytes:
    """The cross-reference of the same kind as the original's newest, the trailer and the end of the file.

    `free` is the first object number that nothing has; `position` is where the cross-reference begins.
    """
    start = position - plan.header_offset
    entries = {number: (offset - plan.header_offset, generation) for number, (offset, generation) in offsets.items()}
    size = max(free + plan.xref_is_stream, plan.numbers_declared)
    trailer = b"/Size %d/Prev %d%b/ID%b" % (size, plan.previous_xref, plan.trailer, file_id)
    if plan.xref_is_stream:
        entries[free] = (start, 0)
        table = _xref_stream(entries, free, trailer)
    else:
        table = _xref_table(entries) + b"trailer\n<<%b>>\n" % trailer
    return b"%bstartxref\n%d\n%%%%EOF\n" % (table, start)


def _xref_table(entries: dict[int, tuple[int, int]]) -> bytes:
    parts = [b"xref\n"]
    for run in _runs(sorted(entries)):
        parts.append(b"%d %d\n" % (run[0], len(run)))
        parts += [b"%010d %05d n \n" % entries[number] for number in run]
    return b"".join(parts)


def _xref_stream(entries: dict[int, tuple[int, int]], number: int, trailer: bytes) -> bytes:
    index = b" ".join(b"%d %d" % (run[0], len(run)) for run in _runs(sorted(entries)))
    content = b"".join(
        b"\x01" + offset.to_bytes(5, "big") + generation.to_bytes(2, "big")
        for _, (offset, generation) in sorted(entries.items())
    )
    return b"%d 0 obj\n<</Type/XRef/W[1 5 2]/Index[%b]%b/Length %d>>\nstream\n%b\nendstream\nendobj\n" % (
        number,
        index,
        trailer,
        len(content),
        content,
    )


def _runs(numbers: list[int]) -> list[list[int]]:
    """Consecutive numbers together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
