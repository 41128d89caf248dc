"""A Midtrans of our own (Core API v2): charges, status, notifications in its formats, signed, on its schedule."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any, ClassVar

from twins.payment_twin import Headers, PaymentTwin

JAKARTA = timezone(timedelta(hours=7))
_CODES = {"pending": "201", "expire": "407", "deny": "202", "failure": "202"}
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_KEY_LIFE = timedelta(minutes=5)
_TRIES = {500: 1, 503: 4, 400: 2, 404: 2}
_FOUND = "Success, transaction is found"
_ENDINGS = {"cancel": "Success, transaction is canceled", "expire": "Success, transaction is expired"}
_REFUNDED = "Success, refund request is approved"
_CREATED = {"qris": "QRIS transaction is created", "bank_transfer": "Success, Bank Transfer transaction is created"}
_REFUNDS = (["refund"], ["refund", "online", "direct"])
_OF_ONE_REFUND = {"refund_chargeback_id", "refund_amount", "refund_key"}
_FRAUD_VERBS = (["approve"], ["deny"])
"""For payments that may be a fraud; here none is."""


@dataclass
class MidtransCharge:
    """One transaction."""

    order_id: str
    amount: int
    payment_type: str
    bank: str
    created: datetime
    expires: datetime
    notify_url: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "pending"
    currency: str = "IDR"
    cents: str = "00"
    """What stands behind the rupiah."""
    settled: datetime | None = None
    fraud_status: str = "accept"
    extra: dict[str, Any] = field(default_factory=dict)
    refunds: dict[str, int] = field(default_factory=dict)
    """Rupiah by refund key."""
    refunds_pending: dict[str, int] = field(default_factory=dict)


def moment(at: datetime) -> str:
    """A time as Midtrans writes it: in Jakarta, without saying so."""
    return at.astimezone(JAKARTA).strftime("%Y-%m-%d %H:%M:%S")


def signature(order_id: str, status_code: str, gross_amount: str, key: str) -> str:
    """The signature of a notification."""
    return hashlib.sha512((order_id + status_code + gross_amount + key).encode()).hexdigest()


def refusal(code: str, message: str) -> dict[str, Any]:
    """How it says no: the code of a refusal is in the body."""
    return {"status_code": code, "status_message": message, "id": str(uuid.uuid4())}


@dataclass
class MidtransTwin(PaymentTwin):
    """Midtrans as one merchant sees it."""

    charges: dict[str, MidtransCharge] = field(default_factory=dict)
    """The newest of each order."""
    former: list[MidtransCharge] = field(default_factory=list)
    """Those that ended without money, of orders that were charged again; they have kept their own ids."""
    retries_s: ClassVar[Sequence[int]] = tuple(60 * minutes for minutes in (2, 10, 30, 90, 210))
    _done: dict[str, tuple[datetime, dict[str, Any]]] = field(default_factory=dict)

    def tries_after(self, status: int) -> int:
        """None after success, once after 500, four times after 503, twice after 400 and 404, five times otherwise."""
        return 0 if 200 <= status < 300 else _TRIES.get(status, len(self.retries_s))

    def pay(self, order_id: str, status: str = "settlement") -> None:
        """A payer pays; what is paid already, or has expired, is not paid again."""
        charge = self.charges[order_id]
        if charge.status == "pending":
            charge.amount = charge.amount if self.day.pays is None else self.day.pays
            charge.currency = self.day.currency or charge.currency
            charge.settled = self.now
            self.move(order_id, status)

    def move(self, order_id: str, status: str, **extra: Any) -> None:
        """Put a transaction into a status, and tell the merchant."""
        charge = self.charges[order_id]
        charge.status = status
        charge.extra = extra
        self.send(self.words(charge), {"content-type": "application/json"})

    def end_due(self) -> None:
        """Expire what is pending for too long."""
        for charge in self.charges.values():
            if charge.status == "pending" and charge.expires <= self.now:
                self.move(charge.order_id, "expire")

    def finish_refunds(self) -> None:
        """What was pending is done, and told."""
        for charge in self.charges.values():
            for key in list(charge.refunds_pending):
                self._refunded(charge, key, charge.refunds_pending.pop(key))

    def words(self, charge: MidtransCharge, status_code: str | None = None) -> dict[str, Any]:
        """A transaction as status and notifications tell it."""
        code = status_code or _CODES.get(charge.status, "200")
        gross = f"{charge.amount}.{charge.cents}"
        words: dict[str, Any] = {
            "transaction_time": moment(charge.created),
            "transaction_status": charge.status,
            "transaction_id": charge.id,
            "status_message": "midtrans payment notification",
            "status_code": code,
            "signature_key": signature(charge.order_id, code, gross, self.key),
            "payment_type": charge.payment_type,
            "order_id": charge.order_id,
            "merchant_id": "G000000000",
            "gross_amount": gross,
            "fraud_status": charge.fraud_status,
            "currency": charge.currency,
            "expiry_time": moment(charge.expires),
            **charge.extra,
        }
        if charge.refunds:
            words["refund_amount"] = f"{sum(charge.refunds.values())}.00"
            words["refunds"] = [self._refund_words(key, amount) for key, amount in charge.refunds.items()]
        if charge.settled:
            words["settlement_time"] = moment(charge.settled)
        if charge.payment_type == "qris":
            # Who pays is known only when somebody has.
            payer = {"transaction_type": "on-us", "issuer": "gopay"} if charge.settled else {}
            return words | payer | {"acquirer": "gopay"}
        return words | {"va_numbers": [{"va_number": self._number(charge), "bank": charge.bank}]}

    def respond(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, dict[str, Any]]:
        """Answer with HTTP 200 and a status code of its own in the body, whatever became of it.

        What stands behind a question mark is passed over: its own Python client sends custom headers there.
        """
        plain = path.partition("?")[0]
        asked = json.loads(body or b"{}") if method == "POST" else {}
        if not isinstance(asked, dict):
            return 200, refusal("500", "Sorry. Our system is recovering from unexpected issues. Please retry.")
        if (method, plain) == ("POST", "/v2/charge"):
            return 200, self._charge(headers, asked)
        parts = plain.strip("/").split("/")
        charge = self._found(parts[1]) if len(parts) > 2 else None
        if charge is None:
            return 200, refusal("404", "Transaction doesn't exist.")
        if (method, parts[2:]) == ("GET", ["status"]):
            # A transaction of which it is asked is answered with 200, unless it is pending (201) or expired (407).
            return 200, self.words(charge) | {"status_message": _FOUND}
        return 200, self._changed(charge, parts[2:], asked) if method == "POST" else refusal("405", "Not allowed.")

    def _answered(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, dict[str, Any]]:
        status, words = super()._answered(method, path, headers, body)
        return status, refusal("401", "Unknown Merchant server_key/id") if status == 401 else words

    def _changed(self, charge: MidtransCharge, verb: list[str], asked: dict[str, Any]) -> dict[str, Any]:
        """What becomes of a wish to change a transaction."""
        if verb in _REFUNDS:
            return self._refund(charge, asked)
        if verb in _FRAUD_VERBS or (verb[0] in _ENDINGS and charge.status != "pending"):
            return refusal("412", "Transaction status cannot be updated.")
        if verb[0] not in _ENDINGS:
            return refusal("404", "The requested resource is not found")
        self.move(charge.order_id, verb[0])
        return self._unsigned(charge, _ENDINGS[verb[0]])

    def _unsigned(self, charge: MidtransCharge, message: str, status_code: str | None = None) -> dict[str, Any]:
        """A transaction as the answer to a wish tells it: only status and notifications carry a signature."""
        words = self.words(charge, status_code) | {"status_message": message}
        return {name: value for name, value in words.items() if name != "signature_key"}

    def _refund(self, charge: MidtransCharge, asked: dict[str, Any]) -> dict[str, Any]:
        """The same key is the same refund; a virtual account has no way back online."""
        key, amount = asked.get("refund_key") or str(uuid.uuid4()), asked.get("amount", charge.amount)
        if charge.payment_type == "bank_transfer":
            return refusal("413", "The request cannot be processed due to the payment type.")
        if self.day.declines_refunds or charge.status not in {"settlement", "partial_refund", "refund"}:
            return refusal("412", "Merchant cannot modify the status of the transaction.")
        if key not in charge.refunds and key not in charge.refunds_pending:
            if sum(charge.refunds.values()) + sum(charge.refunds_pending.values()) + amount > charge.amount:
                return refusal("414", "Refund amount exceeds the transaction.")
            if self.day.refunds_slowly:
                charge.refunds_pending[key] = amount
            else:
                self._refunded(charge, key, amount)
        code = "201" if key in charge.refunds_pending else "200"
        own = {name: value for name, value in self._refund_words(key, amount).items() if name in _OF_ONE_REFUND}
        return self._unsigned(charge, _REFUNDED, code) | own

    def _refunded(self, charge: MidtransCharge, key: str, amount: int) -> None:
        charge.refunds[key] = amount
        whole = sum(charge.refunds.values()) == charge.amount
        self.move(charge.order_id, "refund" if whole else "partial_refund")

    def _refund_words(self, key: str, amount: int) -> dict[str, Any]:
        return {
            "refund_chargeback_id": int(hashlib.sha256(key.encode()).hexdigest()[:6], 16),
            "refund_amount": f"{amount}.00",
            "created_at": moment(self.now),
            "bank_confirmed_at": moment(self.now),
            "reason": "uang dikembalikan kepada pembayar",
            "refund_key": key,
        }

    def _found(self, name: str) -> MidtransCharge | None:
        """A transaction by its order or by its own id: both are taken."""
        every = chain(self.charges.values(), self.former)
        return next((charge for charge in every if name in {charge.order_id, charge.id}), None)

    def _charge(self, headers: Headers, asked: dict[str, Any]) -> dict[str, Any]:
        key = headers.get("idempotency-key", "")
        done = self._done.get(key)
        if key and done is not None and self.now - done[0] < _KEY_LIFE:
            return done[1]
        details, kind = asked.get("transaction_details", {}), asked.get("payment_type")
        amount = details.get("gross_amount")
        if kind not in _CREATED or not details.get("order_id") or not isinstance(amount, int) or amount < 1:
            return refusal("400", "One or more parameters in the payload is invalid.")
        known = self.charges.get(details["order_id"])
        if known is not None and known.status not in _ENDINGS:
            return refusal("406", "The request could not be completed due to a conflict.")
        self.former += [known] if known is not None else []
        expiry = asked.get("custom_expiry", {"expiry_duration": 1, "unit": "day"})
        charge = MidtransCharge(
            order_id=details["order_id"],
            amount=amount,
            payment_type=kind,
            bank=asked.get("bank_transfer", {}).get("bank", ""),
            created=self.now,
            expires=self.now + timedelta(seconds=expiry["expiry_duration"] * _UNITS_S[expiry["unit"]]),
            notify_url=headers.get("x-override-notification", ""),
        )
        self.charges[charge.order_id] = charge
        words = self._opened(charge)
        self._done[key] = (self.now, words)
        self.move(charge.order_id, "pending")
        return words

    def _opened(self, charge: MidtransCharge) -> dict[str, Any]:
        words = self._unsigned(charge, _CREATED[charge.payment_type])
        if charge.payment_type != "qris":
            return words
        picture = f"https://api.midtrans.example/v2/qris/{charge.id}/qr-code"
        action = {"name": "generate-qr-code", "method": "GET", "url": picture}
        return words | {"actions": [action], "qr_string": f"00020101021226{charge.id}"}

    def _number(self, charge: MidtransCharge) -> str:
        return "9887" + str(uuid.UUID(charge.id).int)[:12]
