"""What the steward runs for partners: serials for stocks that lack them, and who is running out."""

from __future__ import annotations

from emeterai.partners.service import Partners

SWEEP_EVERY_S = 60.0
"""How often `sweep_partners` runs."""


async def sweep_partners(partners: Partners) -> int:
    """Nothing here is needed for a sale; bounded by the number of partners. Gives how many stocks lacked serials."""
    return await partners.sweep()
