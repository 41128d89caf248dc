"""Notifications are put on record at once, or refused at once so that the provider sends them again.

There is no second store beside the database: a notification that is not on record was not answered with success, so
the provider keeps it and its retries bring it; what they do not bring, the sweep asks about.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from emeterai.infra import metrics
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import BUSY, Database
from emeterai.infra.ids import new_id
from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.purchase import store
from emeterai.purchase.model import Notice

NOTED_WITHIN_S = 2.0
"""So long a notification waits for the database; a provider waits 5 s for us, and does not come back after 30 s."""
NOTING_MAX = 200
_RETRY_AFTER_S = 2
_refused = metrics.counter("emeterai_payment_notifications_refused", "Notifications that the provider must send again")


class Noting:
    """Writes notifications down. One per process: a database that keeps one waiting keeps no other waiting."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._under_way: set[asyncio.Task[UUID | None]] = set()
        self._late: set[asyncio.Task[UUID | None]] = set()

    async def note(self, provider: str, notice: Notice, body: bytes) -> UUID | None:
        """The id of a notification that is on record and not yet worked; None for one that has been worked.

        Raises `service_busy` when the database is away or slow, at once while an earlier one still waits for it, and
        when too many are being written. What came late may be on record all the same: the steward works it.
        """
        if self._late or len(self._under_way) >= NOTING_MAX:
            raise _busy()
        writing = asyncio.create_task(self._write(provider, notice, body))
        self._under_way.add(writing)
        writing.add_done_callback(self._forget)
        done, _ = await asyncio.wait({writing}, timeout=NOTED_WITHIN_S)
        if not done:
            self._late.add(writing)
            raise _busy()
        try:
            return writing.result()
        except INTERRUPTIONS as error:
            raise _busy() from error

    async def _write(self, provider: str, notice: Notice, body: bytes) -> UUID | None:
        notification_id = new_id()
        async with self._db.transaction() as tx:
            is_new = await store.insert_notification(tx, notification_id, provider=provider, notice=notice, body=body)
        may_die_at("payment.noted")
        if is_new:
            return notification_id
        return await store.unworked_notification_of(self._db, provider, notice.event_id)

    def _forget(self, writing: asyncio.Task[UUID | None]) -> None:
        self._under_way.discard(writing)
        if writing in self._late:
            self._late.discard(writing)
            # Nobody waits for its outcome any more; asking for it keeps asyncio from complaining of that.
            if not writing.cancelled():
                writing.exception()


def _busy() -> Exception:
    _refused.inc()
    return BUSY(retry_after_s=_RETRY_AFTER_S)
