"""Which objects an update wrote, who referred to them before, and names for changes without a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from pikepdf import Array, Dictionary, Name, Object, Pdf, Stream, XrefEntry

from emeterai.seal.page_tree import pages_of
from emeterai.seal.updates import Update

_REFERENCE = re.compile(rb"(\d+) \d+ R\b")

ObjGen = tuple[int, int]
"""Number and generation of an object."""


class TooMuchError(Exception):
    """What was added, or the documents themselves, are too large to be compared in bounded time."""


class Touched:
    """The objects that an update wrote: `added` or `changed`. `faults` names what its cross-reference hides.

    `own` are those that only hold others: the cross-reference stream and new object streams. Raises TooMuchError when
    the documents have more than `objects_max`.
    """

    def __init__(self, before: Pdf, after: Pdf, update: Update, *, header_offset: int, objects_max: int) -> None:
        self._before, self._after = before, after
        self._old, self._new = before.get_xref_table(), after.get_xref_table()
        self.looked_at = len(self._old) + len(self._new)
        if self.looked_at > objects_max:
            raise TooMuchError
        self.added: set[ObjGen] = set()
        self.changed: set[ObjGen] = set()
        self.own: set[ObjGen] = set()
        self.faults: list[str] = []
        self._read_tables(update, header_offset)
        self._holders = self._count_holders()

    def held(self, objgen: ObjGen) -> int:
        """How often the document before the update referred to an object."""
        return self._holders[objgen[0]]

    def is_same(self, objgen: ObjGen) -> bool:
        """Whether an object was written again as it was."""
        old, new = self._before.get_object(objgen), self._after.get_object(objgen)
        if isinstance(old, Stream) and isinstance(new, Stream):
            same = old.stream_dict.unparse() == new.stream_dict.unparse()
            return same and old.read_raw_bytes() == new.read_raw_bytes()
        return not isinstance(old, Stream) and not isinstance(new, Stream) and text_of(old) == text_of(new)

    def name_of_change(self, objgen: ObjGen) -> str:
        """A name for a change of an object that had no reason to change."""
        old: object = self._before.get_object(objgen)
        if isinstance(old, Stream | Array) and objgen in self._page_contents():
            return "page_content_changed"
        if isinstance(old, Stream):
            return "page_resources_changed" if "/Subtype" in old else "object_changed"
        if not isinstance(old, Dictionary):
            return "object_changed"
        tests: tuple[tuple[str, Callable[[Dictionary], bool]], ...] = (
            ("pages_changed", lambda one: one.get("/Type") == Name.Pages),
            ("signature_changed", lambda one: "/ByteRange" in one or one.get("/FT") == Name.Sig),
            ("form_value_changed", lambda one: "/FT" in one or "/T" in one or ("/Parent" in one and "/Rect" in one)),
            ("annotation_changed", lambda one: "/Rect" in one),
            ("page_resources_changed", lambda one: one.get("/Type") in {Name.Font, Name.ExtGState} or "/Font" in one),
        )
        return next((name for name, holds in tests if holds(old)), "object_changed")

    def _read_tables(self, update: Update, header_offset: int) -> None:
        """Every object that is new or replaced must stand where the update wrote it, and nothing else may appear."""
        old, new = self._old, self._new
        packs: set[ObjGen] = set()
        for objgen, entry in new.items():
            place = _place(entry)
            if objgen in old and _place(old[objgen]) == place:
                # An entry of the sealed file may point beyond its end and wait there for its object.
                if entry.type == 1 and place[1] + header_offset >= update.start:
                    self.faults.append("hidden_objects")
                continue
            (self.changed if objgen in old else self.added).add(objgen)
            if entry.type == 1:
                found = update.objects.get(objgen[0])
                if found is None or found.start != place[1] + header_offset:
                    self.faults.append("cross_reference_wrong")
            elif place[1] in update.objects:
                packs.add((place[1], 0))
            else:
                self.faults.append("cross_reference_wrong")
        if old.keys() - new.keys():
            self.faults.append("object_removed")
        self.own = {(update.xref_number, 0)} | (packs & self.added)
        written = {(number, one.generation) for number, one in update.objects.items()} - {(update.xref_number, 0)}
        if written - self.added - self.changed:
            self.faults.append("hidden_objects")

    def _count_holders(self) -> Counter[int]:
        wanted = {number for number, _ in self.added | self.changed}
        holders: Counter[int] = Counter()
        things: Iterator[object] = (self._before.get_object(objgen) for objgen in self._old)
        for thing in (self._before.trailer, *things):
            if isinstance(thing, Stream):
                text = _stream_text(thing)
            elif isinstance(thing, Dictionary | Array):
                text = text_of(thing)
            else:
                continue
            holders.update(number for number in map(int, _REFERENCE.findall(text)) if number in wanted)
        return holders

    def _page_contents(self) -> set[ObjGen]:
        found: set[ObjGen] = set()
        for objgen in pages_of(self._before):
            contents = self._before.get_object(objgen).get("/Contents")
            parts = [contents, *(contents if isinstance(contents, Array) else ())]
            found.update(part.objgen for part in parts if isinstance(part, Object))
        return found


def text_of(value: object, *, resolved: bool = True) -> bytes:
    """A value as text; unless `resolved`, an indirect one as its reference."""
    if isinstance(value, Object):
        return value.unparse(resolved=resolved)
    return repr(value).encode()


def _stream_text(stream: Stream) -> bytes:
    """The dictionary of a stream; of a cross-reference stream without what the trailer says as well."""
    entries = stream.stream_dict
    if entries.get("/Type") != Name.XRef:
        return entries.unparse()
    shown = entries.keys() - {"/Root", "/Info", "/Encrypt"}
    return b" ".join(text_of(entries.get(key), resolved=False) for key in shown)


def _place(entry: XrefEntry) -> tuple[int, int, int]:
    """Kind, and offset or number of the object stream, and place in that."""
    if entry.type == 1:
        return 1, entry.offset or 0, 0
    return entry.type, entry.obj_stream_number or 0, entry.obj_stream_index or 0
