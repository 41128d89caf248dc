"""What people are sold at tills counts towards the units of their day; retailers' stock has no such limit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from shop_floor import Floor, fresh_key

from emeterai.accounts.groups import Groups
from emeterai.app import Services
from emeterai.core.ledger import Posted, Reason
from emeterai.core.refusal import Refused
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.partners.model import Sale, SaleWanted
from emeterai.partners.organisations import is_active_partner, partners_among
from emeterai.partners.programmes import passing
from emeterai.partners.sales import Buyer, Sales
from emeterai.partners.sales import _decide as decide
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
    left = UnitsReceived(SETTINGS, is_partner=is_active_partner, partners_among=partners_among).left
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


async def passed_on(tills: Market, account: UUID, units: int) -> None:
    """An organisation funds a programme of grants with what came to its account."""
    funding = passing(Reason.GRANT_FUNDED, units, lines=(account, new_id()), subject=new_id())
    assert all(isinstance(answer, Posted) for answer in await tills.ledger.post(funding))


@pytest.mark.parametrize("stopped", [False, True])
async def test_what_a_partner_passed_on_stays_counted(tills: Market, *, stopped: bool) -> None:
    """Its balance says nothing of it: what reached its own account today counts, also once it may not sell any more."""
    seller, other = await tills.partner(stock=100), await tills.partner()
    address = address_of(other.account_id)
    await tills.sell(seller, address, A_DAY)
    await passed_on(tills, other.account_id, A_DAY)
    if stopped:
        await tills.partners.suspend(other.id, "keluhan pembeli", by="test")
    else:
        await tills.sell(seller, address, 15)
        await passed_on(tills, other.account_id, 15)
    assert "buyer_limit_reached" == await refusal(tills.sell(seller, address))


async def test_what_a_group_passed_on_while_it_was_approved_stays_counted(tills: Market) -> None:
    """Once it is not approved any more, it counts with its founder again, with all that came to it today."""
    seller, (account, address) = await tills.partner(stock=100), await tills.buyer()
    founder = await tills.accounts.identify(
        (await tills.accounts.open_session(await tills.accounts.account(account))).token
    )
    group = await Groups(tills.db, tills.ledger).found(founder, name="Badan Kepegawaian")
    came = passing(Reason.VOUCHER_REDEEMED, A_DAY, lines=(seller.id, group.id), subject=new_id())
    assert all(isinstance(answer, Posted) for answer in await tills.ledger.post(came))
    await passed_on(tills, group.id, A_DAY)
    assert "buyer_limit_reached" == await refusal(tills.sell(seller, address))


def test_sales_of_one_batch_are_counted_one_after_another() -> None:
    """Of what a buyer may still get each sale that fits leaves less; a smaller one may still fit, others' all do."""
    buyer, other, retailer = new_id(), new_id(), new_id()
    buyers = {
        "siti": Buyer(buyer, is_partner=False),
        "budi": Buyer(other, is_partner=False),
        "toko": Buyer(retailer, is_partner=True),
    }
    asked = [("siti", 6), ("siti", 6), ("budi", 6), ("siti", 4), ("siti", 1), ("toko", 50), ("budi", 4)]
    batch = [SaleWanted(units, to, "", new_id().hex) for to, units in asked]
    left = {buyer: A_DAY, other: A_DAY}
    decided = decide(batch, buyers, {}, left=left, may_sell=True, available=1_000, at=datetime.now(UTC))
    heard = [answer.code if isinstance(answer, Refused) else answer.quantity for answer in decided.answers]
    assert [6, "buyer_limit_reached", 6, 4, "buyer_limit_reached", 50, 4] == heard
    assert {buyer: A_DAY, other: A_DAY} == left


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
