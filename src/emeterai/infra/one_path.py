"""One path for each address: `//v1/orders` is `/v1/orders`, as the router has it, for everybody before the router too.

Whoever judges a request by its path before it is routed (the front door, the method it means) must judge the same path
that its handler answers.
"""

from __future__ import annotations

import re
from typing import cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

_SLASHES = re.compile(r"//+")


class OnePath:
    """Wraps an ASGI application, outside of all that look at the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP, and a path that is as it should be, passes through untouched."""
        if scope["type"] == ScopeType.HTTP and "//" in scope["path"]:
            scope = cast("HTTPScope", {**scope, "path": _SLASHES.sub("/", scope["path"])})
        await self._app(scope, receive, send)
