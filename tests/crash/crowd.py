"""People who stamp without pause and repeat what got no answer, and a killer who takes a process at a time."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from papers import letter
from processes import children_of, family_of, kill_all, words_of
from running import Person, RunningService

PATIENCE_S = 90.0
PAUSE_S = 0.2
BIG_BYTES = 200_000
SLEEP_S = 3.5
"""Longer than a lease (2 s here) and the sweep that notices its end."""
EVERY_CHILD = {"postgres", "sandbox", "web", "sealer-1", "sealer-2", "steward"}
ONCE = ["postgres twice", "asleep", "supervisor", "everything"]
AGAIN = ["sealer-1", "sealers", "web", "web worker", "postgres", "steward", "opener", "postgres and steward"]


@dataclass
class Asked:
    """A stamp that somebody asked for: the file, and what the service said of it last."""

    person: Person
    original: bytes
    said: dict[str, Any]


@dataclass
class Crowd:
    """People who stamp until they are told to stop. `asked` holds every answer that carried a stamp."""

    people: list[Person]
    asked: list[Asked] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    repeats: int = 0
    going_home: asyncio.Event = field(default_factory=asyncio.Event)

    async def stamp_on(self) -> None:
        """Everybody stamps one letter after another; who has no quota left goes home."""
        await asyncio.gather(*(self._one(person) for person in self.people))

    async def _one(self, person: Person) -> None:
        while not self.going_home.is_set():
            size_bytes = BIG_BYTES if secrets.randbelow(4) == 0 else 0
            original, key = letter(size_bytes=size_bytes), secrets.token_hex(16)
            answer = await self.insist(lambda file=original, key=key: _send(person, file, key))
            if not answer.is_success:
                self.refusals.append(answer.text)
                return
            self.asked.append(Asked(person, original, answer.json()))

    async def insist(self, send: Callable[[], Any]) -> httpx.Response:
        """Send until there is an answer that means something: repeat after a broken line and after "try again"."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(httpx.TransportError):
                    answer: httpx.Response = await send()
                    if answer.status_code < 500 and answer.status_code not in {409, 429}:
                        return answer
                    assert "internal_error" not in answer.text, answer.text
                self.repeats += 1
                await asyncio.sleep(PAUSE_S)


async def _send(person: Person, file: bytes, key: str) -> httpx.Response:
    headers = {"Prefer": "wait=5", "Idempotency-Key": key}
    files = {"file": ("surat.pdf", file, "application/pdf")}
    return await person.api.post("/v1/stamps", files=files, headers=headers)


class Killer:
    """Kills -9 what it is told, and waits until the service is whole again. It restarts nothing but the whole tree."""

    def __init__(self, service: RunningService) -> None:
        self._service = service
        self.kills: list[str] = []

    async def kill(self, target: str) -> None:
        """Kill one target of `ONCE` or `AGAIN`. `asleep` is no death: a sealer is stopped, and wakes up as a zombie."""
        self.kills.append(target)
        match target:
            case "supervisor" | "everything":
                await self._kill_tree(whole=target == "everything")
            case "asleep":
                sleeper = self._service.pids()["sealer-1"]
                os.kill(sleeper, signal.SIGSTOP)
                await asyncio.sleep(SLEEP_S)
                os.kill(sleeper, signal.SIGCONT)
            case "postgres twice":
                first = self._service.pids()["postgres"]
                os.kill(first, signal.SIGKILL)
                while self._service.pids().get("postgres", first) == first:
                    await asyncio.sleep(0.01)
                self._service.kill("postgres")
            case _:
                kill_all(self._victims(target))
        await self._whole_again()

    def _victims(self, target: str) -> list[int]:
        pids = self._service.pids()
        match target:
            case "web worker":
                return children_of(pids["web"])
            case "opener":
                return [pid for pid in family_of(pids["sealer-1"]) if "seal.opener" in words_of(pid)]
            case "sealers":
                return [pids["sealer-1"], pids["sealer-2"]]
            case "postgres and steward":
                return [pids["postgres"], pids["steward"]]
            case _:
                return [pids[target]]

    async def _kill_tree(self, *, whole: bool) -> None:
        """Kill the supervisor, alone or with all that it started; start again as an init system would, at once."""
        process = self._service.process
        assert process is not None
        kill_all(family_of(process.pid) if whole else [process.pid])
        await asyncio.to_thread(process.wait)
        await self._service.start()

    async def _whole_again(self) -> None:
        """Wait until every child is there again and the web answers."""
        await asyncio.sleep(PAUSE_S)
        await self._service.wait_ready()
        async with asyncio.timeout(PATIENCE_S):
            while not set(self._service.pids()) >= EVERY_CHILD:
                await asyncio.sleep(0.05)


def plan_of(seed: int, *, more: int) -> list[str]:
    """Every target once and `more` of those that may come again, in the order of this seed."""
    rng = random.Random(seed)
    plan = [*ONCE, *AGAIN, *rng.choices(AGAIN, k=more)]
    rng.shuffle(plan)
    return plan


def seed_of_this_run() -> int:
    """EMETERAI_TEST_SEED, or a fresh one."""
    return int(os.environ.get("EMETERAI_TEST_SEED") or secrets.randbelow(2**31))
