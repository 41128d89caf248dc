"""All SQL of the lots that addresses took without an account. No explicit lock: one statement on rows that it names."""

from __future__ import annotations

from collections.abc import Sequence

from emeterai.infra.database import Database


async def take_lot(db: Database, lane: str, asked: Sequence[tuple[bytes, int]]) -> bytes | None:
    """Count one lot more for each of these networks, which may have so many; or answer the first that has them all.

    Those before it have been counted then: an address at the end of its block's lots is no worse off for it.
    """
    for network, most in asked:
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
        if not taken:
            return network
    return None
