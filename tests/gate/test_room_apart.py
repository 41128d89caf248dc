"""The room: a web process of its own for those outside. Whatever becomes of the others, it answers, and they it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest

from emeterai.gate.carrying import PASS_HEADER
from emeterai.gate.lanes import RETAIL, Lanes
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from processes import asleep, family_of
from running import Person, RunningService, free_port

OPERATOR_MUST_MEND = 78
ROLES = ("web", "room", "sealer", "steward")
PAGE = {"accept": "text/html"}


@dataclass(frozen=True)
class Parted:
    """A service with a room of its own, a client of the room, and somebody with an account."""

    service: RunningService
    room: httpx.AsyncClient
    person: Person


@pytest.fixture(scope="module")
async def parted(short_folder: Path) -> AsyncIterator[Parted]:
    """A service, running, with a room of its own."""
    port = free_port()
    service = RunningService(short_folder / "parted", {"EMETERAI_ROOM_PORT": str(port)})
    await service.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as room:
        async with asyncio.timeout(60):
            while await status_of(room, "/readyz") != 200 or await status_of(room, "/gate/retail.json") != 200:
                await asyncio.sleep(0.1)
        person = await Person.sign_up(service)
        yield Parted(service, room, person)
        await person.close()
    await service.stop()


async def status_of(client: httpx.AsyncClient, path: str) -> int:
    """The status of one answer; 0 of none."""
    with suppress(httpx.HTTPError):
        return (await client.get(path)).status_code
    return 0


async def pause(service: RunningService, *, paused: bool) -> None:
    """Have the lane of everybody let nobody in, or again everybody."""
    db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
    bus = Bus(service.database_url)
    await bus.start()
    try:
        lanes = Lanes(db, bus)
        await lanes.look()
        lane = msgspec.structs.replace(lanes.get(RETAIL), paused=paused)
        await lanes.change(lane, by="test", seen=lanes.number_of(RETAIL))
    finally:
        await bus.close()
        await db.close()


async def told_to_wait(parted: Parted, *, waits: bool) -> None:
    """Wait until whoever has no pass hears this at the room and at the door of the others."""
    async with asyncio.timeout(20):
        while (await parted.room.get("/gate/retail.json")).json()["pass_needed"] is not waits:
            await asyncio.sleep(0.1)
        while ((await parted.person.api.post("/v1/uploads")).json()["code"] == "pass_needed") is not waits:
            await asyncio.sleep(0.1)


async def test_the_room_answers_while_all_other_web_processes_stand_still(
    parted: Parted,
) -> None:
    """Front page, waiting room, now serving, a number: what a crowd asks for is there although nobody inside moves."""
    service, room = parted.service, parted.room
    await pause(service, paused=True)
    await told_to_wait(parted, waits=True)
    with asleep(family_of(service.pids()["web"])):
        async with httpx.AsyncClient(base_url=service.base_url, trust_env=False, timeout=1) as others:
            assert 0 == await status_of(others, "/")
        for path in ("/", "/gate/retail", "/gate/retail.json"):
            answer = await room.get(path, headers=PAGE)
            assert 200 == answer.status_code, path
        taken = await room.post("/gate/retail/tickets", json={}, headers={"cookie": ""})
        assert 201 == taken.status_code, taken.text
    await pause(service, paused=False)
    await told_to_wait(parted, waits=False)


async def test_numbers_and_passes_of_the_room_are_those_of_every_web_process(
    parted: Parted,
) -> None:
    """No number is given twice between them; a pass from the room opens the door of the others."""
    service, room = parted.service, parted.room
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as others:
        given = [
            (await client.post("/gate/retail/tickets", json={}, headers={"cookie": ""})).raise_for_status().json()
            for client in (room, others, room, others)
        ]
    numbers = [one["number"] for one in given]
    assert sorted(set(numbers)) == numbers
    async with asyncio.timeout(20):
        while (await room.get("/gate/retail.json")).json()["now_serving"] < numbers[0]:
            await asyncio.sleep(0.1)
    granted = (await room.post("/gate/retail/passes", json={"ticket": given[0]["ticket"]})).raise_for_status().json()
    await pause(service, paused=True)
    await told_to_wait(parted, waits=True)
    held = {PASS_HEADER.decode(): granted["granted"]}
    for headers, answer in (({}, 429), (held, 201)):
        assert answer == (await parted.person.api.post("/v1/orders", json={"quantity": 1}, headers=headers)).status_code
    await pause(service, paused=False)
    await told_to_wait(parted, waits=False)


async def test_who_should_run_is_counted_beside_who_does(parted: Parted) -> None:
    """The room, too: an alarm hears when it is not there."""
    async with asyncio.timeout(30):
        while len(lines := await of_processes(parted)) < 8:
            await asyncio.sleep(0.1)
    expected = {f'emeterai_processes{which}{{role="{role}"}}': 1.0 for which in ("", "_wanted") for role in ROLES}
    assert expected == lines


async def of_processes(parted: Parted) -> dict[str, float]:
    """What /metrics says of processes, those of which none runs left out."""
    text = (await parted.room.get("/metrics")).raise_for_status().text
    found = [line.rpartition(" ") for line in text.splitlines() if line.startswith("emeterai_processes")]
    return {name: float(value) for name, _, value in found if float(value)}


async def test_a_room_that_dies_comes_again(parted: Parted) -> None:
    """Like every other child."""
    service, room = parted.service, parted.room
    before = service.pids()
    service.kill("room")
    async with asyncio.timeout(60):
        while await status_of(room, "/readyz") != 200 or service.pids().get("room") == before["room"]:
            await asyncio.sleep(0.1)
    assert {name: pid for name, pid in before.items() if name != "room"} == {
        name: pid for name, pid in service.pids().items() if name != "room"
    }


def test_a_room_without_a_port_is_refused_in_words(short_folder: Path) -> None:
    """It says which variable is missing."""
    command = [sys.executable, "-m", "emeterai", "room"]
    ended = subprocess.run(
        command, env={"EMETERAI_DATA_DIR": str(short_folder)}, capture_output=True, text=True, check=False
    )
    assert (OPERATOR_MUST_MEND, True) == (ended.returncode, "EMETERAI_ROOM_PORT" in ended.stderr)
