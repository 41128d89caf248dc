"""What a client sends, piece by piece: a small body in one piece, a sender who falls silent, one who hangs up."""

from __future__ import annotations

import asyncio
from typing import cast

from litestar.types import HTTPReceiveMessage, Receive

PIECE_S_MAX = 30.0
"""A sender from whom nothing comes for so long has gone; what has come is kept where uploads can be resumed."""


class Gone:
    """Listens for the client to hang up while it waits; what else it says is kept for the application."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[HTTPReceiveMessage] = []
        self._saying: asyncio.Task[HTTPReceiveMessage] | None = None
        self.has_left = False

    async def left(self) -> None:
        """Return when the client has hung up."""
        while not self.has_left:
            self._saying = self._saying or asyncio.ensure_future(_said(self._receive))
            message = await asyncio.shield(self._saying)
            self._saying = None
            self._kept.append(message)
            self.has_left = message["type"] == "http.disconnect"

    async def receive(self) -> HTTPReceiveMessage:
        """What was said while it waited, then the rest."""
        if self._kept:
            return self._kept.pop(0)
        if self._saying is not None:
            saying, self._saying = self._saying, None
            return await saying
        return cast("HTTPReceiveMessage", await self._receive())


async def _said(receive: Receive) -> HTTPReceiveMessage:
    return cast("HTTPReceiveMessage", await receive())


async def next_piece(receive: Receive) -> HTTPReceiveMessage:
    """The next piece of a body; a sender who has been silent for too long counts as gone."""
    try:
        async with asyncio.timeout(PIECE_S_MAX):
            return cast("HTTPReceiveMessage", await receive())
    except TimeoutError:
        return {"type": "http.disconnect"}


async def whole_body(receive: Receive) -> Receive:
    """A small body, read to its end; the application receives it in one piece."""
    pieces: list[bytes] = []
    last: HTTPReceiveMessage
    while True:
        last = await next_piece(receive)
        if last["type"] != "http.request":
            break
        pieces.append(last["body"])
        if not last["more_body"]:
            last = {"type": "http.request", "body": b"".join(pieces), "more_body": False}
            break
    said = False

    async def receive_kept() -> HTTPReceiveMessage:
        nonlocal said
        if not said:
            said = True
            return last
        return cast("HTTPReceiveMessage", await receive())

    return receive_kept
