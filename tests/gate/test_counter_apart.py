"""The counter: a web process of its own for programs with keys. A crowd may stop all others, and they stamp."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from papers import letter
from processes import asleep, family_of
from running import Person, RunningService, free_port

PORT_IS_MISSING = 78


@dataclass(frozen=True)
class Counter:
    """A service with a counter, and a program with a key that asks there."""

    service: RunningService
    program: httpx.AsyncClient


@pytest.fixture(scope="module")
async def counter(short_folder: Path) -> AsyncIterator[Counter]:
    """A service, running, with a counter of its own."""
    port = free_port()
    service = RunningService(short_folder / "counter", {"EMETERAI_COUNTER_PORT": str(port)})
    await service.start()
    person = await Person.sign_up(service, quota=2)
    key = (await person.api.post("/v1/api-keys", json={"label": "loket"})).raise_for_status().json()["token"]
    headers = {"authorization": f"Bearer {key}", "prefer": "wait=20"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30, headers=headers
    ) as program:
        async with asyncio.timeout(60):
            while not await answers(program):
                await asyncio.sleep(0.1)
        yield Counter(service, program)
    await person.close()
    await service.stop()


async def answers(client: httpx.AsyncClient) -> bool:
    """Whether somebody is there."""
    with suppress(httpx.HTTPError):
        return (await client.get("/readyz")).is_success
    return False


async def test_programs_stamp_while_all_other_web_processes_stand_still(counter: Counter) -> None:
    """The whole way: the file, the unit, the seal and the word that it is done."""
    service = counter.service
    with asleep(family_of(service.pids()["web"])):
        async with httpx.AsyncClient(base_url=service.base_url, trust_env=False, timeout=1) as others:
            assert not await answers(others)
        sent = await counter.program.post("/v1/stamps", files={"file": ("surat.pdf", letter(), "application/pdf")})
        assert (201, "sealed") == (sent.status_code, sent.json()["state"]), sent.text
        file = await counter.program.get(f"/v1/stamps/{sent.json()['id']}/file")
        assert file.content.startswith(b"%PDF-")


async def test_a_counter_that_should_run_is_counted(counter: Counter) -> None:
    """An alarm hears when it is not there."""
    async with asyncio.timeout(30):
        while 'emeterai_processes_wanted{role="counter"} 1.0' not in (text := await told(counter)):
            await asyncio.sleep(0.1)
    assert 'emeterai_processes{role="counter"} 1.0' in text


async def told(counter: Counter) -> str:
    """The metrics."""
    return (await counter.program.get("/metrics")).raise_for_status().text


def test_a_counter_without_a_port_is_refused_in_words(short_folder: Path) -> None:
    """It says which variable is missing."""
    command = [sys.executable, "-m", "emeterai", "counter"]
    ended = subprocess.run(
        command, env={"EMETERAI_DATA_DIR": str(short_folder)}, capture_output=True, text=True, check=False
    )
    assert (PORT_IS_MISSING, True) == (ended.returncode, "EMETERAI_COUNTER_PORT" in ended.stderr)
