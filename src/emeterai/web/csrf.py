"""Protection of forms against forged requests, without any state: a random cookie and its HMAC in a hidden field.

The signed double-submit pattern. The cookie is `__Host-` prefixed over https, so that no neighbouring subdomain can
set it; a request that the browser itself calls cross-site (`Sec-Fetch-Site`) is refused whatever it carries.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie, FormMultiDict

from emeterai.core.refusal import RefusalKind
from emeterai.infra.http import sent_form

CSRF_FAILED = RefusalKind(
    "csrf_failed",
    403,
    "Halaman ini sudah lama terbuka; muat ulang lalu coba lagi.",
    "This page has been open for a long time; reload it and try again.",
)
FIELD_NAME = "csrf"
_NONCE = re.compile(r"[A-Za-z0-9_-]{43}")

AnyConnection = ASGIConnection[Any, Any, Any, Any]


class Csrf:
    """Makes and checks the hidden field. `secret` has at least 32 bytes and is the same in every web process."""

    def __init__(self, secret: bytes, *, https: bool) -> None:
        if len(secret) < 32:
            raise ValueError("the secret of the form protection has at least 32 bytes")
        self._secret = secret
        self._https = https
        self.cookie_name = "__Host-csrf" if https else "csrf"

    def nonce(self, connection: AnyConnection) -> str | None:
        """The random value that this browser already holds, or None when it holds none that we can have made."""
        nonce = connection.cookies.get(self.cookie_name, "")
        return nonce if _NONCE.fullmatch(nonce) else None

    def new_nonce(self) -> str:
        """A fresh random value for a browser that holds none."""
        return secrets.token_urlsafe(32)

    def token(self, nonce: str) -> str:
        """The value of the hidden field that belongs to the browser's random value."""
        return hmac.new(self._secret, nonce.encode("ascii"), hashlib.sha256).hexdigest()

    def cookie(self, nonce: str) -> Cookie:
        """The cookie that gives a browser its random value for as long as the browser stays open."""
        return Cookie(key=self.cookie_name, value=nonce, path="/", httponly=True, samesite="lax", secure=self._https)

    def check(self, connection: AnyConnection, form: Mapping[str, Any]) -> None:
        """Pass a form that one of our pages showed to this browser; raise `csrf_failed` for every other."""
        nonce = self.nonce(connection)
        field = form.get(FIELD_NAME)
        if connection.headers.get("sec-fetch-site") == "cross-site" or nonce is None or not isinstance(field, str):
            raise CSRF_FAILED()
        if not hmac.compare_digest(field.encode(), self.token(nonce).encode()):
            raise CSRF_FAILED()


async def checked_form(request: Request[Any, Any, Any], csrf: Csrf) -> FormMultiDict:
    """A form that one of our pages showed to this browser. Raises `csrf_failed`, `request_malformed`."""
    form = await sent_form(request)
    csrf.check(request, form)
    return form


def texts_of(form: FormMultiDict) -> dict[str, str]:
    """The fields of a form that are texts, without its files."""
    return {name: value for name, value in form.items() if isinstance(value, str)}
