"""The clock at the edge. Everything inside takes times as arguments; the database's clock decides expiry."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)
