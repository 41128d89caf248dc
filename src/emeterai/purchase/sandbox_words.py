"""What the sandbox provider and its clients say to each other: the shared secret, the signature, and the bodies.

The signature is the hexadecimal HMAC-SHA512 (RFC 2104) of `timestamp.body`, over the body's raw bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import msgspec

from emeterai.infra.secrets import local_secret

PROVIDER_NAME = "sandbox"
TIMESTAMP_HEADER = "x-sandbox-timestamp"
"""Whole seconds since 1970, in UTC."""
SIGNATURE_HEADER = "x-sandbox-signature"
_FILE = "sandbox.secret"


class SandboxState(StrEnum):
    """The states of a charge in the provider's own words."""

    PENDING = "pending"
    SETTLEMENT = "settlement"
    EXPIRE = "expire"
    CANCEL = "cancel"


class ChargeOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /charges: what to collect, where to tell about it, and where the payer goes afterwards."""

    order_id: str
    amount_idr: int
    notify_url: str
    return_url: str
    expires_at: datetime
    currency: str = "IDR"


class ChargeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A charge as the API shows it; `amount` and `currency` are what was asked, and once it is settled what came."""

    id: str
    order_id: str
    state: SandboxState
    amount: Decimal
    currency: str
    pay_url: str
    expires_at: datetime


class Payment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /charges/{id}/pay: by default what was asked; a payer may send something else, as with a bank transfer."""

    amount: Decimal | None = None
    currency: str | None = None


class RefundOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /charges/{id}/refunds: return so much of what came; the same key again is the same refund."""

    refund_key: str
    amount_idr: int


class RefundAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A refund as the API shows it: the payer has the money."""

    refund_key: str
    amount_idr: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a notification. A repeated delivery has the same `event_id` and the same bytes."""

    event_id: str
    charge_id: str
    order_id: str
    state: SandboxState
    amount: Decimal
    currency: str
    occurred_at: datetime


def sandbox_secret(data_path: Path) -> bytes:
    """The secret that the service shares with its sandbox provider; made at the first call, readable by its owner."""
    return local_secret(data_path, _FILE)


def sandbox_api_key(secret: bytes) -> str:
    """The bearer key of the provider's API, derived from the shared secret."""
    return hmac.new(secret, b"api key", hashlib.sha256).hexdigest()


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature of one delivery."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha512).hexdigest()


def is_signed(secret: bytes, timestamp: str, body: bytes, *, signature: str) -> bool:
    """Whether the signature is right; compared in constant time."""
    return hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode())
