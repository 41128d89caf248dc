"""The nouns of vouchers: a stock that they are made of, a batch, one voucher, and what was done with them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from emeterai.core.ordering import order_number
from emeterai.core.voucher_code import VoucherState

VOUCHERS_MAX = 2_400
"""In one batch: a hundred sheets."""
UNITS_MAX = 1_000
"""In one voucher."""
LABEL_LENGTH_MAX = 60


class Stock(msgspec.Struct, frozen=True):
    """A quota account of whose units somebody may make vouchers: a partner's stock, an organisation's account."""

    id: UUID
    name: str
    sells: bool = True
    """False while its owner may not sell: what is made can be voided, and what is active redeemed, but no more."""
    is_group: bool = False
    """A group's account, which sells nothing before staff have approved the group."""


class Counts(msgspec.Struct, frozen=True):
    """How many vouchers of a batch are in each state."""

    made: int
    active: int
    redeemed: int
    void: int

    @property
    def live(self) -> int:
        """Those that can still be redeemed, or voided."""
        return self.made + self.active


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Vouchers made together. `units` is what each of them is worth; the batch is a quota account of its own id."""

    id: UUID
    stock_id: UUID
    label: str
    vouchers: int
    units: int
    counts: Counts
    codes_until: datetime | None
    """Until when the codes can be downloaded; None when they are forgotten."""
    downloads: int
    first_downloaded_at: datetime | None
    created_at: datetime

    @property
    def number(self) -> str:
        """The batch's number as people read it aloud, such as 4F7K-2M9Q."""
        return order_number(self.id)


class NewBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What is written when a batch is made, beside the digests of its codes."""

    id: UUID
    stock_id: UUID
    made_by: UUID
    label: str
    vouchers: int
    units: int
    idempotency_key: str | None
    request_digest: bytes
    enciphered_key: bytes
    codes_life_s: float


class Voucher(msgspec.Struct, frozen=True, kw_only=True):
    """One voucher, as it is under the lock of its batch. Its code is not here, nor anywhere."""

    id: UUID
    batch_id: UUID
    stock_id: UUID
    number: int
    units: int
    state: VoucherState
    redeemed_at: datetime | None
    redeemed_by: UUID | None


class Span(msgspec.Struct, frozen=True):
    """Vouchers `first` to `last` of a batch, both included, which are all in `state`."""

    first: int
    last: int
    state: VoucherState


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """What an activation did: `activated` of the vouchers `first` to `last` were not active before."""

    batch_id: UUID
    first: int
    last: int
    activated: int


class Voiding(msgspec.Struct, frozen=True, kw_only=True):
    """What a voiding did: `vouchers` of `first` to `last` could no more be redeemed, `units` went back to the stock."""

    id: UUID
    batch_id: UUID
    first: int
    last: int
    vouchers: int
    units: int
    voided_at: datetime


class NewVoiding(msgspec.Struct, frozen=True):
    """What is written when vouchers are voided."""

    id: UUID
    batch_id: UUID
    first: int
    last: int
    vouchers: int
    units: int
    voided_by: UUID
    idempotency_key: str | None


class Redemption(msgspec.Struct, frozen=True, kw_only=True):
    """What a voucher gave to whoever redeemed it. `id` is the voucher's."""

    id: UUID
    units: int
    redeemed_at: datetime
