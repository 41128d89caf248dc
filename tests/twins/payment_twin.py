"""What the twins of the payment providers have in common: a clock of their own, a postman, and bad days.

A twin is an ASGI application. Time passes only when a test says so; notifications leave when a test lets them.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx

Headers = dict[str, str]
Receiver = Callable[[Headers, bytes], Awaitable[int]]
"""Who is notified: takes headers and body, gives an HTTP status; raises TimeoutError when it is too slow."""


@dataclass
class BadDay:
    """Everything that can be wrong with a provider at once. The default is a good day."""

    down: bool = False
    """Nobody answers the line."""
    slow_s: float = 0.0
    """Answers come so late."""
    fails_after_doing: int = 0
    """So many orders to do something are done and then answered with 500; questions are answered."""
    refuses: int = 0
    """So many requests are answered with `refusal` and nothing is done."""
    refusal: int = 503
    says: dict[str, Any] | None = None
    """Every request is answered with this and HTTP 200, and nothing is done."""
    garbage: bool = False
    """Answers are not JSON."""
    loses: bool = False
    doubles: bool = False
    reorders: bool = False
    """Notifications are lost, sent twice, or the last one first."""
    delays_s: float = 0.0
    """Notifications leave so late."""
    pays: int | None = None
    """What a payer's bank sends in place of what was asked."""
    currency: str | None = None
    """What currency it is in, where not in rupiah."""
    declines_refunds: bool = False
    """Refunds are refused."""
    refunds_slowly: bool = False
    """Refunds are pending until `finish_refunds`."""


@dataclass
class Letter:
    """A notification on its way; `tries` have failed, the next is at `due`."""

    body: bytes
    headers: Headers
    due: datetime
    tries: int = 0


@dataclass
class PaymentTwin:
    """The trunk of a twin: HTTP, time and post."""

    key: str = "kunci-server-uji"
    day: BadDay = field(default_factory=BadDay)
    now: datetime = datetime(2026, 11, 22, 16, 59, 0, tzinfo=UTC)
    post: list[Letter] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Every request that came in, as `METHOD path`."""
    retries_s: ClassVar[Sequence[int]] = ()

    def transport(self) -> httpx.AsyncBaseTransport:
        """The line to this twin, for a client of ours."""
        return _Line(self)

    def pass_time(self, **duration: float) -> None:
        """Let time pass, in the words of `timedelta`; what is due then happens."""
        self.now += timedelta(**duration)
        self.end_due()

    def end_due(self) -> None:
        """End charges whose time is over."""

    def send(self, words: dict[str, Any], headers: Headers) -> None:
        """Put a notification into the post."""
        letter = Letter(json.dumps(words).encode(), headers, self.now + timedelta(seconds=self.day.delays_s))
        self.post += [] if self.day.loses else [letter] * (2 if self.day.doubles else 1)

    async def deliver(self, receiver: Receiver) -> list[int]:
        """Deliver what is due; gives the answers, 0 for none. What failed goes back into the post by the schedule."""
        due = [letter for letter in self.post if letter.due <= self.now]
        self.post = [letter for letter in self.post if letter.due > self.now]
        answers = []
        for letter in reversed(due) if self.day.reorders else due:
            try:
                status = await receiver(dict(letter.headers), letter.body)
            except TimeoutError:
                status = 0
            answers.append(status)
            if letter.tries < self.tries_after(status):
                pause = timedelta(seconds=self.retries_s[letter.tries])
                self.post.append(Letter(letter.body, letter.headers, self.now + pause, letter.tries + 1))
        return answers

    def tries_after(self, status: int) -> int:
        """How often a notification that was answered so is sent again."""
        return 0 if 200 <= status < 300 else len(self.retries_s)

    def respond(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, dict[str, Any]]:
        """The answer to a request whose key was right."""
        raise NotImplementedError

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Be an ASGI application."""
        if scope["type"] != "http":
            return
        body = bytearray()
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.asked.append(f"{scope['method']} {scope['path']}")
        if self.day.slow_s:
            await asyncio.sleep(self.day.slow_s)
        query = scope.get("query_string", b"").decode()
        path = f"{scope['path']}?{query}" if query else scope["path"]
        status, words = self._answered(scope["method"], path, headers, bytes(body))
        content = b"<html>502</html>" if self.day.garbage else json.dumps(words).encode()
        plain = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": plain})
        await send({"type": "http.response.body", "body": content})

    def _answered(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, dict[str, Any]]:
        expected = "Basic " + base64.b64encode(f"{self.key}:".encode()).decode()
        if headers.get("authorization") != expected:
            return 401, {"status_code": "401", "error_code": "INVALID_API_KEY"}
        if self.day.refuses > 0:
            self.day.refuses -= 1
            return self.day.refusal, {}
        if self.day.says is not None:
            return 200, self.day.says
        status, words = self.respond(method, path, headers, body)
        if method == "POST" and self.day.fails_after_doing > 0:
            self.day.fails_after_doing -= 1
            return 500, {}
        return status, words


class _Line(httpx.AsyncBaseTransport):
    """The line to a twin, which can be dead."""

    def __init__(self, twin: PaymentTwin) -> None:
        self._twin = twin
        self._app = httpx.ASGITransport(twin)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, unless nobody is there."""
        if self._twin.day.down:
            raise httpx.ConnectError("nobody there")
        return await self._app.handle_async_request(request)
