"""Batching: requests that arrive together are one round trip, and none of them feels the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from math import inf

import pytest

from emeterai.core.refusal import Refused
from emeterai.infra.batching import Batcher
from emeterai.infra.database import Database
from emeterai.infra.http import NOT_FOUND
from emeterai.infra.lane import COMMON, Deadline, deadline, work_for

FATAL = 1_313
PATIENCE_S = 30
"""Only a test that fails waits as long."""


class Squares:
    """Work that is watched: it answers with squares, refuses negative numbers and breaks on FATAL."""

    def __init__(self, *, open_at_once: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = asyncio.Event()
        if open_at_once:
            self.may_go_on.set()

    async def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        """The square of each number."""
        self.batches.append(list(numbers))
        await self.may_go_on.wait()
        if FATAL in numbers:
            raise RuntimeError("the database is away")
        return [number**2 if number >= 0 else NOT_FOUND() for number in numbers]


async def under_way(squares: Squares) -> None:
    """Return when the work has begun."""
    while not squares.batches:
        await asyncio.sleep(0)


async def test_each_caller_gets_its_own_answer() -> None:
    """A hundred at once, in one batch and in order."""
    squares = Squares()
    batcher: Batcher[int, int] = Batcher(squares)
    assert [number**2 for number in range(100)] == await asyncio.gather(*map(batcher.submit, range(100)))
    assert [list(range(100))] == squares.batches


async def test_no_batch_is_larger_than_its_bound() -> None:
    """The rest goes with the next, in the order of arrival."""
    squares = Squares()
    batcher: Batcher[int, int] = Batcher(squares, batch_max=40)
    await asyncio.gather(*map(batcher.submit, range(100)))
    assert [40, 40, 20] == [len(batch) for batch in squares.batches]
    assert list(range(100)) == [number for batch in squares.batches for number in batch]


async def test_a_refusal_costs_only_itself() -> None:
    """It is raised for the one who asked for it."""
    batcher: Batcher[int, int] = Batcher(Squares())
    answers = await asyncio.gather(*map(batcher.submit, [1, -1, 2]), return_exceptions=True)
    assert [1, 4] == [answers[0], answers[2]]
    assert isinstance(answers[1], Refused)


async def test_a_batch_that_breaks_breaks_for_its_members_only() -> None:
    """Those who came after it get their answers."""
    squares = Squares(open_at_once=False)
    batcher: Batcher[int, int] = Batcher(squares, batch_max=3)
    callers = [asyncio.create_task(batcher.submit(number)) for number in (1, FATAL, 2, 3, 4)]
    await under_way(squares)
    squares.may_go_on.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert ["the database is away"] * 3 == [str(answer) for answer in answers[:3]]
    assert [9, 16] == answers[3:]
    assert 25 == await batcher.submit(5)


async def test_a_full_queue_is_refused_politely() -> None:
    """At the bound the next one is told to come back; those who wait are served."""
    squares = Squares(open_at_once=False)
    batcher: Batcher[int, int] = Batcher(squares, batch_max=1, queue_max=3)
    callers = [asyncio.create_task(batcher.submit(0))]
    await under_way(squares)
    callers += [asyncio.create_task(batcher.submit(number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await batcher.submit(4)
    assert ("service_busy", 503) == (refused.value.code, refused.value.kind.status)
    assert refused.value.facts["retry_after_s"]
    squares.may_go_on.set()
    assert [0, 1, 4, 9] == await asyncio.gather(*callers)


async def test_a_caller_that_goes_away_disturbs_nobody() -> None:
    """Before its batch begins, or while it is under way: the others get their answers, and its work is done."""
    squares = Squares(open_at_once=False)
    batcher: Batcher[int, int] = Batcher(squares, batch_max=3)
    callers = [asyncio.create_task(batcher.submit(number)) for number in range(6)]
    await under_way(squares)
    callers[1].cancel()
    callers[4].cancel()
    await asyncio.sleep(0)
    squares.may_go_on.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [0, 4, 9, 25] == [answer for answer in answers if isinstance(answer, int)]
    assert [asyncio.CancelledError] * 2 == [type(answers[1]), type(answers[4])]
    assert [[0, 1, 2], [3, 4, 5]] == squares.batches


async def test_the_one_who_came_first_may_leave_too() -> None:
    """The batch does not run inside the caller that started it."""
    squares = Squares(open_at_once=False)
    batcher: Batcher[int, int] = Batcher(squares)
    first, second = (asyncio.create_task(batcher.submit(number)) for number in (1, 2))
    await under_way(squares)
    first.cancel()
    squares.may_go_on.set()
    assert 4 == await second


async def test_work_whose_helper_was_cancelled_keeps_nobody_waiting() -> None:
    """What it waited for was cancelled, not the work: who waits is told to come again, and the next are served."""
    helper: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
    helper.cancel()

    async def work(items: Sequence[int]) -> Sequence[int]:
        return await helper if 1 in items else items

    batcher: Batcher[int, int] = Batcher(work)
    answers = await asyncio.wait_for(asyncio.gather(*map(batcher.submit, (1, 2)), return_exceptions=True), 10)
    assert ["service_busy"] * 2 == [answer.code for answer in answers if isinstance(answer, Refused)]
    assert 3 == await asyncio.wait_for(batcher.submit(3), 10)


def asks(
    batcher: Batcher[int, int], number: int, *, until_s: float = inf, known: list[Deadline] | None = None
) -> asyncio.Task[int | str]:
    """A request with a deadline, which `known` gets: what it hears, a refusal by its code."""

    async def ask() -> int | str:
        work_for(COMMON, 0, until_s=until_s)
        if known is not None:
            known.append(deadline())
        try:
            return await batcher.submit(number)
        except Refused as refused:
            return refused.code if refused.facts["retry_after_s"] else "for ever"

    return asyncio.create_task(ask())


async def test_who_has_stopped_waiting_is_left_out_before_anything_is_done() -> None:
    """It alone: those who came with it are in the batch."""
    squares = Squares()
    batcher: Batcher[int, int] = Batcher(squares)
    now_s = time.monotonic()
    callers = [asks(batcher, number, until_s=now_s if number == 2 else now_s + PATIENCE_S) for number in (1, 2, 3)]
    assert [1, "service_busy", 9] == await asyncio.gather(*callers)
    assert [[1, 3]] == squares.batches


async def test_whose_deadline_passes_as_the_batch_is_put_together_is_left_out() -> None:
    """A loop that is late hears of a deadline only after that."""
    squares, known = Squares(), list[Deadline]()
    batcher: Batcher[int, int] = Batcher(squares, window_s=0.05)
    late = asks(batcher, 1, until_s=time.monotonic() + PATIENCE_S, known=known)
    other = asks(batcher, 2)
    await asyncio.sleep(0)
    known[0].until_s = time.monotonic()
    assert ["service_busy", 4] == await asyncio.gather(late, other)
    assert [[2]] == squares.batches


async def test_who_waits_behind_a_long_batch_is_told_at_the_deadline() -> None:
    """While that batch is still under way; its place is free for another."""
    squares = Squares(open_at_once=False)
    batcher: Batcher[int, int] = Batcher(squares, queue_max=1)
    first = asks(batcher, 1)
    await under_way(squares)
    async with asyncio.timeout(PATIENCE_S):
        assert "service_busy" == await asks(batcher, 2, until_s=time.monotonic() + 0.05)
    assert not first.done()
    third = asks(batcher, 3)
    await asyncio.sleep(0)
    squares.may_go_on.set()
    assert [1, 9] == await asyncio.gather(first, third)
    assert [[1], [3]] == squares.batches


async def test_what_is_in_a_batch_is_told_however_late() -> None:
    """Something may have been done for it; a look is nothing to be told of, and its caller goes at the deadline."""
    for begins, heard in ((True, 25), (False, "service_busy")):
        squares = Squares(open_at_once=False)
        batcher: Batcher[int, int] = Batcher(squares, begins=begins)
        until_s = time.monotonic() + 1
        caller = asks(batcher, 5, until_s=until_s)
        async with asyncio.timeout(PATIENCE_S):
            await under_way(squares)
            while time.monotonic() < until_s + 0.1:
                await asyncio.sleep(0.05)
        squares.may_go_on.set()
        assert heard == await caller


async def test_what_a_request_has_begun_it_may_go_on_with() -> None:
    """Its deadline is over with the first batch that it is in, in all its tasks."""
    found: list[Deadline] = []

    async def request(*, begins: bool) -> None:
        work_for(COMMON, 0, until_s=time.monotonic() + PATIENCE_S)
        found.append(deadline())
        batcher: Batcher[int, int] = Batcher(Squares(), begins=begins)
        await asyncio.create_task(batcher.submit(1))

    for begins in (True, False):
        await asyncio.create_task(request(begins=begins))
    assert [True, False] == [one.until_s == inf for one in found]


async def test_a_batch_is_not_bound_by_the_deadline_of_who_came_first(db: Database) -> None:
    """The one that started the loop of batches has gone; the others get their connection, now and later."""

    async def work(numbers: Sequence[int]) -> list[int]:
        return [await db.fetchval("SELECT $1::int * $1::int", number) for number in numbers]

    batcher: Batcher[int, int] = Batcher(work, window_s=0.05)
    first, second = asks(batcher, 1, until_s=time.monotonic()), asks(batcher, 2)
    assert ["service_busy", 4] == await asyncio.gather(first, second)
    assert 9 == await asks(batcher, 3)
