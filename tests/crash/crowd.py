"""People who use the service without pause, repeat what got no answer, and remember every answer that they got."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from emeterai.core.refusal import Refused
from papers import letter
from running import Person

PATIENCE_S = 120.0
PAUSE_S = 0.2
BIG_BYTES = 200_000
WAIT_S = 5
TUS = {"Tus-Resumable": "1.0.0"}
_REPEATED = {408, 409, 429}
_ANSWERS_OF_A_FAULT = {"file_not_opened", "upload_ended", "document_unknown"}
"""What people hear when the store loses or alters their files, before any quota is touched: send it again."""
Send = Callable[[], Awaitable[httpx.Response]]


@dataclass
class Asked:
    """A stamp that somebody asked for: who, the file's length and digest, and what was said of the stamp last."""

    person: Person
    size_bytes: int
    sha256: str
    said: dict[str, Any]

    @classmethod
    def of(cls, person: Person, original: bytes, said: dict[str, Any]) -> Asked:
        """For a file, as it was answered."""
        return cls(person, len(original), hashlib.sha256(original).hexdigest(), said)


@dataclass
class Bought:
    """An order: how many stamps, and what was said of it last."""

    person: Person
    quantity: int
    said: dict[str, Any]


@dataclass
class Crowd:
    """People who go on until they are told to stop. `seed` decides who does what, not when."""

    people: list[Person]
    seed: int = 0
    road_weights: tuple[int, ...] = (60, 15, 12, 8, 5)
    """How often each of: stamp in one request, stamp by a resumable upload, fetch a file, look around, buy."""
    pause_s: float = 0.0
    patience_s: float = PATIENCE_S
    """How long somebody repeats a request before giving up."""
    asked: dict[str, Asked] = field(default_factory=dict)
    bought: dict[str, Bought] = field(default_factory=dict)
    sealed: list[tuple[float, float]] = field(default_factory=list)
    """For each stamp when it was first called sealed, and when its unit was held, both in seconds since 1970."""
    lies: list[str] = field(default_factory=list)
    """Answers that contradict an earlier one, or arithmetic."""
    refusals: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    downloads: int = 0
    going_home: asyncio.Event = field(default_factory=asyncio.Event)

    async def go_on(self) -> None:
        """Everybody does one thing after another."""
        await asyncio.gather(*(self._one(number, person) for number, person in enumerate(self.people)))

    async def _one(self, number: int, person: Person) -> None:
        rng = random.Random(f"{self.seed}.{number}")
        roads = (self._stamp_at_once, self._stamp_by_upload, self._fetch, self._look, self._buy)
        while not self.going_home.is_set():
            [road] = rng.choices(roads, weights=self.road_weights)
            await road(person, rng)
            await asyncio.sleep(rng.uniform(0, self.pause_s))

    async def insist(self, send: Send) -> httpx.Response:
        """Send until there is an answer that means something: repeat after a broken line and after "try again"."""
        async with asyncio.timeout(self.patience_s):
            while True:
                with suppress(httpx.TransportError):
                    answer = await send()
                    self._note_crash(answer)
                    if answer.status_code < 500 and answer.status_code not in _REPEATED:
                        return answer
                self.repeats += 1
                await asyncio.sleep(PAUSE_S)

    def _note_crash(self, answer: httpx.Response) -> None:
        if b'"internal_error"' in answer.content:
            self.lies.append(f"a crash was shown: {answer.request.url.path} {answer.json()['case']}")

    async def _stamp_at_once(self, person: Person, rng: random.Random) -> None:
        original, key = letter(size_bytes=BIG_BYTES if rng.random() < 0.25 else 0), secrets.token_hex(16)
        headers = {"Idempotency-Key": key} | ({"Prefer": f"wait={WAIT_S}"} if rng.random() < 0.8 else {})
        files = {"file": ("surat.pdf", original, "application/pdf")}
        answer = await self.insist(lambda: person.api.post("/v1/stamps", files=files, headers=headers))
        await self._hear_of_stamp(person, original, answer)

    async def _stamp_by_upload(self, person: Person, rng: random.Random) -> None:
        """A resumable upload in two pieces, a look at the inspection, then the stamp."""
        original = letter(size_bytes=BIG_BYTES)
        document_id = await self.upload(person, original, cut=rng.randrange(1, len(original)))
        if document_id is None:
            return
        body, key = {"document_id": document_id}, secrets.token_hex(16)
        headers = {"Prefer": f"wait={WAIT_S}", "Idempotency-Key": key}
        answer = await self.insist(lambda: person.api.post("/v1/stamps", json=body, headers=headers))
        await self._hear_of_stamp(person, original, answer)

    async def upload(self, person: Person, original: bytes, *, cut: int) -> str | None:
        """Send a file in two pieces, going on from where the service says it is; None when it has to begin anew."""
        headers = {**TUS, "Upload-Length": str(len(original))}
        begun = await self.insist(lambda: person.api.post("/v1/uploads", headers=headers))
        if not self._went_well(begun):
            return None
        place, offset = begun.headers["location"], 0
        while offset < len(original):
            piece = original[offset:cut] if offset < cut else original[offset:]
            sent = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            with suppress(httpx.TransportError):
                answer = await person.api.patch(place, content=piece, headers=sent)
                self._note_crash(answer)
            looked = await self.insist(lambda: person.api.head(place, headers=TUS))
            if not looked.is_success:
                self.refusals[f"upload {looked.status_code}"] += 1
                return None
            offset = int(looked.headers["upload-offset"])
            await asyncio.sleep(0 if offset == len(original) else self.pause_s)
            if self.going_home.is_set() and offset < len(original):
                return None
        return place.rsplit("/", 1)[-1]

    async def _hear_of_stamp(self, person: Person, original: bytes, answer: httpx.Response) -> None:
        if not self._went_well(answer):
            return
        self.told(Asked.of(person, original, answer.json()))
        stamp_id = answer.json()["id"]
        if answer.json()["state"] == "held":
            await self.look_at(self.asked[stamp_id])

    async def look_at(self, asked: Asked) -> dict[str, Any]:
        """The stamp as the service shows it now; what it said before must still be so."""
        path, headers = f"/v1/stamps/{asked.said['id']}", {"Prefer": f"wait={WAIT_S}"}
        answer = await self.insist(lambda: asked.person.api.get(path, headers=headers))
        if not answer.is_success:
            self.lies.append(f"a stamp that was promised is not shown: {path} {answer.text}")
            return asked.said
        self.told(Asked(asked.person, asked.size_bytes, asked.sha256, answer.json()))
        return self.asked[asked.said["id"]].said

    def told(self, asked: Asked) -> None:
        """Remember an answer and compare it with what was said of this stamp before."""
        now, before = asked.said, self.asked.get(asked.said["id"])
        if before is None or before.said["state"] != "sealed":
            held_s = datetime.fromisoformat(now["held_at"]).timestamp()
            self.sealed += [(time.time(), held_s)] if now["state"] == "sealed" else []
        if before is not None:
            was = before.said
            if was["state"] != "held" and was["state"] != now["state"]:
                self.lies.append(f"{now['id']} was {was['state']} and is {now['state']}")
            if (was["serial"], was["held_at"]) != (now["serial"], now["held_at"]):
                self.lies.append(f"{now['id']} has another serial or beginning: {was} {now}")
        if now["state"] == "given_back" and now["refusal"] is None:
            self.lies.append(f"{now['id']} was given back and nobody is told why")
        self.asked[now["id"]] = asked

    async def _fetch(self, person: Person, rng: random.Random) -> None:
        mine = [one for one in self.asked.values() if one.person is person and one.said["state"] == "sealed"]
        if mine:
            self.lies += await self.faults_of_file(rng.choice(mine))

    async def faults_of_file(self, asked: Asked) -> list[str]:
        """What is wrong with a file that was called sealed: it is there, whole, and begins with what was sent."""
        path = f"/v1/stamps/{asked.said['id']}/file"
        self.downloads += 1
        try:
            answer = await self.insist(lambda: asked.person.api.get(path))
        except TimeoutError:
            return [f"a sealed file breaks off each time: {path}"]
        if not answer.is_success:
            return [f"a sealed file is not there: {path} {answer.text[:200]}"]
        if hashlib.sha256(answer.content[: asked.size_bytes]).hexdigest() != asked.sha256:
            return [f"a sealed file does not begin with what was sent: {path}"]
        if asked.said["sealed_sha256"] != hashlib.sha256(answer.content).hexdigest():
            return [f"a sealed file is not the one that was called sealed: {path}"]
        return []

    async def _look(self, person: Person, rng: random.Random) -> None:
        quota = (await self.insist(lambda: person.api.get("/v1/quota"))).json()
        if quota["bought"] != quota["available"] + quota["held"] + quota["used"] + quota["refunded"]:
            self.lies.append(f"the quota does not add up: {quota}")
        mine = [one for one in self.asked.values() if one.person is person]
        if mine:
            await self.look_at(rng.choice(mine))

    async def _buy(self, person: Person, rng: random.Random) -> None:
        """Order and pay. Whether the quota is there is asked at the end: money may take its time, but not get lost."""
        quantity, key = rng.randint(1, 5), secrets.token_hex(16)
        headers = {"Idempotency-Key": key}
        answer = await self.insist(lambda: person.api.post("/v1/orders", json={"quantity": quantity}, headers=headers))
        if not self._went_well(answer):
            return
        async with asyncio.timeout(self.patience_s):
            while True:
                with suppress(Refused):
                    await person.service.pay(answer.json()["pay_url"])
                    break
                await asyncio.sleep(PAUSE_S)
        self.bought[answer.json()["id"]] = Bought(person, quantity, answer.json())

    def _went_well(self, answer: httpx.Response) -> bool:
        """Whether it is a yes. A refusal is counted; one that nobody here has earned is a lie."""
        if answer.is_success:
            return True
        code = answer.json()["code"]
        self.refusals[code] += 1
        if code not in _ANSWERS_OF_A_FAULT:
            self.lies.append(f"refused without a reason: {answer.request.url} {answer.text}")
        return False
