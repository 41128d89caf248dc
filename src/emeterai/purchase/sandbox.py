"""The client of the sandbox provider, over HTTP like that of any provider."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec

from emeterai.core.ordering import CURRENCY, ChargeState, Seen
from emeterai.core.refusal import Refused
from emeterai.core.returning import RefundState
from emeterai.purchase.model import Charge, ChargeRequest, Notice, RefundSeen
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
    RefundAnswer,
    RefundOrder,
    SandboxState,
    is_signed,
    sandbox_api_key,
)

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)
_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=8)
_TRIES = 2
_OWN_FAULTS = frozenset({401, 403})
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
_Words = TypeVar("_Words")


class SandboxProvider:
    """The sandbox as a `PaymentProvider`; `url` is the provider's own, `secret` is shared with it."""

    name = PROVIDER_NAME
    signs_notifications = True
    signs_states = True
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
        answer = await self._charge_told("POST", "/charges", msgspec.json.encode(order))
        return Charge(answer.id, answer.pay_url)

    async def status(self, order_id: UUID, reference: str) -> Seen:
        """What the provider says of the charge now; one that it does not know has no money.

        Raises `provider_unavailable`, also when it mixes up the orders.
        """
        reply = await self._call("GET", f"/charges/{quote(reference, safe='')}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return Seen(ChargeState.PENDING, Decimal(0), CURRENCY)
        answer = _charge(reply)
        if answer.order_id != str(order_id):
            raise _unavailable()
        return Seen(_STATES[answer.state], answer.amount, answer.currency)

    async def pay(self, reference: str, payment: Payment | None = None) -> None:
        """Pay a charge, as a payer would: only a sandbox can be asked to. Raises `provider_unavailable`."""
        await self._charge_told("POST", f"/charges/{reference}/pay", msgspec.json.encode(payment or Payment()))

    async def cancel(self, order_id: UUID, reference: str) -> None:  # noqa: ARG002 - the reference says it all
        """Give a charge up; one that has ended stays as it is. Raises `provider_unavailable`."""
        await self._call("POST", f"/charges/{quote(reference, safe='')}/cancel")

    async def refund(self, order_id: UUID, reference: str, *, amount_idr: int, refund_key: str) -> RefundSeen:  # noqa: ARG002
        """Return so much of a charge, once for each key. Raises `provider_unavailable`."""
        content = msgspec.json.encode(RefundOrder(refund_key=refund_key, amount_idr=amount_idr))
        return self._refund_told(await self._call("POST", f"/charges/{quote(reference, safe='')}/refunds", content))

    async def refund_status(self, order_id: UUID, reference: str, *, refund_key: str) -> RefundSeen:  # noqa: ARG002
        """What became of a refund. Raises `provider_unavailable`."""
        reply = await self._call("GET", f"/charges/{quote(reference, safe='')}/refunds/{refund_key}")
        return (
            RefundSeen(RefundState.UNKNOWN) if reply.status_code == httpx.codes.NOT_FOUND else self._refund_told(reply)
        )

    def parse_notification(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Notice:
        """Check signature and time, then read. Raises the refusals of `PaymentProvider.parse_notification`."""
        timestamp = headers.get(TIMESTAMP_HEADER, "")
        signature = headers.get(SIGNATURE_HEADER, "")
        if not is_signed(self._secret, timestamp, body, signature=signature):
            raise NOTIFICATION_FORGED()
        if not _TIMESTAMP.fullmatch(timestamp) or abs(now.timestamp() - int(timestamp)) > _TOLERANCE_S:
            raise NOTIFICATION_STALE()
        event = _decoded(body, Event)
        if event is None or not _EVENT_ID.fullmatch(event.event_id) or not is_money(event.amount, event.currency):
            raise NOTIFICATION_UNREADABLE()
        return Notice(
            event_id=event.event_id,
            order_id=order_id_of(event.order_id),
            state=_STATES[event.state],
            amount=event.amount,
            currency=event.currency,
            headers={TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature},
            reference=event.charge_id or None,
        )

    def _refund_told(self, reply: httpx.Response) -> RefundSeen:
        if not reply.is_success:
            return RefundSeen(RefundState.DECLINED, f"{self.name}_{reply.status_code}")
        if _decoded(reply.content, RefundAnswer) is None:
            raise _unavailable()
        return RefundSeen(RefundState.DONE)

    async def _charge_told(self, method: str, path: str, content: bytes) -> ChargeAnswer:
        return _charge(await self._call(method, path, content))

    async def _call(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
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
            if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR and response.status_code not in _OWN_FAULTS:
                return response
        raise _unavailable()


def _unavailable() -> Refused:
    return PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)


def _charge(reply: httpx.Response) -> ChargeAnswer:
    """A charge as the provider tells it. Raises `provider_unavailable` when it tells none that can be used."""
    answer = _decoded(reply.content, ChargeAnswer) if reply.is_success else None
    if answer is None or not is_money(answer.amount, answer.currency):
        raise _unavailable()
    return answer


def _decoded(body: bytes, words: type[_Words]) -> _Words | None:
    """The body as the provider's words, or None when it is something else."""
    try:
        return msgspec.json.decode(body, type=words)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
