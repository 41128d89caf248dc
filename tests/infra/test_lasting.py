"""What lasts as long as its process: however it ends by itself, that is an error, which nobody overlooks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from structlog.testing import capture_logs

from emeterai.infra.database import BUSY
from emeterai.infra.lasting import EndedError, lasting
from emeterai.worker import _run_all, _together


async def comes_to_its_end() -> None:
    """Work that returns."""


async def waits_for_a_helper_that_was_cancelled() -> None:
    """To a task group this looks as if somebody had told the work to stop."""
    helper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    helper.cancel()
    await helper


async def goes_on() -> None:
    """Work as it should be."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("work", [comes_to_its_end, waits_for_a_helper_that_was_cancelled])
async def test_an_end_that_nobody_asked_for_is_an_error(work: Callable[[], Awaitable[None]]) -> None:
    """It says which work it was."""
    with pytest.raises(EndedError, match="renewing"):
        await lasting("renewing", work())


async def test_an_error_stays_what_it_is() -> None:
    """The log shows what went wrong."""

    async def breaks() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        await lasting("renewing", breaks())


async def test_work_that_is_told_to_stop_stops() -> None:
    """That is no error."""
    task = asyncio.create_task(lasting("renewing", goes_on()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("work", [comes_to_its_end, waits_for_a_helper_that_was_cancelled])
async def test_a_sealer_does_not_go_on_without_one_of_its_works(work: Callable[[], Awaitable[None]]) -> None:
    """The process ends with it, and is started again whole."""
    async with asyncio.timeout(20):
        with pytest.raises(ExceptionGroup) as group:
            await _together(one=goes_on(), lost=work(), other=goes_on())  # type: ignore[arg-type]
    assert group.group_contains(EndedError)


async def test_a_steward_does_not_go_on_without_one_of_its_sweeps() -> None:
    """Not even when the sweep seems to have been told to stop: nobody else gives units back."""
    async with asyncio.timeout(20):
        with pytest.raises(ExceptionGroup) as group:
            await _run_all({"others": (0.01, goes_on), "lost": (0.01, waits_for_a_helper_that_was_cancelled)})
    assert group.group_contains(EndedError)


@pytest.mark.parametrize(
    ("trouble", "event"),
    [
        (asyncpg.CheckViolationError("a rule of a table"), "sweep_failed"),
        (KeyError("a bug"), "sweep_failed"),
        (asyncpg.ConnectionDoesNotExistError("cut"), "sweep_interrupted"),
        (BUSY(), "sweep_interrupted"),
    ],
)
async def test_a_sweep_that_the_database_refuses_is_a_bug_and_told_whole(trouble: Exception, event: str) -> None:
    """A database that says no is not away: whoever reads the log must see to what it said no."""
    again = asyncio.Event()

    async def sweep() -> None:
        if logs:
            again.set()
            await asyncio.Event().wait()
        raise trouble

    with capture_logs() as logs:
        task = asyncio.create_task(_run_all({"sweep": (0.01, sweep)}))
        await asyncio.wait_for(again.wait(), 10)
        task.cancel()
        await asyncio.wait([task])
    assert [(event, event == "sweep_failed")] == [(it["event"], "exc_info" in it) for it in logs]
