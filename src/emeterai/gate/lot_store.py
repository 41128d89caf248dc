"""All SQL of the lots that addresses took without an account. No explicit lock: each statement is on one row."""

from __future__ import annotations

from emeterai.infra.database import Database


async def take_lot(db: Database, lane: str, network: bytes, most: int) -> bool:
    """Count one lot more for a network, which may have `most`; False when it has them all."""
    taken = await db.fetchval(
        """
        INSERT INTO gate.lots (lane, network, taken) VALUES ($1, $2, 1)
        ON CONFLICT (lane, network) DO UPDATE SET taken = lots.taken + 1 WHERE lots.taken < $3
        RETURNING true
        """,
        lane,
        network,
        most,
    )
    return bool(taken)


async def give_lots_back(db: Database, lane: str, network: bytes, count: int) -> None:
    """Count so many lots less for a network; one that has none left is forgotten, as after the draw."""
    await db.fetch(
        """
        MERGE INTO gate.lots USING (SELECT $1::text AS lane, $2::bytea AS network) AS back
        ON lots.lane = back.lane AND lots.network = back.network
        WHEN MATCHED AND lots.taken <= $3::int THEN DELETE
        WHEN MATCHED THEN UPDATE SET taken = lots.taken - $3::int
        """,
        lane,
        network,
        count,
    )
