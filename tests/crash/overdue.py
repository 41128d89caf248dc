"""Looks all the time how long the oldest open hold is beyond its life, by the database's clock, whatever is killed.

A hold whose life is over is given back by the steward's next sweep. So what counts is for how long a hold was over
while nothing kept that sweep from its work: since the later of two moments, the end of its life and the end of the last
deed that took the steward or the database, or stopped a process that may keep an account locked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg
from killing import Killer

from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.stamping.endings import Endings
from emeterai.stamping.jobs import GIVE_BACK_EVERY_S

LOOK_EVERY_S = 0.5
RECOVERY_S = 5.0
"""After such a deed everything starts at once: by then the steward is connected, and a sweep of it begins."""
LOCK_WAIT_S: float = (Endings.sweep.__kwdefaults__ or {})["lock_wait_s"]
GRACE_S = RECOVERY_S + GIVE_BACK_EVERY_S + 2 * LOCK_WAIT_S
"""No hold is over for longer. Two sweeps may wait for an account that somebody locks: the one that began just before
the hold was over, and the one that gives it back; between them is a pause.
"""
_OLDEST = """
    SELECT id, account, extract(epoch FROM now() - expires_at)::float8 AS over_s FROM ledger.holds
    ORDER BY expires_at LIMIT 1
"""


@dataclass
class Looks:
    """What was seen: how often anybody looked, how often a hold was open, and how often the oldest was over."""

    count: int = 0
    open: int = 0
    over: int = 0
    late: int = 0
    """Looks at which nothing had been broken for longer than the grace: only these can find a fault."""
    worst_s: float = 0.0
    """The longest time that a hold was over while nothing kept it from being given back."""
    worst: str = ""


@dataclass
class Overdue:
    """Watches the holds of a service while a killer is at work there."""

    database_url: str
    killer: Killer
    looks: Looks = field(default_factory=Looks)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Overdue]:
        """Look as long as the block lasts."""
        task = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look_again(self) -> None:
        """Return after the next look, or when the database is away for longer than the grace."""
        before = self.looks.count
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                while self.looks.count == before:
                    await asyncio.sleep(LOOK_EVERY_S / 5)

    def faults(self) -> list[str]:
        """What is wrong: a unit was held for too long, or nobody could look."""
        if not self.looks.count:
            return ["nobody has looked at the holds"]
        if self.looks.worst_s <= GRACE_S:
            return []
        held = f"a unit was held {self.looks.worst_s:.1f} s beyond the life of its hold while nothing was broken"
        return [f"{held}, and at most {GRACE_S:g} s are allowed: {self.looks.worst}"]

    async def _watch(self) -> None:
        """Look until cancelled. While the database is away there is nothing to see."""
        while True:
            with suppress(*INTERRUPTIONS):
                connection = await asyncpg.connect(self.database_url, timeout=GRACE_S, command_timeout=GRACE_S)
                try:
                    while True:
                        await self._look(connection)
                        await asyncio.sleep(LOOK_EVERY_S)
                finally:
                    connection.terminate()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, connection: asyncpg.Connection) -> None:
        # Before the question: a long answer must not make the time longer in which nothing was broken.
        calm_s = self.killer.calm_s
        oldest, looks = await connection.fetchrow(_OLDEST), self.looks
        over_s = oldest["over_s"] if oldest else 0.0
        looks.count += 1
        looks.open += oldest is not None
        looks.over += over_s > 0
        looks.late += calm_s > GRACE_S
        if (waited_s := min(over_s, calm_s)) > looks.worst_s:
            looks.worst_s, looks.worst = waited_s, f"hold {oldest['id']} of account {oldest['account']}"
