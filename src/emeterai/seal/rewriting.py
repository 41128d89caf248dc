"""Which objects of the original a tail replaces, and with what text. Used inside the opener only."""

from __future__ import annotations

import copy

import pikepdf
from pikepdf import Array, Dictionary, Object

from emeterai.seal.encryption import FileCipher
from emeterai.seal.model import Rewrite
from emeterai.seal.refusals import PDF_BROKEN, PDF_TOO_COMPLEX

_DEPTH_MAX = 100


class Rewrites:
    """Collects replacements. Objects keep their numbers; only the named entries of each change."""

    def __init__(self, cipher: FileCipher | None = None) -> None:
        self._cipher = cipher
        self._found: dict[tuple[int, int], bytes] = {}

    def all(self) -> list[Rewrite]:
        """The replacements in the order of their numbers."""
        return [Rewrite(number, generation, body) for (number, generation), body in sorted(self._found.items())]

    def change(self, dictionary: Object, changes: dict[str, bytes]) -> None:
        """Replace an indirect dictionary by one with `changes` (key to text of the value)."""
        if changes:
            self._replace(dictionary, self.with_entries(dictionary, changes, home=dictionary))

    def append(
        self, holder: Object, key: str, reference: bytes, *, home: Object, shared: bool = False
    ) -> dict[str, bytes]:
        """Add a reference to the array at `holder[key]`; the change that `holder` itself needs, if any.

        An array that others hold as well (`shared`) stays as it is, and `holder` gets one of its own. `home` is the
        indirect object in which `holder` stands.
        """
        array = holder.get(key)
        if isinstance(array, Array) and array.is_indirect and not shared:
            self._replace(array, self._appended(array, reference, home=array))
            return {}
        return {key: self._appended(array, reference, home=home)}

    def with_entries(self, dictionary: Object, changes: dict[str, bytes], *, home: Object) -> bytes:
        """The text of a dictionary, which stands in the indirect object `home`, in which `changes` are set."""
        others = copy.copy(dictionary)
        for key in changes:
            if key in others:
                del others[key]
        entries = b"".join(key.encode() + b" " + value for key, value in changes.items())
        return self._text(others, home).removesuffix(b">>") + entries + b">>"

    def _appended(self, array: Object | None, reference: bytes, *, home: Object) -> bytes:
        if not isinstance(array, Array):
            return b"[" + reference + b"]"
        return self._text(array, home).removesuffix(b"]") + reference + b"]"

    def _text(self, value: Object, home: Object) -> bytes:
        """An object as it is written inside `home`, whose number makes the key of its strings."""
        if self._cipher is None:
            return value.unparse(resolved=True)
        return _enciphered(value, self._cipher, home.objgen, depth=0)

    def _replace(self, thing: Object, text: bytes) -> None:
        # In bent files one object is at once a page and the form, say; there is no text that is right for both.
        if self._found.setdefault(thing.objgen, text) != text:
            raise PDF_BROKEN()


def _enciphered(value: object, cipher: FileCipher, home: tuple[int, int], *, depth: int) -> bytes:
    """An object as text, with the strings in it enciphered; what it refers to stays a reference."""
    if depth > _DEPTH_MAX:
        raise PDF_TOO_COMPLEX()
    if depth > 0 and isinstance(value, Object) and value.is_indirect:
        return reference_to(value)
    if isinstance(value, pikepdf.String):
        return cipher.string(bytes(value), *home)
    if isinstance(value, Array):
        return b"[ " + b" ".join(_enciphered(item, cipher, home, depth=depth + 1) for item in value) + b" ]"
    if isinstance(value, Dictionary):
        return b"<<" + b" ".join(_entry(value, key, cipher, home, depth=depth) for key in value.keys()) + b">>"  # noqa: SIM118
    return Array([value]).unparse().removeprefix(b"[").removesuffix(b"]")


def _entry(dictionary: Object, key: str, cipher: FileCipher, home: tuple[int, int], *, depth: int) -> bytes:
    value = dictionary[key]
    if key == "/Contents" and "/ByteRange" in dictionary:
        text = value.unparse()  # a signature is in the clear in every file (ISO 32000-2, 7.6.2)
    else:
        text = _enciphered(value, cipher, home, depth=depth + 1)
    return pikepdf.Name(key).unparse() + b" " + text


def reference_to(value: Dictionary | Object) -> bytes:
    """How other objects point at an indirect object."""
    return b"%d %d R" % value.objgen
