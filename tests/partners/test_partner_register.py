"""Who sells: let in once, with what the public may know."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from emeterai.infra.ids import new_id
from emeterai.partners.service import PartnerKind
from market import Market, person, refusal

SHOP: dict[str, Any] = {
    "name": " Toko   Maju ",
    "contact": "0800-1-234567",
    "kind": PartnerKind.DISTRIBUTOR,
    "by": "op",
}


async def test_an_account_becomes_one_partner(market: Market) -> None:
    """Found by its account afterwards; a second time is refused."""
    account = await person(market.db)
    partner = await market.partners.register(account, **SHOP)
    assert ("Toko Maju", partner) == (partner.name, await market.partners.of_account(account))
    assert "partner_exists" == await refusal(market.partners.register(account, **SHOP))
    assert "partner_only" == await refusal(market.partners.of_account(await person(market.db)))
    assert "partner_unknown" == await refusal(market.partners.get(new_id()))
    assert [partner] == await market.partners.listed()


@pytest.mark.parametrize(
    "change",
    [{"name": " "}, {"name": "x" * 121}, {"contact": ""}, {"contact": "a\u202eb"}, {"distributor_id": new_id()}],
)
async def test_details_that_the_public_could_not_read_are_refused(market: Market, change: dict[str, Any]) -> None:
    """And only a retailer has a distributor."""
    account = await person(market.db)
    assert "partner_details_unusable" == await refusal(market.partners.register(account, **SHOP | change))


async def test_a_retailers_distributor_is_a_distributor(market: Market) -> None:
    """Not another retailer, and not nobody."""
    distributor = await market.partner()
    retailer = await market.partner(distributor=distributor)
    for other in (retailer.id, new_id()):
        wanted = SHOP | {"kind": PartnerKind.RETAILER, "distributor_id": other}
        assert "partner_unknown" == await refusal(market.partners.register(await person(market.db), **wanted))


async def test_the_record_of_partners_only_grows(market: Market) -> None:
    """Neither what was done to a partner nor what it sold can be changed afterwards."""
    partner, (_, address) = await market.partner(stock=1), await market.buyer()
    await market.sell(partner, address)
    for change in (
        "UPDATE partners.changes SET reason = 'other'",
        "DELETE FROM partners.changes",
        "UPDATE partners.sales SET quantity = 2",
        "DELETE FROM partners.sales",
        "DELETE FROM partners.deposits",
    ):
        with pytest.raises(asyncpg.RaiseError):
            await market.db.fetch(change)
