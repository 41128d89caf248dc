"""How a request carries a pass and how a browser is given one: the names, and the one set of a cookie's attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from litestar.datastructures import Cookie

from emeterai.gate.passes import Pass

PASS_COOKIE = "emeterai_pass"  # noqa: S105 - the name of a cookie
PASS_HEADER = b"emeterai-pass"
COOKIE_OUTLIVES_S = 86_400
"""So long a browser keeps a pass that is over, which says in which lane its holder was (side_entrance.py)."""
_COOKIE = PASS_COOKIE.encode() + b"="
FORGET_PASS = _COOKIE + b"; Path=/; Max-Age=0; HttpOnly; SameSite=lax"
"""The `Set-Cookie` by which a browser forgets its pass."""


def pass_text(headers: Mapping[bytes, bytes]) -> str:
    """The pass that a request shows: that of the header, else that of the cookie, else nothing. Whoever asks what the
    pass of a request is asks here: two answers would let one pass open and another say whose it is.
    """
    text = headers.get(PASS_HEADER) or headers.get(b"cookie", b"").partition(_COOKIE)[2].partition(b";")[0]
    return text.strip().decode() if text.isascii() else ""


def is_in_cookie(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the pass that a request shows, good or not, is one that a browser keeps."""
    return not headers.get(PASS_HEADER) and _COOKIE in headers.get(b"cookie", b"")


def gives_pass(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer gives a browser a pass."""
    return any(name.lower() == b"set-cookie" and value.startswith(_COOKIE) for name, value in headers)


def pass_set_cookie(granted: Pass, text: str, *, now_s: float, https: bool) -> Cookie:
    """Lets the browser keep a pass for as long as it is good and a day longer, and show it everywhere. When it is over
    says what we signed, not what a browser keeps.
    """
    return Cookie(
        key=PASS_COOKIE,
        value=text,
        path="/",
        max_age=max(0, int(granted.until_s - now_s)) + COOKIE_OUTLIVES_S,
        httponly=True,
        samesite="lax",
        secure=https,
    )
