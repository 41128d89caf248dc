"""Lists of applicants: CSV whose first column is the hash of an identity, read line by line as it arrives.

Nothing of it is kept but keyed hashes. A line that holds an identity in the clear is told so and forgotten.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

from emeterai.core.granting import tidy_identity
from emeterai.core.refusal import RefusalKind
from emeterai.partners.programme_model import BadLine, ListReport
from emeterai.partners.programme_secrets import ProgrammeSecrets

LINES_MAX = 1_000_000
"""In one list; a programme holds several."""
_LINES_AT_ONCE = 5_000
_LINE_BYTES_MAX = 300
_BAD_NAMED_MAX = 100
_HEADINGS = {"hash", "identity_hash", "sidik"}
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_NOT_A_HASH = ("bukan sidik 64 angka heksadesimal", "not a hash of 64 hexadecimal digits")
_IN_THE_CLEAR = (
    "berisi NIK itu sendiri, bukan sidiknya; baris ini tidak kami simpan",
    "holds an identity number that is not hashed; we kept nothing of this line",
)
_TOO_LONG = ("terlalu panjang", "too long")

LIST_TOO_LONG = RefusalKind(
    "list_too_long",
    413,
    "Daftar paling banyak {lines_max} baris; bagi menjadi beberapa berkas. Yang sudah masuk tidak hilang.",
    "A list has {lines_max} lines at most; split it into several files. What was taken already is not lost.",
)

Add = Callable[[list[bytes]], Awaitable[int]]
"""Puts keys on record and answers how many of them are new."""


class ListReader:
    """Reads one list into a programme. It holds a few thousand lines at a time, however long the list is."""

    def __init__(self, secrets: ProgrammeSecrets, programme_id: UUID, add: Add) -> None:
        self._secrets = secrets
        self._programme_id = programme_id
        self._add = add
        self._hashes: list[bytes] = []
        self._lines = self._added = self._taken = self._bad = self._blank = 0
        self._bad_lines: list[BadLine] = []

    async def read(self, chunks: AsyncIterator[bytes]) -> ListReport:
        """Take in a whole list. Raises `list_too_long` after the lines that fit; what was taken stays taken."""
        rest, is_overlong = b"", False
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                await self._take(b"" if is_overlong else line, is_overlong=is_overlong)
                is_overlong = False
            if len(rest) > _LINE_BYTES_MAX:
                # Its end is not here yet: nothing of it is kept but that it was too long.
                rest, is_overlong = b"", True
        if rest or is_overlong:
            await self._take(rest, is_overlong=is_overlong)
        await self._flush()
        return ListReport(
            lines=self._lines,
            added=self._added,
            known=self._taken - self._added,
            bad=self._bad,
            blank=self._blank,
            bad_lines=self._bad_lines,
        )

    async def _take(self, line: bytes, *, is_overlong: bool) -> None:
        self._lines += 1
        if self._lines > LINES_MAX + 1:  # and a heading
            await self._flush()
            raise LIST_TOO_LONG(lines_max=LINES_MAX)
        if is_overlong or len(line) > _LINE_BYTES_MAX:
            self._note(_TOO_LONG)
            return
        cell = _first_cell(line)
        if not cell or (self._lines == 1 and cell.lower() in _HEADINGS):
            self._blank += 1
        elif _HASH.fullmatch(cell):
            self._hashes.append(bytes.fromhex(cell))
            if len(self._hashes) == _LINES_AT_ONCE:
                await self._flush()
        else:
            self._note(_IN_THE_CLEAR if tidy_identity(cell) else _NOT_A_HASH)

    def _note(self, why: tuple[str, str]) -> None:
        self._bad += 1
        if len(self._bad_lines) < _BAD_NAMED_MAX:
            self._bad_lines.append(BadLine(self._lines, *why))

    async def _flush(self) -> None:
        if not self._hashes:
            return
        hashes, self._hashes = self._hashes, []
        keys = await asyncio.to_thread(lambda: [self._secrets.key_of_hash(self._programme_id, it) for it in hashes])
        self._added += await self._add(keys)
        self._taken += len(hashes)


def _first_cell(line: bytes) -> str:
    text = line.decode("utf-8", "replace").removeprefix("\ufeff")
    return re.split(r"[,;\t]", text, maxsplit=1)[0].strip().strip('"').strip()
