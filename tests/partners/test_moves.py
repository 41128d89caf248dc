"""Stock moves between partners on the issuer's word, with two signatures, whole or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from emeterai.infra.ids import new_id
from emeterai.partners.model import Decision, Move
from emeterai.partners.service import Partner
from market import Market, person, refusal


async def proposed(market: Market, giver: Partner, receiver: Partner, quantity: int) -> Move:
    """A move that awaits a second person."""
    return await market.moves.propose(
        new_id(), giver_id=giver.id, receiver_id=receiver.id, quantity=quantity, why="musim CPNS", by=market.first
    )


async def test_a_move_takes_two_persons_and_moves_once(market: Market) -> None:
    """What one gives the other has, and nothing was made or lost."""
    giver, receiver = await market.partner(stock=10), await market.partner(stock=1)
    move = await proposed(market, giver, receiver, 4)
    assert [move] == await market.moves.awaiting()
    for by in (market.first, giver.account_id, receiver.account_id):
        assert "second_person_needed" == await refusal(market.moves.approve(move.id, by=by))
    for _ in range(2):
        approved = await market.moves.approve(move.id, by=market.second)
        assert Decision.APPROVED is approved.state
    assert (6, 5) == (await market.available(giver.id), await market.available(receiver.id))
    assert ([], [approved]) == (await market.moves.awaiting(), await market.moves.of_partner(receiver.id))
    assert [] == await market.broken()


async def test_more_than_there_is_does_not_move(market: Market) -> None:
    """It still awaits a decision: to be rejected, or approved when there is more."""
    giver, receiver = await market.partner(stock=3), await market.partner()
    move = await proposed(market, giver, receiver, 4)
    assert "stock_not_enough" == await refusal(market.moves.approve(move.id, by=market.second))
    assert (3, 0) == (await market.available(giver.id), await market.available(receiver.id))
    rejected = await market.moves.reject(move.id, "stok kurang", by=market.second)
    assert (Decision.REJECTED, "stok kurang") == (rejected.state, rejected.reason)
    assert [] == await market.broken()


async def test_approved_by_many_at_once_it_moves_once(market: Market) -> None:
    """In either direction at the same time, too: nobody waits in a circle."""
    one, other = await market.partner(stock=10), await market.partner(stock=10)
    there, back = await proposed(market, one, other, 3), await proposed(market, other, one, 1)
    seconds = [await person(market.db) for _ in range(4)]
    outcomes = await asyncio.gather(
        *(market.moves.approve(move.id, by=by) for by in seconds for move in (there, back)), return_exceptions=True
    )
    assert 2 == sum(isinstance(it, Move) for it in outcomes)
    assert (8, 12) == (await market.available(one.id), await market.available(other.id))
    assert [] == await market.broken()


@pytest.mark.parametrize("quantity", [0, -1, 10**10])
async def test_what_cannot_be_moved_is_refused(market: Market, quantity: int) -> None:
    """Nothing, less than nothing, too much, or from a partner to itself."""
    giver, receiver = await market.partner(), await market.partner()
    assert "move_unusable" == await refusal(proposed(market, giver, receiver, quantity))
    assert "move_unusable" == await refusal(proposed(market, giver, giver, 1))


async def test_a_proposal_sent_twice_is_one(market: Market) -> None:
    """The id is the form's; with other content it is refused."""
    giver, receiver = await market.partner(stock=3), await market.partner()
    move = await proposed(market, giver, receiver, 2)
    same: dict[str, Any] = {"giver_id": giver.id, "receiver_id": receiver.id, "why": "musim CPNS", "by": market.first}
    assert move == await market.moves.propose(move.id, quantity=2, **same)
    assert "idempotency_key_reused" == await refusal(market.moves.propose(move.id, quantity=1, **same))


async def test_neither_partner_proposes_a_move(market: Market) -> None:
    """Whoever acts for one of the two signs nothing about it."""
    giver, receiver = await market.partner(stock=5), await market.partner()
    for by in (giver.account_id, receiver.account_id):
        asked = market.moves.propose(
            new_id(), giver_id=giver.id, receiver_id=receiver.id, quantity=1, why="musim CPNS", by=by
        )
        assert "second_person_needed" == await refusal(asked)
    assert [] == await market.moves.awaiting()
