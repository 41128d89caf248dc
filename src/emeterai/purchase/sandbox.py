"""The client of the sandbox provider, over HTTP like that of any provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec

from emeterai.core.ordering import CURRENCY, ChargeState, Seen
from emeterai.core.returning import RefundState
from emeterai.purchase.model import Charge, ChargeRequest, Notice, RefundSeen
from emeterai.purchase.provider import (
    NOTIFICATION_FORGED,
    NOTIFICATION_STALE,
    NOTIFICATION_UNREADABLE,
    is_money,
    order_id_of,
)
from emeterai.purchase.provider_http import Chance, Patience, ProviderHttp, Reply, decoded, unavailable
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

_TOLERANCE_S = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_EVENT_ID = re.compile(r"[!-~]{1,100}")
_STATES = {
    SandboxState.PENDING: ChargeState.PENDING,
    SandboxState.SETTLEMENT: ChargeState.SETTLED,
    SandboxState.EXPIRE: ChargeState.EXPIRED,
    SandboxState.CANCEL: ChargeState.CANCELLED,
}


class SandboxProvider:
    """The sandbox as a `PaymentProvider`; `url` is the provider's own, `secret` is shared with it."""

    name = PROVIDER_NAME
    signs_notifications = True
    signs_states = True
    has_channels = False

    def __init__(
        self,
        url: str,
        secret: bytes,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._secret = secret
        self._http = ProviderHttp(
            self.name,
            url,
            key=None,
            headers={"authorization": f"Bearer {sandbox_api_key(secret)}"},
            transport=transport,
            patience=patience,
            chance=chance,
        )

    @property
    def is_healthy(self) -> bool:
        """Whether asking it now makes sense."""
        return self._http.is_healthy

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close()

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
        key = f"{request.order_id}-charge"
        answer = _charge(await self._http.post("/charges", msgspec.json.encode(order), idempotency_key=key))
        return Charge(answer.id, answer.pay_url)

    async def status(self, order_id: UUID, reference: str) -> Seen:
        """What the provider says of the charge now; one that it does not know has no money.

        Raises `provider_unavailable`, also when it mixes up the orders.
        """
        reply = await self._http.get(_path(reference))
        if reply.status == httpx.codes.NOT_FOUND:
            return Seen(ChargeState.PENDING, Decimal(0), CURRENCY)
        answer = _charge(reply)
        if answer.order_id != str(order_id):
            raise unavailable()
        return Seen(_STATES[answer.state], answer.amount, answer.currency)

    async def pay(self, reference: str, payment: Payment | None = None) -> None:
        """Pay a charge, as a payer would: only a sandbox can be asked to. Raises `provider_unavailable`."""
        content = msgspec.json.encode(payment or Payment())
        _charge(await self._http.post(f"{_path(reference)}/pay", content, idempotency_key=f"{reference}-pay"))

    async def cancel(self, order_id: UUID, reference: str) -> None:
        """Give a charge up; one that has ended stays as it is. Raises `provider_unavailable`."""
        await self._http.post(f"{_path(reference)}/cancel", b"{}", idempotency_key=f"{order_id}-cancel")

    async def refund(self, order_id: UUID, reference: str, *, amount_idr: int, refund_key: str) -> RefundSeen:  # noqa: ARG002
        """Return so much of a charge, once for each key. Raises `provider_unavailable`."""
        content = msgspec.json.encode(RefundOrder(refund_key=refund_key, amount_idr=amount_idr))
        return self._refund_told(
            await self._http.post(f"{_path(reference)}/refunds", content, idempotency_key=refund_key)
        )

    async def refund_status(self, order_id: UUID, reference: str, *, refund_key: str) -> RefundSeen:  # noqa: ARG002
        """What became of a refund. Raises `provider_unavailable`."""
        reply = await self._http.get(f"{_path(reference)}/refunds/{refund_key}")
        return RefundSeen(RefundState.UNKNOWN) if reply.status == httpx.codes.NOT_FOUND else self._refund_told(reply)

    def parse_notification(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Notice:
        """Check signature and time, then read. Raises the refusals of `PaymentProvider.parse_notification`."""
        timestamp = headers.get(TIMESTAMP_HEADER, "")
        signature = headers.get(SIGNATURE_HEADER, "")
        if not is_signed(self._secret, timestamp, body, signature=signature):
            raise NOTIFICATION_FORGED()
        if not _TIMESTAMP.fullmatch(timestamp) or abs(now.timestamp() - int(timestamp)) > _TOLERANCE_S:
            raise NOTIFICATION_STALE()
        event = decoded(body, Event)
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

    def _refund_told(self, reply: Reply) -> RefundSeen:
        if not httpx.codes.is_success(reply.status):
            return RefundSeen(RefundState.DECLINED, f"{self.name}_{reply.status}")
        if decoded(reply.body, RefundAnswer) is None:
            raise unavailable()
        return RefundSeen(RefundState.DONE)


def _path(reference: str) -> str:
    return f"/charges/{quote(reference, safe='')}"


def _charge(reply: Reply) -> ChargeAnswer:
    """A charge as the provider tells it. Raises `provider_unavailable` when it tells none that can be used."""
    answer = decoded(reply.body, ChargeAnswer) if httpx.codes.is_success(reply.status) else None
    if answer is None or not is_money(answer.amount, answer.currency):
        raise unavailable()
    return answer
