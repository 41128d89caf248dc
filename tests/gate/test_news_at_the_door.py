"""Who waits for news of a history, at the door: it holds no slot, and rests first."""

from __future__ import annotations

import asyncio

import pytest
from served_door import ServedDoor, until

from emeterai.core.brownout import Step

both_roads = pytest.mark.parametrize("path", ["/kuota/riwayat/kabar", "/v1/quota/history/news"])


@both_roads
async def test_who_waits_for_a_history_holds_no_slot(path: str) -> None:
    """A place among those who wait, whether or not it says that it does."""
    served = ServedDoor(limit=2)
    async with served.serving() as client:
        waiting = [asyncio.create_task(client.get(path, headers={"X-Takes": "0.4"})) for _ in range(10)]
        await until(lambda: served.door.waiters.slots.used == 10)
        assert 0 == served.door.work.slots.used
        assert {200} == {answer.status_code for answer in await asyncio.gather(*waiting)}
        assert 0 == served.door.waiters.slots.used


@both_roads
async def test_it_rests_from_the_first_step(path: str) -> None:
    """With the history itself, and is told when to come again; looking at a stamp goes on."""
    served = ServedDoor(limit=2)
    served.door.lane_steps = {"retail": Step.HISTORY}
    async with served.serving() as client:
        answer = await client.get(path)
        assert (503, "part_resting") == (answer.status_code, answer.json()["code"])
        assert 1 <= int(answer.headers["retry-after"])
        assert 200 == (await client.get("/v1/stamps/x")).status_code
