"""The database: a bounded pool of asyncpg connections, short transactions, a polite refusal when the pool is busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra import metrics
from emeterai.infra.lane import Caller, Deadline, caller, deadline, lift_deadline

BUSY = RefusalKind(
    "service_busy",
    503,
    "Layanan sedang sibuk; tidak ada yang hilang, silakan coba lagi beberapa detik lagi.",
    "The service is busy; nothing is lost, please try again in a few seconds.",
)
# By index, always: a plan that was kept when a table was empty would read the whole of it once it is full, until the
# statistics are renewed. A table is read from its start where there is no index, and by an audit that asks for it.
#
# Whoever sleeps in a transaction sleeps with locks: the server ends it, also one that is not ours and waits for ever.
_SETTINGS = {
    "application_name": "emeterai",
    "timezone": "UTC",
    "enable_seqscan": "off",
    "idle_in_transaction_session_timeout": "10s",
}
READS_ALL = (
    "SET LOCAL statement_timeout = '600s'; SET LOCAL enable_seqscan = on; SET LOCAL max_parallel_workers_per_gather = 0"
)
"""What a transaction says first that reads whole tables, as an audit does: it may, for long, on one core at most."""
_NONE_FREE = (
    TimeoutError,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)
_HEAD = 40
"""So much of a statement tells what it begins with."""
_busy = metrics.counter("emeterai_database_busy", "Callers refused because no connection was free in time")
_late = metrics.counter("emeterai_deadlines_passed", "Work not begun: its own deadline had passed", ["before"])


def too_late(before: str) -> Refused:
    """The refusal of what was not begun because whoever asked has stopped waiting; `before` names what it came to."""
    _late.labels(before).inc()
    return BUSY(retry_after_s=1)


class Connection(Protocol):
    """What stores use of an asyncpg connection."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109
        """Run one statement; answers its command tag."""

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109
        """All rows."""

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """The first row, or None."""

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first column of the first row, or None."""

    def cursor(self, query: str, *args: Any, prefetch: int | None = None) -> Any:
        """Rows one after another, for reads that do not fit in memory. Inside a transaction only."""

    def transaction(self, *, isolation: str | None = None, readonly: bool = False) -> Any:
        """A transaction, or a savepoint inside one, as an async context manager."""


class Turns(Protocol):
    """Says who has the next connection, when work for several lanes wants one. None: it is the service's own work."""

    async def enter(self, caller: Caller | None, asked: Deadline) -> bool:
        """Wait for a turn as long as whoever `asked` does; False when none comes in time."""

    def leave(self, caller: Caller | None) -> None:
        """The turn is over."""


class _AllAtOnce:
    """Nobody waits for a turn."""

    async def enter(self, _caller: Caller | None, _asked: Deadline) -> bool:
        return True

    def leave(self, _caller: Caller | None) -> None:
        pass


class Database:
    """A bounded pool. `transaction` is the only way to write; a caller waits for a connection at most `wait_s`.

    Where lanes share it (`share`), work for a lane waits for its turn first. Nobody waits beyond his deadline, or gets
    a connection after it (`infra.lane`); a transaction, or a statement that may write, lifts it: its outcome is told.
    """

    def __init__(self, pool: asyncpg.Pool, wait_s: float, *, shared_count: int = 0) -> None:
        self._pool = pool
        self.wait_s = wait_s
        self.shared_count = shared_count or pool.get_max_size()
        """So many connections the lanes share; what is guaranteed may come on top while they are lent."""
        self._turns: Turns = _AllAtOnce()
        self._afterwards: dict[int, list[Callable[[], None]]] = {}

    @classmethod
    async def connect(cls, url: str, *, connections_max: int, wait_s: float, lent_max: int = 0) -> Database:
        """Open the pool. Raises OSError or asyncpg.PostgresError when the server cannot be reached.

        `lent_max` connections more are opened when lanes want what they are guaranteed and others have borrowed it.
        """
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=connections_max + lent_max,
            command_timeout=30,
            reset=_leave_as_it_is,
            server_settings=_SETTINGS,
        )
        return cls(pool, wait_s, shared_count=connections_max)

    def share(self, turns: Turns) -> None:
        """From now on a connection is had when `turns` says so."""
        self._turns = turns

    async def close(self) -> None:
        """Give the connections back; a connection that does not end within 5 s is cut."""
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Borrow a connection for reads. Raises the refusal `service_busy` when none is free in time."""
        turns, who = self._turns, caller()
        with metrics.stage("database_wait"):
            connection = await self._acquired(turns, who)
        try:
            yield connection
        finally:
            try:
                await self._pool.release(connection)
            finally:
                turns.leave(who)

    async def _acquired(self, turns: Turns, who: Caller | None) -> Any:
        asked = deadline()
        if not await turns.enter(who, asked):
            raise _none_in_time(is_late=asked.has_passed)
        left_s = asked.left_s
        if left_s <= 0:  # its turn came too late and is the next one's
            turns.leave(who)
            raise too_late("connection")
        is_hurried = left_s < self.wait_s
        try:
            async with asyncio.timeout(left_s if is_hurried else None):
                return await self._pool.acquire(timeout=self.wait_s)
        except BaseException as error:
            turns.leave(who)
            if isinstance(error, _NONE_FREE):
                raise _none_in_time(is_late=is_hurried and isinstance(error, TimeoutError)) from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One short READ COMMITTED transaction: committed when the block ends, rolled back when it raises."""
        async with self.connection() as connection:
            lift_deadline()
            afterwards = self._afterwards[id(connection)] = []
            try:
                async with connection.transaction():
                    yield connection
            finally:
                del self._afterwards[id(connection)]
            for do in afterwards:
                do()

    def after_commit(self, tx: Connection, do: Callable[[], None]) -> None:
        """Do something small once `tx` has committed, and not at all when it has not, or who waited for it has gone.

        Nothing is done for a transaction that `transaction` of this very pool did not open.
        """
        self._afterwards.get(id(tx), []).append(do)

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """All rows of one statement."""
        async with self.connection() as connection:
            _begin(query)
            return await connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        """The first row of one statement, or None."""
        async with self.connection() as connection:
            _begin(query)
            return await connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        """The first column of the first row of one statement, or None."""
        async with self.connection() as connection:
            _begin(query)
            return await connection.fetchval(query, *arguments)


def _none_in_time(*, is_late: bool) -> Refused:
    """Why there is no connection: nobody waits for it any more, or none was free."""
    if is_late:
        return too_late("connection")
    _busy.inc()
    return BUSY()


def _begin(query: str) -> None:
    """A statement that may write is a beginning: whoever it is for hears how it ended."""
    if not query[:_HEAD].lstrip().startswith("SELECT"):
        lift_deadline()


async def _leave_as_it_is(_connection: asyncpg.Connection) -> None:
    """Between two borrowers nothing needs to be reset, which would cost each of them a round trip.

    An open transaction is rolled back by the pool all the same, and nobody here changes the session: settings are
    SET LOCAL, and whoever listens or takes advisory locks has a connection of its own.
    """
