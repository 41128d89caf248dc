"""One person, one place in a lane: which number belongs to which account. Written in batches.

With the database away an account gets and keeps the number on its signed ticket; it is written down when it comes in.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from uuid import UUID

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate import room_store
from emeterai.gate.addresses import Addresses
from emeterai.gate.bearers import Bearers
from emeterai.gate.now import NowServing
from emeterai.gate.passes import room_path
from emeterai.gate.tickets import Ticket, TicketPress
from emeterai.infra.batching import Batcher
from emeterai.infra.database import Database
from emeterai.infra.interruption import INTERRUPTIONS

TICKET_OF_ANOTHER = RefusalKind(
    "ticket_of_another",
    403,
    "Nomor antrean ini milik akun lain; ambil nomor Anda sendiri di {room}.",
    "This ticket belongs to another account; take a number of your own at {room}.",
)
NUMBERS_TAKEN = RefusalKind(
    "numbers_taken",
    429,
    "Akun Anda sudah mengambil beberapa nomor di jalur ini; untuk nomor baru, ulangi dalam {retry_after_s} detik.",
    "Your account has taken several numbers in this lane; for a new one, try again in {retry_after_s} seconds.",
)
NUMBERS_AT_ONCE, NUMBERS_PER_S = 5, 1 / 60
"""Whoever leaves may come again; whoever does nothing else makes everybody's line longer by numbers that nobody has."""
_TIED_MAX = _GIVEN_MAX = 50_000
Asked = tuple[NowServing, UUID, Ticket | None]
"""A lane as it is, an account, and the ticket of nobody that it brings."""


class Places:
    """The places of accounts. `new_ticket` gives a new number; `bearers` know whose a number of nobody has become."""

    def __init__(
        self,
        db: Database,
        press: TicketPress,
        new_ticket: Callable[[NowServing], Awaitable[Ticket]],
        *,
        bearers: Bearers,
    ) -> None:
        self._db = db
        self._press = press
        self._bearers = bearers
        self._new_ticket = new_ticket
        self._given: OrderedDict[tuple[str, UUID], Ticket] = OrderedDict()
        self._taken = Addresses(at_once=NUMBERS_AT_ONCE, per_s=NUMBERS_PER_S)
        self._tied: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._batcher = Batcher[Asked, Ticket](self._place, name="places")

    async def place(self, now: NowServing, account_id: UUID, brought: Ticket | None) -> Ticket:
        """The account's ticket: for the place that it has, for the number that it brings, or a new one.

        Of two good ones the earlier. Raises `numbers_paused`, `numbers_taken`, `ticket_of_another`.
        """
        return await self._batcher.submit((now, account_id, brought))

    async def bound(self, ticket: Ticket, account_id: UUID) -> Ticket:
        """The ticket of nobody as this account's. With the database away it stays nobody's for now.

        Raises `ticket_of_another` when somebody else's account has its number.
        """
        try:
            owner = (await self._bearers.owned([(ticket.lane, ticket.number, account_id)])).popitem()[1]
            if owner != account_id:
                raise TICKET_OF_ANOTHER(room=room_path(ticket.lane))
            answer = (await self._written([(0, account_id, ticket)]))[0]
            number = answer.number if isinstance(answer, Ticket) else 0
            if number != ticket.number and not await self._moved(ticket, account_id):
                raise TICKET_OF_ANOTHER(room=room_path(ticket.lane))
        except INTERRUPTIONS:
            return ticket
        return self._of(ticket, account_id)

    async def tie(self, ticket: Ticket, account_id: UUID) -> bool:
        """Whether the number is this account's, now at the latest. Whose it is is looked up once.

        Raises what the database says when it is too busy to tell.
        """
        key, holder = (ticket.lane, ticket.number), self._press.holder_of(account_id)
        known = self._tied.get(key)
        if known is None:
            try:
                bound = await self.bound(ticket, account_id)
            except Refused as refused:
                if refused.kind is not TICKET_OF_ANOTHER:
                    raise
                return False
            if bound.is_anonymous:
                return True  # the database is away: nothing is bought now
            known = self._tied[key] = holder
            if len(self._tied) > _TIED_MAX:
                self._tied.popitem(last=False)
        return known == holder

    async def leave(self, lane: str, account_id: UUID) -> None:
        """The account has no place in this lane any more."""
        self._given.pop((lane, account_id), None)
        await room_store.drop_place(self._db, lane, account_id)

    def is_of(self, ticket: Ticket, account_id: UUID) -> bool:
        """Whether a ticket is this account's."""
        return ticket.holder == self._press.holder_of(account_id)

    async def _place(self, asked: Sequence[Asked]) -> Sequence[Ticket | Exception]:
        try:
            known = await room_store.read_places(self._db, [(now.lane, account_id) for now, account_id, _ in asked])
        except (Refused, *INTERRUPTIONS):
            return [await self._unwritten(*one) for one in asked]
        answers: dict[int, Ticket | Exception] = {}
        moving: dict[int, bool] = {}
        for index, (now, account_id, brought) in enumerate(asked):
            place = known.get((now.lane, account_id))
            has = None if place is None else Ticket(now.lane, *place)
            if has is not None and not is_over(now, has) and not _is_better(now, brought, has):
                answers[index] = self._of(has, account_id)
            else:
                moving[index] = has is not None
        owners = await self._owners([asked[index] for index in moving])
        wanting: list[tuple[int, UUID, Ticket]] = []
        for index, has_place in moving.items():
            now, account_id, brought = asked[index]
            try:
                fresh = brought or await self._fresh(now, account_id)
            except Refused as refused:
                answers[index] = refused
                continue
            if owners.get((fresh.lane, fresh.number), account_id) != account_id:
                answers[index] = TICKET_OF_ANOTHER(room=room_path(now.lane))
                continue
            if has_place:
                await self._moved(fresh, account_id)
            wanting.append((index, account_id, fresh))
        answers |= await self._written(wanting)
        return [answers[index] for index in range(len(asked))]

    async def _owners(self, asked: Sequence[Asked]) -> dict[tuple[str, int], UUID]:
        """Whose the numbers are that these accounts bring: of the first that brought them, also when it has left."""
        brought = [(now.lane, ticket.number, account_id) for now, account_id, ticket in asked if ticket is not None]
        return await self._bearers.owned(brought)

    async def _moved(self, ticket: Ticket, account_id: UUID) -> bool:
        return await room_store.move_place(self._db, ticket.lane, account_id, ticket.number, ticket.issued_ms)

    async def _written(self, wanting: Sequence[tuple[int, UUID, Ticket]]) -> dict[int, Ticket | Exception]:
        """Write places down; each account's answer is the place that it has afterwards."""
        if not wanting:
            return {}
        rows = [(ticket.lane, account_id, ticket.number, ticket.issued_ms) for _, account_id, ticket in wanting]
        await room_store.take_places(self._db, rows)
        places = await room_store.read_places(self._db, [(lane, account_id) for lane, account_id, _, _ in rows])
        found: dict[int, Ticket | Exception] = {}
        for index, account_id, ticket in wanting:
            self._given.pop((ticket.lane, account_id), None)
            place = places.get((ticket.lane, account_id))
            if place is None:
                found[index] = TICKET_OF_ANOTHER(room=room_path(ticket.lane))
            elif place == (ticket.number, ticket.issued_ms):
                found[index] = self._of(ticket, account_id)
            else:
                found[index] = self._of(Ticket(ticket.lane, *place), account_id)
        return found

    async def _unwritten(self, now: NowServing, account_id: UUID, brought: Ticket | None) -> Ticket | Exception:
        try:
            return self._of(brought or await self._fresh(now, account_id), account_id)
        except Refused as refused:
            return refused

    async def _fresh(self, now: NowServing, account_id: UUID) -> Ticket:
        """The number that an account was given and that is not on record yet, however often it asks; or a new one, of
        which it has few at once in a lane. Raises `numbers_paused`, `numbers_taken`.
        """
        key, whose = (now.lane, account_id), [(f"{now.lane} {account_id}", 1)]
        given = self._given.get(key)
        if given is not None and not is_over(now, given):
            return given
        if wait_s := self._taken.take(whose, time.monotonic()):
            raise NUMBERS_TAKEN(retry_after_s=int(wait_s) + 1)
        try:
            fresh = self._given[key] = await self._new_ticket(now)
        except BaseException:
            self._taken.give_back(whose)  # whoever gets no number may ask as often as it takes
            raise
        if len(self._given) > _GIVEN_MAX:
            self._given.popitem(last=False)
        return fresh

    def _of(self, ticket: Ticket, account_id: UUID) -> Ticket:
        return replace(ticket, holder=self._press.holder_of(account_id))


def is_over(now: NowServing, ticket: Ticket) -> bool:
    """Whether the turn of a ticket was so long ago that it counts no more."""
    turn = now.turn_of(ticket.number)
    return turn is not None and turn < now.grace_from


def _is_better(now: NowServing, brought: Ticket | None, has: Ticket) -> bool:
    """Whether the number that somebody brings is earlier than the one their account has, or is known to be older."""
    if brought is None or is_over(now, brought):
        return False
    turns = [now.turn_of(ticket.number) or ticket.number for ticket in (brought, has)]
    # Whoever signs in inside has their place from then on record; the ticket proves since when they really have it.
    return (turns[0], brought.issued_ms) < (turns[1], has.issued_ms)
