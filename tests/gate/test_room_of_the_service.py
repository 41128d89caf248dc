"""The waiting room of the whole service: who is killed, nobody gets a number twice and the turn goes on."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from waiting_people import SEED

from emeterai.core.draw import key_of, turn_of
from emeterai.gate.addresses import NUMBERS_AT_ONCE
from emeterai.gate.kept_page import KEPT_S
from emeterai.web import formats
from papers import letter
from processes import asleep, family_of
from running import READY_WITHIN_S, Person, RunningService

PROXY = "127.0.0.1"
"""This machine is a proxy in front, as far as this service is concerned."""


@pytest.fixture(scope="module")
async def own_service(short_folder: Path) -> AsyncIterator[RunningService]:
    """A service that these tests may harm, with two web processes."""
    running = RunningService(
        short_folder / "gate-service", {"EMETERAI_WEB_PROCESSES": "2", "EMETERAI_TRUSTED_PROXIES": PROXY}
    )
    await running.start()
    yield running
    await running.stop()


async def published(client: httpx.AsyncClient) -> dict[str, object]:
    """The retail lane's file, once it is there."""
    async with asyncio.timeout(20):
        while (answer := await client.get("/gate/retail.json")).status_code != 200:
            await asyncio.sleep(0.1)
    found: dict[str, object] = answer.json()
    return found


async def numbers(service: RunningService, count: int, **headers: str) -> list[int]:
    """So many numbers, each for somebody else; who is refused in between is not counted."""
    found, more = [], {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False, timeout=5) as client:

        async def one() -> None:
            try:
                answer = await client.post("/gate/retail/tickets", json={}, headers={"cookie": "", **more})
            except httpx.HTTPError:
                return
            if answer.status_code == 201:
                found.append(answer.json()["number"])

        for _ in range(count // 10):
            await asyncio.gather(*(one() for _ in range(10)))
    return found


async def test_the_file_is_handed_out_by_the_server_itself(own_service: RunningService) -> None:
    """No line of ours runs for it: its answer has no request id, which all of ours have, and caches may keep it."""
    async with httpx.AsyncClient(base_url=own_service.base_url, trust_env=False) as client:
        await published(client)
        answer = await client.get("/gate/retail.json")
        assert "max-age=1" == answer.headers["cache-control"]
        assert "application/json" == answer.headers["content-type"]
        assert "x-request-id" not in answer.headers
        page = await client.get("/gate/retail")
        assert "x-request-id" in page.headers


async def test_somebody_who_is_signed_in_has_one_number_everywhere(own_service: RunningService) -> None:
    """And a receipt of something that is not theirs, or not there, is not made."""
    person = await Person.sign_up(own_service)
    token = person.api.headers["authorization"].removeprefix("Bearer ")
    found = []
    for _ in range(2):
        async with httpx.AsyncClient(base_url=own_service.base_url, trust_env=False) as browser:
            await published(browser)
            browser.cookies.set("emeterai_session", token)
            taken = (await browser.post("/gate/retail/tickets", json={})).raise_for_status().json()
            found.append((taken["number"], taken["recovery_code"]))
    assert found[0] == found[1]
    assert "" == found[0][1]
    for wish in ({"what": "paid"}, {"what": "uploaded", "id": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"}):
        answer = await person.api.post("/v1/receipts-in-time", json=wish)
        assert (404, "receipt_not_possible") == (answer.status_code, answer.json()["code"])
    await person.close()


async def come_from_outside(service: RunningService) -> int:
    """Look at everything that a crowd looks at, and take a number: nothing refuses, and the page has the number."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False, timeout=10) as newcomer:
        front = (await newcomer.get("/", headers={"accept": "text/html"})).raise_for_status().text
        style = re.search(r"/static/[\w.-]+\.css", front)
        assert style is not None
        answers = [await newcomer.get(path) for path in (style[0], "/gate/retail.json", "/gate/retail")]
        answers.append(await newcomer.get("/gate/retail/giliran"))
        taken = await newcomer.post("/gate/retail/tickets", json={})
        own = await newcomer.get("/gate/retail/giliran")
    assert [200, 200, 200, 200, 201, 200] == [answer.status_code for answer in (*answers, taken, own)]
    number: int = taken.json()["number"]
    assert f"id=n>{formats.number(number)}<" in own.text
    return number


async def is_told_the_quota(person: Person) -> bool:
    """Whether somebody hears within two seconds what only the database knows."""
    with suppress(httpx.HTTPError):
        return (await person.api.get("/v1/quota", timeout=2)).status_code == 200
    return False


async def test_a_database_that_stands_still_keeps_nobody_from_the_room(own_service: RunningService) -> None:
    """Front page, styles, now serving, room, a number: also once no page is remembered. Then people stamp again."""
    person = await Person.sign_up(own_service, quota=1)
    await come_from_outside(own_service)
    server = own_service.pids()["postgres"]
    with asleep([server]), asleep(family_of(server)[1:]):
        numbers_given = [await come_from_outside(own_service)]
        assert not await is_told_the_quota(person)
        await asyncio.sleep(KEPT_S)
        numbers_given += [await come_from_outside(own_service) for _ in range(6)]
    assert len(numbers_given) == len(set(numbers_given))
    await own_service.wait_ready()
    async with asyncio.timeout(READY_WITHIN_S):
        while not (stamp := await person.stamp(letter())).is_success:
            await asyncio.sleep(0.5)
    assert "sealed" == (await person.ended(stamp.json()["id"]))["state"]
    assert await come_from_outside(own_service) not in numbers_given
    await person.close()


@pytest.mark.parametrize("shown", ["p1.retail.forged", "t1.retail.AAAA", "\xe9", "x" * 500])
async def test_what_is_no_pass_of_ours_is_as_good_as_none(own_service: RunningService, shown: str) -> None:
    """While nobody needs one it harms nobody: no error, and no account that it could be of."""
    person = await Person.sign_up(own_service)
    held = httpx.Headers({"emeterai-pass": shown}, encoding="latin-1")
    answer = await person.api.post("/v1/orders", json={"quantity": 1}, headers=held)
    assert 201 == answer.status_code, answer.text
    await person.close()


async def test_behind_a_proxy_of_ours_everybody_has_their_own_address(own_service: RunningService) -> None:
    """Each address its numbers, of each of the two processes; who asks the proxy's machine itself has no bound."""
    # After the tests in which nobody needs a pass: these numbers are a line that stands for half a minute.
    async with httpx.AsyncClient(base_url=own_service.base_url, trust_env=False) as client:
        await published(client)
        hoarded = await numbers(own_service, 1_500, x_forwarded_for="192.0.2.9, 203.0.113.5")
        assert NUMBERS_AT_ONCE <= len(hoarded) < 1_500
        for address in ("203.0.113.6", "203.0.113.5, 203.0.113.7"):
            answer = await client.post("/gate/retail/tickets", json={}, headers={"x-forwarded-for": address})
            assert 201 == answer.status_code, answer.text


async def test_web_processes_that_are_killed_give_no_number_twice(own_service: RunningService) -> None:
    """Both of them, in the middle of giving numbers."""
    found = []
    async with httpx.AsyncClient(base_url=own_service.base_url, trust_env=False) as client:
        await published(client)
    for _ in range(2):
        killed = own_service.pids()["web"]
        giving = asyncio.create_task(numbers(own_service, 60))
        await asyncio.sleep(0.15)
        own_service.kill("web")
        found += await giving
        async with asyncio.timeout(READY_WITHIN_S):
            while own_service.pids().get("web") in {None, killed}:
                await asyncio.sleep(0.05)
        await own_service.wait_ready()
    found += await numbers(own_service, 40)
    assert len(found) > 40
    assert len(found) == len(set(found))


async def test_a_steward_that_is_killed_leaves_the_file_and_another_goes_on(own_service: RunningService) -> None:
    """The file can be read at every moment; within seconds it is new again, and the turn has not gone back."""
    async with httpx.AsyncClient(base_url=own_service.base_url, trust_env=False) as client:
        before = await published(client)
        own_service.kill("steward")
        async with asyncio.timeout(30):
            while (now := await published(client))["updated_at"] == before["updated_at"]:
                await asyncio.sleep(0.1)
        assert int(str(now["now_serving"])) >= int(str(before["now_serving"]))


def test_anyone_computes_a_draw_again() -> None:
    """By command, from what was published; a seed that does not fit its commitment is said to be wrong."""
    command = [sys.executable, "-m", "emeterai", "gate", "draw", "verify", "--json", "--lane", "cpns-2026"]
    command += ["--seed", SEED.hex(), "--count", "1000", "--number", "7"]
    fits = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
    for commitment, code in ((fits, 0), ("00" * 32, 1)):
        done = subprocess.run([*command, "--commitment", commitment], capture_output=True, text=True, check=False)
        assert code == done.returncode, done.stderr
        said = json.loads(done.stdout)
        assert turn_of(7, key=key_of(SEED, lane="cpns-2026", count=1000), count=1000) == said["turns"]["7"]
        assert (code == 0) == said["fits"]
