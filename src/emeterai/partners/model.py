"""The nouns of partners: a partner, its stock, a deposit, a move of stock, a sale."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec

SOON_S = 86_400.0
"""A stock that empties within this time at the rate of its last sales is low, however large it is."""


class PartnerKind(StrEnum):
    """A distributor sells to people and to its retailers, a retailer to people."""

    DISTRIBUTOR = "distributor"
    RETAILER = "retailer"


class PartnerState(StrEnum):
    """A suspended partner cannot sell; its stock stays its own."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class Decision(StrEnum):
    """Where something stands that needs two signatures."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"


class Partner(msgspec.Struct, frozen=True, kw_only=True):
    """A seller with a stock of its own. `id` is also the quota account of its stock; `account_id` acts for it."""

    id: UUID
    account_id: UUID
    kind: PartnerKind
    distributor_id: UUID | None
    name: str
    contact: str
    state: PartnerState
    warn_below: int
    registered_at: datetime


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a partner's record: `registered`, `suspended` or `reinstated`."""

    change: str
    reason: str
    done_by: str
    done_at: datetime


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """Duty that was paid into the treasury in advance, and what became of it. Amounts are whole rupiah."""

    id: UUID
    partner_id: UUID
    ntpn: str
    amount_idr: int
    duty_idr: int
    quantity: int
    paid_on: date
    proof_sha256: bytes | None
    state: Decision
    proposed_by: UUID
    proposed_at: datetime
    decided_by: UUID | None
    decided_at: datetime | None
    reason: str | None
    money_transfer: UUID
    stock_transfer: UUID


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Stock that goes from one partner to another on the issuer's word, and what became of it."""

    id: UUID
    giver_id: UUID
    receiver_id: UUID
    quantity: int
    why: str
    state: Decision
    proposed_by: UUID
    proposed_at: datetime
    decided_by: UUID | None
    decided_at: datetime | None
    reason: str | None
    give_transfer: UUID
    receive_transfer: UUID


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """Units that a partner sold: to a person's account, or with `to_partner` to the stock of a retailer."""

    id: UUID
    buyer: UUID
    to_partner: bool
    quantity: int
    reference: str
    sold_at: datetime


class SaleWanted(NamedTuple):
    """What a partner asks to sell. `to` is an e-mail address, a phone number or a retailer's partner id."""

    quantity: int
    to: str
    reference: str
    idempotency_key: str


class Pace(NamedTuple):
    """How a stock is selling: units since midnight in Jakarta, in the last hour, in the last five minutes."""

    today: int
    last_hour: int
    last_5_minutes: int


class Level(NamedTuple):
    """How full a stock is: units in it, its own limit, units sold in the last hour and in the last five minutes."""

    available: int
    warn_below: int
    last_hour: int
    last_5_minutes: int

    @property
    def empty_in_s(self) -> int | None:
        """When it is empty. The faster of the two rates counts: a rush shows in minutes, a slow day in the hour.

        None while nothing is being sold.
        """
        per_s = max(self.last_hour / 3600, self.last_5_minutes / 300)
        return None if per_s == 0 else int(self.available / per_s)

    @property
    def is_low(self) -> bool:
        """Whether it is under its own limit, or empty soon."""
        empty_in_s = self.empty_in_s
        return self.available < self.warn_below or (empty_in_s is not None and empty_in_s < SOON_S)


class SerialBlockUse(msgspec.Struct, frozen=True, kw_only=True):
    """A block of serials that is a partner's: the five characters that its serials begin with, and how many are out."""

    prefix: str
    size: int
    drawn: int


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """A stock as it is now, in stamps. `empty_in_s` is None while nothing is being sold."""

    available: int
    sold_today: int
    sold_last_hour: int
    empty_in_s: int | None
    warn_below: int
    is_low: bool
    is_empty: bool


def stock_of(available: int, pace: Pace, *, warn_below: int) -> Stock:
    """What the numbers mean."""
    level = Level(available, warn_below, pace.last_hour, pace.last_5_minutes)
    return Stock(
        available=available,
        sold_today=pace.today,
        sold_last_hour=pace.last_hour,
        empty_in_s=level.empty_in_s,
        warn_below=warn_below,
        is_low=level.is_low,
        is_empty=available == 0,
    )
