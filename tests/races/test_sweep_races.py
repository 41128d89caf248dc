"""A sweep of expired holds meets accounts that somebody keeps locked: only they wait."""

from __future__ import annotations

import asyncio

import pytest

from emeterai.core.ledger import Balance
from emeterai.core.stamping import StampState
from emeterai.stamping.model import Stamp
from spine import Spine

PATIENCE_S = 10.0
PEOPLE = 5


async def sweep(spine: Spine) -> int:
    """A sweep that waits shortly, with two accounts in a chunk."""
    return await asyncio.wait_for(spine.endings.sweep(together=2, lock_wait_s=0.4), PATIENCE_S)


async def expired_stamps(spine: Spine) -> list[Stamp]:
    """One stamp of each of several people, in the order of their accounts; every hold is over."""
    stamps = [await spine.held() for _ in range(PEOPLE)]
    await spine.let_holds_run_out()
    return sorted(stamps, key=lambda stamp: stamp.account_id)


async def states_of(spine: Spine, stamps: list[Stamp]) -> list[StampState]:
    """Their states now."""
    return [(await spine.now(stamp)).state for stamp in stamps]


@pytest.mark.parametrize("stuck", [(0,), (3,), (4,), (0, 1, 3)])
async def test_a_locked_account_is_left_to_the_next_sweep(spine: Spine, stuck: tuple[int, ...]) -> None:
    """Everybody else's unit goes back although those accounts are locked all the while; theirs once they are free."""
    stamps = await expired_stamps(spine)
    async with spine.db.transaction() as tx:
        await spine.ledger.open_book(tx, [stamps[one].account_id for one in stuck])
        assert PEOPLE - len(stuck) == await sweep(spine)
        held = [one for one, state in enumerate(await states_of(spine, stamps)) if state is StampState.HELD]
        assert list(stuck) == held
    assert len(stuck) == await spine.endings.sweep()
    assert [StampState.GIVEN_BACK] * PEOPLE == await states_of(spine, stamps)
    assert [Balance(bought=1)] * PEOPLE == [await spine.balance(stamp) for stamp in stamps]
    await spine.assert_sound(*stamps)


async def test_a_locked_account_with_many_holds_hides_nobody(spine: Spine) -> None:
    """A sweep that takes as many holds as the locked account has goes on with those of the others."""
    partner = await spine.person(4)
    theirs = [(await spine.stamping.ask(await spine.wanted(partner)))[0] for _ in range(4)]
    await spine.let_holds_run_out()
    other = await spine.held()
    async with spine.db.transaction() as tx:
        await tx.execute("UPDATE ledger.holds SET expires_at = now() WHERE id = $1", other.hold_id)
    async with spine.db.transaction() as tx:
        await spine.ledger.open_book(tx, [partner])
        assert 1 == await asyncio.wait_for(spine.endings.sweep(4, lock_wait_s=0.4), PATIENCE_S)
    assert [StampState.GIVEN_BACK] == await states_of(spine, [other])
    assert 4 == await spine.endings.sweep()
    await spine.assert_sound(other, *theirs)


async def test_a_lock_that_is_soon_free_is_waited_for(spine: Spine) -> None:
    """Whoever works on the account for a moment does not push its unit to the next sweep."""
    stamp = await spine.held()
    await spine.let_holds_run_out()
    async with spine.db.transaction() as tx:
        await spine.ledger.open_book(tx, [stamp.account_id])
        sweep = asyncio.create_task(spine.endings.sweep())
        await asyncio.sleep(0.2)
        assert not sweep.done()
    assert 1 == await sweep


async def test_a_wait_that_is_limited_is_limited_for_that_sweep_alone(spine: Spine) -> None:
    """The connection goes back to the pool as it was: others wait for locks as long as they did."""
    await expired_stamps(spine)
    await sweep(spine)
    assert "0" == await spine.db.fetchval("SHOW lock_timeout")
