"""What a lost database looks like from inside asyncpg: one list for everybody who goes on when it is back."""

from __future__ import annotations

import asyncpg

INTERRUPTIONS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # asyncpg says so when a connection is used in the moment in which the server's last word has just come in.
    asyncpg.InternalClientError,
)
"""The work under way is lost and done again; what was committed is there. Time-outs are OSErrors too."""


def is_lost(error: BaseException | None) -> bool:
    """Whether an error says that the database is lost, rather than busy: there a wait has run out."""
    return isinstance(error, INTERRUPTIONS) and not isinstance(error, TimeoutError)
