"""Whose token a request carries: one reader for the door and for the application.

Were there two, one person could look like any number of people at the door, or like nobody where a pass is asked for.
Pages know the cookie alone; `/v1` and the rooms of the gate read `Authorization`, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from litestar.types import Scope

SESSION_COOKIE = "emeterai_session"

_AUTHORIZATION = b"authorization"
_BELOW = ("/v1/", "/gate/")
_BEARER = b"bearer"
_NAME = SESSION_COOKIE.encode()


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers of a request, without `Authorization` on pages: there nobody reads it."""
    headers = dict(scope["headers"])
    if not scope["path"].startswith(_BELOW):
        headers.pop(_AUTHORIZATION, None)
    return headers


def bearer_in(headers: Mapping[bytes, bytes]) -> str | None:
    """The token of `Authorization: Bearer` (RFC 6750 section 2.1), or None without that header."""
    header = headers.get(_AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == _BEARER else ""


def session_in(headers: Mapping[bytes, bytes]) -> str:
    """The token of the cookie just as it was sent, or nothing. Of two of its name it is the last, which is the newer
    one where their paths are equal (RFC 6265 section 5.4): a cookie of the whole domain locks nobody out.
    """
    named = (one.partition(b"=") for one in headers.get(b"cookie", b"").split(b";"))
    found = [value.strip() for name, _, value in named if name.strip() == _NAME]
    return found[-1].decode("latin-1") if found else ""


def token_in(headers: Mapping[bytes, bytes]) -> str:
    """The token by which a request with these headers (`headers_of`) says whose it is, or nothing."""
    return bearer_in(headers) or session_in(headers)
