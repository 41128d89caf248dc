"""Receipts of having been in time: a signed statement that its holder was in line, had paid or had uploaded.

`r1.PAYLOAD.SIGNATURE`, both in base64url without padding: the payload is JSON, the signature Ed25519 (RFC 8032) over
the text `r1.PAYLOAD`. Anyone can verify one with the published key, offline and for ever. It names no person: what
ties it to one is its `reference`, which the holder can show: a ticket's number, an order, the digest of a document.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate.tickets import Ticket
from emeterai.infra import metrics

RECEIPT_UNKNOWN = RefusalKind(
    "receipt_unknown",
    404,
    "Bukti ini bukan dari kami atau telah diubah; mintalah berkas aslinya.",
    "This receipt is not ours or was changed; ask for the original.",
)
RECEIPT_NOT_POSSIBLE = RefusalKind(
    "receipt_not_possible",
    404,
    "Tidak ada catatan yang dapat dibuktikan di sini; periksa apa yang Anda minta.",
    "There is nothing on record here that could be proved; check what you asked for.",
)
LENGTH_MAX = 1_000
_PREFIX = "r1."
_made = metrics.counter("emeterai_gate_receipts_made", "Receipts of having been in time that were made", ["what"])
_checked = metrics.counter("emeterai_gate_receipts_checked", "Receipts that somebody had checked", ["outcome"])
for _outcome in ("ours", "refused"):
    _checked.labels(_outcome)


class InTime(StrEnum):
    """What a receipt proves."""

    IN_LINE = "in_line"
    """Its holder had the number `reference` in the lane."""
    PAID = "paid"
    """The order `reference` was paid."""
    UPLOADED = "uploaded"
    """A document whose SHA-256 is `reference` had been received whole."""


class Moment(StrEnum):
    """Which moment a receipt tells: the earliest one that proves it."""

    UNSAID = "unsaid"
    """In receipts from before it was said: it was so by then."""
    NUMBER_TAKEN = "number_taken"
    """The number was given."""
    PROVIDER_TOLD = "provider_told"
    """The payment provider's news of this very money was on record."""
    CREDITED = "credited"
    """The money became quota. It had been paid before."""
    FILE_SAFE = "file_safe"
    """The last byte of the file was safe, whenever it was inspected."""


class Receipt(msgspec.Struct, frozen=True):
    """A statement: `what` was so at `at`. `lane` is empty where there was none."""

    what: InTime
    at: datetime
    lane: str
    reference: str
    issuer: str
    """The address of the service that says so."""
    moment: Moment = Moment.UNSAID
    """Which moment `at` is."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A moment on record, the reference under which its holder can show it, and which moment it is."""

    at: datetime
    reference: str
    moment: Moment


FactOf = Callable[[UUID, UUID, UUID | None], Awaitable[Fact | None]]
"""Of an account and an order (or a document): when it was paid (received), or None when it was not, or is another's.

With a third id only what that member of a group may see.
"""


async def nothing_on_record(_account_id: UUID, _subject_id: UUID, _only_by: UUID | None) -> Fact | None:
    """Nothing can be proved."""
    return None


class Receipts:
    """Makes receipts. `secret` holds the 32 bytes of the Ed25519 key; `issuer` is the service's address."""

    def __init__(
        self,
        secret: bytes,
        issuer: str,
        *,
        paid: FactOf = nothing_on_record,
        uploaded: FactOf = nothing_on_record,
    ) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self._issuer = issuer
        self._facts = {InTime.PAID: paid, InTime.UPLOADED: uploaded}

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def public_pem(self) -> bytes:
        """The public key as `openssl` reads it (SubjectPublicKeyInfo in PEM, RFC 8410)."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def of_ticket(self, ticket: Ticket) -> str:
        """The receipt that the holder of a ticket was in line when it was given."""
        at = datetime.fromtimestamp(ticket.issued_ms // 1000, UTC)
        number = str(ticket.number)
        return self._sign(Receipt(InTime.IN_LINE, at, ticket.lane, number, self._issuer, Moment.NUMBER_TAKEN))

    async def of_fact(self, what: InTime, account_id: UUID, subject_id: UUID, *, only_by: UUID | None = None) -> str:
        """The receipt of a payment or an upload of this account, or of one member. Raises `receipt_not_possible`."""
        fact_of = self._facts.get(what)
        fact = await fact_of(account_id, subject_id, only_by) if fact_of else None
        if fact is None:
            raise RECEIPT_NOT_POSSIBLE()
        at = fact.at.astimezone(UTC).replace(microsecond=0)
        return self._sign(Receipt(what, at, "", fact.reference, self._issuer, fact.moment))

    def read(self, text: str) -> Receipt:
        """The statement of a receipt of ours. Raises `receipt_unknown`."""
        return read_receipt(text, self.public_key)

    def checked(self, text: str) -> Receipt:
        """The same for whoever decides by it; counted. Raises `receipt_unknown`."""
        try:
            found = self.read(text)
        except Refused:
            _checked.labels("refused").inc()
            raise
        _checked.labels("ours").inc()
        return found

    def _sign(self, receipt: Receipt) -> str:
        _made.labels(receipt.what).inc()
        signed = _PREFIX + _text_of(msgspec.json.encode(receipt))
        return f"{signed}.{_text_of(self._key.sign(signed.encode()))}"


def read_receipt(text: str, key: bytes) -> Receipt:
    """The statement of a receipt that was signed with this public key's other half. Raises `receipt_unknown`."""
    signed, _, signature = text.rpartition(".")
    if len(text) > LENGTH_MAX or not text.isascii() or not signed.startswith(_PREFIX):
        raise RECEIPT_UNKNOWN()
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(_bytes_of(signature), signed.encode())
        return msgspec.json.decode(_bytes_of(signed.removeprefix(_PREFIX)), type=Receipt)
    except (InvalidSignature, ValueError, msgspec.DecodeError) as error:
        raise RECEIPT_UNKNOWN() from error


def _text_of(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes_of(text: str) -> bytes:
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
    if _text_of(content) != text:
        raise ValueError(
            text
        )  # the last letter holds bits that mean nothing: of the texts that say the same, one is ours
    return content
