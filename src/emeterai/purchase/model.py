"""The nouns of buying: an order, a notification about one, and what a provider is asked for."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import msgspec

from emeterai.core.ordering import CURRENCY, ChargeState, OrderState, Price, Seen, order_number
from emeterai.core.returning import RefundState, SecondPayment


class Channel(StrEnum):
    """How money is sent."""

    QRIS = "qris"
    VIRTUAL_ACCOUNT = "virtual_account"

    @property
    def label(self) -> str:
        """What people call it, in both languages."""
        return "QRIS" if self is Channel.QRIS else "Virtual account"


class PaymentCode(msgspec.Struct, frozen=True):
    """What the buyer pays with: the text of a QR code, or the number of a virtual account at `bank`."""

    channel: Channel
    text: str
    bank: str = ""


class Wishes(msgspec.Struct, frozen=True):
    """What a buyer may choose: how to pay (None: what suits the amount), and what becomes of a second payment."""

    channel: Channel | None = None
    second_payment: SecondPayment = SecondPayment.RETURN


NO_WISHES = Wishes()


class Source(msgspec.Struct, frozen=True):
    """Who says something about money, and about which transaction of theirs: None is the order's own charge."""

    provider: str
    reference: str | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order of quota: what was asked, what it costs in whole rupiah, and where its money is.

    `paid_provider` and `paid_reference` name the transaction whose money it was paid with, or quarantined for.
    """

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
    second_payment: SecondPayment
    wanted_channel: Channel | None
    """What its price is for, fixed when it was placed; None for orders that were placed when that was left open."""
    paid_provider: str | None
    paid_reference: str | None
    closing: bool
    """Whether its charge is still to be cancelled at the provider."""
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
    def price(self) -> Price:
        """What it costs."""
        return Price(self.duty_idr, self.fee_idr)

    @property
    def charge(self) -> Source:
        """The charge that its buyer was shown."""
        return Source(self.provider, self.provider_reference)

    @property
    def is_payable(self) -> bool:
        """Whether the buyer may still be sent to the provider's page."""
        return self.state is OrderState.AWAITING_PAYMENT and not self.overdue

    @property
    def has_money(self) -> bool:
        """Whether money was seen for it, so that more of it would be a second payment."""
        return self.state in {OrderState.PAID, OrderState.QUARANTINED}

    def payment(self, source: Source) -> Source:
        """The transaction that a source speaks of.

        Where the one that paid was never named, as in some settlement files, what its provider names is taken for it.
        """
        if source.provider == self.paid_provider and self.paid_reference is None:
            return Source(source.provider)
        if source.reference is not None:
            return source
        known = {self.provider: self.provider_reference}
        if self.paid_provider is not None:
            known[self.paid_provider] = self.paid_reference
        return Source(source.provider, known.get(source.provider))

    def is_more_than_known(self, seen: Seen, source: Source) -> bool:
        """Whether this is settled money besides, or above, what is known of it: before any of it goes back, we ask."""
        if seen.state is not ChargeState.SETTLED or not self.has_money:
            return False
        same_payment = self.payment(source) == Source(self.paid_provider or "", self.paid_reference)
        is_less = self.seen_amount is not None and seen.amount < self.seen_amount
        same_money = (self.seen_amount, self.seen_currency) == (seen.amount, seen.currency)
        return not same_payment or not (same_money or is_less)

    def is_paid_with(self, payment: Source) -> bool:
        """Whether this is the transaction that made it quota."""
        return self.state is OrderState.PAID and payment == Source(self.paid_provider or "", self.paid_reference)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A notification whose signature was right, in our words.

    `event_id` is the same when the provider sends the same event again. `headers` are those worth keeping as
    evidence, without any secret. `order_id` is None when the provider named something that cannot be an order; it is
    a return's id in news about a refund. `reference` is the provider's own id of the transaction, where it tells one.
    """

    event_id: str
    order_id: UUID | None
    state: ChargeState
    amount: Decimal
    currency: str
    headers: dict[str, str] = {}
    reference: str | None = None
    back: Decimal | None = None

    @property
    def seen(self) -> Seen:
        """What it says about the money."""
        return Seen(self.state, self.amount, self.currency, self.back)


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
    channel: Channel
    currency: str = CURRENCY

    def is_for(self, amount: Decimal, currency: str) -> bool:
        """Whether this is what is to be collected."""
        return amount == self.amount_idr and currency == self.currency

    @property
    def order_url(self) -> str:
        """The order's own page, where its payment code is shown."""
        return self.return_url.partition("?")[0]


class RefundSeen(msgspec.Struct, frozen=True):
    """What a provider says of a refund; `trouble` is its own code for why not, in lower case."""

    state: RefundState
    trouble: str = ""
