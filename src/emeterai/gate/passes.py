"""Passes: the right to be inside a lane for some minutes, signed, renewed by use, checked without asking anybody.

A pass is bound to its lane and to an account or, before its holder has signed in, to the number of a ticket. One with
the *finish* claim belongs to somebody with money or a unit in flight: it opens whatever the state of the line, and for
one who is withdrawn as well, though not to buy more. Pure but for the clock that the caller hands in.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from emeterai.core.refusal import RefusalKind
from emeterai.gate.tickets import Ticket, number_subject
from emeterai.gate.tokens import NOBODY, Signer

PASS_LIFE_S = 600
"""Without use a pass ends after ten minutes; with use it is renewed (renewing.py), so nobody is sent away from work."""
STAY_S = 7_200
"""With use it lasts for two hours from entering; then only what is paid or under way lets its holder stay. One to
finish lasts so long from when it was last certain that something is under way.
"""
FINISH_LIFE_S = 1_800
PASS_NEEDED = RefusalKind(
    "pass_needed",
    429,
    "Layanan sedang ramai; ambil nomor antrean di {room}, lalu masuk saat giliran Anda.",
    "The service is crowded; take a number at {room} and come in when it is your turn.",
)
PASS_UNKNOWN = RefusalKind(
    "pass_unknown",
    403,
    "Tanda masuk ini bukan dari kami atau bukan untuk jalur ini; masuklah lagi dari ruang tunggu {room}.",
    "This pass is not ours or not for this lane; enter again from the waiting room {room}.",
)
PASS_EXPIRED = RefusalKind(
    "pass_expired",
    403,
    "Tanda masuk ini sudah berakhir; buka {room} untuk masuk lagi dengan nomor Anda.",
    "This pass has ended; open {room} to come in again with your number.",
)
PASS_OF_ANOTHER = RefusalKind(
    "pass_of_another",
    403,
    "Tanda masuk ini milik akun lain; ambil nomor Anda sendiri di {room}.",
    "This pass belongs to another account; take a number of your own at {room}.",
)
PASS_REVOKED = RefusalKind(
    "pass_revoked",
    403,
    "Tanda masuk ini telah dicabut petugas; hubungi layanan bila menurut Anda itu keliru.",
    "This pass was withdrawn by staff; contact us if you think that is a mistake.",
)
_BODY = struct.Struct(">BI12sII")
_FINISH = 1

Revoked = Collection[tuple[str, bytes]]
"""Lanes and subjects whose tickets and passes are withdrawn."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A right to be inside. `holder` is an account's digest, or `NOBODY` until the holder signs in.

    `number` is 0 for a pass that came without a ticket. Times are whole seconds since 1970; `entered_s` of one to
    finish is when it was last certain that something is under way.
    """

    lane: str
    number: int
    holder: bytes
    entered_s: int
    until_s: int
    finish: bool = False

    @property
    def is_bound(self) -> bool:
        """Whether it names an account."""
        return self.holder != NOBODY

    @property
    def subject(self) -> bytes:
        """Who holds it, as revocations say it."""
        return self.holder if self.is_bound else number_subject(self.number)

    @property
    def is_of_walk_in(self) -> bool:
        """Whether its holder walked in while no pass was asked for: it names an account, and no number."""
        return self.is_bound and not self.number and not self.finish


def is_withdrawn(shown: Ticket | Pass, revoked: Revoked) -> bool:
    """Whether the holder of a ticket or a pass is withdrawn, or its number: also one that has become an account's."""
    lane = shown.lane
    return bool(revoked) and ((lane, shown.subject) in revoked or (lane, number_subject(shown.number)) in revoked)


def opens_nothing(shown: Pass, revoked: Revoked) -> bool:
    """Whether a pass is withdrawn, and not one to finish: nobody is kept from what they have paid for."""
    return not shown.finish and is_withdrawn(shown, revoked)


class Passes:
    """Signs, checks and renews passes. `secret` is this installation's."""

    def __init__(self, secret: bytes) -> None:
        self._signer, self._tickets = Signer(secret, "p1"), Signer(secret, "t1")

    def holder_of(self, account_id: UUID) -> bytes:
        """How passes name an account: as tickets do."""
        return self._tickets.holder_of(account_id)

    def of_ticket(self, ticket: Ticket, now_s: int) -> Pass:
        """The pass of somebody whose turn has come."""
        return Pass(ticket.lane, ticket.number, ticket.holder, now_s, now_s + PASS_LIFE_S)

    def of_walk_in(self, lane: str, account_id: UUID, now_s: int, *, stayed_s: int) -> Pass:
        """The pass of an account that walked in so long ago: it ends when their stay does."""
        entered_s = now_s - stayed_s
        return Pass(lane, 0, self.holder_of(account_id), entered_s, min(now_s + PASS_LIFE_S, entered_s + STAY_S))

    def to_finish(self, lane: str, account_id: UUID, now_s: int) -> Pass:
        """The pass of an account with money or a unit in flight, with or without a ticket."""
        return Pass(lane, 0, self.holder_of(account_id), now_s, now_s + FINISH_LIFE_S, finish=True)

    def sign(self, granted: Pass) -> str:
        """The pass as text: about 70 characters."""
        flags = _FINISH if granted.finish else 0
        body = _BODY.pack(flags, granted.number, granted.holder, granted.entered_s, granted.until_s)
        return self._signer.sign(granted.lane, body)

    def read(self, text: str) -> Pass | None:
        """The pass behind a text that we signed, whatever its age, or None."""
        found = self._signer.read(text, body_bytes=_BODY.size)
        if found is None:
            return None
        lane, body = found
        flags, number, holder, entered_s, until_s = _BODY.unpack(body)
        return Pass(lane, number, holder, entered_s, until_s, finish=bool(flags & _FINISH))

    def check(
        self, text: str, *, lanes: Sequence[str], account_id: UUID | None, now_s: float, revoked: Revoked = ()
    ) -> Pass:
        """The pass, when it opens one of `lanes` for this account now.

        Raises `pass_unknown`, `pass_revoked`, `pass_expired` or `pass_of_another`. A pass that names no account opens
        for anyone who shows it: what it opens must then be nothing but the way to signing in.
        """
        found = self.read(text)
        room = room_path(lanes[0])
        if found is None or found.lane not in lanes:
            raise PASS_UNKNOWN(room=room)
        if is_withdrawn(found, revoked):
            raise PASS_REVOKED()
        if now_s >= found.until_s:
            raise PASS_EXPIRED(room=room)
        if found.is_bound and account_id is not None and found.holder != self.holder_of(account_id):
            raise PASS_OF_ANOTHER(room=room)
        return found

    def is_due(self, used: Pass, now_s: int) -> bool:
        """Whether it may be had for longer now: one to finish also when its stay is over, which may begin anew."""
        return not _is_young(used, now_s) if used.finish else self.renewed(used, now_s) is not None

    def renewed(self, used: Pass, now_s: int) -> Pass | None:
        """The pass for longer once half its time is over; None while that is not so, or when its stay is over."""
        until_s = min(now_s + _life_s(used), used.entered_s + STAY_S)
        return replace(used, until_s=until_s) if not _is_young(used, now_s) and until_s > used.until_s else None

    def confirmed(self, used: Pass, now_s: int) -> Pass:
        """The pass to finish of somebody who is found to have something under way now: its stay begins anew."""
        return replace(used, entered_s=now_s, until_s=now_s + FINISH_LIFE_S)


def _life_s(used: Pass) -> int:
    return FINISH_LIFE_S if used.finish else PASS_LIFE_S


def _is_young(used: Pass, now_s: int) -> bool:
    """Whether not even half its time is over."""
    return used.until_s - now_s > _life_s(used) / 2


def room_path(lane: str) -> str:
    """The address of a lane's waiting room."""
    return f"/gate/{lane}"
