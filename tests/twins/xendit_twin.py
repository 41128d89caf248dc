"""A Xendit of our own (Payments API v3): payment requests, payments, three forms of notification, its schedule."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from twins.payment_twin import Headers, PaymentTwin

Format = Literal["payment.capture", "qr.payment", "fixed virtual account"]
_QR_LIFE = timedelta(hours=48)


@dataclass
class PaymentRequest:
    """One payment request; `paid` is what came."""

    reference_id: str
    amount: int
    channel_code: str
    created: datetime
    expires: datetime
    id: str = field(default_factory=lambda: f"pr-{uuid.uuid4()}")
    payment_id: str = field(default_factory=lambda: f"py-{uuid.uuid4()}")
    status: str = "REQUIRES_ACTION"
    currency: str = "IDR"
    paid: int | None = None
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By our reference."""


def moment(at: datetime) -> str:
    """A time as Xendit writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class XenditTwin(PaymentTwin):
    """Xendit as one business sees it; `token` is in each of its notifications."""

    token: str = "token-pemberitahuan-uji"
    requests: dict[str, PaymentRequest] = field(default_factory=dict)
    """By reference, which is the order."""
    retries_s: ClassVar[Sequence[int]] = (900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600)
    _done: dict[str, str] = field(default_factory=dict)

    def tries_after(self, status: int) -> int:
        """Six times, but never again when there was no answer."""
        return 0 if status == 0 else super().tries_after(status)

    def pay(self, reference: str, form: Format = "payment.capture") -> None:
        """A payer pays; what is paid already, or has expired, is not paid again."""
        request = self.requests[reference]
        if request.status == "REQUIRES_ACTION":
            request.status = "SUCCEEDED"
            request.paid = request.amount if self.day.pays is None else self.day.pays
            request.currency = self.day.currency or request.currency
            self.tell(reference, form)

    def move(self, reference: str, status: str, event: str) -> None:
        """Put a payment request into a status, and tell the business."""
        self.requests[reference].status = status
        self._send(self._event(self.requests[reference], event))

    def tell(self, reference: str, form: Format) -> None:
        """Tell the business of a payment, in one of the three formats."""
        request = self.requests[reference]
        if form == "payment.capture":
            self._send(self._event(request, form))
        elif form == "qr.payment":
            self._send(self._qr_event(request))
        else:
            self._send(self._account_event(request))

    def end_due(self) -> None:
        """Expire what is open for too long."""
        for request in self.requests.values():
            if request.status == "REQUIRES_ACTION" and request.expires <= self.now:
                self.move(request.reference_id, "EXPIRED", "payment_request.expiry")

    def respond(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, dict[str, Any]]:
        """Answer as v3 does; it wants to know which version is meant."""
        if "api-version" not in headers:
            return 400, {"error_code": "API_VALIDATION_ERROR", "message": "api-version is required"}
        if (method, path) == ("POST", "/v3/payment_requests"):
            return self._open(headers, json.loads(body))
        if path.partition("?")[0] == "/refunds":
            return self._refund(json.loads(body)) if method == "POST" else (200, self._refunds(path))
        last = path.rpartition("/")[2]
        for request in self.requests.values():
            if path == f"/v3/payment_requests/{request.id}":
                return 200, self._told(request)
            if (method, path) == ("POST", f"/v3/payment_requests/{request.id}/cancel"):
                return self._cancel(request)
            if path == f"/v3/payments/{request.payment_id}" and request.paid is not None:
                return 200, self._payment(request)
        return 404, {"error_code": "DATA_NOT_FOUND", "message": f"{last} not found"}

    def _open(self, headers: Headers, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        key = headers.get("idempotency-key", "")
        if key and key in self._done:
            return 201, self._told(self.requests[self._done[key]])
        if not isinstance(asked["request_amount"], int) or (asked["country"], asked["currency"]) != ("ID", "IDR"):
            return 400, {"error_code": "API_VALIDATION_ERROR", "message": "request_amount"}
        expires_at = asked.get("channel_properties", {}).get("expires_at")
        expires = datetime.fromisoformat(expires_at) if expires_at else self.now + _QR_LIFE
        request = PaymentRequest(
            asked["reference_id"], asked["request_amount"], asked["channel_code"], created=self.now, expires=expires
        )
        self.requests[request.reference_id] = request
        self._done[key] = request.reference_id
        return 201, self._told(request)

    def finish_refunds(self, status: str = "SUCCEEDED") -> None:
        """What was pending ends so, and is told."""
        for request in self.requests.values():
            for refund in request.refunds.values():
                if refund["status"] == "PENDING":
                    refund["status"] = status
                    self._tell_refund(refund)

    def _cancel(self, request: PaymentRequest) -> tuple[int, dict[str, Any]]:
        if request.status != "REQUIRES_ACTION":
            return 409, {"error_code": "PAYMENT_REQUEST_ALREADY_SUCCEEDED", "message": request.status}
        request.status = "CANCELED"
        return 200, self._told(request)

    def _refund(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A new reference is a new refund, up to what came; virtual accounts have no way back."""
        name = asked["payment_request_id"]
        request = next((one for one in self.requests.values() if one.id == name), None)
        if request is None:
            return 404, {"error_code": "DATA_NOT_FOUND", "message": "payment request"}
        if request.channel_code.endswith("VIRTUAL_ACCOUNT"):
            return 400, {"error_code": "REFUND_NOT_SUPPORTED", "message": request.channel_code}
        known = request.refunds.get(asked["reference_id"])
        if known is not None:
            return 200, known
        if request.status != "SUCCEEDED":
            return 400, {"error_code": "INELIGIBLE_TRANSACTION", "message": request.status}
        left = (request.paid or 0) - sum(one["amount"] for one in request.refunds.values() if one["status"] != "FAILED")
        if asked["amount"] > left:
            return 400, {"error_code": "MAXIMUM_REFUND_AMOUNT_REACHED", "message": str(left)}
        refund = {
            "id": f"rfd-{uuid.uuid4()}",
            "payment_request_id": request.id,
            "reference_id": asked["reference_id"],
            "channel_code": request.channel_code,
            "currency": asked["currency"],
            "amount": asked["amount"],
            "reason": asked["reason"],
            "status": "PENDING" if self.day.refunds_slowly else "SUCCEEDED",
            "failure_code": None,
            "created": moment(self.now),
        }
        if self.day.declines_refunds:
            refund |= {"status": "FAILED", "failure_code": "INSUFFICIENT_BALANCE"}
        request.refunds[asked["reference_id"]] = refund
        if refund["status"] != "PENDING":
            self._tell_refund(refund)
        return 200, refund

    def _refunds(self, path: str) -> dict[str, Any]:
        wanted = path.partition("payment_request_id=")[2].partition("&")[0]
        found = [refund for one in self.requests.values() if one.id == wanted for refund in one.refunds.values()]
        return {"data": found, "has_more": False}

    def _tell_refund(self, refund: dict[str, Any]) -> None:
        event = f"refund.{refund['status'].lower()}"
        self._send({"event": event, "business_id": "b", "created": moment(self.now), "data": refund})

    def _told(self, request: PaymentRequest) -> dict[str, Any]:
        is_qr = request.channel_code == "QRIS"
        value = f"00020101021226{request.id}" if is_qr else "8808" + str(uuid.UUID(request.id[3:]).int)[:12]
        action = {
            "type": "PRESENT_TO_CUSTOMER",
            "descriptor": "QR_STRING" if is_qr else "VIRTUAL_ACCOUNT_NUMBER",
            "value": value,
        }
        words: dict[str, Any] = {
            "business_id": "6094fa76c2fd53701b8e079c",
            "payment_request_id": request.id,
            "reference_id": request.reference_id,
            "type": "PAY",
            "country": "ID",
            "currency": request.currency,
            "request_amount": request.amount,
            "capture_method": "AUTOMATIC",
            "channel_code": request.channel_code,
            "actions": [action] if request.status == "REQUIRES_ACTION" else [],
            "status": request.status,
            "created": moment(request.created),
            "updated": moment(self.now),
        }
        return words | ({} if request.paid is None else {"latest_payment_id": request.payment_id})

    def _payment(self, request: PaymentRequest) -> dict[str, Any]:
        capture = {"capture_id": "cptr-1", "capture_amount": request.paid, "capture_timestamp": moment(self.now)}
        return {
            "payment_id": request.payment_id,
            "payment_request_id": request.id,
            "reference_id": request.reference_id,
            "status": "SUCCEEDED",
            "request_amount": request.amount,
            "currency": request.currency,
            "captures": [capture],
        }

    def _event(self, request: PaymentRequest, event: str) -> dict[str, Any]:
        data = {
            "payment_id": request.payment_id,
            "payment_request_id": request.id,
            "status": request.status,
            "request_amount": request.amount,
            "channel_code": request.channel_code,
            "country": "ID",
            "currency": request.currency,
            "reference_id": request.reference_id,
            "type": "PAY",
        }
        business = "6094fa76c2fd53701b8e079c"
        return {"event": event, "business_id": business, "created": moment(self.now), "api_version": "v3", "data": data}

    def _qr_event(self, request: PaymentRequest) -> dict[str, Any]:
        data = {
            "id": f"qrpy_{request.payment_id[3:]}",
            "amount": request.paid,
            "currency": request.currency,
            "status": "SUCCEEDED",
            "qr_id": f"qr_{request.id[3:]}",
            "qr_string": "0002",
            "reference_id": request.reference_id,
            "created": moment(self.now),
        }
        return {"event": "qr.payment", "api_version": "2022-07-31", "business_id": "b", "created": "", "data": data}

    def _account_event(self, request: PaymentRequest) -> dict[str, Any]:
        """Of a fixed virtual account: flat, and without any status."""
        return {
            "id": request.payment_id[3:],
            "payment_id": "1502450097080",
            "callback_virtual_account_id": request.id[3:],
            "owner_id": "o",
            "external_id": request.reference_id,
            "account_number": "1000016980",
            "bank_code": "BNI",
            "amount": request.paid,
            "transaction_timestamp": moment(self.now),
        }

    def _send(self, words: dict[str, Any]) -> None:
        self.send(words, {"content-type": "application/json", "x-callback-token": self.token})
