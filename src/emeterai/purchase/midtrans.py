"""Midtrans (Core API v2) as a `PaymentProvider`: QRIS and virtual accounts.

A notification's `signature_key` is the hexadecimal SHA-512 of order_id, status_code, gross_amount and the server key,
one after the other. It covers neither the status nor the transaction: a settlement counts only with the code of
success, and what ends an order or takes money back is asked about. A transaction is asked about by the id that
Midtrans gave it, which it keeps whatever becomes of it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

import httpx
import msgspec
import structlog

from emeterai.core.ordering import CURRENCY, ChargeState, Seen
from emeterai.core.returning import RefundState
from emeterai.infra.clock import utc_now
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

PROVIDER_NAME = "midtrans"
_SUCCESS = "200"
_NOT_FOUND = "404"
_ORDER_KNOWN = "406"
_PENDING = "201"
_CREATED = frozenset({_SUCCESS, _PENDING})
_NO_DECISION = frozenset({"401", "403", "429"})
"""Codes that say nothing about what was asked: a wrong key, too many requests."""
_NO_WAY_BACK = frozenset({"bank_transfer", "echannel", "permata", "cstore"})
"""Payment types that cannot be refunded online."""
_SAFE = "accept"
_REFUND_REASON = "uang dikembalikan kepada pembayar"
_STATES = {
    "pending": ChargeState.PENDING,
    "authorize": ChargeState.PENDING,
    "capture": ChargeState.SETTLED,
    "settlement": ChargeState.SETTLED,
    "expire": ChargeState.EXPIRED,
    "cancel": ChargeState.CANCELLED,
    "failure": ChargeState.CANCELLED,
    "deny": ChargeState.REVERSED,
    "refund": ChargeState.REVERSED,
    "partial_refund": ChargeState.REVERSED,
    "chargeback": ChargeState.REVERSED,
    "partial_chargeback": ChargeState.REVERSED,
}
_log = structlog.get_logger(__name__)


class _Account(msgspec.Struct, frozen=True):
    """A virtual account."""

    va_number: str
    bank: str


class _Refund(msgspec.Struct, frozen=True):
    """One refund of a transaction."""

    refund_key: str = ""


class _Words(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction as answers and notifications tell it; what a word does not carry is empty."""

    status_code: str
    order_id: str = ""
    transaction_id: str = ""
    transaction_status: str = ""
    gross_amount: str = ""
    currency: str = ""
    fraud_status: str = _SAFE
    refund_amount: str = ""
    signature_key: str = ""
    qr_string: str = ""
    payment_type: str = ""
    settlement_time: str = ""
    va_numbers: list[_Account] = []
    refunds: list[_Refund] = []


class MidtransProvider:
    """Midtrans at `url`, with the server key of one merchant; `bank` keeps the virtual accounts."""

    name = PROVIDER_NAME
    signs_notifications = True
    signs_states = False
    has_channels = True

    def __init__(
        self,
        url: str,
        server_key: str,
        *,
        bank: str = "bni",
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience | None = None,
        chance: Chance | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._url = url.rstrip("/")
        self._server_key = server_key
        self._bank = bank
        self._now = now
        self._http = ProviderHttp(
            self.name, self._url, key=server_key, transport=transport, patience=patience, chance=chance
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
        reply = await self._http.post(
            "/v2/charge",
            content,
            idempotency_key=f"{request.order_id}-charge",
            headers={"x-override-notification": request.notify_url},
        )
        words = decoded(reply.body, _Words)
        if words is not None and words.status_code == _ORDER_KNOWN:
            # Its memory of idempotency keys ends after five minutes; an order is charged once all the same.
            words = decoded((await self._http.get(f"/v2/{request.order_id}/status")).body, _Words)
        if words is None or not self._is_opened(words, request):
            _log.warning("charge_not_opened", provider=self.name, status=words.status_code if words else None)
            raise unavailable()
        return self._charge(words, request)

    async def status(self, order_id: UUID, reference: str) -> Seen:
        """What Midtrans says of the charge now; one that it does not know has no money.

        Raises `provider_unavailable`, also when it mixes up the orders.
        """
        reply = await self._http.get(f"/v2/{reference}/status")
        words = decoded(reply.body, _Words)
        if words is not None and words.status_code == _NOT_FOUND:
            return Seen(ChargeState.PENDING, Decimal(0), CURRENCY)
        seen = _seen(words) if words is not None else None
        if words is None or seen is None or (words.order_id, words.transaction_id) != (str(order_id), reference):
            raise unavailable()
        return seen

    def parse_notification(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Notice:  # noqa: ARG002
        """Check the signature, then read. Nothing in it tells the time, so an old one is as good as a new one.

        Raises `notification_forged` or `notification_unreadable`.
        """
        words = decoded(body, _Words)
        if words is None:
            raise NOTIFICATION_UNREADABLE()
        if not self._is_signed(words):
            raise NOTIFICATION_FORGED()
        seen, reference = _seen(words), words.transaction_id or None
        if seen is None or not (reference is None or is_reference(reference)):
            raise NOTIFICATION_UNREADABLE()
        if seen.state is ChargeState.SETTLED and words.status_code != _SUCCESS:
            raise NOTIFICATION_FORGED()
        return Notice(
            event_id=_event_id(words),
            order_id=order_id_of(words.order_id),
            state=seen.state,
            amount=seen.amount,
            currency=seen.currency,
            reference=reference,
            back=seen.back,
        )

    async def cancel(self, order_id: UUID, reference: str) -> None:
        """End a pending transaction; another answers that it cannot be changed, which is as good.

        Raises `provider_unavailable`.
        """
        await self._http.post(f"/v2/{reference}/cancel", b"{}", idempotency_key=f"{order_id}-cancel")

    async def refund(self, order_id: UUID, reference: str, *, amount_idr: int, refund_key: str) -> RefundSeen:  # noqa: ARG002
        """Refund so much of a settled transaction, once for each key. Raises `provider_unavailable`."""
        content = msgspec.json.encode({"refund_key": refund_key, "amount": amount_idr, "reason": _REFUND_REASON})
        reply = await self._http.post(f"/v2/{reference}/refund", content, idempotency_key=refund_key)
        words = decoded(reply.body, _Words)
        if words is None or _is_failure(words.status_code):
            raise unavailable()
        if words.status_code not in _CREATED:
            return RefundSeen(RefundState.DECLINED, f"{self.name}_{words.status_code}")
        if words.transaction_id != reference:
            raise unavailable()
        return RefundSeen(RefundState.PENDING if words.status_code == _PENDING else RefundState.DONE)

    async def refund_status(self, order_id: UUID, reference: str, *, refund_key: str) -> RefundSeen:
        """What became of a refund, from the transaction's own list of them. Raises `provider_unavailable`."""
        reply = await self._http.get(f"/v2/{reference}/status")
        words = decoded(reply.body, _Words)
        if words is not None and words.status_code == _NOT_FOUND:
            return RefundSeen(RefundState.DECLINED, f"{self.name}_{_NOT_FOUND}")
        if words is None or (words.order_id, words.transaction_id) != (str(order_id), reference):
            raise unavailable()
        if any(refund.refund_key == refund_key for refund in words.refunds):
            return RefundSeen(RefundState.DONE)
        if words.payment_type in _NO_WAY_BACK:
            return RefundSeen(RefundState.IMPOSSIBLE, VIRTUAL_ACCOUNT)
        return RefundSeen(RefundState.UNKNOWN)

    def _asked(self, request: ChargeRequest) -> dict[str, object]:
        """The words for a charge. Its time is a duration: a moment would need the zone that Midtrans leaves out."""
        left_min = int((request.expires_at - self._now()).total_seconds() // 60)
        asked: dict[str, object] = {
            "transaction_details": {"order_id": str(request.order_id), "gross_amount": request.amount_idr},
            "custom_expiry": {"expiry_duration": max(1, left_min), "unit": "minute"},
        }
        if request.channel is Channel.QRIS:
            return {"payment_type": "qris", "qris": {"acquirer": "gopay"}, **asked}
        return {"payment_type": "bank_transfer", "bank_transfer": {"bank": self._bank}, **asked}

    def _is_opened(self, words: _Words, request: ChargeRequest) -> bool:
        seen = _seen(words)
        is_ours = words.order_id == str(request.order_id) and is_reference(words.transaction_id)
        is_right = seen is not None and request.is_for(seen.amount, seen.currency)
        return words.status_code in _CREATED and is_ours and is_right

    def _charge(self, words: _Words, request: ChargeRequest) -> Charge:
        if words.va_numbers:
            account = words.va_numbers[0]
            code = PaymentCode(Channel.VIRTUAL_ACCOUNT, account.va_number, account.bank.upper())
            return Charge(words.transaction_id, request.order_url, code)
        if words.qr_string:
            return Charge(words.transaction_id, request.order_url, PaymentCode(Channel.QRIS, words.qr_string))
        # A transaction that is found again does not tell its QR code, but has a picture of it.
        return Charge(words.transaction_id, f"{self._url}/v2/qris/{words.transaction_id}/qr-code")

    def _is_signed(self, words: _Words) -> bool:
        signed = f"{words.order_id}{words.status_code}{words.gross_amount}{self._server_key}"
        expected = hashlib.sha512(signed.encode()).hexdigest()
        return hmac.compare_digest(expected.encode(), words.signature_key.encode())


def _is_failure(status_code: str) -> bool:
    """Whether Midtrans decided nothing: it says so in the body of an answer that looks like success."""
    return status_code.startswith("5") or status_code in _NO_DECISION


def _seen(words: _Words) -> Seen | None:
    """What a transaction means in our words; None when it makes no sense. A status that is new to us is no money."""
    try:
        amount = Decimal(words.gross_amount)
    except InvalidOperation:
        return None
    if not is_money(amount, words.currency) or not words.transaction_status:
        return None
    state = _STATES.get(words.transaction_status, ChargeState.PENDING)
    if state is ChargeState.SETTLED and words.fraud_status != _SAFE:
        state = ChargeState.PENDING
    if state is ChargeState.CANCELLED and words.settlement_time:
        state = ChargeState.REVERSED
    return Seen(state, amount, words.currency, _back(words) if state is ChargeState.REVERSED else None)


def _back(words: _Words) -> Decimal | None:
    """How much has left again, all refunds together; None where it does not say, or says what cannot be."""
    try:
        back = Decimal(words.refund_amount)
    except InvalidOperation:
        return None
    return back if is_money(back, words.currency) and back > 0 else None


def _event_id(words: _Words) -> str:
    return event_id_of(
        PROVIDER_NAME,
        words.order_id,
        words.transaction_id,
        words.transaction_status,
        words.status_code,
        words.gross_amount,
        words.currency,
        words.fraud_status,
        words.refund_amount,
    )
