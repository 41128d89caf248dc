"""What a crowd asks of the waiting room of a lane with a line, answered at the door: its page, which is kept for all
alike, and in a rush its numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Receive, Send

from emeterai.gate.door import Door
from emeterai.gate.kept_page import KeptPage

Give = Callable[[HTTPScope, Mapping[bytes, bytes], Receive, Send, str], Awaitable[bool]]
"""Gives a number of a lane to whoever asks, in a rush; False when it goes the ordinary way."""
Refuse = Callable[[HTTPScope, Mapping[bytes, bytes], bytes, Send, str], Awaitable[bool]]
"""Refuses a number of a lane to whoever asks with this body, of whom nothing is known and whose address has had its
numbers for now; False when it goes the ordinary way."""
IsCalled = Callable[[HTTPScope, Mapping[bytes, bytes], bytes], bool]
"""Whether a request, by its headers and its body, is of somebody whose number is called, or who is inside."""


async def no_numbers(*_: object) -> bool:
    """All numbers are given, and refused, the ordinary way."""
    return False


def nobody_is_called(*_: object) -> bool:
    """All are alike."""
    return False


@dataclass(slots=True)
class Numbers:
    """What the waiting room knows of numbers at the door; set once it is open."""

    give: Give = no_numbers
    refuse: Refuse = no_numbers
    is_called: IsCalled = nobody_is_called


class RoomCrowd:
    """Stands before `app`."""

    def __init__(self, app: ASGIApp, door: Door, numbers: Numbers) -> None:
        self._app = app
        self._door = door
        self._numbers = numbers
        self._pages: dict[tuple[str, bool], KeptPage] = {}

    async def answered(self, scope: HTTPScope, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> bool:
        """Whether this request has got its answer here."""
        path, method = scope["path"], scope["method"]
        head, _, lane = path.removesuffix("/tickets").rpartition("/")
        if head != "/gate" or lane not in self._door.passes_needed:
            return False
        if path.endswith("/tickets"):
            return method == "POST" and await self._numbers.give(scope, headers, receive, send, lane)
        if method != "GET":
            return False
        packed = b"gzip" in headers.get(b"accept-encoding", b"")
        page = self._pages.get((lane, packed)) or self._pages.setdefault((lane, packed), KeptPage(self._app))
        # Links in letters and posts bring a query of their own; the page is the same, and is made without it.
        await page.answer(cast(HTTPScope, {**scope, "query_string": b""}), receive, send)
        return True
