"""Database connections of one web process, shared between the lanes like everything else that is scarce.

The lanes lend each other what they do not use. A lane below its guarantee has the next connection that comes free, and
after GIVE_BACK_S one on top of all, so that a borrower whose statement takes long costs no lender its share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf

from emeterai.core.admission import Patience, Work
from emeterai.gate.budget import Budget
from emeterai.infra.database import Database
from emeterai.infra.lane import Caller, Deadline

_WAITING_MAX = 4_096


class ConnectionTurns:
    """Says who of those that work for a lane has the next connection. The service's own work, and with it each batch
    of several lanes, goes in at once: it is bounded by what it is.
    """

    def __init__(self, count: int, *, wait_s: float) -> None:
        patience = Patience(wait_s, inf, wait_s, newest_first=False, length_max=_WAITING_MAX)
        self._budget = Budget(count, clock=time.monotonic, patience=dict.fromkeys(Work, patience))

    @classmethod
    def of(cls, db: Database) -> ConnectionTurns:
        """The turns at the connections of `db`, from now on."""
        turns = cls(db.shared_count, wait_s=db.wait_s)
        db.share(turns)
        return turns

    def share(self, shares: Mapping[str, float]) -> None:
        """The lanes' shares, from now on."""
        self._budget.slots.share(shares)

    def used_by(self, lane: str) -> int:
        """How many connections the requests of a lane hold."""
        return self._budget.slots.used_by(lane)

    async def enter(self, caller: Caller | None, asked: Deadline) -> bool:
        """Wait for a turn as long as whoever `asked` does; False when none comes in time."""
        if caller is None:
            return True
        gone = None if asked.gone is None else asked.hung_up
        return await self._budget.enter(caller.lane, Work(caller.urgency), until_s=asked.until_s, gone=gone)

    def leave(self, caller: Caller | None) -> None:
        """The turn is over."""
        if caller is not None:
            self._budget.leave(caller.lane)
