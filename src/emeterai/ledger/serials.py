"""The register of serials: drawn from blocks, taken with a hold, then affixed or void for ever."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from emeterai.core.refusal import Refused
from emeterai.core.serial import BLOCK_NUMBER_MAX, SerialBlock
from emeterai.infra.database import Connection, Database
from emeterai.ledger.model import SerialRecord

BLOCK_SIZE = 1_000_000
LEASE_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class SerialWanted:
    """One serial to take: for which document digest (SHA-256), under which hold, for which stamp."""

    digest: bytes
    hold_id: UUID
    subject: UUID


class SerialRegister:
    """Takes serials from a channel's blocks without a hot row: a process leases a range of places and hands them out.

    Places that a dying process had leased are never drawn; their serials are simply never issued.
    """

    def __init__(self, db: Database, *, channel: str = "retail") -> None:
        self._db = db
        self._channel = channel
        self._drawn: deque[str] = deque()

    async def draw_for(self, accounts: Sequence[UUID]) -> Sequence[str | Refused]:
        """A serial for each of these, in order, or why there is none: here all are of this register's one channel."""
        return await self.draw(len(accounts))

    async def draw(self, count: int) -> list[str]:
        """Fresh serials from memory, leasing more when needed. Call it before the transaction that records them.

        Serials drawn for a transaction that then fails are never issued: the space has room for that.
        """
        while len(self._drawn) < count:
            self._drawn.extend(await self._lease())
        return [self._drawn.popleft() for _ in range(count)]

    async def take(self, tx: Connection, serials: Sequence[str], wanted: Sequence[SerialWanted]) -> None:
        """Put drawn serials on record in `tx`, each for one digest for life."""
        await tx.execute(
            """
            INSERT INTO ledger.serials (serial, digest, hold_id, subject)
            SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::uuid[])
            """,
            list(serials),
            [one.digest for one in wanted],
            [one.hold_id for one in wanted],
            [one.subject for one in wanted],
        )

    async def affix(self, tx: Connection, serials: Sequence[str]) -> None:
        """The seals are made and their holds settle in `tx`: these serials are used for ever."""
        await _end(tx, serials, "affixed")

    async def void(self, tx: Connection, serials: Sequence[str]) -> None:
        """The stamps failed and their holds are released in `tx`: these serials will never be used."""
        await _end(tx, serials, "void")

    async def find(self, serial: str) -> SerialRecord | None:
        """What is on record for `serial`; None when it was never taken."""
        row = await self._db.fetchrow("SELECT * FROM ledger.serials WHERE serial = $1", serial)
        return None if row is None else SerialRecord(**row)

    async def _lease(self) -> list[str]:
        async with self._db.transaction() as tx:
            while (row := await tx.fetchrow(_LEASE, self._channel, LEASE_SIZE)) is None:
                await new_block(tx, self._channel, size=BLOCK_SIZE)
        block = SerialBlock(row["number"], row["key"], row["size"])
        return [block.serial(place) for place in range(row["next"] - LEASE_SIZE, row["next"])]


async def new_block(tx: Connection, channel: str, *, size: int) -> bool:
    """Make a block for a channel. False when the number drawn is another block's (one in sixty million): try again."""
    number, key = secrets.randbelow(BLOCK_NUMBER_MAX + 1), secrets.token_bytes(32)
    return bool(await tx.execute(_NEW_BLOCK, number, channel, key, size) == "INSERT 0 1")


async def _end(tx: Connection, serials: Sequence[str], state: str) -> None:
    await tx.execute(
        "UPDATE ledger.serials SET state = $2, ended_at = now() WHERE serial = ANY($1::text[])", list(serials), state
    )


# The room is asked for again outside the sub-select: whoever waited for the row sees what the other one left.
_LEASE = """
    UPDATE ledger.serial_blocks SET next = next + $2
    WHERE next + $2 <= size AND number = (
        SELECT number FROM ledger.serial_blocks WHERE channel = $1 AND next + $2 <= size ORDER BY number LIMIT 1
    )
    RETURNING number, key, size, next
"""
_NEW_BLOCK = """
    INSERT INTO ledger.serial_blocks (number, channel, key, size) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
