"""What a lost database looks like from inside asyncpg: one list for everybody who goes on when it is back."""

from __future__ import annotations

import asyncpg

INTERRUPTIONS: tuple[type[Exception], ...] = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # asyncpg says so when a connection is used in the moment in which the server's last word has just come in.
    asyncpg.InternalClientError,
)
"""The work under way is lost, nothing else is: what was committed is there, the rest is done again. Time-outs are OSErrors."""
