"""Xendit (Payments API v3) as a `PaymentProvider`: QRIS and virtual accounts.

Its notifications carry a fixed token and no signature of their body: whoever knows the token can write anything. So a
notification only makes us ask; what is believed is Xendit's answer to our own question.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import httpx
import msgspec
import structlog

from emeterai.core.ordering import CURRENCY, ChargeState, Seen
from emeterai.core.returning import RefundState
from emeterai.purchase.model import Channel, Charge, ChargeRequest, Notice, PaymentCode, RefundSeen
from emeterai.purchase.provider import (
    NOTIFICATION_FORGED,
    NOTIFICATION_UNREADABLE,
    VIRTUAL_ACCOUNT,
    is_money,
    is_reference,
    order_id_of,
)
from emeterai.purchase.provider_http import Chance, Patience, ProviderHttp, decoded, event_id_of, unavailable

PROVIDER_NAME = "xendit"
TOKEN_HEADER = "x-callback-token"  # noqa: S105 - the header's name
API_VERSION = "2024-11-11"
_PAYER_NAME = "E-METERAI"
_NOT_FOUND = "DATA_NOT_FOUND"
_SUCCEEDED = "SUCCEEDED"
_STATES = {
    "REQUIRES_ACTION": ChargeState.PENDING,
    "ACCEPTING_PAYMENTS": ChargeState.PENDING,
    "PENDING": ChargeState.PENDING,
    "AUTHORIZED": ChargeState.PENDING,
    _SUCCEEDED: ChargeState.SETTLED,
    "EXPIRED": ChargeState.EXPIRED,
    "CANCELED": ChargeState.CANCELLED,
    "FAILED": ChargeState.CANCELLED,
    "REFUNDED": ChargeState.REVERSED,
    "REVERSED": ChargeState.REVERSED,
}
_REFUND_STATES = {
    "PENDING": RefundState.PENDING,
    _SUCCEEDED: RefundState.DONE,
    "FAILED": RefundState.DECLINED,
    "CANCELLED": RefundState.DECLINED,
}
_HAD_MONEY = frozenset({_SUCCEEDED, "REFUNDED", "REVERSED"})
_REFUNDS_MAX = 100
_REFUND_EVENTS = "refund."
_CODES = {"QR_STRING": Channel.QRIS, "VIRTUAL_ACCOUNT_NUMBER": Channel.VIRTUAL_ACCOUNT}
_log = structlog.get_logger(__name__)


class _Action(msgspec.Struct, frozen=True):
    """What the payer needs: `value` is the QR code's text or the account's number."""

    descriptor: str = ""
    value: str = ""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """A payment request."""

    payment_request_id: str
    reference_id: str
    status: str
    request_amount: Decimal
    currency: str
    channel_code: str = ""
    actions: list[_Action] = []
    latest_payment_id: str = ""


class _Capture(msgspec.Struct, frozen=True):
    """Money that came."""

    capture_amount: Decimal


class _Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment of a payment request."""

    payment_request_id: str
    reference_id: str
    status: str
    request_amount: Decimal
    currency: str
    captures: list[_Capture] = []


class _Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A refund; `reference_id` is our key."""

    reference_id: str
    status: str
    failure_code: str | None = None

    @property
    def seen(self) -> RefundSeen:
        """What it says, in our words; a status that is new to us is no return."""
        state = _REFUND_STATES.get(self.status, RefundState.PENDING)
        return RefundSeen(state, (self.failure_code or "").lower())


class _Refunds(msgspec.Struct, frozen=True, kw_only=True):
    """Some refunds of one payment request."""

    data: list[_Refund]
    has_more: bool = False


class _Problem(msgspec.Struct, frozen=True):
    """Why there is no answer."""

    error_code: str


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    """What an event is about, in the words of QR codes and of payment requests."""

    id: str = ""
    payment_id: str = ""
    payment_request_id: str = ""
    reference_id: str = ""
    status: str = ""
    amount: Decimal | None = None
    request_amount: Decimal | None = None
    currency: str = CURRENCY


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    """A notification: of an event with its data, or of a fixed virtual account that was paid, which says it flatly."""

    event: str = ""
    data: _Data | None = None
    id: str = ""
    payment_id: str = ""
    callback_virtual_account_id: str = ""
    external_id: str = ""
    amount: Decimal | None = None

    @property
    def told(self) -> _Data | None:
        """What it is about; None when it is about nothing."""
        if self.data is not None:
            return self.data
        if not self.callback_virtual_account_id:
            return None
        return _Data(
            id=self.id, payment_id=self.payment_id, reference_id=self.external_id, status=_SUCCEEDED, amount=self.amount
        )


class XenditProvider:
    """Xendit at `url`, with the secret key of one business and the token of its notifications."""

    name = PROVIDER_NAME
    signs_notifications = False
    signs_states = False
    has_channels = True

    def __init__(
        self,
        url: str,
        secret_key: str,
        *,
        callback_token: str,
        bank: str = "bni",
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._callback_token = callback_token
        self._bank = bank.upper()
        self._http = ProviderHttp(
            self.name,
            url.rstrip("/"),
            key=secret_key,
            headers={"api-version": API_VERSION},
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
        content = msgspec.json.encode(self._asked(request))
        reply = await self._http.post("/v3/payment_requests", content, idempotency_key=str(request.order_id))
        opened = decoded(reply.body, _Request)
        code = _code_of(opened) if opened is not None else None
        if opened is None or code is None or not _is_for(opened, request):
            _log.warning("charge_not_opened", provider=self.name, status=reply.status)
            raise unavailable()
        return Charge(opened.payment_request_id, request.order_url, code)

    async def status(self, order_id: UUID, reference: str) -> Seen:
        """What Xendit says of the charge now, and what came in; one that it does not know has no money.

        Raises `provider_unavailable`, also when it mixes up the orders.
        """
        reply = await self._http.get(f"/v3/payment_requests/{reference}")
        if _is_unknown(reply.body):
            return Seen(ChargeState.PENDING, Decimal(0), CURRENCY)
        found = decoded(reply.body, _Request)
        if found is None or (found.reference_id, found.payment_request_id) != (str(order_id), reference):
            raise unavailable()
        amount = await self._came_in(found) if found.status in _HAD_MONEY else found.request_amount
        if not is_money(amount, found.currency):
            raise unavailable()
        return Seen(_STATES.get(found.status, ChargeState.PENDING), amount, found.currency)

    def parse_notification(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Notice:  # noqa: ARG002
        """Compare the token, then read. It proves nothing (`signs_notifications`), so its age does not matter.

        Raises `notification_forged` or `notification_unreadable`.
        """
        token = headers.get(TOKEN_HEADER, "")
        if not token or not hmac.compare_digest(token.encode(), self._callback_token.encode()):
            raise NOTIFICATION_FORGED()
        event = decoded(body, _Event)
        data = event.told if event is not None else None
        if event is None or data is None:
            raise NOTIFICATION_UNREADABLE()
        amount = data.request_amount if data.request_amount is not None else data.amount
        amount = Decimal(0) if amount is None else amount
        reference = data.payment_request_id or None
        if not is_money(amount, data.currency) or not (reference is None or is_reference(reference)):
            raise NOTIFICATION_UNREADABLE()
        told = (data.id, data.payment_id, data.payment_request_id, data.reference_id)
        is_refund = event.event.startswith(_REFUND_EVENTS)
        state = ChargeState.PENDING if is_refund else _STATES.get(data.status, ChargeState.PENDING)
        return Notice(
            event_id=event_id_of(PROVIDER_NAME, event.event, *told, data.status, str(amount), data.currency),
            order_id=order_id_of(data.reference_id),
            state=state,
            amount=amount,
            currency=data.currency,
            reference=reference,
        )

    async def cancel(self, order_id: UUID, reference: str) -> None:
        """End a payment request that nobody has paid; one that has ended stays so. Raises `provider_unavailable`."""
        await self._http.post(f"/v3/payment_requests/{reference}/cancel", b"{}", idempotency_key=f"{order_id}-cancel")

    async def refund(self, order_id: UUID, reference: str, *, amount_idr: int, refund_key: str) -> RefundSeen:
        """Refund so much of a payment request, once for each key. Raises `provider_unavailable`."""
        body = (await self._http.get(f"/v3/payment_requests/{reference}")).body
        if _is_unknown(body):
            return RefundSeen(RefundState.DECLINED, _NOT_FOUND.lower())
        found = decoded(body, _Request)
        if found is None or found.reference_id != str(order_id):
            raise unavailable()
        if found.channel_code.endswith("VIRTUAL_ACCOUNT"):
            return RefundSeen(RefundState.IMPOSSIBLE, VIRTUAL_ACCOUNT)
        asked = {
            "payment_request_id": reference,
            "reference_id": refund_key,
            "currency": CURRENCY,
            "amount": amount_idr,
            "reason": "REQUESTED_BY_CUSTOMER",
        }
        reply = await self._http.post("/refunds", msgspec.json.encode(asked), idempotency_key=refund_key)
        refund, problem = decoded(reply.body, _Refund), decoded(reply.body, _Problem)
        if refund is not None and refund.reference_id == refund_key:
            return refund.seen
        if problem is None:
            raise unavailable()
        return RefundSeen(RefundState.DECLINED, problem.error_code.lower())

    async def refund_status(self, order_id: UUID, reference: str, *, refund_key: str) -> RefundSeen:  # noqa: ARG002
        """What became of a refund, from the list of those of its payment request. Raises `provider_unavailable`."""
        path = f"/refunds?payment_request_id={reference}&limit={_REFUNDS_MAX}"
        body = (await self._http.get(path)).body
        listed = decoded(body, _Refunds)
        if listed is None and _is_unknown(body):
            return RefundSeen(RefundState.DECLINED, _NOT_FOUND.lower())
        if listed is None:
            raise unavailable()
        for refund in listed.data:
            if refund.reference_id == refund_key:
                return refund.seen
        if listed.has_more:
            raise unavailable()
        return RefundSeen(RefundState.UNKNOWN)

    async def charge_of(self, order_id: UUID, payment: str) -> str | None:
        """The payment request of a payment; None when Xendit has no such payment of this order.

        Raises `provider_unavailable`.
        """
        body = (await self._http.get(f"/v3/payments/{payment}")).body
        if _is_unknown(body):
            return None
        found = decoded(body, _Payment)
        if found is None or not is_reference(found.payment_request_id):
            raise unavailable()
        return found.payment_request_id if found.reference_id == str(order_id) else None

    async def _came_in(self, found: _Request) -> Decimal:
        """The money that was captured; what was asked where Xendit does not tell. Raises `provider_unavailable`."""
        if not found.latest_payment_id:
            return found.request_amount
        payment = decoded((await self._http.get(f"/v3/payments/{found.latest_payment_id}")).body, _Payment)
        if payment is None or payment.payment_request_id != found.payment_request_id:
            raise unavailable()
        if not payment.captures:
            return payment.request_amount
        return sum((capture.capture_amount for capture in payment.captures), Decimal(0))

    def _asked(self, request: ChargeRequest) -> dict[str, object]:
        """The words for a charge. A QRIS code's time is Xendit's own: it takes none."""
        asked: dict[str, object] = {
            "reference_id": str(request.order_id),
            "type": "PAY",
            "country": "ID",
            "currency": request.currency,
            "request_amount": request.amount_idr,
            "capture_method": "AUTOMATIC",
        }
        if request.channel is Channel.QRIS:
            return {**asked, "channel_code": "QRIS"}
        expires_at = request.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        properties = {"display_name": _PAYER_NAME, "expires_at": expires_at}
        return {**asked, "channel_code": f"{self._bank}_VIRTUAL_ACCOUNT", "channel_properties": properties}


def _is_unknown(body: bytes) -> bool:
    """Whether this says that there is no such thing."""
    problem = decoded(body, _Problem)
    return problem is not None and problem.error_code == _NOT_FOUND


def _is_for(opened: _Request, request: ChargeRequest) -> bool:
    is_right = request.is_for(opened.request_amount, opened.currency)
    return opened.reference_id == str(request.order_id) and is_right


def _code_of(opened: _Request) -> PaymentCode | None:
    for action in opened.actions:
        channel = _CODES.get(action.descriptor)
        if channel is not None and action.value:
            bank = opened.channel_code.partition("_")[0] if channel is Channel.VIRTUAL_ACCOUNT else ""
            return PaymentCode(channel, action.value, bank)
    return None
