"""Serials in advance: when the centre makes no new block, the buyers of a partner go on stamping."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from emeterai.core.ledger import Balance
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.ledger.channels import SERIALS_AWAY, SerialChannels
from emeterai.ledger.serials import LEASE_SIZE
from emeterai.stamping.service import Stamping
from market import Market
from spine import Spine

CENTRE_DOWN = "REVOKE INSERT ON ledger.serial_blocks FROM CURRENT_USER"
CENTRE_UP = "GRANT INSERT ON ledger.serial_blocks TO CURRENT_USER"


@pytest.fixture
async def spine(db: Database, tmp_path: Path) -> Spine:
    """The spine, drawing serials as the service does."""
    spine = Spine(db, tmp_path)
    spine.serials = SerialChannels(db)
    spine.stamping = Stamping(db, spine.bus, spine.ledger, spine.serials, hold_life_s=60)
    return spine


async def test_the_centre_fails_and_a_partners_buyers_still_stamp(market: Market, spine: Spine) -> None:
    """In one batch with others, who keep their quota and hear `serials_away`; all is well once the centre is back."""
    partner, (buyer, address) = await market.partner(stock=10), await market.buyer()
    await market.sell(partner, address, 2)
    retail = await spine.person(2)
    wanted = [await spine.wanted(account) for account in (buyer, retail, buyer)]
    await market.db.fetch(CENTRE_DOWN)
    first, other, second = await asyncio.gather(*map(spine.stamping.ask, wanted), return_exceptions=True)
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    prefixes = {block.prefix for block in await market.partners.serial_blocks(partner.id)}
    assert {first[0].serial[:5], second[0].serial[:5]} <= prefixes
    assert isinstance(other, Refused)
    assert (SERIALS_AWAY, 503, 60) == (other.kind, other.kind.status, other.facts["retry_after_s"])
    assert Balance(bought=2) == await spine.ledger.balance(retail)
    await market.db.fetch(CENTRE_UP)
    stamp, _ = await spine.stamping.ask(wanted[1])
    assert stamp.serial[:5] not in prefixes
    assert [] == await market.broken()


async def test_what_a_partner_may_sell_has_its_serials(market: Market) -> None:
    """Every deposit adds what it lacks, never twice; the record says which numbers they are and how many are out."""
    partner, (account, address) = await market.partner(stock=3 * LEASE_SIZE), await market.buyer()
    (block,) = await market.partners.serial_blocks(partner.id)
    assert block.size >= 3 * LEASE_SIZE
    assert 0 == block.drawn
    await market.partners.reserve_serials(partner.id)
    assert [block] == await market.partners.serial_blocks(partner.id)
    await market.sell(partner, address)
    await market.serials.draw_for([account])
    assert LEASE_SIZE == (await market.partners.serial_blocks(partner.id))[0].drawn
    deposit = await market.proposed(partner, quantity=9 * LEASE_SIZE)
    await market.deposits.approve(deposit.id, by=market.second)
    blocks = await market.partners.serial_blocks(partner.id)
    assert sum(it.size for it in blocks) >= 12 * LEASE_SIZE


async def test_a_deposit_is_approved_while_the_centre_is_down(market: Market) -> None:
    """The money is stock all the same; the steward reserves the numbers when the centre is back."""
    partner = await market.partner()
    deposit = await market.proposed(partner, quantity=5)
    await market.db.fetch(CENTRE_DOWN)
    await market.deposits.approve(deposit.id, by=market.second)
    assert (5, []) == (await market.available(partner.id), await market.partners.serial_blocks(partner.id))
    await market.db.fetch(CENTRE_UP)
    await market.partners.sweep()
    assert 1 == len(await market.partners.serial_blocks(partner.id))


async def test_a_partner_that_has_used_up_its_blocks_draws_from_retail(market: Market) -> None:
    """While the centre is down and the retail channel still has some."""
    partner, (account, address) = await market.partner(stock=1), await market.buyer()
    await market.sell(partner, address)
    await market.serials.draw_for([account])
    await market.serials.draw(1)
    await market.db.fetch(CENTRE_DOWN)
    await market.db.fetch("UPDATE ledger.serial_blocks SET next = size WHERE channel <> 'retail'")
    other = SerialChannels(market.db)
    (serial,) = await other.draw_for([account])
    assert isinstance(serial, str)
    assert {block.prefix for block in await market.partners.serial_blocks(partner.id)}.isdisjoint({serial[:5]})
