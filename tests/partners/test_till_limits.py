"""What people are sold at tills counts towards the units of their day; retailers' stock has no such limit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from shop_floor import Floor, fresh_key

from emeterai.app import Services
from emeterai.core.refusal import Refused
from emeterai.infra.settings import Settings
from emeterai.partners.model import Sale
from emeterai.partners.organisations import is_active_partner
from emeterai.partners.sales import Sales
from emeterai.purchase.units_received import UnitsReceived
from market import Market, address_of, refusal

A_DAY = 10
SETTINGS = Settings(person_units_a_day_max=A_DAY, organisation_units_a_day_max=25)


@pytest.fixture
def tills(market: Market) -> Market:
    """The market of a service in which a person may get ten stamps a day."""
    return replace(market, sales=new_till(market))


def new_till(market: Market) -> Sales:
    """A till in a web process, as it is wired."""
    left = UnitsReceived(SETTINGS, is_partner=is_active_partner).left
    return Sales(market.db, market.ledger, market.accounts, base_url="https://meterai.example", left=left)


async def test_a_person_is_sold_no_more_than_the_units_of_a_day(tills: Market) -> None:
    """Fewer may still fit; another partner's till counts too; nothing has left the stock, and others are served."""
    partner, other = await tills.partner(stock=100), await tills.partner(stock=100)
    (account, address), (_, neighbour) = await tills.buyer(), await tills.buyer()
    await tills.sell(partner, address, 7)
    assert "buyer_limit_reached" == await refusal(tills.sell(other, address, 4))
    assert (100, 7) == (await tills.available(other.id), await tills.available(account))
    sale = await tills.sell(other, address, 3, key="kasir-1")
    assert "buyer_limit_reached" == await refusal(tills.sell(partner, address))
    await tills.sell(partner, neighbour, A_DAY)
    assert sale == await tills.sell(other, address, 3, key="kasir-1")
    assert [] == await tills.broken()


async def test_the_refusal_tells_a_seller_nothing_of_what_the_buyer_has(tills: Market) -> None:
    """Only that there is a limit, and that no money is to be taken."""
    partner, (_, address) = await tills.partner(stock=100), await tills.buyer()
    with pytest.raises(Refused, match="buyer_limit_reached") as refused:
        await tills.sell(partner, address, A_DAY + 1)
    assert (409, {}) == (refused.value.kind.status, dict(refused.value.facts))


async def test_sales_of_one_moment_are_counted_one_after_another(tills: Market) -> None:
    """In one batch, in batches of other processes, and of other partners: ten units, and no more."""
    partners, (account, address) = [await tills.partner(stock=100) for _ in range(2)], await tills.buyer()
    others = [replace(tills, sales=new_till(tills)) for _ in range(3)]
    selling = [market.sell(partner, address, 2) for market in others for partner in partners for _ in range(12)]
    answers = await asyncio.gather(*selling, return_exceptions=True)
    assert 5 == sum(isinstance(answer, Sale) for answer in answers)
    assert {"buyer_limit_reached"} == {answer.code for answer in answers if isinstance(answer, Refused)}
    assert A_DAY == await tills.available(account)
    assert [] == await tills.broken()


async def test_retailers_and_those_who_sell_for_the_issuer_get_more(tills: Market) -> None:
    """A stock has no limit; a partner's own account that of organisations, for as long as it may sell."""
    partner, seller = await tills.partner(stock=100), await tills.partner()
    retailer = await tills.partner(distributor=partner)
    await tills.sell(partner, str(retailer.id), 40)
    await tills.sell(partner, address_of(seller.account_id), 25)
    assert "buyer_limit_reached" == await refusal(tills.sell(partner, address_of(seller.account_id)))
    await tills.partners.suspend(retailer.id, "keluhan pembeli", by="test")
    await tills.sell(partner, address_of(retailer.account_id), A_DAY)
    assert "buyer_limit_reached" == await refusal(tills.sell(partner, address_of(retailer.account_id)))


@pytest.fixture
def services(floor: Floor) -> Services:
    """Everything that the application works with, as it is wired together."""
    found: Services = floor.app.state["services"]
    return found


async def day_of(services: Services, account: UUID) -> str:
    """What an account hears that orders one stamp more."""
    return await refusal(services.purchase.place_order(account, 1))


async def test_in_the_service_tills_and_orders_are_counted_together(
    floor: Floor, services: Services, market: Market
) -> None:
    """At a till's page, by its program, and with the orders and the groups of the buyer; before it asks, too."""
    day, partner, (account, address) = Settings().person_units_a_day_max, await market.partner(), await market.buyer()
    stocked = await market.proposed(partner, quantity=2 * day)
    await market.deposits.approve(stocked.id, by=market.second)
    till = await floor.visitor(of=partner)
    sold = {"quantity": day - 2, "to": address, "reference": ""}
    assert 201 == (await till.program.post("/v1/partners/me/sales", json=sold, headers=fresh_key())).status_code
    await services.purchase.place_order(account, 1)
    founder = await services.accounts.identify(
        (await services.accounts.open_session(await services.accounts.account(account))).token
    )
    group = await services.groups.found(founder, name="PT Maju Bersama")
    await services.purchase.place_order(group.id, 1)
    assert ["units_a_day_reached"] * 2 == [await day_of(services, one) for one in (account, group.id)]
    again = await till.program.post("/v1/partners/me/sales", json={**sold, "quantity": 1}, headers=fresh_key())
    assert (409, "buyer_limit_reached") == (again.status_code, again.json()["code"])
    asked = await till.send("/mitra/penjualan", page="/mitra", quantity="1", to=address)
    assert 409 == asked.status_code
    assert "Pembeli ini sudah mencapai batas" in asked.text
