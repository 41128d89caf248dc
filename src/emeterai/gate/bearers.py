"""Numbers that were given to nobody in particular: who holds the ticket has the place, and a ticket is easily copied.

So the number is of the first account that comes with it, for good, and until then few passes of it are alive at once.
A pass is easily copied as well: it works for few sessions in each web process (`Sharers`). Nobody buys or stamps with
that of another account, and who does so with one that names none makes its number their account's. What is on record
of a number is deleted once nobody can come in with it any more (`forget_numbers`, for the steward).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate import bearer_store, over_store
from emeterai.gate.lanes import DEFAULTS
from emeterai.gate.passes import Pass, room_path
from emeterai.infra.database import Database
from emeterai.infra.interruption import INTERRUPTIONS

PASSES_MAX = 3
"""A phone, another tab or browser, another phone."""
SESSIONS_MAX, SESSIONS_OF_ACCOUNT_MAX = 3, 10
"""Of a pass that names no account, and of one that does: a person signs in again some times, and on other phones."""
_REMEMBERED_MAX = 50_000
FORGET_EVERY_S = 60.0
ENDED_S, CLOSED_S = 86_400.0, 7 * 86_400.0
"""A number is forgotten when its turn is over, or its lane has been closed or taken back for a week (until then it may
be opened again), and no pass of it has been alive for a day.
"""
_FORGOTTEN_MAX = 5_000
NUMBER_IN_USE = RefusalKind(
    "number_in_use",
    429,
    "Nomor ini sudah dipakai masuk di {count} tempat; lanjutkan di sana, atau coba lagi di {room} dalam "
    "{retry_after_s} detik.",
    "This number is in use in {count} places already; go on there, or try again at {room} in {retry_after_s} seconds.",
)


class Bearers:
    """What is on record of numbers of nobody. With the database away each web process counts passes for itself."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._ends_s: OrderedDict[tuple[str, int], tuple[int, ...]] = OrderedDict()

    async def ask(self) -> None:
        """Nothing, to learn whether anybody answers. Raises what the database raises while it is away."""
        await bearer_store.ask(self._db)

    async def owned(self, asked: Sequence[tuple[str, int, UUID]]) -> dict[tuple[str, int], UUID]:
        """Whose these numbers are from now on, by lane and number: of the first account that ever came with one."""
        return await bearer_store.own_numbers(self._db, asked) if asked else {}

    async def let_in(self, granted: Pass, *, now_s: int, instead: Pass | None = None) -> None:
        """Count a pass that names no account, `instead` of one that it prolongs. Raises `number_in_use`."""
        lane, number, instead_s = granted.lane, granted.number, instead.until_s if instead else 0
        try:
            added = await bearer_store.add_pass(
                self._db, lane, number, ends_s=granted.until_s, instead_s=instead_s, most=PASSES_MAX
            )
            if added:
                return
            end_s = await bearer_store.next_end_s(self._db, lane, number)
        except (Refused, *INTERRUPTIONS):
            alive_s = self._alive_s((lane, number), now_s, {granted.until_s, instead_s})
            if len(alive_s) < PASSES_MAX:
                self._ends_s[lane, number] = (*alive_s, granted.until_s)
                return
            end_s = min(alive_s)
        raise NUMBER_IN_USE(count=PASSES_MAX, room=room_path(lane), retry_after_s=max(1, end_s - now_s))

    def _alive_s(self, key: tuple[str, int], now_s: int, without_s: set[int]) -> tuple[int, ...]:
        if len(self._ends_s) >= _REMEMBERED_MAX:
            self._ends_s.popitem(last=False)
        return tuple(one for one in self._ends_s.get(key, ()) if one > now_s and one not in without_s)


async def forget_numbers(db: Database) -> int:
    """Delete what is on record of numbers that nobody can come in with any more: places, calls, whose they were, and in
    lanes that are no more who took lots. Some thousands of each at a time; answers how many there were.
    """
    bounds = over_store.Bounds(ended_s=CLOSED_S, lasting=sorted(DEFAULTS), limit=_FORGOTTEN_MAX)
    forgotten = 0
    for forget in (over_store.forget_places, over_store.forget_calls, over_store.forget_lots):
        forgotten += await forget(db, bounds)
    return forgotten + await over_store.forget_bearers(db, bounds, pass_ended_s=ENDED_S)


class Sharers:
    """Which sessions came with a pass. One for each web process; it asks nobody."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, int, bytes, int], tuple[bytes, ...]] = OrderedDict()

    def may_use(self, shown: Pass, session: bytes) -> bool:
        """Whether a session, or nobody yet, may come with this pass: of all who do, the first few."""
        if not session:
            return True
        # Passes to finish have no number, so whose they are belongs to it: many begin in one second.
        key = shown.lane, shown.number, shown.holder, shown.entered_s
        known = self._sessions.get(key, ())
        if session in known:
            return True
        if len(known) >= (SESSIONS_OF_ACCOUNT_MAX if shown.is_bound else SESSIONS_MAX):
            return False
        self._sessions[key] = (*known, session)
        if len(self._sessions) > _REMEMBERED_MAX:
            self._sessions.popitem(last=False)
        return True
