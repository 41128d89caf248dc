"""Whose turn has come, told at the door from what a request shows: a signed ticket or pass and the now-serving file."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from litestar.types import HTTPScope

from emeterai.core.refusal import Refused
from emeterai.gate.carrying import pass_text
from emeterai.gate.passes import is_withdrawn, opens_nothing
from emeterai.gate.reception import Reception
from emeterai.gate.room_routes import Holding, ticket_name


class AtTurn:
    """Whether somebody is called, or is inside with a good pass. It asks nobody, and lets nobody in: the reception says
    who comes in, this only who is heard before the others.
    """

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    def __call__(self, scope: HTTPScope, headers: Mapping[bytes, bytes], body: bytes) -> bool:
        """Whether a request below `/gate/LANE` is of such a one, by its body, or by what else it shows."""
        lane = scope["path"].removeprefix("/gate/").partition("/")[0]
        sent = _sent(body)
        ticket = sent.ticket or ticket_kept(headers, lane)
        held = sent.held or pass_text(headers)
        return bool(ticket and self._is_called(lane, ticket)) or bool(held and self._is_inside(lane, held))

    def _is_called(self, lane: str, text: str) -> bool:
        desk = self._reception
        ticket = desk.press.read(text)
        if ticket is None or ticket.lane != lane or is_withdrawn(ticket, desk.revoked):
            return False
        try:
            now = desk.now.read(lane)
        except Refused:
            return False
        turn = now.turn_of(ticket.number)
        return now.state == "open" and turn is not None and now.grace_from <= turn <= now.now_serving

    def _is_inside(self, lane: str, text: str) -> bool:
        desk = self._reception
        held = desk.passes.read(text)
        if held is None or held.lane != lane or desk.clock_s() >= held.until_s:
            return False
        return not opens_nothing(held, desk.revoked)


def ticket_kept(headers: Mapping[bytes, bytes], lane: str) -> str:
    """The ticket of a lane that a browser keeps, or nothing."""
    name = f"{ticket_name(lane)}=".encode("latin-1", "replace")
    text = headers.get(b"cookie", b"").partition(name)[2].partition(b";")[0].strip()
    return text.decode() if text.isascii() else ""


def _sent(body: bytes) -> Holding:
    """What a program or the room's own script shows; a form shows nothing but cookies."""
    try:
        return msgspec.json.decode(body, type=Holding)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Holding()
