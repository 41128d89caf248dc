"""Who waits at the door and leaves: cancelled at the moment it is let in, hanging up, sending what nobody asked for."""

from __future__ import annotations

import asyncio
import time

import pytest
from litestar.types import HTTPReceiveMessage

from emeterai.core.admission import Work
from emeterai.gate.budget import Budget
from emeterai.gate.door import PAYMENTS, Door
from emeterai.gate.lanes import RETAIL, STAFF
from emeterai.gate.listening import Gone

PIECE: HTTPReceiveMessage = {"type": "http.request", "body": b"x" * 40_000, "more_body": True}
HANG_UP: HTTPReceiveMessage = {"type": "http.disconnect"}


class Line:
    """What a client says, as the server hands it on; `said` counts what was taken."""

    def __init__(self, *words: HTTPReceiveMessage) -> None:
        self.words = list(words)
        self.said = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def receive(self) -> HTTPReceiveMessage:
        """The next word; after the last one nothing is said any more."""
        await self.goes_on.wait()
        if self.said == len(self.words):
            await asyncio.Event().wait()
        self.said += 1
        return self.words[self.said - 1]


async def waiting_at(budget: Budget) -> asyncio.Task[bool]:
    """Somebody who waits for the one slot of a budget, which is taken."""
    assert await budget.enter(RETAIL, Work.FINISH)
    waiting = asyncio.create_task(budget.enter(RETAIL, Work.FINISH))
    while not budget.slots.waiting:
        await asyncio.sleep(0)
    return waiting


async def test_who_is_cancelled_at_the_moment_of_being_let_in_leaves_no_slot_taken() -> None:
    """A time-out and a free slot in the same turn of the event loop, in either order."""
    for cancelled_first in (True, False):
        budget = Budget(1, clock=time.monotonic)
        waiting = await waiting_at(budget)
        for deed in (waiting.cancel, lambda budget=budget: budget.leave(RETAIL))[:: 1 if cancelled_first else -1]:
            deed()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (0, 0) == (budget.slots.used, budget.slots.waiting)


async def test_a_listening_that_fails_is_no_sign_that_somebody_left() -> None:
    """He goes on waiting, and gets the slot."""
    budget = Budget(1, clock=time.monotonic)
    assert await budget.enter(RETAIL, Work.FINISH)

    async def fails() -> None:
        raise ConnectionError

    waiting = asyncio.create_task(budget.enter(RETAIL, Work.FINISH, gone=fails))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    budget.leave(RETAIL)
    assert await waiting


async def test_who_waits_is_listened_for_only_once_it_takes_a_while() -> None:
    """Not at once, which would cost as much as a refusal; and then its place is free as soon as it hangs up, while the
    others wait on and the slot goes to one of them.
    """
    budget, listened, left = Budget(1, clock=time.monotonic), [], asyncio.Event()

    async def hangs_up() -> None:
        listened.append(time.monotonic())
        await left.wait()

    began_s = time.monotonic()
    waits = await waiting_at(budget)
    leaves = asyncio.create_task(budget.enter(RETAIL, Work.FINISH, gone=hangs_up))
    await asyncio.sleep(0.05)
    left.set()
    assert not await leaves
    (listened_s,) = listened
    assert listened_s - began_s >= 0.2
    assert 1 == budget.slots.waiting
    budget.leave(RETAIL)
    assert await waits


async def test_a_slot_that_somebody_cancelled_would_have_had_is_the_next_ones() -> None:
    """He does not know yet that he is cancelled when it comes free; it does not wait for the next that does."""
    budget = Budget(1, clock=time.monotonic)
    first = await waiting_at(budget)
    second = asyncio.create_task(budget.enter(RETAIL, Work.FINISH))
    while budget.slots.waiting < 2:
        await asyncio.sleep(0)
    first.cancel()
    budget.leave(RETAIL)
    assert (1, 0) == (budget.slots.used, budget.slots.waiting)
    async with asyncio.timeout(10):
        assert await second
    assert (1, 0) == (budget.slots.used, budget.slots.waiting)


async def test_who_gets_a_slot_in_the_moment_of_being_listened_for_has_it() -> None:
    """The turn that he waited for until then is over, and another one holds what he is told."""
    budget = Budget(1, clock=time.monotonic)
    assert await budget.enter(RETAIL, Work.FINISH)
    waiting = asyncio.create_task(budget.enter(RETAIL, Work.FINISH, gone=asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    budget._clock = lambda: time.monotonic() + 0.2
    budget._listen()
    budget.leave(RETAIL)
    assert await waiting
    assert (1, 0) == (budget.slots.used, budget.slots.waiting)


async def test_several_who_listen_hear_each_word_once() -> None:
    """Nothing that was said is lost or doubled for the application, and all hear of the hang-up, for good."""
    line = Line(PIECE, HANG_UP)
    line.goes_on.clear()
    gone = Gone(line.receive)
    listening = [asyncio.create_task(gone.left()) for _ in range(3)]
    await asyncio.sleep(0.01)
    line.goes_on.set()
    await asyncio.gather(*listening)
    assert [PIECE, HANG_UP, HANG_UP] == [await gone.receive() for _ in range(3)]


async def test_the_application_may_ask_while_somebody_listens() -> None:
    """The word is for one of them; whoever asks is answered all the same, and may stop asking without harm."""
    line = Line(PIECE, HANG_UP)
    line.goes_on.clear()
    gone = Gone(line.receive)
    listening, asking = asyncio.create_task(gone.left()), asyncio.create_task(gone.receive())
    await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.sleep(0.01)
    assert not listening.done()
    line.goes_on.set()
    await listening
    assert [PIECE, HANG_UP] == [await gone.receive() for _ in range(2)]


async def test_a_body_that_nobody_wants_is_not_kept_without_end() -> None:
    """Listening ends beyond 64 KiB: the connection pushes back, and what was kept is there."""
    line = Line(*[PIECE] * 50)
    gone = Gone(line.receive)
    listening = asyncio.create_task(gone.left())
    await asyncio.sleep(0.05)
    assert 2 == line.said
    listening.cancel()
    assert [PIECE] * 50 == [await gone.receive() for _ in range(50)]


@pytest.mark.parametrize("limit", [8, 20])
def test_of_one_slot_for_staff_and_payments_it_is_payments_that_have_it(limit: int) -> None:
    """Where the shares of all lanes are the whole: money that came waits behind no crowd."""
    door = Door(clock=time.monotonic)
    door.work.slots.resize(limit)
    door.share({RETAIL: 0.5, "mitra": 0.2, "perusahaan": 0.1, "cpns": 0.15, STAFF: 0.05})
    assert 1 == door.work.slots.guaranteed_to(PAYMENTS)
