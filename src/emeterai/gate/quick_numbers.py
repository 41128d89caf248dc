"""Numbers for a rush: given at the door, without asking whose account it is.

One who takes a number costs a look-up of the session and a row for the place; in a rush that is more than all the
work of those who are inside. So while very many come, the number is of whoever holds the ticket, as for somebody who
is not signed in, and becomes the account's when its holder comes in or shows it again: then one person, one place.

Who takes numbers by the thousand from one address is told there, too, that they have had theirs: a refusal costs a
script nothing, and must cost the core no more than a comparison.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec
from litestar.types import HTTPScope, Receive, Send

from emeterai.core.refusal import Refused
from emeterai.gate.addresses import address_of
from emeterai.gate.at_turn import ticket_kept
from emeterai.gate.giver import NUMBERS_PAUSED
from emeterai.gate.new_numbers import NUMBERS_TOO_MANY
from emeterai.gate.reception import Given, Reception
from emeterai.gate.room_routes import Showing, ticket_name, ticket_set_cookie, ticket_view
from emeterai.gate.sorting import session_of
from emeterai.gate.turning_away import Answers
from emeterai.infra.http import spread

RUSH_PER_S = 50
"""From so many a second in one process on it is a rush."""
_EMPTY = frozenset({b"", b"0", b"2"})
"""How long a body is that says nothing."""
_SAID_HERE = (NUMBERS_PAUSED, NUMBERS_TOO_MANY)
"""Why there is no number: the ordinary way would say the same, and only cost more."""


class QuickNumbers:
    """Gives numbers in a rush, and at any time refuses those that cannot be had. One for each web process."""

    def __init__(self, reception: Reception, *, https: bool, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._reception = reception
        self._https = https
        self._headers, self._answers = headers, Answers(headers)
        self._second, self._asked, self._asked_before = 0, 0, 0
        self._cookies: dict[str, str] = {}

    async def answer(
        self, scope: HTTPScope, headers: Mapping[bytes, bytes], receive: Receive, send: Send, lane: str
    ) -> bool:
        """Answer somebody who asks for a number of a lane; False when this is no rush, or not so simple a wish."""
        if not self._is_rush() or headers.get(b"content-length", b"") not in _EMPTY:
            return False
        if b"transfer-encoding" in headers or ticket_name(lane).encode() in headers.get(b"cookie", b""):
            return False
        try:
            if self._reception.now.read(lane).awaits_draw and session_of(headers):
                return False  # an account has one lot in the draw, and needs none of its address
            given = await self._reception.ticket(lane, account_id=None, address=address_of(scope))
        except Refused as refused:
            if refused.kind not in _SAID_HERE or session_of(headers):
                return False  # the ordinary way says why, and knows what to do for an account
            await _drop_body(headers, receive)
            await self._refuse(refused, send)
            return True
        await _drop_body(headers, receive)
        await self._say(given, lane, send)
        return True

    async def refuse(
        self, scope: HTTPScope, headers: Mapping[bytes, bytes], body: bytes, send: Send, lane: str
    ) -> bool:
        """Refuse somebody unknown from an address that has had its numbers for now, rush or not; False where they show
        a good ticket, or wish for something else.
        """
        try:
            shown = msgspec.json.decode(body or b"{}", type=Showing)
            if shown.code:
                return False
            refused = self._reception.refused(
                lane, shown=shown.ticket or ticket_kept(headers, lane), address=address_of(scope)
            )
        except (Refused, msgspec.DecodeError, UnicodeDecodeError):
            return False  # the ordinary way says why
        if refused is None:
            return False
        await self._refuse(refused, send)
        return True

    def _is_rush(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._asked_before = self._asked if second == self._second + 1 else 0
            self._second, self._asked = second, 0
        self._asked += 1
        return max(self._asked, self._asked_before) > RUSH_PER_S

    async def _refuse(self, refused: Refused, send: Send) -> None:
        """As the ordinary way refuses, byte for byte."""
        retry_after_s = int(spread(refused).facts["retry_after_s"])
        await self._answers.refuse(send, refused.kind, retry_after_s=retry_after_s, form="json")

    async def _say(self, given: Given, lane: str, send: Send) -> None:
        body = msgspec.json.encode(ticket_view(given, self._reception.now.read(lane)))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"set-cookie", self._cookie(lane, given.text)),
            *self._headers,
        ]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _cookie(self, lane: str, text: str) -> bytes:
        """The lane's cookie as the ordinary way sets it; but for the ticket it is the same for all."""
        form = self._cookies.get(lane)
        if form is None:
            form = self._cookies[lane] = ticket_set_cookie(lane, "TICKET", https=self._https).to_header(header="")
        return form.replace("TICKET", text, 1).encode()


async def _drop_body(headers: Mapping[bytes, bytes], receive: Receive) -> None:
    """Read what says nothing."""
    if headers.get(b"content-length") == b"2":
        await receive()
