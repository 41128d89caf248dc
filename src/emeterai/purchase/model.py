"""The nouns of buying: an order, and a notification about one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import msgspec

from emeterai.core.ordering import CURRENCY, ChargeState, OrderState, Seen, order_number

QRIS_AMOUNT_IDR_MAX = 10_000_000
"""The most that one QRIS payment may carry."""


class Channel(StrEnum):
    """How money is sent."""

    QRIS = "qris"
    VIRTUAL_ACCOUNT = "virtual_account"


class PaymentCode(msgspec.Struct, frozen=True):
    """What the buyer pays with: the text of a QR code, or the number of a virtual account at `bank`."""

    channel: Channel
    text: str
    bank: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order of quota: what was asked, what it costs in whole rupiah, and where its money is."""

    id: UUID
    account_id: UUID
    quantity: int
    duty_idr: int
    fee_idr: int
    total_idr: int
    state: OrderState
    provider: str
    provider_reference: str | None
    pay_url: str | None
    code: PaymentCode | None
    request_digest: bytes
    payment_transfer: UUID
    duty_transfer: UUID
    fee_transfer: UUID
    credit_transfer: UUID
    seen_amount: Decimal | None
    seen_currency: str | None
    checks: int
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    changed_at: datetime
    overdue: bool
    """Whether its time was over by the database's clock when it was read."""

    @property
    def number(self) -> str:
        """The order's number as people read it aloud: eight characters of its random part, without I, L, O and U."""
        return order_number(self.id)

    @property
    def is_payable(self) -> bool:
        """Whether the buyer may still be sent to the provider's page."""
        return self.state is OrderState.AWAITING_PAYMENT and not self.overdue

    def is_reversed_by(self, seen: Seen | None) -> bool:
        """Whether a provider takes back the money of this paid order: a case for staff, the quota stays."""
        return self.state is OrderState.PAID and seen is not None and seen.state is ChargeState.REVERSED

    def is_contradicted_by(self, seen: Seen) -> bool:
        """Whether a provider reports money for this paid order that is not what it was paid with."""
        same = (self.seen_amount, self.seen_currency) == (seen.amount, seen.currency)
        return self.state is OrderState.PAID and seen.state is ChargeState.SETTLED and not same


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A notification whose signature was right, in our words.

    `event_id` is the same when the provider sends the same event again. `headers` are those worth keeping as
    evidence, without any secret. `order_id` is None when the provider named something that cannot be an order.
    """

    event_id: str
    order_id: UUID | None
    state: ChargeState
    amount: Decimal
    currency: str
    headers: dict[str, str] = {}

    @property
    def seen(self) -> Seen:
        """What it says about the money."""
        return Seen(self.state, self.amount, self.currency)


class Charge(msgspec.Struct, frozen=True):
    """What a provider opened for an order: its own reference, the page where the buyer pays, the code shown there.

    Without a page of the provider's own it is the order's page, which shows the code.
    """

    reference: str
    pay_url: str
    code: PaymentCode | None = None


class ChargeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider is asked to collect. The order's id is its idempotency key."""

    order_id: UUID
    amount_idr: int
    expires_at: datetime
    notify_url: str
    return_url: str
    currency: str = CURRENCY

    @property
    def channel(self) -> Channel:
        """QRIS as far as it goes, a virtual account beyond."""
        return Channel.QRIS if self.amount_idr <= QRIS_AMOUNT_IDR_MAX else Channel.VIRTUAL_ACCOUNT

    def is_for(self, amount: Decimal, currency: str) -> bool:
        """Whether this is what is to be collected."""
        return amount == self.amount_idr and currency == self.currency

    @property
    def order_url(self) -> str:
        """The order's own page, where its payment code is shown."""
        return self.return_url.partition("?")[0]
