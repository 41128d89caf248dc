"""Answers that arrive: what is left of a request's body is read and dropped before an early answer goes out.

A server that answers and closes while the other side still sends makes the network drop the answer (RFC 9112 section
9.6): a browser then shows "connection reset" in place of "the file is too large" or "please sign in again".
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from emeterai.core.refusal import Refused

DRAIN_S_MAX = 20.0
WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Methods whose body, should there be one, means nothing."""


class DrainedRequests:
    """Wraps an ASGI application. At most `size_bytes_max` and DRAIN_S_MAX are spent on a body that nobody wants."""

    def __init__(self, app: ASGIApp, *, size_bytes_max: int) -> None:
        self._app = app
        self._size_bytes_max = size_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; one without a body passes through untouched."""
        if scope["type"] != ScopeType.HTTP or not _sends_body(scope):
            await self._app(scope, receive, send)
            return
        body_ended = False

        async def receive_noted() -> HTTPReceiveMessage:
            nonlocal body_ended
            try:
                message = cast("HTTPReceiveMessage", await receive())
            except Refused:  # at its last byte: no more of it comes, and whoever waits for more waits in vain
                body_ended = True
                raise
            body_ended = body_ended or message["type"] != "http.request" or not message["more_body"]
            return message

        async def drain() -> None:
            left = self._size_bytes_max
            while not body_ended and left > 0:
                message = await receive_noted()
                left -= len(message["body"]) if message["type"] == "http.request" else 0

        async def send_after_body(message: Message) -> None:
            if message["type"] == "http.response.start" and not body_ended:
                with suppress(TimeoutError, Refused):  # the answer that there is goes out, not that of work never begun
                    async with asyncio.timeout(DRAIN_S_MAX):
                        await drain()
            await send(message)

        await self._app(scope, receive_noted, send_after_body)


def _sends_body(scope: Scope) -> bool:
    """Whether the body is on its way; one that waits for `100 Continue` (RFC 9110 section 10.1.1) never starts.

    What comes with a method that has none (section 9.3.1) is not waited for: nobody reads it, and it may never come.
    """
    if scope["type"] == ScopeType.HTTP and scope["method"] in WITHOUT_BODY:
        return False
    headers = dict(scope["headers"])
    has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
    return has_body and b"expect" not in headers
