"""What a request means by its method: HEAD is answered wherever GET is, and a method may come in a header.

HEAD is GET without its body (RFC 9110 section 9.3.2): download managers and monitors ask so. Proxies that know no PATCH
or DELETE let a program say POST and name its method in `X-HTTP-Method-Override` (tus 1.0.0, "Headers").
"""

from __future__ import annotations

import asyncio
from typing import cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Method, Receive, Scope, Send

_OVERRIDES = {b"PATCH", b"DELETE", b"HEAD"}


class TrueMethods:
    """Wraps an ASGI application. Below `own_path` HEAD has its own handlers, and only there a header may override."""

    def __init__(self, app: ASGIApp, *, own_path: str) -> None:
        self._app = app
        self._own_path = own_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP passes through untouched."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
        elif scope["path"].startswith(self._own_path):
            await self._app(_with_method(scope, _overriding(scope)), receive, send)
        elif scope["method"] == "HEAD":
            await self._answer_head(_with_method(scope, "GET"), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer_head(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """The head of the answer to GET. Its body is never made: it may be a long file, or events without an end."""
        answered = asyncio.Event()

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                answered.set()

        answering = asyncio.ensure_future(self._app(scope, receive, send_head))
        head_sent = asyncio.ensure_future(answered.wait())
        await asyncio.wait({answering, head_sent}, return_when=asyncio.FIRST_COMPLETED)
        head_sent.cancel()
        if answered.is_set():
            answering.cancel()
            await asyncio.wait({answering})
        else:
            await answering


def _with_method(scope: HTTPScope, method: Method) -> HTTPScope:
    return scope if scope["method"] == method else cast("HTTPScope", {**scope, "method": method})


def _overriding(scope: HTTPScope) -> Method:
    named = dict(scope["headers"]).get(b"x-http-method-override", b"").upper()
    return cast("Method", named.decode()) if scope["method"] == "POST" and named in _OVERRIDES else scope["method"]
