"""A running service in which one process after another dies at a named point, and everything that anybody was told."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from crowd import Asked, Crowd
from verdict import judge

from running import Person, RunningService

ENDS_WITHIN_S = 40
"""After whoever died is there again: less than a lease or a hold lasts, so that none of them is what ends it."""
DIES_WITHIN_S = 60
QUOTA = 3
SETTINGS = {"EMETERAI_LEASE_S": "60", "EMETERAI_SEALER_PROCESSES": "2"}
"""Whoever comes after a dead sealer frees what it held: nobody waits for the leases."""


class Trial:
    """A running service in which points can be armed, and everything that anybody was told there."""

    def __init__(self, service: RunningService, armed: Path) -> None:
        self.service = service
        self.crowd = Crowd([])
        self._armed = armed
        self._back_s: dict[str, float] = {}

    async def person(self) -> Person:
        """Somebody with quota, for the verdict too."""
        person = await Person.sign_up(self.service, quota=QUOTA)
        self.crowd.people.append(person)
        return person

    def arm(self, point: str) -> None:
        """The next process that comes to the point dies there."""
        self._back_s.pop(point, None)
        (self._armed / point).touch()

    def has_died(self, point: str) -> bool:
        """Whether somebody came to the point that was armed."""
        return not (self._armed / point).exists()

    async def post(self, person: Person, path: str, **request: Any) -> dict[str, Any]:
        """Send, and send again with the same key until there is an answer."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        answer = await self.crowd.insist(lambda: person.api.post(path, headers=headers, **request))
        assert answer.is_success, answer.text
        said: dict[str, Any] = answer.json()
        return said

    async def until(self, point: str, is_over: Callable[[], Awaitable[bool]]) -> None:
        """Look again and again, until somebody has died at the point and it is over.

        Its time begins when whoever died is there again, and does not begin anew for what is waited for afterwards.
        """
        loop, again = asyncio.get_running_loop(), False
        async with asyncio.timeout(DIES_WITHIN_S) as patience:
            while not await is_over() or not again:
                if self.has_died(point) and not again:
                    await self.service.wait_ready()
                    again = True
                    patience.reschedule(self._back_s.setdefault(point, loop.time()) + ENDS_WITHIN_S)
                await asyncio.sleep(0.05)

    async def post_past(self, point: str, person: Person, path: str, **request: Any) -> dict[str, Any]:
        """As `post`, for a request whose answer waits for what dies at the point: it has no more time than the rest."""
        posting = asyncio.create_task(self.post(person, path, **request))

        async def is_over() -> bool:
            return posting.done()

        try:
            await self.until(point, is_over)
            return await posting
        finally:
            posting.cancel()

    async def assert_ends(self, point: str, asked: Asked, state: str) -> None:
        """Whoever looks meanwhile is told the truth, which never goes backwards; in the end it is `state`."""
        person = asked.person

        async def is_over() -> bool:
            answer = await self.crowd.insist(lambda: person.api.get(f"/v1/stamps/{asked.said['id']}"))
            self.crowd.told(Asked(person, asked.size_bytes, asked.sha256, answer.raise_for_status().json()))
            quota = (await self.crowd.insist(lambda: person.api.get("/v1/quota"))).json()
            assert QUOTA == quota["available"] + quota["held"] + quota["used"]
            return bool(answer.json()["state"] != "held")

        await self.until(point, is_over)
        assert (state, []) == (self.crowd.asked[asked.said["id"]].said["state"], self.crowd.lies)


@asynccontextmanager
async def trial_in(folder: Path, **settings: str) -> AsyncIterator[Trial]:
    """The service with two sealers and nothing armed; at the end the verdict on all that happened in it."""
    armed = folder / "armed"
    armed.mkdir(parents=True)
    service = RunningService(folder, {**SETTINGS, **settings, "EMETERAI_CRASH_FOLDER": str(armed)})
    trial = Trial(service, armed)
    try:
        await service.start()
        yield trial
        verdict = await judge(service, trial.crowd, credited=QUOTA, patience_s=30, verify_max=100)
        assert [] == verdict.faults, service.last_words()
        assert 0 == await service.stop(), service.last_words()
    finally:
        service.kill_rest()
        for person in trial.crowd.people:
            await person.close()
