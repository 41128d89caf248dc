"""The reception: gives tickets to those who come, and passes to those whose turn it is. One for each web process.

What decides is the signed ticket and the now-serving file: nobody with a number needs the database to come in. New
numbers come from this machine's lease. Only what ties a number to an account is written at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate import room_store
from emeterai.gate.bearers import Bearers
from emeterai.gate.giver import NumberGiver
from emeterai.gate.lanes import ENTERPRISES, PARTNERS, RETAIL, STAFF
from emeterai.gate.lots import Lots
from emeterai.gate.new_numbers import NewNumbers
from emeterai.gate.now import NowFiles, NowServing
from emeterai.gate.passes import PASS_OF_ANOTHER, PASS_REVOKED, Pass, Passes, is_withdrawn, opens_nothing, room_path
from emeterai.gate.places import TICKET_OF_ANOTHER, Places, is_over
from emeterai.gate.renewing import Renewing
from emeterai.gate.tally import Tally
from emeterai.gate.tickets import Ticket, TicketPress
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.interruption import INTERRUPTIONS

TURN_NOT_REACHED = RefusalKind(
    "turn_not_reached",
    409,
    "Belum giliran Anda: giliran Anda {turn}, sekarang dilayani {now_serving}. Tempat Anda tetap; tunggu di {room}.",
    "It is not your turn yet: yours is {turn}, now serving {now_serving}. Your place is safe; wait at {room}.",
)
TURN_NOT_DRAWN = RefusalKind(
    "turn_not_drawn",
    409,
    "Jalur ini belum dibuka; nomor Anda {number} ikut undian saat dibuka. Tunggu di {room}.",
    "This lane has not opened; your number {number} is in the draw when it does. Wait at {room}.",
)
TURN_OVER = RefusalKind(
    "turn_over",
    410,
    "Giliran Anda sudah lama lewat; ambil nomor baru di {room}.",
    "Your turn was long ago; take a new number at {room}.",
)
TICKET_UNKNOWN = RefusalKind(
    "ticket_unknown",
    403,
    "Nomor antrean ini bukan dari kami atau bukan untuk jalur ini; ambil nomor di {room}.",
    "This ticket is not ours or not for this lane; take a number at {room}.",
)
CODE_UNKNOWN = RefusalKind(
    "code_unknown",
    404,
    "Kode ini tidak cocok dengan nomor mana pun di jalur ini; periksa penulisannya.",
    "This code belongs to no number in this lane; check how it is written.",
)
LANE_CLOSED = RefusalKind(
    "lane_closed",
    409,
    "Jalur ini sudah ditutup; lihat jalur lain di halaman depan.",
    "This lane is closed; see the other lanes on the front page.",
)
LANE_PAUSED = RefusalKind(
    "lane_paused",
    503,
    "Jalur ini dihentikan sementara; tempat Anda tetap. Tunggu di {room}.",
    "This lane is paused; your place is safe. Wait at {room}.",
)
LANE_OF_MEMBERS = RefusalKind(
    "lane_of_members",
    403,
    "Jalur ini untuk anggotanya saja; ambil nomor di jalur umum: {room}.",
    "This lane is for its members only; take a number in the lane for everybody: {room}.",
)
OF_MEMBERS = frozenset({PARTNERS, ENTERPRISES, STAFF})
"""Lanes whose share is kept for accounts that were put into them: nobody else takes a number or comes in there."""
TICK_S = 1.0
_LATELY_S = 30.0
_log = structlog.get_logger(__name__)
InFlight = Callable[[UUID], Awaitable[bool]]
"""Whether an account has money or a unit in flight: an order that is paid or waits for its payment, or a held unit."""


async def nothing_in_flight(_: UUID) -> bool:
    """Nobody has anything under way."""
    return False


@dataclass(frozen=True, slots=True)
class Given:
    """A ticket as its holder gets it. `code` is empty for an account's; `turn` None until the draw."""

    ticket: Ticket
    text: str
    code: str
    turn: int | None


@dataclass(frozen=True, slots=True)
class Entered:
    """A pass as its holder gets it."""

    granted: Pass
    text: str


def _wall_s() -> float:
    """Seconds since 1970."""
    return utc_now().timestamp()


class Reception:
    """Tickets and passes. `folder` is the gate's in the data folder, `secret` this installation's, `clock_s` tells
    seconds since 1970.
    """

    def __init__(
        self,
        db: Database,
        folder: Path,
        secret: bytes,
        *,
        in_flight: InFlight = nothing_in_flight,
        clock_s: Callable[[], float] = _wall_s,
    ) -> None:
        self._db = db
        self.clock_s = clock_s
        self.press, self.passes, self.now = TicketPress(secret), Passes(secret), NowFiles(folder / "now")
        self.revoked: frozenset[tuple[str, bytes]] = frozenset()
        self._giver, self._tally = NumberGiver(db, folder), Tally(new_id())
        self._lots, self._bearers = Lots(db, secret), Bearers(db)
        self._renewing = Renewing(self.passes, self._bearers, in_flight)
        self._numbers = NewNumbers(self._giver, self._lots, self._tally, clock_s=clock_s)
        self._places = Places(db, self.press, self._numbers.new, bearers=self._bearers)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look around and go on doing so each second, until `close`."""
        with contextlib.suppress(Refused, *INTERRUPTIONS):
            await self._look(joining=True)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what was counted is written if the database answers."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(Refused, *INTERRUPTIONS):
            await self._tally.flush(self._db)
            await self._lots.settle()
        await self._giver.close()

    async def ticket(
        self,
        lane: str,
        *,
        account_id: UUID | None,
        shown: str = "",
        code: str = "",
        address: str = "",
        is_member: bool = False,
    ) -> Given:
        """The ticket of whoever asks: the one of their account, of their recovery code, the one shown, or a new one.

        `is_member`: the account was put into this lane. Raises `lane_unknown`, `lane_closed`, `lane_of_members`,
        `code_unknown`, `ticket_of_another`, `pass_revoked`, `numbers_too_many`, `numbers_taken`, `lots_too_many`,
        `numbers_paused`.
        """
        now = self.now.read(lane)
        if now.state == "closed":
            raise LANE_CLOSED()
        if lane in OF_MEMBERS and (account_id is None or not is_member):
            raise LANE_OF_MEMBERS(room=room_path(RETAIL))
        held = self._recovered(lane, code) if code else self._still_good(now, shown, account_id)
        if account_id is not None and (held is None or held.is_anonymous):
            held = await self._placed(now, account_id, held, is_typed=bool(code))
        if held is None:
            held = await self._numbers.of_nobody(now, address)
        if is_withdrawn(held, self.revoked):
            raise PASS_REVOKED()
        return self.given(held, now)

    def given(self, ticket: Ticket, now: NowServing) -> Given:
        """A ticket as its holder gets it."""
        code = self.press.code_of(ticket) if ticket.is_anonymous else ""
        return Given(ticket, self.press.sign(ticket), code, now.turn_of(ticket.number))

    def read(self, lane: str, shown: str) -> Ticket:
        """The ticket behind a text. Raises `ticket_unknown`, `lane_of_members`, `pass_revoked`."""
        ticket = self.press.read(shown)
        if ticket is None or ticket.lane != lane:
            raise TICKET_UNKNOWN(room=room_path(lane))
        return self.checked(ticket)

    def checked(self, ticket: Ticket) -> Ticket:
        """A ticket of ours that is good for something. Raises `lane_of_members`, `pass_revoked`."""
        if ticket.is_anonymous and ticket.lane in OF_MEMBERS:
            raise LANE_OF_MEMBERS(room=room_path(RETAIL))
        if is_withdrawn(ticket, self.revoked):
            raise PASS_REVOKED()
        return ticket

    def refused(self, lane: str, *, shown: str, address: str) -> Refused | None:
        """What `ticket` would say to one of whom nothing is known, from an address that has had its numbers for now; no
        number is asked for. None where it has some, where a good ticket is shown, or where there is something else to
        say. Raises `lane_unknown`.
        """
        now = self.now.read(lane)
        if now.state == "closed" or now.awaits_draw or lane in OF_MEMBERS or self._still_good(now, shown, None):
            return None
        return self._numbers.refused(address)

    async def enter(self, lane: str, *, account_id: UUID | None, shown: str = "", held: str = "") -> Entered:
        """A pass for whoever holds a ticket whose turn has come, a pass that is still good, or something under way.

        `shown` is a ticket, `held` a pass. Raises `lane_unknown`, `ticket_unknown`, `ticket_of_another`,
        `pass_revoked`, `pass_of_another`, `number_in_use`, `turn_not_reached`, `turn_not_drawn`, `turn_over`,
        `lane_paused`, `lane_closed`.
        """
        now, now_s = self.now.read(lane), self.clock_s()
        try:
            if self.is_withdrawn(lane, account_id):
                raise PASS_REVOKED()
            used = await self._renewing.shown(held, lane, account_id, now_s=int(now_s), revoked=self.revoked)
            if used is not None:
                return self._entered(used)
            ticket = self.read(lane, shown)
            if account_id is not None and not ticket.is_anonymous and not self._places.is_of(ticket, account_id):
                raise TICKET_OF_ANOTHER(room=room_path(lane))
            called_lately = _let_in(now, ticket)
            if account_id is not None and ticket.is_anonymous:
                ticket = await self._places.bound(ticket, account_id)
        except Refused:
            # However the line stands, and whoever is withdrawn: nobody is kept from what they have paid for.
            if account_id is None or not self._may_finish(lane, account_id, shown):
                raise
            if not await self._renewing.has_in_flight(account_id):
                raise
            self._tally.finishing(lane)
            return self._entered(self.passes.to_finish(lane, account_id, int(now_s)))
        granted = self.passes.of_ticket(ticket, int(now_s))
        if not granted.is_bound:
            await self._bearers.let_in(granted, now_s=int(now_s))
        self._tally.came(ticket, now, now_s=now_s, called_lately=called_lately)
        return self._entered(granted)

    async def renewed(self, used: Pass, account_id: UUID | None, *, is_told: bool = True) -> Entered | None:
        """A pass that its holder uses, for longer; None when it is another's, young, or its stay is over.

        `is_told`: it is known who is signed in, `account_id` or nobody. Until then a pass is theirs who show it.
        """
        if opens_nothing(used, self.revoked) or (not used.finish and self.is_withdrawn(used.lane, account_id)):
            return None
        is_own = account_id is not None and used.holder == self.passes.holder_of(account_id)
        if used.is_bound and is_told and not is_own:
            return None
        longer = await self._renewing.longer(used, account_id, int(self.clock_s()))
        return None if longer is None else self._entered(longer)

    def is_withdrawn(self, lane: str, account_id: UUID | None) -> bool:
        """Whether an account is withdrawn in a lane: with every ticket and pass, also those that name nobody."""
        return account_id is not None and (lane, self.passes.holder_of(account_id)) in self.revoked

    async def tie(self, shown: Pass, account_id: UUID) -> None:
        """A pass that names no account is from now on, with its number, of the account that uses it first.

        Raises `pass_of_another`.
        """
        if shown.is_bound or self.clock_s() >= shown.until_s:
            return
        ticket = Ticket(shown.lane, shown.number, shown.entered_s * 1000)
        if not await self._places.tie(ticket, account_id):
            raise PASS_OF_ANOTHER(room=room_path(shown.lane))

    async def leave(self, lane: str, *, account_id: UUID | None, shown: str) -> None:
        """Leave the line. The account may take a few new numbers at once; a recovery code stays good, if it regrets it.

        Raises `lane_unknown`, `ticket_unknown`, `ticket_of_another`.
        """
        now, ticket = self.now.read(lane), self.read(lane, shown)
        if account_id is not None and not ticket.is_anonymous and not self._places.is_of(ticket, account_id):
            raise TICKET_OF_ANOTHER(room=room_path(lane))
        # Before the draw a place is a lot: who could give one back for another would draw as often as they like.
        if account_id is not None and now.turn_of(ticket.number) is not None:
            await self._places.leave(lane, account_id)

    def _recovered(self, lane: str, code: str) -> Ticket:
        found = self.press.recovered(lane, code)
        if found is None:
            raise CODE_UNKNOWN()
        if is_withdrawn(found, self.revoked):
            raise PASS_REVOKED()
        return found

    async def _placed(self, now: NowServing, account_id: UUID, brought: Ticket | None, *, is_typed: bool) -> Ticket:
        """The account's place. The ticket that a browser kept may be of somebody who used the same phone before."""
        try:
            return await self._places.place(now, account_id, brought)
        except Refused as refused:
            if is_typed or brought is None or refused.kind is not TICKET_OF_ANOTHER:
                raise
            return await self._places.place(now, account_id, None)

    def _still_good(self, now: NowServing, shown: str, account_id: UUID | None) -> Ticket | None:
        """The ticket that somebody shows, if it is theirs and its turn is not over."""
        ticket = self.press.read(shown) if shown else None
        if ticket is None or ticket.lane != now.lane or is_withdrawn(ticket, self.revoked):
            return None
        if not ticket.is_anonymous and account_id is not None and not self._places.is_of(ticket, account_id):
            return None
        return None if is_over(now, ticket) else ticket

    def _may_finish(self, lane: str, account_id: UUID, shown: str) -> bool:
        """Whether whoever has something under way may do so in this lane: everywhere, or where they have a number."""
        ticket = self.press.read(shown) if lane in OF_MEMBERS else None
        return lane not in OF_MEMBERS or (
            ticket is not None and ticket.lane == lane and self._places.is_of(ticket, account_id)
        )

    def _entered(self, granted: Pass) -> Entered:
        return Entered(granted, self.passes.sign(granted))

    async def _look(self, *, joining: bool = False) -> None:
        await self._giver.look_around(joining=joining)
        self.revoked = frozenset(await room_store.read_revocations(self._db))
        await self._tally.flush(self._db)
        await self._lots.settle()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._look()
            except (Refused, *INTERRUPTIONS) as error:
                _log.warning("reception_without_database", error=type(error).__name__)
            except Exception:  # noqa: BLE001 - nobody begins this anew
                _log.exception("reception_failed")


def _let_in(now: NowServing, ticket: Ticket) -> bool:
    """Pass a ticket whose turn has come, and say whether it came only lately; refuse any other."""
    room, turn = room_path(now.lane), now.turn_of(ticket.number)
    if now.state == "closed":
        raise LANE_CLOSED()
    if turn is None:
        raise TURN_NOT_DRAWN(number=ticket.number, room=room)
    if turn < now.grace_from:
        raise TURN_OVER(room=room)
    if now.state == "paused":
        raise LANE_PAUSED(room=room, retry_after_s=10)
    if turn > now.now_serving:
        wait_s, _ = now.wait_of(turn)
        raise TURN_NOT_REACHED(
            turn=turn, now_serving=now.now_serving, room=room, retry_after_s=min(60, max(2, int(wait_s)))
        )
    return now.now_serving - turn <= now.turns_per_s.high * _LATELY_S
