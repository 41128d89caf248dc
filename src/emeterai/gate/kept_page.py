"""A page that is the same for everybody: the same bytes, made once in a while, without a look-up.

A crowd looks at the front page before anything else, and then at that of the waiting room; made anew for each they
would cost more than all that is sold.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from emeterai.infra.lane import lift_deadline

KEPT_S = 5.0
_PERSONAL = frozenset({b"cookie", b"authorization"})


class KeptPage:
    """`app` makes the page. Only a good answer that is for nobody in particular is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._until_s = 0.0
        self._kept: list[Message] = []

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a look at the page. While it is made anew everybody else gets the one before."""
        now_s = time.monotonic()
        if self._kept and now_s < self._until_s:
            for message in self._kept:
                await send(cast(Message, dict(message)))
            return
        lift_deadline()  # what is made now is for all who look in the next seconds
        self._until_s = now_s + KEPT_S
        made: list[Message] = []

        async def send_and_keep(message: Message) -> None:
            made.append(cast(Message, dict(message)))
            await send(message)

        headers = [(name, value) for name, value in scope["headers"] if name not in _PERSONAL]
        await self._app(cast(Scope, {**scope, "headers": headers}), receive, send_and_keep)
        self._kept = made if _is_everybodys(made) else []
        if not self._kept:
            self._until_s = 0.0


def _is_everybodys(made: list[Message]) -> bool:
    """Whether an answer is whole and good, and says itself that it is not for one person."""
    start = made[0] if made else None
    if start is None or start["type"] != "http.response.start" or start["status"] != 200:
        return False
    headers: Iterable[tuple[bytes, bytes]] = start["headers"]
    names = {name.lower(): value for name, value in headers}
    last = made[-1]
    is_whole = last["type"] == "http.response.body" and not last["more_body"]
    return is_whole and b"set-cookie" not in names and b"no-store" not in names.get(b"cache-control", b"")
