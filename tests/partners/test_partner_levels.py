"""Who is running out is counted by the rule that partners see on their own page."""

from __future__ import annotations

from prometheus_client import REGISTRY

from emeterai.partners.service import Partner
from market import Market

STOCK, IN_A_RUSH = 2_000, 100


async def without_limit(market: Market, *, stock: int) -> Partner:
    """A partner that is warned only when its stock ends within a day."""
    partner = await market.partner(stock=stock)
    await market.partners.warn_below(partner, 0)
    return await market.partners.get(partner.id)


async def test_a_partner_is_counted_as_low_by_either_rule(market: Market) -> None:
    """Under its own limit, or empty within a day at the rate of its last sales; none that is stopped."""
    _, address = await market.buyer()
    calm, rushing = await without_limit(market, stock=STOCK), await without_limit(market, stock=STOCK)
    under, sold_out = await market.partner(stock=5), await market.partner(stock=1)
    finished, stopped = await without_limit(market, stock=1), await market.partner(stock=5)
    await market.partner()
    for partner, quantity in ((rushing, IN_A_RUSH), (sold_out, 1), (finished, 1)):
        await market.sell(partner, address, quantity)
    await market.partners.suspend(stopped.id, "keluhan pembeli", by="test")
    await market.partners.sweep()
    shown = [(await market.partners.stock(it)).is_low for it in (calm, rushing, under, sold_out, finished)]
    assert [False, True, True, True, True] == shown
    assert sum(shown) == REGISTRY.get_sample_value("emeterai_partners_low")
    assert 1 == REGISTRY.get_sample_value("emeterai_partners_sold_out")


async def test_sales_of_long_ago_make_nobody_low(market: Market) -> None:
    """Of more than an hour ago: what sold yesterday says nothing of tomorrow."""
    (_, address), partner = await market.buyer(), await without_limit(market, stock=STOCK)
    await market.sell(partner, address, IN_A_RUSH)
    await market.db.fetch("UPDATE partners.minutes SET minute = minute - interval '61 minutes'")
    await market.partners.sweep()
    assert not (await market.partners.stock(partner)).is_low
    assert 0 == REGISTRY.get_sample_value("emeterai_partners_low")
