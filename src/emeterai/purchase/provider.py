"""What buying needs from a payment provider, whichever it is. An adapter translates a provider's words to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable
from uuid import UUID

from emeterai.core.ordering import Seen
from emeterai.core.refusal import RefusalKind
from emeterai.purchase.model import Charge, ChargeRequest, Notice, RefundSeen

PROVIDER_UNAVAILABLE = RefusalKind(
    "provider_unavailable",
    503,
    "Penyedia pembayaran sedang tidak menjawab; Anda tidak berutang apa pun, silakan coba lagi sebentar lagi.",
    "The payment provider does not answer now; you owe nothing, please try again in a moment.",
)
RETRY_AFTER_S = 10
"""The fact `retry_after_s` of `provider_unavailable`: when trying again makes sense."""
NOTIFICATION_FORGED = RefusalKind(
    "notification_forged",
    401,
    "Tanda tangan pemberitahuan ini tidak cocok; periksa rahasia bersama.",
    "The signature of this notification does not match; check the shared secret.",
)
NOTIFICATION_STALE = RefusalKind(
    "notification_stale",
    401,
    "Waktu pemberitahuan ini terlalu jauh dari sekarang; tanda tangani lalu kirim lagi.",
    "The time of this notification is too far from now; sign it again and send it again.",
)
NOTIFICATION_UNREADABLE = RefusalKind(
    "notification_unreadable",
    400,
    "Isi pemberitahuan ini tidak dapat dibaca; periksa bentuknya.",
    "The content of this notification cannot be read; check its format.",
)
VIRTUAL_ACCOUNT = "virtual_account"
"""The trouble of a refund of what was paid to a virtual account: the payer's own account is needed."""
_AMOUNT_MAX = 10**15
_DECIMALS_MAX = 4
_CURRENCY = re.compile(r"[A-Z]{3}")
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,200}")


class PaymentProvider(Protocol):
    """One payment provider."""

    @property
    def name(self) -> str:
        """The name in addresses and tables: lower case, never changed."""
        ...

    @property
    def signs_notifications(self) -> bool:
        """Whether a notification proves what it says; if not, it only says that there is something to ask about."""
        ...

    @property
    def signs_states(self) -> bool:
        """Whether that proof covers the state and the transaction too, and not only the order and the amount."""
        ...

    @property
    def has_channels(self) -> bool:
        """Whether it collects by the channel that it is asked for, and charges for it; a sandbox knows none."""
        ...

    @property
    def is_healthy(self) -> bool:
        """Whether asking it now makes sense."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...

    async def create_charge(self, request: ChargeRequest) -> Charge:
        """Open a charge; asked again for the same order it gives the same charge. Raises `provider_unavailable`."""
        ...

    async def status(self, order_id: UUID, reference: str) -> Seen:
        """What the provider says of the charge now. Raises `provider_unavailable`."""
        ...

    async def cancel(self, order_id: UUID, reference: str) -> None:
        """End a charge that nobody has paid, so that nobody can; one that has ended or is paid stays as it is.

        Raises `provider_unavailable`.
        """
        ...

    async def refund(self, order_id: UUID, reference: str, *, amount_idr: int, refund_key: str) -> RefundSeen:
        """Return so much of a settled charge; asked again with the same key it is returned once.

        Raises `provider_unavailable`: whether it was done is then unknown.
        """
        ...

    async def refund_status(self, order_id: UUID, reference: str, *, refund_key: str) -> RefundSeen:
        """What became of a refund. Raises `provider_unavailable`."""
        ...

    def parse_notification(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Notice:
        """Check the signature over the raw `body`, then read it. `headers` have lower-case names.

        Raises `notification_forged`, `notification_stale` or `notification_unreadable`.
        """
        ...


@runtime_checkable
class NamesPayments(Protocol):
    """A provider whose settlement files name payments, where we know the charges that they belong to."""

    async def charge_of(self, order_id: UUID, payment: str) -> str | None:
        """Our reference of the charge that a payment belongs to; None when it has no such payment of this order.

        Raises `provider_unavailable`.
        """
        ...


def is_money(amount: Decimal, currency: str) -> bool:
    """Whether this can be an amount of money: not negative, finite, of a sane size, in a currency as ISO 4217 has."""
    exponent = amount.as_tuple().exponent
    is_plain = isinstance(exponent, int) and exponent >= -_DECIMALS_MAX and 0 <= amount < _AMOUNT_MAX
    return is_plain and _CURRENCY.fullmatch(currency) is not None


def is_reference(text: str) -> bool:
    """Whether this can be a provider's id of a transaction: it goes into addresses and tables, and may be anybody's."""
    return _REFERENCE.fullmatch(text) is not None


def order_id_of(text: str) -> UUID | None:
    """The order that a provider names, or None when this cannot be one of ours."""
    try:
        return UUID(text)
    except ValueError:
        return None
