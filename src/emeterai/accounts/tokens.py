"""Bearer tokens: 256 random bits behind a prefix that names the kind and lets scanners of leaked secrets find them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict

from emeterai.accounts.model import Caller

SESSION_PREFIX = "ems_"
API_KEY_PREFIX = "emk_"
KEY_PREFIX_LENGTH = 8
"""So many characters of an API key stay readable, for people to tell their keys apart."""

_TOKEN = re.compile(r"em[sk]_[A-Za-z0-9_-]{43}")


def new_token(prefix: str) -> str:
    """A fresh token of 47 characters, such as `emk_` and 32 random bytes in base64url."""
    return prefix + secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Whether `text` has the form of a token of ours; only such a text is worth a question to the database."""
    return _TOKEN.fullmatch(text) is not None


def token_digest(token: str) -> bytes:
    """What is stored of a token: SHA-256. A slow hash would add nothing to 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


class RecentCallers:
    """The callers of the last seconds, so that a page that looks again and again does not ask the database each time.

    At most `entries_max`, the oldest leaves first; each lives for at most `life_s`. So a session that was ended, or a
    key that was revoked, through another process is known here for at most that long.
    """

    def __init__(self, *, life_s: float = 3.0, entries_max: int = 10_000) -> None:
        self._life_s = life_s
        self._entries_max = entries_max
        self._entries: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    def get(self, digest: bytes, now_s: float) -> Caller | None:
        """The caller behind a token's digest if known and fresh at `now_s` of a monotonic clock."""
        caller, until_s = self._entries.get(digest, (None, 0.0))
        return caller if now_s < until_s else None

    def put(self, digest: bytes, caller: Caller, now_s: float, *, left_s: float) -> None:
        """Remember a caller whose token has `left_s` seconds to live by the database's clock."""
        self._entries[digest] = (caller, now_s + min(self._life_s, left_s))
        self._entries.move_to_end(digest)
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

    def forget(self, digest: bytes) -> None:
        """Forget a token that has ended."""
        self._entries.pop(digest, None)
