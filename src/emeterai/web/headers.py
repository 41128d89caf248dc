"""The security headers of every answer: an ASGI wrapper around the whole application, so that a 404 has them too."""

from __future__ import annotations

from collections.abc import Sequence

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send


def content_security_policy(form_targets: Sequence[str] = (), *, runs_script: bool = False) -> str:
    """The policy of our pages: own styles and images only, no script at all, no frame around them.

    `runs_script`: of a page that follows what happens, by a file of ours which asks nobody but us. `form_targets` are
    the origins that a form's answer may redirect to (CSP3 form-action, which Chromium also applies to redirects): the
    payment providers' pages.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "img-src 'self' data:",
            *(("script-src 'self'", "connect-src 'self'") if runs_script else ()),
            " ".join(("form-action 'self'", *form_targets)),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


class SecurityHeaders:
    """Wraps an ASGI application and adds the headers that an answer does not set itself."""

    def __init__(self, app: ASGIApp, *, form_targets: Sequence[str] = (), https: bool = False) -> None:
        headers = {
            "content-security-policy": content_security_policy(form_targets),
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
            "cross-origin-opener-policy": "same-origin",
        }
        if https:
            headers["strict-transport-security"] = "max-age=63072000"
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers, for those who answer before this is asked."""
        return self._headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP passes through untouched."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                missing = [header for header in self._headers if header[0] not in present]
                message["headers"] = [*message["headers"], *missing]
            await send(message)

        await self._app(scope, receive, send_with_headers)
