"""Probes of strangers: however often they ask, an answer is made a few times a second, and all who ask have that one.

Nobody is refused: whoever watches the service from another machine must not be blinded by those who hammer it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import cast

from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Send

from emeterai.infra.lane import lift_deadline

KEPT_S: Mapping[str, float] = {"/metrics": 0.5, "/readyz": 0.1}
"""So old may an answer be: the one adds up what all processes have counted, the other asks the database."""


class KeptProbe:
    """One address of one web process. `app` makes the answers. `clock` is monotonic."""

    def __init__(self, app: ASGIApp, kept_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._kept_s, self._clock = app, kept_s, clock
        self._made: asyncio.Task[list[Message]] | None = None
        self._until_s = -inf

    async def answer(self, scope: HTTPScope, send: Send) -> None:
        """Answer one probe. Whoever asks while an answer is made has that one."""
        if self._made is None or (self._made.done() and self._clock() >= self._until_s):
            self._made = asyncio.create_task(self._make(scope))
        # Not for the one alone who asked first: if he goes, the others still wait for it.
        for message in await asyncio.shield(self._made):
            await send(cast(Message, dict(message)))

    async def _make(self, scope: HTTPScope) -> list[Message]:
        lift_deadline()  # what is made now is for all who ask meanwhile
        made: list[Message] = []

        async def receive() -> HTTPReceiveMessage:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def keep(message: Message) -> None:
            made.append(cast(Message, dict(message)))

        await self._app(scope, receive, keep)
        self._until_s = self._clock() + self._kept_s
        return made
