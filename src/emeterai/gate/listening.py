"""What a client sends, piece by piece: a small body in one piece, a sender who is too slow, one who hangs up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf
from typing import cast

from litestar.types import HTTPReceiveMessage, Receive

from emeterai.infra.http import BODY_TOO_LARGE


@dataclass(frozen=True, slots=True)
class Tempo:
    """How slowly a body may come in. Whoever is slower counts as gone; what came is kept where uploads can be resumed.

    A phone at the edge of an EDGE cell has two slots up of the sturdiest coding, 17.6 kbit/s or 2,200 bytes a second
    (3GPP TS 43.064, MCS-1), of which half may go into repeats and headers. Whoever would hold all places for ever
    by dribbling must send a megabyte a second for it, from several networks (bodies.py), and comes to the end of every
    body.
    """

    grace_s: float = 30.0
    """So long it may send nothing, to begin with and whenever it has kept up: a tunnel, another cell. A sender who was
    silent for a part of it has that part again once it has sent so much more than the floor asks for."""
    floor_bytes_per_s: float = 1_000.0


TEMPO = Tempo()
_KEPT_BYTES_MAX = 64 * 1024


class Gone:
    """Listens for the client to hang up while it waits; what else it says is kept for the application."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[HTTPReceiveMessage] = []
        self._kept_bytes = 0
        self._saying: asyncio.Task[HTTPReceiveMessage] | None = None
        self.has_left = False

    async def left(self) -> None:
        """Return when the client has hung up.

        Who sends on and on where no body is wanted is not heard any more: the connection pushes back.
        """
        while not self.has_left:
            if self._kept_bytes > _KEPT_BYTES_MAX:
                await asyncio.Event().wait()
            saying = self._saying = self._saying or asyncio.ensure_future(said(self._receive))
            message = await asyncio.shield(saying)
            if self._heard(saying, message):
                self._kept.append(message)
                self._kept_bytes += len(message["body"]) if message["type"] == "http.request" else 0

    async def receive(self) -> HTTPReceiveMessage:
        """What was said while it waited, then the rest."""
        while not self._kept:
            saying = self._saying
            if self.has_left:
                return {"type": "http.disconnect"}
            if saying is None:
                return await said(self._receive)
            message = await asyncio.shield(saying)
            if self._heard(saying, message):
                return message
        return self._kept.pop(0)

    def _heard(self, saying: asyncio.Task[HTTPReceiveMessage], message: HTTPReceiveMessage) -> bool:
        """Whether this is for whoever asks: several may wait for the same word, and the first has it."""
        if self._saying is not saying:
            return False
        self._saying = None
        self.has_left = message["type"] == "http.disconnect"
        return True


async def said(receive: Receive) -> HTTPReceiveMessage:
    """What comes next on the way of one HTTP request."""
    return cast("HTTPReceiveMessage", await receive())


class Incoming:
    """A body as it comes in. A sender who has fallen behind its tempo counts as gone, as one who hangs up."""

    __slots__ = ("_left_s", "_listening", "_receive", "_tempo", "has_gone", "is_over")

    def __init__(self, receive: Receive, tempo: Tempo = TEMPO) -> None:
        self._receive, self._tempo = receive, tempo
        self._left_s = tempo.grace_s
        """How long it may still be waited for: only waiting counts, not what is done with a piece."""
        self._listening: asyncio.Timeout | None = None
        self.has_gone = False
        self.is_over = False
        """It is here whole, or its sender has gone."""

    def hang_up(self) -> None:
        """Hear no more of it: whoever goes on asking, or asks now, hears that the sender has gone."""
        self.has_gone = self.is_over = True
        if self._listening is not None:
            self._listening.reschedule(asyncio.get_running_loop().time())

    async def next_piece(self) -> HTTPReceiveMessage:
        """The next piece, or `http.disconnect`; after the last one whatever else the client says."""
        if self.has_gone:
            return {"type": "http.disconnect"}
        if self.is_over:
            return await said(self._receive)
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        try:
            async with asyncio.timeout(self._left_s) as self._listening:
                message = await said(self._receive)
        except TimeoutError:
            message = {"type": "http.disconnect"}
        finally:
            self._listening = None
        if self.has_gone or message["type"] != "http.request":  # hung up on, though a piece was already here
            self.hang_up()
            return {"type": "http.disconnect"}
        self.is_over = not message["more_body"]
        left_s = self._left_s - (loop.time() - asked_s) + len(message["body"]) / self._tempo.floor_bytes_per_s
        self._left_s = min(self._tempo.grace_s, max(0.0, left_s))
        return message


async def whole_body(incoming: Incoming, *, size_bytes_max: float = inf, announced_bytes: float = inf) -> Receive:
    """A small body, read to its end; the application receives it in one piece. Raises `body_too_large` for a body that
    goes on beyond its bound, whatever it announced.

    It ends with the last byte that was announced: a server that then says once more that there is no more would have to
    be asked for it, which costs as much as the rest of a refusal.
    """
    pieces: list[bytes] = []
    size_bytes = 0
    last: HTTPReceiveMessage = {"type": "http.disconnect"}
    while not incoming.is_over:
        last = await incoming.next_piece()
        if last["type"] == "http.request":
            pieces.append(last["body"])
            size_bytes += len(last["body"])
            if size_bytes > size_bytes_max:
                raise BODY_TOO_LARGE()
            incoming.is_over = incoming.is_over or size_bytes >= announced_bytes
    if not incoming.has_gone:
        last = {"type": "http.request", "body": b"".join(pieces), "more_body": False}
    is_heard = False

    async def receive_kept() -> HTTPReceiveMessage:
        nonlocal is_heard
        if not is_heard:
            is_heard = True
            return last
        while (message := await incoming.next_piece())["type"] == "http.request":
            pass  # that there is no more
        return message

    return receive_kept
