"""All SQL of an order's charge: who opened it, from when on it is watched, and that it is to be cancelled."""

from __future__ import annotations

from uuid import UUID

from emeterai.infra.database import Connection
from emeterai.purchase.model import Charge


async def write_charge(
    tx: Connection, order_id: UUID, charge: Charge, *, provider: str, first_check_s: float, near_before_s: float
) -> None:
    """Remember the charge and who opened it; an order that has one keeps it. One that has ended has it cancelled.

    It is asked about after `first_check_s` where its deadline is less than `near_before_s` away, otherwise when it
    comes so near, unless it would be earlier: until now there was nobody to be asked, and the pauses were long.
    """
    await tx.execute(
        """
        UPDATE purchase.orders SET provider = $2, provider_reference = $3, pay_url = $4,
            pay_channel = $5, pay_code = $6, pay_bank = $7, closing = state IN ('expired', 'cancelled'),
            next_check_at = CASE WHEN next_check_at IS NOT NULL THEN least(next_check_at, greatest(
                now() + make_interval(secs => $8), expires_at - make_interval(secs => $9))) END
        WHERE id = $1 AND provider_reference IS NULL
        """,
        order_id,
        provider,
        charge.reference,
        charge.pay_url,
        charge.code.channel.value if charge.code else None,
        charge.code.text if charge.code else None,
        charge.code.bank if charge.code else None,
        first_check_s,
        near_before_s,
    )


async def write_closed(tx: Connection, order_id: UUID) -> None:
    """The provider has been asked to cancel the charge: once, for it is only a kindness."""
    await tx.execute("UPDATE purchase.orders SET closing = false WHERE id = $1", order_id)
