"""Waiting for something to be done: told by the bus, or found by looking."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from emeterai.infra.bus import Bus
from emeterai.infra.ids import new_id
from emeterai.infra.waiting import LOOK_AGAIN_S, wait_for

LONG_S = 600.0


class Thing:
    """Something that is done at some look."""

    def __init__(self, *, done_at_look: int) -> None:
        self.id: UUID = new_id()
        self.looks = 0
        self._done_at_look = done_at_look
        self.was_looked_at = asyncio.Event()

    async def look(self) -> int:
        """Which look this is."""
        self.looks += 1
        self.was_looked_at.set()
        return self.looks

    def is_done(self, look: int) -> bool:
        """Whether it is done by then."""
        return look >= self._done_at_look


async def test_what_is_done_is_answered_at_once(bus: Bus) -> None:
    """One look is enough, however long one would wait."""
    thing = Thing(done_at_look=1)
    assert 1 == await wait_for(bus, thing.id, look=thing.look, done=thing.is_done, wait_s=LONG_S)


async def test_without_a_wait_it_is_answered_as_it_is(bus: Bus) -> None:
    """No time to wait is no error."""
    thing = Thing(done_at_look=9)
    assert 1 == await wait_for(bus, thing.id, look=thing.look, done=thing.is_done, wait_s=0)


async def test_news_end_the_wait(bus: Bus) -> None:
    """Each piece of news is one look; the wait ends with the look that finds it done."""
    thing = Thing(done_at_look=3)
    waiter = asyncio.create_task(wait_for(bus, thing.id, look=thing.look, done=thing.is_done, wait_s=LONG_S))
    while not waiter.done():
        await asyncio.sleep(0.001)
        bus.publish([thing.id])
    assert 3 == waiter.result()


async def test_lost_news_only_cost_time(bus: Bus) -> None:
    """Nobody tells, and it is found all the same."""
    thing = Thing(done_at_look=2)
    assert 2 == await wait_for(bus, thing.id, look=thing.look, done=thing.is_done, wait_s=LOOK_AGAIN_S * 30)


async def test_who_trusts_the_news_looks_at_the_beginning_and_the_end_only(bus: Bus) -> None:
    """However long the wait: what costs nothing may be done by a thousand at once."""
    thing = Thing(done_at_look=9)
    wait_s = LOOK_AGAIN_S * 2.5
    assert 2 == await wait_for(bus, thing.id, look=thing.look, done=thing.is_done, wait_s=wait_s, look_again_s=wait_s)


async def test_at_the_end_of_the_wait_it_is_looked_at_once_more(bus: Bus) -> None:
    """The answer is what it was at the last look, after the time was over."""
    thing = Thing(done_at_look=9)
    assert 2 == await wait_for(bus, thing.id, look=thing.look, done=thing.is_done, wait_s=0.5)


async def test_a_refused_look_ends_the_wait(bus: Bus) -> None:
    """It is the caller's, and nobody listens any more."""

    async def look() -> int:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await wait_for(bus, new_id(), look=look, done=lambda _: True, wait_s=LONG_S)
    assert {} == dict(bus._waiters)
