"""The nouns of the money's way back: a return, a case for care, and a proposal that two people decide."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import msgspec

from emeterai.core.ordering import Price
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.purchase.model import Source


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back to its payer, or that became quota after all.

    `amount_idr` is None for money that cannot be written in whole rupiah. `quantity` is how many stamps were handed
    back, or credited; `duty_idr` and `fee_idr` are their price. `trouble` says why people have to look at it.
    """

    id: UUID
    order_id: UUID
    account_id: UUID
    cause: ReturnCause
    state: ReturnState
    provider: str
    reference: str | None
    seen_amount: Decimal
    seen_currency: str
    amount_idr: int | None
    quantity: int | None
    duty_idr: int
    fee_idr: int
    seen_transfer: UUID
    duty_transfer: UUID
    fee_transfer: UUID
    quota_transfer: UUID
    back_transfer: UUID
    request_digest: bytes | None
    trouble: str | None
    proof: str | None
    tries: int
    due_at: datetime | None
    created_at: datetime
    asked_at: datetime | None
    ended_at: datetime | None
    changed_at: datetime

    @property
    def payment(self) -> Source:
        """The transaction that the money came with."""
        return Source(self.provider, self.reference)

    @property
    def price(self) -> Price:
        """What its stamps cost."""
        return Price(self.duty_idr, self.fee_idr)

    @property
    def is_seen_money(self) -> bool:
        """Whether it began with money that was seen, and not with quota that was handed back."""
        return self.cause is not ReturnCause.QUOTA_RETURNED

    @property
    def is_on_its_way(self) -> bool:
        """Whether the provider may have been told to return it and has not said that it is done or refused."""
        return self.state is ReturnState.ASKED


class CaseKind(StrEnum):
    """What nobody can decide alone."""

    TAKEN_BACK = "taken_back"
    """The provider took money back that had become quota."""
    CONTRADICTED = "contradicted"
    """The provider now says something else of money that had become quota."""
    NO_ANSWER = "no_answer"
    """The provider never answered usably about this order."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Something for staff. `amount_idr` is what was taken back; `quantity`, the stamps that were taken back for it."""

    id: UUID
    kind: CaseKind
    order_id: UUID
    provider: str
    reference: str | None
    amount_idr: int | None
    quantity: int | None
    loss_transfer: UUID
    quota_transfer: UUID
    duty_transfer: UUID
    fee_transfer: UUID
    created_at: datetime
    closed_at: datetime | None


class Action(StrEnum):
    """What staff may propose: about a return, or about a case."""

    CREDIT = "credit"
    RETURN = "return"
    ASK_AGAIN = "ask_again"
    PAID_OUT = "paid_out"
    """The payer has the money by a bank transfer of ours; the note says which."""
    TAKE_BACK = "take_back"
    CLOSE = "close"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What one member of staff proposes, with the reason, and another decides."""

    id: UUID
    return_id: UUID | None
    case_id: UUID | None
    action: Action
    quantity: int | None
    note: str
    proposed_by: UUID
    decided_by: UUID | None
    approved: bool | None
    created_at: datetime
    decided_at: datetime | None
