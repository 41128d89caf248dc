"""Batching: requests that arrive together go to the database as one round trip, and each gets its own answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

from emeterai.infra import metrics
from emeterai.infra.database import BUSY, too_late
from emeterai.infra.lane import Deadline, deadline, own_context

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, eq=False)
class _Asked(Generic[Item, Answer]):
    """One item, where its answer is awaited, and until when."""

    item: Item
    answer: asyncio.Future[Answer]
    deadline: Deadline

    def refuse(self) -> None:
        """Nobody waits for it any more."""
        if not self.answer.done():
            self.answer.set_exception(too_late("batch"))


class Batcher(Generic[Item, Answer]):
    """Collects items while the batch before is under way, at least `window_s`, and hands them on as one sequence.

    `work` answers a sequence with a sequence of the same length; when it raises, every item of the batch raises. At
    `queue_max` waiting items a further one is refused with `service_busy`, and so is one whose deadline (`infra.lane`)
    passes before its batch is put together: nothing was done for it. What is in a batch is done, and its deadline is
    lifted, unless the batch `begins` nothing whose outcome must be told: then the answer is awaited until the deadline.
    Metrics know the batches by `name`. A batch is nobody's in particular: it works for every lane that has something in
    it, not for the one that came first, and is not bound by that one's deadline.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        name: str = "batch",
        batch_max: int = 256,
        queue_max: int = 2_000,
        window_s: float = 0.001,
        begins: bool = True,
    ) -> None:
        self._work = work
        self._name = name
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._window_s = window_s
        self._begins = begins
        self._waiting: deque[_Asked[Item, Answer]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """The answer for `item`; an answer that is an exception is raised.

        A caller that goes away does not take its item back: the work is done and its answer is dropped.
        """
        if len(self._waiting) >= self._queue_max:
            raise BUSY(retry_after_s=1)
        loop = asyncio.get_running_loop()
        asked: _Asked[Item, Answer] = _Asked(item, loop.create_future(), deadline())
        self._waiting.append(asked)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), context=own_context())
        left_s = asked.deadline.left_s
        if left_s == inf:
            return await asked.answer
        timer = loop.call_later(left_s, self._give_up, asked)
        try:
            return await asked.answer
        finally:
            timer.cancel()

    def _give_up(self, asked: _Asked[Item, Answer]) -> None:
        """Its deadline is here. What was begun meanwhile has none any more."""
        if asked.deadline.until_s < inf:
            with suppress(ValueError):
                self._waiting.remove(asked)
            asked.refuse()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._window_s)
                if batch := self._put_together():
                    await self._answer(batch)
        finally:
            self._runner = None

    def _put_together(self) -> list[_Asked[Item, Answer]]:
        """The next batch, of those for whom somebody still waits."""
        batch: list[_Asked[Item, Answer]] = []
        while self._waiting and len(batch) < self._batch_max:
            asked = self._waiting.popleft()
            if asked.deadline.has_passed:
                asked.refuse()
                continue
            if self._begins:
                asked.deadline.lift()
            batch.append(asked)
        return batch

    async def _answer(self, batch: Sequence[_Asked[Item, Answer]]) -> None:
        metrics.batch(self._name, len(batch))
        try:
            answers = await self._work([asked.item for asked in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"a batch of {len(batch)} got {len(answers)} answers")  # noqa: TRY301 - for all of them
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait, not to this task
            answers = [error] * len(batch)
        except asyncio.CancelledError:
            # This task or, what nobody here asked for, something that the work waited for: nobody waits for ever.
            _tell(batch, [BUSY(retry_after_s=1)] * len(batch))
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return
        _tell(batch, answers)


def _tell(batch: Sequence[_Asked[Item, Answer]], answers: Sequence[Answer | Exception]) -> None:
    """Give everybody who still waits his answer."""
    for asked, answer in zip(batch, answers, strict=True):
        if asked.answer.done():
            continue
        if isinstance(answer, Exception):
            asked.answer.set_exception(answer)
        else:
            asked.answer.set_result(answer)
