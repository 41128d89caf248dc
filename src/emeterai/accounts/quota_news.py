"""News of a history: waiting until it shows something else than what one has seen of it.

Whoever waits holds a line and nothing else: no connection of the database, no slot. It is looked at once in the
beginning, once when the ledger tells that the account has moved, and once in the end.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from emeterai.core.refusal import RefusalKind
from emeterai.infra.bus import Bus
from emeterai.infra.waiting import wait_for
from emeterai.ledger.model import Movement
from emeterai.ledger.service import Ledger

LINES_SHOWN = 20
"""So many lines a page of the history shows, and so many a position stands for."""
POSITION = r"[0-9a-f]{16}"
WAITS_MAX, WAITS_OF_ONE_MAX = 1_000, 8
"""In a process, and of one account: half of the door's places are left to those who wait for a stamp."""
_COME_BACK_S = 30
POSITION_BAD = RefusalKind(
    "position_bad",
    400,
    "Posisi riwayat ini bukan dari kami. Muat ulang riwayat Anda.",
    "This position of a history is not one that we gave out. Load your history again.",
)
NEWS_CROWDED = RefusalKind(
    "news_crowded",
    503,
    "Terlalu banyak yang menunggu kabar riwayat. Kuota Anda aman; muat ulang riwayat {retry_after_s} detik lagi.",
    "Too many wait for news of a history. Your quota is safe; load the history again in {retry_after_s} seconds.",
)


def position_of(movements: Sequence[Movement]) -> str:
    """What a history shows first, in sixteen characters: it is another one as soon as these lines are others.

    The newest line alone would not do: lines stand in the order in which their transactions began, so one that was
    committed late comes to stand below it.
    """
    ids = b"".join(movement.id.bytes for movement in movements[:LINES_SHOWN])
    return hashlib.blake2b(ids, digest_size=8).hexdigest()


class QuotaNews:
    """Tells those who wait when their history has moved. One for each process, so that its bounds are."""

    def __init__(self, ledger: Ledger, bus: Bus) -> None:
        self._ledger = ledger
        self._bus = bus
        self._waits: Counter[UUID] = Counter()

    async def position(self, account_id: UUID, *, after: str | None = None, wait_s: float = 0.0) -> str:
        """The position of an account's history as soon as it is not `after`, but at most `wait_s` from now.

        Raises `position_bad`, and `news_crowded` when too many wait already.
        """
        if after is not None and re.fullmatch(POSITION, after) is None:
            raise POSITION_BAD()

        async def look() -> str:
            return position_of(await self._ledger.history(account_id, limit=LINES_SHOWN))

        if after is None or wait_s <= 0:
            return await look()
        with self._place(account_id):
            return await wait_for(
                self._bus, account_id, look=look, done=lambda it: it != after, wait_s=wait_s, look_again_s=wait_s
            )

    @contextmanager
    def _place(self, account_id: UUID) -> Iterator[None]:
        """One place among those who wait."""
        if self._waits.total() >= WAITS_MAX or self._waits[account_id] >= WAITS_OF_ONE_MAX:
            raise NEWS_CROWDED(retry_after_s=_COME_BACK_S)
        self._waits[account_id] += 1
        try:
            yield
        finally:
            self._waits[account_id] -= 1
            if not self._waits[account_id]:
                del self._waits[account_id]
