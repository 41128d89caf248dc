"""The twins of Midtrans and Xendit as processes of their own, in real time: `storm_twins.py NAME PORT NOTIFY_URL SEED`.

With a seed they lose, double, delay and reorder their notifications. Their own schedule sends again what was not taken,
in real minutes. Whoever storms them speaks to `/storm/...`: pay, refuse, calm, flush, books.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from granian.constants import Interfaces
from granian.server.embed import Server

from emeterai.infra.clock import utc_now
from emeterai.infra.process import dying_with_me
from running import free_port
from twins.midtrans_twin import MidtransCharge, MidtransTwin
from twins.payment_twin import BadDay, Headers
from twins.xendit_twin import Format, PaymentRequest, XenditTwin

KEY = "kunci-badai-uji"
TOKEN = "token-badai-uji"
LOST, DOUBLED, LATE = 0.3, 0.3, 0.1
"""The shares of notifications that are lost, sent twice, and later than the others."""
DELAY_S, LATE_DELAY_S = 1.0, 10.0
PUMP_S = 0.02
STARTED_WITHIN_S = 20.0
_ANSWERED_WITHIN_S = {"midtrans": 5.0, "xendit": 30.0}
_NAMES = re.compile(r"p[ry]-([0-9a-f-]{36})")


class Calm:
    """The post of a good day."""

    def before(self, day: BadDay) -> None:
        """The next notification is sent once, and at once."""
        day.loses = day.doubles = day.reorders = False
        day.delays_s = 0.0


@dataclass
class Storm(Calm):
    """The post of a bad day, by a seed."""

    rng: random.Random

    def before(self, day: BadDay) -> None:
        """Some are lost, some doubled, none comes at once."""
        day.loses = self.rng.random() < LOST
        day.doubles = self.rng.random() < DOUBLED
        day.reorders = True
        day.delays_s = self.rng.uniform(0, LATE_DELAY_S if self.rng.random() < LATE else DELAY_S)


@dataclass
class StormyMidtrans(MidtransTwin):
    """A Midtrans with tens of thousands of charges."""

    weather: Calm = field(default_factory=Calm)

    def send(self, words: dict[str, Any], headers: Headers) -> None:
        """Into a post of this weather."""
        self.weather.before(self.day)
        super().send(words, headers)

    def settle(self, order_id: str, amount: int | None) -> None:
        """Somebody pays, perhaps another amount. Raises KeyError for a charge that is not here."""
        self.day.pays = amount
        self.pay(order_id)
        self.day.pays = None

    def books(self) -> list[dict[str, Any]]:
        """Every charge with money: what came, when, and what of it went back."""
        return [
            _line(one.order_id, one.id, one.amount, at=one.settled, back=sum(one.refunds.values()))
            for one in self.charges.values()
            if one.settled is not None
        ]

    def _found(self, name: str) -> MidtransCharge | None:
        return self.charges.get(name) or super()._found(name)


@dataclass
class StormyXendit(XenditTwin):
    """A Xendit with tens of thousands of payment requests, which tells of payments in its formats by turns."""

    weather: Calm = field(default_factory=Calm)
    settled: dict[str, datetime] = field(default_factory=dict)
    by_id: dict[str, str] = field(default_factory=dict)

    def send(self, words: dict[str, Any], headers: Headers) -> None:
        """Into a post of this weather."""
        self.weather.before(self.day)
        super().send(words, headers)

    def settle(self, order_id: str, amount: int | None) -> None:
        """Somebody pays, perhaps another amount. Raises KeyError for a request that is not here."""
        request, forms = self.requests[order_id], ("payment.capture", "qr.payment")
        form: Format = "payment.capture" if "VIRTUAL" in request.channel_code else forms[len(self.settled) % 2]
        if request.status == "REQUIRES_ACTION":
            self.settled[order_id] = self.now
        self.day.pays = amount
        self.pay(order_id, form)
        self.day.pays = None

    def books(self) -> list[dict[str, Any]]:
        """Every payment request with money: what came, when, and what of it went back."""
        return [
            _line(one.reference_id, one.id, one.paid, at=self.settled[one.reference_id], back=_refunded(one))
            for one in self.requests.values()
            if one.paid is not None
        ]

    def respond(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, dict[str, Any]]:
        """Answer, having looked only at the request that is meant: there are too many to look through."""
        named = _NAMES.search(path) or _NAMES.search(body.decode(errors="replace"))
        meant = self.by_id.get(named.group()) if named is not None else None
        if meant is None:
            return super().respond(method, path, headers, body)
        every, self.requests = self.requests, {meant: self.requests[meant]}
        try:
            return super().respond(method, path, headers, body)
        finally:
            self.requests = every

    def _open(self, headers: Headers, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, words = super()._open(headers, asked)
        opened = self.requests.get(asked["reference_id"])
        if opened is not None:
            self.by_id |= {opened.id: opened.reference_id, opened.payment_id: opened.reference_id}
        return status, words


Twin = StormyMidtrans | StormyXendit


class StormServer:
    """A twin as an ASGI application, with its postman and an entrance for whoever storms it."""

    def __init__(self, twin: Twin, notify_url: str, *, answered_within_s: float) -> None:
        self._twin = twin
        self._notify_url = notify_url
        self._answered_within_s = answered_within_s
        self._post: set[asyncio.Task[list[int]]] = set()
        self._answers: dict[int, int] = {}

    async def run(self, port: int) -> None:
        """Serve and deliver until killed."""
        server = Server(self, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
        async with httpx.AsyncClient(timeout=self._answered_within_s, trust_env=False) as http:
            serving = asyncio.create_task(server.serve())
            while not serving.done():
                self._twin.now = utc_now()
                self._deliver(http)
                await asyncio.sleep(PUMP_S)

    def _deliver(self, http: httpx.AsyncClient) -> None:
        """Let what is due leave; one that waits for its answer holds nobody up."""
        if any(letter.due <= self._twin.now for letter in self._twin.post):
            delivering = asyncio.create_task(self._twin.deliver(self._receiver(http)))
            self._post.add(delivering)
            delivering.add_done_callback(self._post.discard)

    def _receiver(self, http: httpx.AsyncClient) -> Callable[[Headers, bytes], Awaitable[int]]:
        async def receive(headers: Headers, body: bytes) -> int:
            try:
                status = (await http.post(self._notify_url, content=body, headers=headers)).status_code
            except httpx.HTTPError as error:
                self._answers[0] = self._answers.get(0, 0) + 1
                raise TimeoutError from error
            self._answers[status] = self._answers.get(status, 0) + 1
            return status

        return receive

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Be an ASGI application."""
        if scope["type"] != "http" or not scope["path"].startswith("/storm/"):
            await self._twin(scope, receive, send)
            return
        body = bytearray()
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        status, words = self._ordered(scope["path"].rpartition("/")[2], json.loads(body) if body else {})
        content = json.dumps(words).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    def _ordered(self, what: str, words: dict[str, Any]) -> tuple[int, Any]:
        """Do what the storm wants."""
        self._twin.now = utc_now()
        match what:
            case "pay":
                try:
                    self._twin.settle(words["order"], words["amount"])
                except KeyError:
                    return 404, {}
            case "refuse":
                self._twin.day.refuses = words["requests"]
            case "calm":
                self._twin.weather = Calm()
            case "flush":
                for letter in self._twin.post:
                    letter.due = self._twin.now
            case "books":
                return 200, {"charges": self._twin.books(), "waiting": len(self._twin.post), "answers": self._answers}
        return 200, {"waiting": len(self._twin.post) + len(self._post)}


class TwinProcess:
    """A twin in a process of its own; `seed` None for a good day."""

    def __init__(self, name: str, service_url: str, *, seed: int | None) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        notify_url = f"{service_url}/v1/payments/{name}/notifications"
        words = [sys.executable, __file__, name, str(self.port), notify_url, "" if seed is None else str(seed)]
        tests = str(Path(__file__).parents[1])
        paths = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), tests]))
        self._process = subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": paths},
            preexec_fn=dying_with_me(),  # noqa: PLW1509 - it only asks the kernel for a signal
        )
        self._wait()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTED_WITHIN_S
        while True:
            try:
                httpx.post(f"{self.url}/storm/look", trust_env=False).raise_for_status()
            except httpx.HTTPError:
                assert time.monotonic() < deadline
                assert self._process.poll() is None
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.wait()


def _line(order_id: str, reference: str, amount: int, *, at: datetime, back: int) -> dict[str, Any]:
    """A charge with money as the books tell it; `at` in seconds since 1970."""
    return {"order": order_id, "reference": reference, "amount": amount, "at": at.timestamp(), "back": back}


def _refunded(request: PaymentRequest) -> int:
    return sum(one["amount"] for one in request.refunds.values() if one["status"] == "SUCCEEDED")


def main() -> None:
    """Be a twin until killed."""
    name, port, notify_url, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    weather = Storm(random.Random(f"{name}.{seed}")) if seed else Calm()
    twin: Twin = (
        StormyMidtrans(key=KEY, weather=weather)
        if name == "midtrans"
        else StormyXendit(key=KEY, token=TOKEN, weather=weather)
    )
    asyncio.run(StormServer(twin, notify_url, answered_within_s=_ANSWERED_WITHIN_S[name]).run(port))


if __name__ == "__main__":
    main()
