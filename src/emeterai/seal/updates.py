"""The grammar of what was appended to a file: incremental updates (ISO 32000-2, 7.5.6), read byte by byte.

Readers that mend files may see other objects in the same bytes than readers that do not. So what follows a seal is read
here by one narrow grammar in which every byte has its place; whatever does not fit is no update. What the objects mean
is not decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPACE = b"\x00\t\n\x0c\r "
_TOKEN = re.compile(
    rb"[\x00\t\n\x0c\r ]*(?:(?P<open><<|\[)|(?P<close>>>|\])|(?P<hex><[0-9A-Fa-f\s]*>)|(?P<string>\()"
    rb"|(?P<name>/[^\x00\t\n\x0c\r ()<>\[\]{}/%]*)|(?P<word>[^\x00\t\n\x0c\r ()<>\[\]{}/%]+))"
)
_STRING_PART = re.compile(rb"[^()\\]*(?:\\(?s:.)[^()\\]*)*([()])")
_BETWEEN = re.compile(rb"(?:[\x00\t\n\x0c\r ]|%(?!%EOF)[^\r\n]{0,64}[\r\n])*")
_OBJECT = re.compile(rb"(\d{1,7})[\x00\t\n\x0c\r ]+(\d{1,5})[\x00\t\n\x0c\r ]+obj(?![A-Za-z])")
_STREAM = re.compile(rb"[\x00\t\n\x0c\r ]*stream\r?\n")
_END_OF_STREAM = re.compile(rb"\r?\n?[\x00\t\n\x0c\r ]{0,2}endstream(?![A-Za-z])")
_END_OF_OBJECT = re.compile(rb"[\x00\t\n\x0c\r ]*endobj(?![A-Za-z])")
_XREF = re.compile(rb"xref[\x00\t\n\x0c\r ]+")
_SECTION = re.compile(rb"(\d{1,10})[ ]+(\d{1,7})[ ]*\r?\n?")
_ENTRY = re.compile(rb"(\d{10}) (\d{5}) ([nf])(?: ?\r?\n| ?\r)")
_TRAILER = re.compile(rb"[\x00\t\n\x0c\r ]*trailer(?![A-Za-z])")
_END = re.compile(rb"startxref[\x00\t\n\x0c\r ]+(\d{1,10})[\x00\t\n\x0c\r ]+%%EOF")
_STARTXREF = re.compile(rb"startxref[\x00\t\n\x0c\r ]+(\d{1,10})[\x00\t\n\x0c\r ]+%%EOF")
_OBJECTS_MAX = 20_000
_TOKENS_MAX = 1_000_000
_SEARCHES_MAX = 50
_DEPTH_MAX = 60
_WINDOW_SIZE_BYTES = 2_048


class UpdateError(Exception):
    """The bytes are no update in this grammar; the text is the name of what is wrong, as reports tell it."""


@dataclass(frozen=True, slots=True)
class Written:
    """One object as it stands in an update: where its header begins, and where its `endobj` ends."""

    start: int
    end: int
    generation: int
    is_stream: bool
    entries: dict[bytes, tuple[bytes, ...]]
    """The tokens of each entry when it is a dictionary or a stream."""


@dataclass(frozen=True, slots=True)
class Update:
    """One incremental update that follows the rules: `objects` by number, each once."""

    start: int
    end: int
    """Behind `%%EOF`."""
    objects: dict[int, Written]
    xref_number: int
    """The number of the cross-reference stream; 0 where the cross-reference is a table."""
    listed: frozenset[int]
    """The numbers that a cross-reference table names as in use; empty for a stream, which qpdf reads."""


def read_update(content: bytes, start: int, *, header_offset: int) -> Update:
    """The update that begins at `start`, where the file ended before. Raises UpdateError."""
    return _Reading(content, start, header_offset).update()


class _Reading:
    """One pass over an update, from its first byte to its last."""

    def __init__(self, content: bytes, start: int, header_offset: int) -> None:
        self._content = content
        self._start = start
        self._header_offset = header_offset
        self._at = start
        self._tokens_left = _TOKENS_MAX
        self._searches_left = _SEARCHES_MAX
        self._objects: dict[int, Written] = {}

    def update(self) -> Update:
        self._skip()
        last = 0
        while header := _OBJECT.match(self._content, self._at):
            last = int(header[1])
            self._object(header)
            self._skip()
        position, listed, xref_number = self._at, frozenset[int](), 0
        if _XREF.match(self._content, position):
            listed, entries = self._table()
        elif last and self._objects[last].entries.get(b"/Type") == (b"/XRef",):
            xref_number, entries, position = last, self._objects[last].entries, self._objects[last].start
            _check_index(entries)
        else:
            raise UpdateError("bytes_added_after_seal")
        self._skip()
        end = self._match(_END)
        if int(end[1]) + self._header_offset != position:
            raise UpdateError("cross_reference_wrong")
        self._check_chain(entries)
        return Update(self._start, self._at, self._objects, xref_number, listed)

    def _object(self, header: re.Match[bytes]) -> None:
        number = int(header[1])
        if number in self._objects or len(self._objects) >= _OBJECTS_MAX:
            raise UpdateError("object_twice_in_update" if number in self._objects else "too_much_added")
        self._at = header.end()
        tokens = self._value()
        entries = _entries(tokens)
        stream = _STREAM.match(self._content, self._at)
        if stream:
            self._at = stream.end() + self._stream_size(entries)
            self._match(_END_OF_STREAM)
        self._match(_END_OF_OBJECT)
        self._objects[number] = Written(header.start(), self._at, int(header[2]), stream is not None, entries)

    def _value(self) -> list[bytes]:
        """The tokens of one value; containers are closed when it ends."""
        tokens: list[bytes] = []
        opened: list[bytes] = []
        while True:
            token = self._match(_TOKEN)
            self._tokens_left -= 1
            if self._tokens_left < 0 or len(opened) > _DEPTH_MAX:
                raise UpdateError("too_much_added")
            text = token[0].lstrip(_SPACE)
            if token["string"]:
                text = self._string()
            elif token["open"]:
                opened.append(b">>" if text == b"<<" else b"]")
            elif token["close"] and (not opened or opened.pop() != text):
                raise UpdateError("bytes_added_after_seal")
            tokens.append(text)
            if not opened and not self._is_reference(tokens):
                return tokens

    def _is_reference(self, tokens: list[bytes]) -> bool:
        """Whether the value goes on because it is `12 0 R` standing alone, of which a part is read."""
        if not all(token.isdigit() for token in tokens) or len(tokens) > 2:
            return False
        rest = self._content[self._at : self._at + 16].lstrip(_SPACE)
        return rest[:1].isdigit() or (len(tokens) == 2 and rest.startswith(b"R"))

    def _string(self) -> bytes:
        start, depth = self._at - 1, 1
        while depth:
            part = self._match(_STRING_PART)
            depth += 1 if part[1] == b"(" else -1
            if depth > _DEPTH_MAX:
                raise UpdateError("too_much_added")
        return self._content[start : self._at]

    def _stream_size(self, entries: dict[bytes, tuple[bytes, ...]]) -> int:
        length = entries.get(b"/Length", ())
        if len(length) == 3 and length[2] == b"R":
            self._searches_left -= 1
            if self._searches_left < 0:
                raise UpdateError("too_much_added")
            pattern = rb"(?<!\d)%s\s+%s\s+obj\s+(\d{1,10})\s+endobj" % (length[0], length[1])
            found = re.findall(pattern, self._content[self._start :])
            length = tuple(found)
        if len(length) != 1 or not length[0].isdigit():
            raise UpdateError("stream_length_wrong")
        return int(length[0])

    def _table(self) -> tuple[frozenset[int], dict[bytes, tuple[bytes, ...]]]:
        """The numbers in use by a cross-reference table, each listed once, and the entries of its trailer."""
        listed: set[int] = set()
        seen: set[int] = set()
        self._match(_XREF)
        while section := _SECTION.match(self._content, self._at):
            self._at = section.end()
            first, count = int(section[1]), int(section[2])
            if count > _OBJECTS_MAX:
                raise UpdateError("too_much_added")
            for number in range(first, first + count):
                entry = self._match(_ENTRY)
                if number in seen:
                    raise UpdateError("cross_reference_wrong")
                seen.add(number)
                if entry[3] == b"n":
                    self._check_entry(number, int(entry[1]) + self._header_offset, int(entry[2]))
                    listed.add(number)
        self._match(_TRAILER)
        if listed != set(self._objects):
            raise UpdateError("hidden_objects")
        return frozenset(listed), _entries(self._value())

    def _check_entry(self, number: int, offset: int, generation: int) -> None:
        written = self._objects.get(number)
        if written is None or (written.start, written.generation) != (offset, generation):
            raise UpdateError("cross_reference_wrong")

    def _check_chain(self, entries: dict[bytes, tuple[bytes, ...]]) -> None:
        """The cross-reference builds on the newest one before, and on no other."""
        before = _STARTXREF.findall(self._content, max(0, self._start - _WINDOW_SIZE_BYTES), self._start)
        previous = entries.get(b"/Prev", ())
        if not before or len(previous) != 1 or not previous[0].isdigit() or int(previous[0]) != int(before[-1]):
            raise UpdateError("cross_reference_wrong")
        if b"/XRefStm" in entries:
            raise UpdateError("hidden_objects")

    def _skip(self) -> None:
        """Pass white space and short comments between objects."""
        between = self._match(_BETWEEN)
        if b"obj" in between[0]:
            raise UpdateError("hidden_objects")

    def _match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        found = pattern.match(self._content, self._at)
        if found is None:
            raise UpdateError("bytes_added_after_seal")
        self._at = found.end()
        return found


def _entries(tokens: list[bytes]) -> dict[bytes, tuple[bytes, ...]]:
    """The entries of a dictionary by key, each as its tokens; empty for other values. A key twice is wrong."""
    entries: dict[bytes, tuple[bytes, ...]] = {}
    if not tokens or tokens[0] != b"<<":
        return entries
    at, last = 1, len(tokens) - 1
    while at < last:
        key, end = tokens[at], _end_of_value(tokens, at + 1)
        if not key.startswith(b"/") or key in entries or end > last:
            raise UpdateError("object_malformed")
        entries[key] = tuple(tokens[at + 1 : end])
        at = end
    return entries


def _end_of_value(tokens: list[bytes], at: int) -> int:
    """The index behind the value that begins at `at`."""
    if tokens[at] in {b"<<", b"["}:
        depth = 0
        for index in range(at, len(tokens)):
            depth += (tokens[index] in {b"<<", b"["}) - (tokens[index] in {b">>", b"]"})
            if depth == 0:
                return index + 1
    if tokens[at + 1 : at + 3] and tokens[at].isdigit() and tokens[at + 1].isdigit() and tokens[at + 2] == b"R":
        return at + 3
    return at + 1


def _check_index(entries: dict[bytes, tuple[bytes, ...]]) -> None:
    """The sections of a cross-reference stream follow one another: no number is described twice."""
    index = [int(token) for token in entries.get(b"/Index", ()) if token.isdigit()]
    end = 0
    for first, count in zip(index[::2], index[1::2], strict=False):
        if first < end:
            raise UpdateError("cross_reference_wrong")
        end = first + count
