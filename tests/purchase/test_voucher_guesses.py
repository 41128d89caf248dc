"""Whoever guesses at codes is told to wait; whoever holds one is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from emeterai.core.refusal import Refused
from emeterai.core.voucher_code import code_of
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase.voucher_finding import TRIES_OF_ACCOUNT_MAX, TRIES_OF_ADDRESS_MAX
from emeterai.purchase.vouchers import sweep_vouchers
from voucher_desk import Desk, refusal, write

CONNECTIONS = 12
"""What the test's database has."""


@pytest.fixture
async def desk(db: Database) -> AsyncIterator[Desk]:
    """A desk with a thousand units in stock. Both audits end the test."""
    desk = await Desk.open(db)
    yield desk
    await desk.assert_sound()


async def test_wrong_codes_are_counted_for_the_account(desk: Desk) -> None:
    """After ten unknown ones even a right code waits; mistyped ones are not counted, and others are not held up."""
    batch, guesser = await desk.batch(), new_id()
    code = desk.codes[batch.id][0]
    for number in range(TRIES_OF_ACCOUNT_MAX):
        assert "voucher_mistyped" == await refusal(desk.redeem(guesser, "0000-0000-0000-0001"))
        assert "voucher_unknown" == await refusal(desk.redeem(guesser, code_of(number), address=f"198.51.100.{number}"))
    with pytest.raises(Refused) as caught:
        await desk.redeem(guesser, code, address="198.51.100.99")
    assert "voucher_tries_over" == caught.value.code
    assert 0 < int(caught.value.facts["retry_after_s"]) <= 900
    assert 15 == caught.value.facts["minutes"]
    assert 5 == (await desk.redeem(new_id(), code)).units
    await write(desk.db, "UPDATE purchase.voucher_tries SET ends_at = now()")
    assert "voucher_redeemed" == await refusal(desk.redeem(guesser, code))
    assert 0 == await sweep_vouchers(desk.db)
    assert 0 == await desk.db.fetchval("SELECT count(*) FROM purchase.voucher_tries")


async def test_wrong_codes_are_counted_for_the_address(desk: Desk) -> None:
    """However many accounts come from there; an IPv6 address counts with its whole network."""
    batch = await desk.batch()
    for number in range(TRIES_OF_ADDRESS_MAX):
        asked = desk.redeem(new_id(), code_of(number), address=f"2001:db8::{number}")
        assert "voucher_unknown" == await refusal(asked)
    code = desk.codes[batch.id][0]
    assert "voucher_tries_over" == await refusal(desk.redeem(new_id(), code, address="2001:db8::ffff"))
    assert 5 == (await desk.redeem(new_id(), code, address="2001:db8:1::1")).units


async def test_guesses_at_the_same_moment_count_too(desk: Desk) -> None:
    """More than the limit get an answer only as far as there are connections to ask at once."""
    guesser = new_id()
    asked = (desk.redeem(guesser, code_of(number)) for number in range(100))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    told = [answer.code for answer in answers if isinstance(answer, Refused)]
    assert 100 == len(told)
    assert TRIES_OF_ACCOUNT_MAX <= told.count("voucher_unknown") <= TRIES_OF_ACCOUNT_MAX + CONNECTIONS
    assert "voucher_tries_over" == await refusal(desk.redeem(guesser, code_of(100)))


async def test_right_codes_are_never_counted(desk: Desk) -> None:
    """A class redeems its vouchers from one address, each person with an account of their own."""
    batch = await desk.batch(vouchers=TRIES_OF_ADDRESS_MAX + 20, units=1)
    for code in desk.codes[batch.id]:
        assert 1 == (await desk.redeem(new_id(), code)).units
