"""Channels of serials: whoever bought from a stock draws from the blocks that were given to that stock in advance.

So a seller's buyers go on stamping while no new block can be made at the centre. A stock is a quota account that others
receive from; everybody else draws from the retail channel.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg
import structlog

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.arrays import array_text
from emeterai.infra.database import Connection, Database
from emeterai.ledger.serials import LEASE_SIZE, SerialRegister, new_block

SERIALS_AWAY = RefusalKind(
    "serials_away",
    503,
    "Nomor seri baru sedang tidak dapat dibuat; kuota Anda utuh. Coba lagi beberapa menit lagi.",
    "New serial numbers cannot be made just now; your quota is untouched. Try again in a few minutes.",
)
RETAIL = "retail"
_SPARE_LEASES = 4
"""Ranges that a process leased and did not use up before it ended are lost; so many are reserved on top."""
_SIZE_MAX = 2**31 - 1
_KNOWN_FOR_S = 60.0
_KNOWN_MAX = 50_000
_RETRY_AFTER_S = 60
_NO_NEW_BLOCK = (asyncpg.InsufficientPrivilegeError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError)
"""The centre makes no block. That the database is busy or away is said by others."""
_log = structlog.get_logger(__name__)


class BlockUse(NamedTuple):
    """A block of a channel: its number, how many serials it has, and how many of them were handed out to processes."""

    number: int
    size: int
    drawn: int


class SerialChannels(SerialRegister):
    """The register for all channels: each account's serials come from the channel of whoever sold to it last."""

    def __init__(self, db: Database) -> None:
        super().__init__(db, channel=RETAIL)
        self._registers: dict[str, SerialRegister] = {}
        self._known: dict[UUID, tuple[str, float]] = {}

    async def draw_for(self, accounts: Sequence[UUID]) -> Sequence[str | Refused]:
        """A serial for each of these, in order, from its channel; `serials_away` where no channel has one left."""
        channels = await self._channels_of(accounts)
        drawn: dict[str, list[str]] = {}
        for channel in set(channels):
            drawn[channel] = await self._draw_from(channel, channels.count(channel))
        return [drawn[it].pop() if drawn[it] else SERIALS_AWAY(retry_after_s=_RETRY_AFTER_S) for it in channels]

    async def reserve(self, tx: Connection, stock: UUID) -> int:
        """Make the blocks that a stock still lacks for all it ever received; gives how many serials were added."""
        channel = channel_of_stock(stock)
        lacking = await tx.fetchval(_LACKING, stock, channel)
        if lacking <= 0:
            return 0
        leases = -(-lacking // LEASE_SIZE) + _SPARE_LEASES
        size = min(leases * LEASE_SIZE, _SIZE_MAX // LEASE_SIZE * LEASE_SIZE)
        while not await new_block(tx, channel, size=size):
            pass
        return int(size)

    async def lacking(self, stocks: Sequence[UUID]) -> list[UUID]:
        """Those of the stocks that have fewer serials reserved than they ever received units."""
        names = [channel_of_stock(stock) for stock in stocks]
        rows = await self._db.fetch(_WHO_LACKS, list(stocks), names)
        return [row["stock"] for row in rows]

    async def blocks_of(self, stock: UUID) -> list[BlockUse]:
        """The blocks that a stock has, the first reserved first."""
        rows = await self._db.fetch(
            """
            SELECT number, size, next AS drawn FROM ledger.serial_blocks WHERE channel = $1 ORDER BY created_at, number
            """,
            channel_of_stock(stock),
        )
        return [BlockUse(**row) for row in rows]

    async def _draw_from(self, channel: str, count: int) -> list[str]:
        """Serials of the channel, of the retail channel when it has no more, or none at all."""
        for name in dict.fromkeys((channel, RETAIL)):
            try:
                return await self._register(name).draw(count)
            except _NO_NEW_BLOCK as error:
                _log.error("serial_block_not_made", channel=name, error=type(error).__name__)
        return []

    def _register(self, channel: str) -> SerialRegister:
        if channel == RETAIL:
            return self
        return self._registers.setdefault(channel, SerialRegister(self._db, channel=channel))

    async def _channels_of(self, accounts: Sequence[UUID]) -> list[str]:
        now = time.monotonic()
        asked = {it for it in accounts if self._known.get(it, ("", 0.0))[1] <= now}
        if asked:
            if len(self._known) + len(asked) > _KNOWN_MAX:
                self._known.clear()
                asked = set(accounts)
            rows = await self._db.fetch(_SELLERS, array_text(list(asked)))
            sellers = {row["account"]: channel_of_stock(row["stock"]) for row in rows}
            self._known.update({it: (sellers.get(it, RETAIL), now + _KNOWN_FOR_S) for it in asked})
        return [self._known[it][0] for it in accounts]


def channel_of_stock(stock: UUID) -> str:
    """The name of the channel of a stock."""
    return f"stock {stock}"


# All that a stock ever received, for what it passed on is stamped by its buyers, out of its blocks.
_LACKING = """
    SELECT (SELECT coalesce(sum(amount), 0) FROM ledger.transfers
            WHERE credit = $1 AND kind IN ('credit', 'receive'))::bigint
         - (SELECT coalesce(sum(size), 0) FROM ledger.serial_blocks WHERE channel = $2)::bigint
"""
_WHO_LACKS = f"""
    SELECT stock FROM unnest($1::uuid[], $2::text[]) AS asked(stock, channel)
    WHERE ({_LACKING.replace("$1", "asked.stock").replace("$2", "asked.channel")}) > 0
"""
_SELLERS = """
    SELECT wanted.account, gift.debit AS stock FROM unnest($1::text::uuid[]) AS wanted(account) CROSS JOIN LATERAL (
        SELECT subject FROM ledger.transfers
        WHERE credit = wanted.account AND kind = 'receive' AND reason = 'sold'
        ORDER BY posted_at DESC, id DESC LIMIT 1
    ) AS receipt CROSS JOIN LATERAL (
        SELECT debit FROM ledger.transfers WHERE subject = receipt.subject AND kind = 'give' LIMIT 1
    ) AS gift
"""
