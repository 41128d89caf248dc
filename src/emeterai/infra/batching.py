"""Batching: requests that arrive together go to the database as one round trip, and each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from emeterai.infra import metrics
from emeterai.infra.database import BUSY
from emeterai.infra.lane import own_context

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Collects items while the batch before is under way, at least `window_s`, and hands them on as one sequence.

    `work` answers a sequence with a sequence of the same length; when it raises, every item of the batch raises. At
    `queue_max` waiting items a further one is refused with `service_busy`. Metrics know the batches by `name`. A batch
    is nobody's in particular: it works for every lane that has something in it, not for the one that came first.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        name: str = "batch",
        batch_max: int = 256,
        queue_max: int = 2_000,
        window_s: float = 0.001,
    ) -> None:
        self._work = work
        self._name = name
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._window_s = window_s
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """The answer for `item`; an answer that is an exception is raised.

        A caller that goes away does not take its item back: the work is done and its answer is dropped.
        """
        if len(self._waiting) >= self._queue_max:
            raise BUSY(retry_after_s=1)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), context=own_context())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._window_s)
                batch, self._waiting = self._waiting[: self._batch_max], self._waiting[self._batch_max :]
                await self._answer(batch)
        finally:
            self._runner = None

    async def _answer(self, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        metrics.batch(self._name, len(batch))
        try:
            answers = await self._work([item for item, _ in batch])
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


def _tell(batch: Sequence[tuple[Item, asyncio.Future[Answer]]], answers: Sequence[Answer | Exception]) -> None:
    """Give everybody who still waits his answer."""
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.cancelled():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
