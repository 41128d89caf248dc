"""The payment provider stands still (SIGSTOP): who has quota stamps, who buys is told, and buying comes back."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from papers import letter
from processes import family_of
from running import READY_WITHIN_S, Person, RunningService

BUYERS = 30
CROWDED = "service_crowded"
"""The door's own answer to some of those who come at the same moment."""
SPARED = re.compile(r'emeterai_provider_requests_total\{outcome="spared",provider="sandbox"\} ([1-9][0-9.]*)')


@pytest.fixture
async def shop(short_folder: Path) -> AsyncIterator[RunningService]:
    """A service of its own, where one person may place many orders."""
    limits = {"EMETERAI_PERSON_OPEN_ORDERS_MAX": "500", "EMETERAI_PERSON_ORDERS_AN_HOUR_MAX": "500"}
    running = RunningService(short_folder / "away", limits)
    await running.start()
    yield running
    tell_sandbox(running, signal.SIGCONT)
    assert 0 == await running.stop(), running.last_words()


def tell_sandbox(service: RunningService, number: signal.Signals) -> None:
    """Send a signal to the processes of the payment provider."""
    for pid in family_of(service.pids()["sandbox"]):
        os.kill(pid, number)


async def order(person: Person) -> httpx.Response:
    """Place one order; answers whatever came back."""
    return await person.api.post("/v1/orders", json={"quantity": 1})


async def refusals(person: Person) -> set[str]:
    """What so many who order at once are told."""
    answers = await asyncio.gather(*(order(person) for _ in range(BUYERS)))
    return {answer.json().get("code", answer.text) for answer in answers}


async def test_while_the_payment_provider_stands_still_people_with_quota_stamp(shop: RunningService) -> None:
    """Those who buy meanwhile are told so; once the circuit is open nobody is asked. Back, it sells by itself."""
    person = await Person.sign_up(shop, quota=2)
    tell_sandbox(shop, signal.SIGSTOP)
    hanging = asyncio.create_task(refusals(person))
    stamp = await person.stamp(letter())
    assert (201, "sealed") == (stamp.status_code, stamp.json().get("state")), stamp.text
    assert {"provider_unavailable", CROWDED} == await hanging | {CROWDED}
    assert {"provider_unavailable", CROWDED} == await refusals(person) | {CROWDED}
    assert SPARED.search((await person.api.get("/metrics")).text)
    stamp = await person.stamp(letter())
    assert (201, "sealed") == (stamp.status_code, stamp.json().get("state")), stamp.text
    tell_sandbox(shop, signal.SIGCONT)
    async with asyncio.timeout(READY_WITHIN_S):
        while (await order(person)).status_code == 503:
            await asyncio.sleep(0.2)
    await person.buy(1)
    await person.close()
