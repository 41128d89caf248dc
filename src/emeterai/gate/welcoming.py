"""A pass for whoever walked in without one: an ordinary one, with the answer to the first thing that they do inside.

Who walked in is inside for the web process that let them in, and for no other. When a crowd comes, their next request
may be another's: by the pass they are inside there as well. It is bound to their lane and account and names no number,
lasts and is renewed as any other, and ends two hours after they walked in. Nobody is given one but by an answer that is
theirs alone; programs ask for theirs at the gate.

On a phone that people share the next one would be kept out by it, who could have walked in as well: with the session it
is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from litestar.types import HTTPResponseStartEvent, Message, Send

from emeterai.gate.carrying import FORGET_PASS, PASS_HEADER, gives_pass, is_in_cookie, pass_text
from emeterai.gate.passes import Passes
from emeterai.gate.renewing import changes_session, is_for_one
from emeterai.gate.sorting import Needs, Sort


@dataclass(frozen=True, slots=True)
class Welcomed:
    """A pass as a browser gets it: its `Set-Cookie`, and who holds it, as passes say it."""

    cookie: str
    subject: bytes


Give = Callable[[str, Mapping[bytes, bytes], float], Welcomed | None]
"""The pass of who came into a lane so many seconds ago, by the headers of what they ask. It takes microseconds and asks
nobody; None where it is not known who they are, or they are withdrawn.
"""


def nobody_is_given(_lane: str, _headers: Mapping[bytes, bytes], _stayed_s: float) -> Welcomed | None:
    """Nobody gets one: where nobody is known."""
    return None


class Welcome:
    """One for each web process. `give` is set once the application knows who is signed in; `passes` read those of this
    installation, and without them none is taken away.
    """

    def __init__(self, passes: Passes | None = None) -> None:
        self.give: Give = nobody_is_given
        self._passes = passes

    def add(
        self, lane: str, sort: Sort, headers: Mapping[bytes, bytes], start: HTTPResponseStartEvent, stayed_s: float
    ) -> bytes:
        """Have an answer carry the pass of who asked; answers who that is, or nothing when it carries none."""
        said = list(start["headers"])
        is_program = PASS_HEADER in headers or b"authorization" in headers
        if sort.needs is not Needs.WORK or is_program or not is_for_one(said) or changes_session(said):
            return b""
        if self._is_awaited_elsewhere(lane, headers):
            return b""
        given = self.give(lane, headers, stayed_s)
        if given is None:
            return b""
        start["headers"] = [*said, (b"set-cookie", given.cookie.encode())]
        return given.subject

    def taken_away(self, headers: Mapping[bytes, bytes], send: Send) -> Send:
        """The way of answering a request, by which a browser forgets such a pass when a session begins or ends."""
        if self._passes is None or not is_in_cookie(headers):
            return send
        passes = self._passes

        async def send_without_pass(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = list(message["headers"])
                if changes_session(said) and not gives_pass(said):
                    shown = passes.read(pass_text(headers))
                    if shown is not None and shown.is_of_walk_in:
                        message["headers"] = [*said, (b"set-cookie", FORGET_PASS)]
            await send(message)

        return send_without_pass

    def _is_awaited_elsewhere(self, lane: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser keeps the pass of another lane: though over, it says where a turn may be good still."""
        if self._passes is None or not is_in_cookie(headers):
            return False
        shown = self._passes.read(pass_text(headers))
        return shown is not None and shown.lane != lane
