"""Whom the issuer knows buys within the limits of organisations."""

from __future__ import annotations

from uuid import UUID

import pytest
from shop_floor import Floor

from emeterai.app import Services
from emeterai.core.refusal import Refused
from emeterai.infra.settings import Settings
from market import Market

DAY_OF_A_PERSON = Settings().person_units_a_day_max
AT_ONCE = Settings().order_quantity_max


@pytest.fixture
def services(floor: Floor) -> Services:
    """Everything that the application works with, as it is wired together."""
    found: Services = floor.app.state["services"]
    return found


async def buys_more_than_a_person(services: Services, account_id: UUID) -> bool:
    """Whether an account that has ordered all that a person may order in a day gets one stamp more."""
    ordered: int = await services.db.fetchval(
        "SELECT coalesce(sum(quantity), 0)::int FROM purchase.orders WHERE account_id = $1", account_id
    )
    for _ in range(ordered, DAY_OF_A_PERSON, AT_ONCE):
        await services.purchase.place_order(account_id, AT_ONCE)
    try:
        await services.purchase.place_order(account_id, 1)
    except Refused as refused:
        if refused.code == "units_a_day_reached":
            return False
        raise
    return True


async def test_a_partner_may_buy_more_than_a_person_while_it_may_sell(services: Services, market: Market) -> None:
    """From the moment in which it is let in; a stopped partner buys as a person does, until it is let go on."""
    partner = await market.partner()
    assert await buys_more_than_a_person(services, partner.account_id)
    await services.partners.suspend(partner.id, "keluhan pembeli", by="test")
    assert not await buys_more_than_a_person(services, partner.account_id)
    await services.partners.reinstate(partner.id, "keluhan selesai", by="test")
    assert await buys_more_than_a_person(services, partner.account_id)


async def test_a_group_of_a_partner_is_no_partner(services: Services, market: Market) -> None:
    """Until staff approve it, it has a person's limit together with its founder, whoever that is."""
    partner = await market.partner()
    account = await services.accounts.account(partner.account_id)
    founder = await services.accounts.identify((await services.accounts.open_session(account)).token)
    group = await services.groups.found(founder, name="PT Maju Bersama")
    assert not await buys_more_than_a_person(services, group.id)
    assert await buys_more_than_a_person(services, partner.account_id)
    await services.approvals.approve(group.id, "NIB diperiksa", by="test")
    assert await buys_more_than_a_person(services, group.id)
