"""Which objects of the original a tail replaces, and with what text. Used inside the opener only."""

from __future__ import annotations

from pikepdf import Array, Dictionary, Object

from emeterai.seal.model import Rewrite
from emeterai.seal.refusals import PDF_BROKEN


class Rewrites:
    """Collects replacements. Objects keep their numbers; only the named entries of each change."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], bytes] = {}

    def all(self) -> list[Rewrite]:
        """The replacements in the order of their numbers."""
        return [Rewrite(number, generation, body) for (number, generation), body in sorted(self._found.items())]

    def change(self, dictionary: Object, changes: dict[str, bytes]) -> None:
        """Replace an indirect dictionary by one with `changes` (key to text of the value)."""
        if changes:
            self._replace(dictionary, with_entries(dictionary, changes))

    def append(self, holder: Object, key: str, reference: bytes, *, shared: bool = False) -> dict[str, bytes]:
        """Add a reference to the array at `holder[key]`; the change that `holder` itself needs, if any.

        An array that others hold as well (`shared`) stays as it is, and `holder` gets one of its own.
        """
        array = holder.get(key)
        text = appended(array, reference)
        if isinstance(array, Array) and array.is_indirect and not shared:
            self._replace(array, text)
            return {}
        return {key: text}

    def _replace(self, thing: Object, text: bytes) -> None:
        # In bent files one object is at once a page and the form, say; there is no text that is right for both.
        if self._found.setdefault(thing.objgen, text) != text:
            raise PDF_BROKEN()


def with_entries(dictionary: Object, changes: dict[str, bytes]) -> bytes:
    """The text of a dictionary in which the entries of `changes` are set. The opened file's dictionary is used up."""
    for key in changes:
        if key in dictionary:
            del dictionary[key]
    entries = b"".join(key.encode() + b" " + value for key, value in changes.items())
    return dictionary.unparse(resolved=True).removesuffix(b">>") + entries + b">>"


def appended(array: Object | None, reference: bytes) -> bytes:
    """The text of an array with one more reference; of a new one when there is no array."""
    if not isinstance(array, Array):
        return b"[" + reference + b"]"
    return array.unparse(resolved=True).removesuffix(b"]") + reference + b"]"


def reference_to(value: Dictionary | Object) -> bytes:
    """How other objects point at an indirect object."""
    return b"%d %d R" % value.objgen
