"""Pages as they are sent, and pages with gaps: what is one person's is put into what was made and packed for many."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from markupsafe import escape

_GZIP_HEAD, _GZIP_END = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x03\0"
"""RFC 1952: deflated, of no time, name or system; and the empty last block of RFC 1951."""


class RoomPage:
    """A page as it is sent: its bytes, and the policy that lets its own style and script through and nothing else."""

    def __init__(self, content: bytes, policy: str, *, pack: Callable[[], bytes] | None = None) -> None:
        self.content, self.policy = content, policy
        self._pack, self._packed = pack, b""

    def packed(self) -> bytes:
        """The bytes in gzip; packed once."""
        if not self._packed:
            self._packed = self._pack() if self._pack else gzip.compress(self.content, 6, mtime=0)
        return self._packed


class Blank:
    """A page with gaps, a NUL and a letter each: all between them is the same for many.

    In gzip each piece stands for itself, and what fills a gap is a stored block, so for one person nothing is rendered
    or packed; only the check sum is taken.
    """

    def __init__(self, page: RoomPage) -> None:
        pieces = re.split(rb"\0(\w)", page.content)
        self._policy, self._pieces, self._gaps = page.policy, pieces[::2], [gap.decode() for gap in pieces[1::2]]
        self._packed = [_packed_alone(piece) for piece in self._pieces]

    def filled(self, words: Mapping[str, str]) -> RoomPage:
        """The page with these words in its gaps: text, and under 64 KiB each."""
        said = [escape(words[gap]).encode() for gap in self._gaps]
        content = _woven(self._pieces, said)
        return RoomPage(content, self._policy, pack=lambda: self._pack(content, said))

    def _pack(self, content: bytes, said: Sequence[bytes]) -> bytes:
        stored = [struct.pack("<BHH", 0, len(word), len(word) ^ 0xFFFF) + word for word in said]
        check = struct.pack("<LL", zlib.crc32(content), len(content))
        return b"".join((_GZIP_HEAD, _woven(self._packed, stored), _GZIP_END, check))


def _packed_alone(piece: bytes) -> bytes:
    """A piece of a packed page: it ends with a whole byte, and refers to nothing before it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)


def _woven(pieces: Sequence[bytes], between: Sequence[bytes]) -> bytes:
    """The pieces with something between each two."""
    return b"".join(part for pair in zip_longest(pieces, between, fillvalue=b"") for part in pair)
