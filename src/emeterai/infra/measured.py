"""Every request measured and named: a counter, a duration by method and status, and an id in the log and the answer."""

from __future__ import annotations

import time

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from emeterai.infra import metrics
from emeterai.infra.ids import new_id

_duration_s = metrics.histogram(
    "emeterai_http_request_seconds", "Time until the last byte of the answer", ["method", "status"]
)
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
"""A server takes any other word, too: those are counted together, or whoever invents them would fill the memory."""
_in_flight = metrics.gauge("emeterai_http_requests_in_flight", "Requests being answered")


class MeasuredRequests:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP passes through untouched."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id, status, began = new_id().hex, "none", time.perf_counter()
        clear_contextvars()
        bind_contextvars(request_id=request_id)

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        _in_flight.inc()
        try:
            await self._app(scope, receive, send_named)
        finally:
            _in_flight.dec()
            method = scope["method"] if scope["method"] in _METHODS else "other"
            _duration_s.labels(method, status).observe(time.perf_counter() - began)
