"""The sandbox provider's postman: signs each notification when it is sent, and sends it again until it is confirmed."""

from __future__ import annotations

import asyncio

import httpx
import structlog

from emeterai.infra.clock import utc_now
from emeterai.infra.tls import trusted
from emeterai.purchase.sandbox_charges import Delivery, SandboxCharges
from emeterai.purchase.sandbox_words import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

_AT_ONCE = 16
_IDLE_S = 0.5
_TIMEOUT_S = 5.0
_log = structlog.get_logger(__name__)


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
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False, verify=trusted()) as http:
            while True:
                self._new.clear()
                try:
                    delivered = await self._round(http)
                except Exception:  # noqa: BLE001 - a file that cannot be written now can be later; nobody starts this anew
                    _log.exception("sandbox_round_failed")
                    delivered = 0
                if not delivered:
                    await self._pause()

    async def _round(self, http: httpx.AsyncClient) -> int:
        """Try what is due; gives how much that was."""
        self._charges.expire_due(now=utc_now())
        due = self._charges.due_deliveries(now=utc_now(), limit=_AT_ONCE)
        await asyncio.gather(*(self._deliver(http, delivery) for delivery in due))
        return len(due)

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
        except Exception as error:  # noqa: BLE001 - an address may be anything, and httpx does not name every fault
            _log.info("sandbox_delivery_failed", error=type(error).__name__)
            confirmed = False
        self._charges.note_delivery(delivery, confirmed=confirmed, now=utc_now())

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_S):
                await self._new.wait()
        except TimeoutError:
            return
