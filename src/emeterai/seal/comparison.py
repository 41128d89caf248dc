"""What an update did to a document, object by object. Used inside the opener only.

A document is as it was when every object that the update changed or added has a reason on a short list: a signature by
somebody else, its field and its place on a page, a document timestamp, validation data, metadata (ISO 32000-2, 12.8.2.2
and 12.8.4.3; ETSI EN 319 142-1, 5.4). Everything else is a fault with a name. Objects that the update did not write are
the same bytes as before, so they need no look; what they refer to is counted, since a reference to nothing may have
waited for its object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pikepdf import Array, Dictionary, Name, Object, Pdf, Stream

from emeterai.seal.page_tree import pages_of
from emeterai.seal.touched import ObjGen, TooMuchError, Touched, text_of
from emeterai.seal.updates import Update

_STEPS_MAX = 300_000
_ROOT_FAULTS = {
    "/Pages": "pages_changed",
    "/Perms": "permissions_changed",
    "/OpenAction": "action_added",
    "/AA": "action_added",
    "/Names": "names_changed",
    "/OCProperties": "layers_changed",
    "/StructTreeRoot": "structure_changed",
}
_PAGE_FAULTS = {
    "/Contents": "page_content_changed",
    "/Resources": "page_resources_changed",
    **dict.fromkeys(("/MediaBox", "/CropBox", "/Rotate", "/UserUnit"), "page_geometry_changed"),
    "/AA": "action_added",
}
_NUMBER = re.compile(rb"(?<![^\s\[\]<>])[+-]?(?:\d{1,15}\.\d{0,15}|\.\d{1,15}|\d{1,15})(?![^\s\[\]<>/])")
_SIGNING_KEYS = {"/V", "/AP", "/F", "/M", "/MK"}
_SIGNATURE_FLAGS = 3
_PLAIN_FLAGS = 2 | 4 | 64 | 128 | 512
"""Hidden, Print, ReadOnly, Locked, LockedContents (ISO 32000-2, table 167)."""


@dataclass(slots=True)
class NewField:
    """A signature field that the update added or filled: its signature, and where it shows."""

    signature: ObjGen | None
    widgets: list[ObjGen]


@dataclass(slots=True)
class Difference:
    """What an update did: the allowed things, and in `faults` the others, each by name."""

    objects: int
    """How many were looked at."""
    faults: list[str] = field(default_factory=list)
    validation_data: bool = False
    metadata: bool = False
    fields: list[NewField] = field(default_factory=list)


def compare(before: Pdf, after: Pdf, update: Update, *, header_offset: int, objects_max: int) -> Difference:
    """What `update` made of `before`; `after` is the file that ends with it. Raises TooMuchError."""
    touched = Touched(before, after, update, header_offset=header_offset, objects_max=objects_max)
    return _Comparison(before, after, touched).difference()


class _Comparison:
    def __init__(self, before: Pdf, after: Pdf, touched: Touched) -> None:
        self._before, self._after = before, after
        self._result = Difference(objects=touched.looked_at)
        self._steps = _STEPS_MAX
        self._touched = touched
        self._added, self._changed = self._touched.added, self._touched.changed
        self._explained = set(self._touched.own)
        self._once: set[ObjGen] = set()
        self._widgets: set[ObjGen] = set()

    def difference(self) -> Difference:
        """Give every object its reason, then name those that have none."""
        for fault in self._touched.faults:
            self._fault(fault)
        self._trailer()
        self._root()
        self._pages()
        for objgen in sorted(self._changed - self._explained):
            if not self._touched.is_same(objgen):
                self._fault(self._touched.name_of_change(objgen))
        if self._added - self._explained or any(self._touched.held(objgen) for objgen in self._added):
            self._fault("hidden_objects")
        if any(self._touched.held(objgen) != 1 for objgen in self._once):
            self._fault("object_changed")
        return self._result

    def _fault(self, name: str) -> None:
        if name not in self._result.faults:
            self._result.faults.append(name)

    def _trailer(self) -> None:
        """Readers look at three entries here; new objects that others hold stay without a reason."""
        old, new = self._before.trailer, self._after.trailer
        for key, fault in (("/Root", "catalog_replaced"), ("/Encrypt", "additions_not_readable")):
            if not _same(old.get(key), new.get(key)):
                self._fault(fault)
        self._result.metadata |= self._own(new.get("/Info"), replaced=True)

    def _root(self) -> None:
        old, new = self._before.Root, self._after.Root
        for key in sorted(old.keys() | new.keys()):
            value = new.get(key)
            if key == "/AcroForm":
                self._form(old.get(key), value)
            elif key == "/DSS" and value is not None:
                self._result.validation_data |= self._own(value, replaced=True, deep=True)
            elif key == "/Metadata" and value is not None:
                self._result.metadata |= self._own(value, replaced=True)
            elif key == "/Extensions" and value is not None:
                self._own(value)
            elif key == "/Version" and isinstance(value, Name) and re.fullmatch(r"/\d\.\d", str(value)):
                continue
            elif not _same(old.get(key), value):
                self._fault(_ROOT_FAULTS.get(key, "catalog_changed"))
        self._explained.add(new.objgen)

    def _form(self, old: Object | None, new: Object | None) -> None:
        if not (isinstance(old, Dictionary) and isinstance(new, Dictionary)) or (
            old.is_indirect and old.objgen != new.objgen
        ):
            self._fault("form_changed")
            return
        fillable = False
        for key in sorted(old.keys() | new.keys()):
            if key == "/Fields":
                fillable = self._fields(old.get(key), new.get(key))
        for key in (old.keys() | new.keys()) - {"/Fields"}:
            before, after = old.get(key), new.get(key)
            # Where it was true, readers drew filled-in values anew; without it they show drawings made by anybody.
            if key == "/NeedAppearances" and not after and (not before or not fillable):
                continue
            if key == "/SigFlags" and isinstance(after, int) and 0 <= after <= _SIGNATURE_FLAGS:
                continue
            if key in {"/DR", "/DA"} and before is None and not fillable and isinstance(after, Object | str):
                self._own(after)
                self._once |= {new.objgen} & self._changed
            elif not _same(before, after):
                self._fault("form_changed")
        if new.is_indirect:
            self._explained.add(new.objgen)

    def _fields(self, old: object, new: object) -> bool:
        """Compare the fields at the root of the form; whether it has fields to fill in."""
        if not (isinstance(old, Array) and isinstance(new, Array)):
            self._fault("form_changed")
            return True
        self._array(old, new)
        known = [one.objgen for one in old]
        fresh = [one for one in new if one.objgen not in known]
        if [one.objgen for one in new if one.objgen in known] != known:
            self._fault("form_changed")
        for one in fresh:
            if isinstance(one, Dictionary) and one.objgen in self._added and one.get("/FT") == Name.Sig:
                self._signature(one, [one, *self._kids(one)])
            else:
                self._fault("form_changed")
        return self._known_fields(list(new))

    def _known_fields(self, waiting: list[Object]) -> bool:
        """Look for empty signature fields that were filled. Other changes of fields stay without a reason."""
        seen: set[ObjGen] = set()
        fillable = False
        while waiting:
            one = waiting.pop()
            self._step()
            if not isinstance(one, Dictionary) or one.objgen in seen:
                continue
            seen.add(one.objgen)
            kids = self._kids(one)
            fillable = fillable or one.get("/FT", Name.Sig) != Name.Sig
            waiting.extend(kids)
            if one.objgen in self._changed and one.get("/FT") == Name.Sig:
                self._filled(self._before.get_object(one.objgen), one, kids)
        return fillable

    def _filled(self, old: Object, new: Dictionary, kids: list[Object]) -> None:
        keys = old.keys() | new.keys() if isinstance(old, Dictionary) else {"/FT"}
        if "/V" in old or "/V" not in new or any(not _same(old.get(key), new.get(key)) for key in keys - _SIGNING_KEYS):
            return
        self._explained.add(new.objgen)
        self._signature(new, [new, *kids])

    def _signature(self, new: Dictionary, parts: list[Object]) -> None:
        """A field that was added or filled, with its widgets: everything new below it is its own."""
        for part in parts:
            if "/A" in part or "/AA" in part:
                self._fault("action_added")
            if not _is_plain(part, signed="/V" in new):
                self._fault("annotation_added")
        value = new.get("/V")
        signature = value.objgen if isinstance(value, Dictionary) else None
        self._result.fields.append(NewField(signature, [part.objgen for part in parts if part.is_indirect]))
        self._widgets.update(part.objgen for part in parts if part.is_indirect)
        self._own(new)
        for key in ("/V", "/AP", "/MK"):
            self._own(new.get(key))

    def _kids(self, one: Dictionary) -> list[Object]:
        kids = one.get("/Kids")
        return [kid for kid in kids if isinstance(kid, Dictionary)] if isinstance(kids, Array) else []

    def _pages(self) -> None:
        """Pages may gain the widgets of new signature fields and nothing else."""
        if not self._changed - self._explained:
            return
        for objgen in pages_of(self._before):
            old, new = self._before.get_object(objgen), self._after.get_object(objgen)
            if not (isinstance(old, Dictionary) and isinstance(new, Dictionary)):
                continue
            annotations = old.get("/Annots")
            written = isinstance(annotations, Object) and annotations.objgen in self._changed
            if objgen in self._changed or written:
                self._page(old, new)

    def _page(self, old: Dictionary, new: Dictionary) -> None:
        for key in sorted((old.keys() | new.keys()) - {"/Annots"}):
            if not _same(old.get(key), new.get(key)):
                self._fault(_PAGE_FAULTS.get(key, "page_changed"))
        self._explained.add(new.objgen)
        before, after = old.get("/Annots"), new.get("/Annots")
        if after is not None and not isinstance(after, Array):
            self._fault("annotation_removed" if before is not None else "annotation_added")
            return
        known = list(before) if isinstance(before, Array) else []
        shown = list(after) if isinstance(after, Array) else []
        texts = [_reference(one) for one in known]
        kept = [
            _reference(one)
            for one in shown
            if getattr(one, "objgen", None) not in self._widgets or _reference(one) in texts
        ]
        if any(text not in texts for text in kept):
            self._fault("annotation_added")
        if [text for text in kept if text in texts] != texts:
            self._fault("annotation_removed")
        if isinstance(after, Array):
            self._array(before if isinstance(before, Array) else None, after)

    def _array(self, old: Array | None, new: Array) -> None:
        """An array that may have grown: one of its own, or one that nobody else holds."""
        if not new.is_indirect:
            return
        if new.objgen in self._changed:
            self._once.add(new.objgen)
            if old is None or old.objgen != new.objgen:
                self._fault("object_changed")
        self._explained.add(new.objgen)

    def _own(self, value: object, *, replaced: bool = False, deep: bool = False) -> bool:
        """Take everything new that hangs on `value` for explained; whether there was any.

        `replaced`: `value` itself may have changed, `deep`: what hangs on it too, when nothing else holds them.
        """
        waiting, seen, found = [value], set[ObjGen](), False
        while waiting:
            one = waiting.pop()
            self._step()
            if not isinstance(one, Object):
                continue
            if one.is_indirect:
                top, written = one is value, one.objgen in self._added
                if one.objgen in seen or not (top or deep or written):
                    continue
                seen.add(one.objgen)
                if one.objgen in self._changed and replaced and (top or deep):
                    self._once.add(one.objgen)
                    written = True
                if written:
                    self._explained.add(one.objgen)
                    found = True
            if isinstance(one, Dictionary | Stream):
                waiting.extend(one.get(key) for key in one.keys() if key not in {"/P", "/Parent"})  # noqa: SIM118
            elif isinstance(one, Array):
                waiting.extend(one)
        return found

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise TooMuchError


def _is_plain(widget: Object, *, signed: bool) -> bool:
    """Whether a widget looks the same on every screen and on paper, and like nothing at all until it is signed."""
    if widget.get("/Subtype", Name.Widget) != Name.Widget or widget.get("/Type", Name.Annot) != Name.Annot:
        return False
    flags, look = widget.get("/F", 0), widget.get("/AP")
    if not isinstance(flags, int) or flags & ~_PLAIN_FLAGS or "/OC" in widget:
        return False
    if look is None:
        return True
    drawing = look.get("/N") if isinstance(look, Dictionary) and look.keys() == {"/N"} else None
    return isinstance(drawing, Stream) and (signed or not drawing.read_raw_bytes().strip())


def _reference(value: object) -> bytes:
    return text_of(value, resolved=False)


def _same(one: object, other: object) -> bool:
    """Whether two values are equal. Programs write the same number in several ways."""
    return _reference(one) == _reference(other) or _plain(one) == _plain(other)


def _plain(value: object) -> bytes:
    """The text of a value with its numbers to three decimals, more than any page shows; strings stay as they are."""
    text = _reference(value)
    return text if b"(" in text else _NUMBER.sub(lambda found: b"%.3f" % float(found[0]), text)
