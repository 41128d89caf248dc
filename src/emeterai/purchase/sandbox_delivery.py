"""The sandbox provider's postman: signs each notification when it is sent, and sends it again until it is confirmed."""

from __future__ import annotations

import asyncio

import httpx

from emeterai.infra.clock import utc_now
from emeterai.purchase.sandbox_charges import Delivery, SandboxCharges
from emeterai.purchase.sandbox_words import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

_AT_ONCE = 16
_IDLE_S = 0.5
_TIMEOUT_S = 5.0


class Postman:
    """Delivers what `charges` wants delivered. `run` until cancelled; `wake` when there is something new."""

    def __init__(self, charges: SandboxCharges, secret: bytes) -> None:
        self._charges = charges
        self._secret = secret
        self._new = asyncio.Event()

    def wake(self) -> None:
        """Look for deliveries at once instead of at the next round."""
        self._new.set()

    async def run(self) -> None:
        """Deliver for ever: at most sixteen at once, each for five seconds at most; failures wait longer each time."""
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as http:
            while True:
                self._new.clear()
                self._charges.expire_due(now=utc_now())
                due = self._charges.due_deliveries(now=utc_now(), limit=_AT_ONCE)
                await asyncio.gather(*(self._deliver(http, delivery) for delivery in due))
                if not due:
                    await self._pause()

    async def _deliver(self, http: httpx.AsyncClient, delivery: Delivery) -> None:
        timestamp = str(int(utc_now().timestamp()))
        headers = {
            "content-type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: sign(self._secret, timestamp, delivery.body),
        }
        try:
            response = await http.post(delivery.url, content=delivery.body, headers=headers)
            confirmed = response.is_success
        except (httpx.HTTPError, httpx.InvalidURL):
            confirmed = False
        self._charges.note_delivery(delivery, confirmed=confirmed, now=utc_now())

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_S):
                await self._new.wait()
        except TimeoutError:
            return
