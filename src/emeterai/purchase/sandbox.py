"""The client of the sandbox provider, over HTTP like that of any provider."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import httpx
import msgspec

from emeterai.core.ordering import ChargeState, Seen
from emeterai.purchase.model import Charge, ChargeRequest, Notice
from emeterai.purchase.provider import (
    NOTIFICATION_FORGED,
    NOTIFICATION_STALE,
    NOTIFICATION_UNREADABLE,
    PROVIDER_UNAVAILABLE,
    RETRY_AFTER_S,
    is_money,
    order_id_of,
)
from emeterai.purchase.sandbox_words import (
    PROVIDER_NAME,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    ChargeAnswer,
    ChargeOrder,
    Event,
    Payment,
    SandboxState,
    is_signed,
    sandbox_api_key,
)

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)
_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=8)
_TRIES = 2
_PAUSE_S = 0.2
_TOLERANCE_S = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_EVENT_ID = re.compile(r"[!-~]{1,100}")
_STATES = {
    SandboxState.PENDING: ChargeState.PENDING,
    SandboxState.SETTLEMENT: ChargeState.SETTLED,
    SandboxState.EXPIRE: ChargeState.EXPIRED,
    SandboxState.CANCEL: ChargeState.CANCELLED,
}
_Words = TypeVar("_Words", Event, ChargeAnswer)


class SandboxProvider:
    """The sandbox as a `PaymentProvider`; `url` is the provider's own, `secret` is shared with it."""

    name = PROVIDER_NAME
    signs_notifications = True
    is_healthy = True

    def __init__(self, url: str, secret: bytes) -> None:
        self._secret = secret
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {sandbox_api_key(secret)}"},
            timeout=_TIMEOUT,
            limits=_LIMITS,
            trust_env=False,
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def create_charge(self, request: ChargeRequest) -> Charge:
        """Open the order's charge, or find it again. Raises `provider_unavailable`."""
        order = ChargeOrder(
            order_id=str(request.order_id),
            amount_idr=request.amount_idr,
            currency=request.currency,
            notify_url=request.notify_url,
            return_url=request.return_url,
            expires_at=request.expires_at,
        )
        answer = await self._call("POST", "/charges", msgspec.json.encode(order))
        return Charge(answer.id, answer.pay_url)

    async def status(self, order_id: UUID, reference: str) -> Seen:
        """What the provider says of the charge now. Raises `provider_unavailable`, also when it mixes up the orders."""
        answer = await self._call("GET", f"/charges/{reference}")
        if answer.order_id != str(order_id):
            raise PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)
        return Seen(_STATES[answer.state], answer.amount, answer.currency)

    async def pay(self, reference: str, payment: Payment | None = None) -> None:
        """Pay a charge, as a payer would: only a sandbox can be asked to. Raises `provider_unavailable`."""
        await self._call("POST", f"/charges/{reference}/pay", msgspec.json.encode(payment or Payment()))

    def parse_notification(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Notice:
        """Check signature and time, then read. Raises the refusals of `PaymentProvider.parse_notification`."""
        timestamp = headers.get(TIMESTAMP_HEADER, "")
        signature = headers.get(SIGNATURE_HEADER, "")
        if not is_signed(self._secret, timestamp, body, signature=signature):
            raise NOTIFICATION_FORGED()
        if not _TIMESTAMP.fullmatch(timestamp) or abs(now.timestamp() - int(timestamp)) > _TOLERANCE_S:
            raise NOTIFICATION_STALE()
        event = _decoded(body, Event)
        if event is None or not _EVENT_ID.fullmatch(event.event_id):
            raise NOTIFICATION_UNREADABLE()
        return Notice(
            event_id=event.event_id,
            order_id=order_id_of(event.order_id),
            state=_STATES[event.state],
            amount=event.amount,
            currency=event.currency,
            headers={TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature},
        )

    async def _call(self, method: str, path: str, content: bytes | None = None) -> ChargeAnswer:
        """One request, tried once more when the provider did not answer or failed; every call may be repeated."""
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_PAUSE_S)
            try:
                response = await self._http.request(
                    method, path, content=content, headers={"content-type": "application/json"}
                )
            except httpx.HTTPError:
                continue
            if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                answer = _decoded(response.content, ChargeAnswer) if response.is_success else None
                if answer is None:
                    break
                return answer
        raise PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)


def _decoded(body: bytes, words: type[_Words]) -> _Words | None:
    """The body as one of the provider's words, or None when it is not one that can be used."""
    try:
        decoded = msgspec.json.decode(body, type=words)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return decoded if is_money(decoded.amount, decoded.currency) else None
