"""The rules of the ledger: what a transfer may do to the one balance it moves. Pure decisions, no I/O.

A quota account keeps four numbers, and promise 1 is their definition:

    bought = available + held + used + refunded

What an account received from another counts as bought, what it gave away does not: so the sum of `bought` is what was
issued. Counter-accounts (issued, used, refunded, passed on and those in rupiah) have no limit and no row: they are sums
over the immutable transfers. docs/accounts.md shows each movement as a two-line table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import isfinite
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from emeterai.core.refusal import RefusalKind, Refused

QUOTA_NOT_ENOUGH = RefusalKind(
    "quota_not_enough",
    402,
    "Kuota Anda tidak cukup: tersedia {available}, diperlukan {needed}. Beli kuota lalu coba lagi.",
    "You do not have enough quota: {available} available, {needed} needed. Buy quota, then try again.",
)
TRANSFER_ID_REUSED = RefusalKind(
    "transfer_id_reused",
    409,
    "Nomor transaksi ini sudah dipakai untuk isi yang lain.",
    "This transfer id was already used with other content.",
)
HOLD_UNKNOWN = RefusalKind(
    "hold_unknown", 404, "Penahanan kuota ini tidak dikenal.", "This hold is not known; nothing was changed."
)
HOLD_SETTLED = RefusalKind(
    "hold_settled", 409, "Kuota ini sudah terpakai.", "This hold was already settled; it cannot end twice."
)
HOLD_RELEASED = RefusalKind(
    "hold_released", 409, "Kuota ini sudah dikembalikan.", "This hold was already released; it cannot end twice."
)
QUOTA_NOT_GIVEN = RefusalKind(
    "quota_not_given",
    409,
    "Kuota ini tidak jadi diberikan, jadi tidak ada yang diterima.",
    "This quota was not given after all, so there is nothing to receive.",
)
_NUMBER = attrgetter("int")


class Kind(StrEnum):
    """What a transfer does. `hold` is pending; exactly one `settle` or `release` ends it.

    `give` and `receive` pass quota from one account to another: posted in one call, first the gift, of one subject and
    sum. A receipt without its gift is refused; a gift without its receipt is a bug, and nothing is posted.
    """

    CREDIT = "credit"
    HOLD = "hold"
    SETTLE = "settle"
    RELEASE = "release"
    REFUND = "refund"
    GIVE = "give"
    RECEIVE = "receive"
    MONEY = "money"


# Python 3.11 looks a member up by a function, each time.
_CREDIT, _HOLD, _SETTLE, _RELEASE, _REFUND, _GIVE, _RECEIVE, _MONEY = (
    Kind.CREDIT,
    Kind.HOLD,
    Kind.SETTLE,
    Kind.RELEASE,
    Kind.REFUND,
    Kind.GIVE,
    Kind.RECEIVE,
    Kind.MONEY,
)
_SPENDING = frozenset({_HOLD, _REFUND, _GIVE})
_TAKING = _SPENDING | {_SETTLE}


class Unit(StrEnum):
    """What is counted: whole stamps, or whole rupiah."""

    STAMP = "stamp"
    IDR = "idr"


class Reason(StrEnum):
    """Why a transfer was made: a code that history, reports and the chart of accounts put into words."""

    PURCHASE = "purchase"
    STAMPING = "stamping"
    SEALED = "sealed"
    EXPIRED = "expired"
    FILE_REFUSED = "file_refused"
    SEALING_FAILED = "sealing_failed"
    CANCELLED = "cancelled"
    RETURNED = "returned"
    DEPOSIT = "deposit"
    SOLD = "sold"
    STOCK_MOVED = "stock_moved"
    VOUCHERS_MADE = "vouchers_made"
    VOUCHER_REDEEMED = "voucher_redeemed"
    VOUCHERS_VOIDED = "vouchers_voided"
    GRANT_FUNDED = "grant_funded"
    GRANTED = "granted"
    GRANT_RETURNED = "grant_returned"
    PAYMENT_SEEN = "payment_seen"
    PAID_AGAIN = "paid_again"
    PAID_OTHER = "paid_other"
    DUTY = "duty"
    FEE = "fee"
    DUTY_BACK = "duty_back"
    FEE_BACK = "fee_back"
    MONEY_BACK = "money_back"
    TAKEN_BACK = "taken_back"
    DEPOSIT_PAID = "deposit_paid"


class Counter:
    """The counter-accounts: fixed ids, no limit, no balance row. The chart is docs/accounts.md."""

    ISSUED = UUID(int=1)
    USED = UUID(int=2)
    REFUNDED = UUID(int=3)
    PASSED_ON = UUID(int=4)
    PROVIDER_RECEIVABLE = UUID(int=11)
    ORDER_LIABILITY = UUID(int=12)
    TREASURY_DUTY = UUID(int=13)
    SERVICE_FEE = UUID(int=14)
    MONEY_RETURNED = UUID(int=15)
    TREASURY_DEPOSIT = UUID(int=16)
    TAKEN_BACK = UUID(int=17)
    LAST = UUID(int=999)
    """Ids up to this one are counters; a person's account never is."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One immutable movement, with an id made by the caller: same id, same content, same answer.

    `account` is the one quota account whose balance moves (None for rupiah, which moves counters only).
    `hold_id` names the hold that a settle or release ends; `subject` is what it is about (a stamp, an order).
    """

    id: UUID
    kind: Kind
    reason: Reason
    amount: int
    account: UUID | None = None
    debit: UUID | None = None
    credit: UUID | None = None
    hold_id: UUID | None = None
    subject: UUID | None = None
    life_s: float | None = None

    @property
    def unit(self) -> Unit:
        """Stamps for quota movements, rupiah for money."""
        return Unit.IDR if self.kind is _MONEY else Unit.STAMP

    @property
    def lines(self) -> tuple[UUID, UUID]:
        """The two lines of double entry: the account debited and the account credited."""
        if self.kind is _MONEY:
            assert self.debit is not None
            assert self.credit is not None
            return self.debit, self.credit
        assert self.account is not None
        # The endings and beginnings of holds first: they are nearly all there is.
        if self.kind is _HOLD or self.hold_id is not None:
            return self.account, Counter.USED
        if self.kind is _CREDIT or self.kind is _RECEIVE:
            return Counter.ISSUED if self.kind is _CREDIT else Counter.PASSED_ON, self.account
        return self.account, Counter.REFUNDED if self.kind is _REFUND else Counter.PASSED_ON

    def content(self) -> tuple[object, ...]:
        """What must be the same when the same id comes again."""
        return (self.kind, self.reason, self.amount, *self.lines, self.hold_id, self.subject)

    def __post_init__(self) -> None:
        if self.amount <= 0:
            raise ValueError("a transfer moves at least one unit")
        if (self.kind is _SETTLE or self.kind is _RELEASE) != (self.hold_id is not None):
            raise ValueError("a settle or release, and nothing else, names its hold")
        if (self.kind is _HOLD) != (self.life_s is not None):
            raise ValueError("a hold, and nothing else, has a life")
        if self.life_s is not None and not isfinite(self.life_s):
            raise ValueError("a hold ends: its life is a number of seconds")
        if (self.kind is _MONEY) == (self.account is not None):
            raise ValueError("quota movements name one account; money names a debit and a credit")
        if self.subject is None and (self.kind is _GIVE or self.kind is _RECEIVE):
            raise ValueError("what is given and what is received name the same subject")


class Balance(NamedTuple):
    """The balance of a quota account, in stamps."""

    bought: int = 0
    held: int = 0
    used: int = 0
    refunded: int = 0

    @property
    def available(self) -> int:
        """What may still be spent."""
        return self.bought - self.held - self.used - self.refunded


_NOTHING = Balance()


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A hold that has not ended."""

    id: UUID
    account: UUID
    amount: int
    subject: UUID | None
    expires_at: datetime


class Posted(NamedTuple):
    """The answer to a transfer that is in the ledger; `again` when it was there before this call."""

    transfer: Transfer
    again: bool = False


Answer = Posted | Refused


@dataclass(slots=True)
class Book:
    """What was read under the lock: balances, open holds, and the earlier transfers that this batch may repeat."""

    balances: dict[UUID, Balance]
    open_holds: dict[UUID, tuple[UUID, int]] = field(default_factory=dict)
    """Hold id to (account, amount), for holds that the batch ends."""
    endings: dict[UUID, Kind] = field(default_factory=dict)
    """Hold id to how it ended, for holds that the batch wants to end and that are no longer open."""
    earlier: dict[UUID, tuple[object, ...]] = field(default_factory=dict)
    """Transfer id to content, for ids of the batch that are already in the ledger."""
    posted: dict[UUID, Transfer] = field(default_factory=dict)
    """Transfer id to what this book decided to post."""
    given: dict[UUID, int] = field(default_factory=dict)
    """Subject to what was given and not yet received: nobody receives before, and in the end nothing is left."""

    @classmethod
    def assuming(cls, balances: dict[UUID, Balance], transfers: Sequence[Transfer]) -> Book:
        """A book on the assumption that every id is new, and every hold to be ended open as its ending says.

        Who writes what it decides has to find that true; whoever reads a refusal in it has to ask another book.
        """
        open_holds = {it.hold_id: (it.account, it.amount) for it in transfers if it.hold_id and it.account}
        return cls({account: balances.get(account, _NOTHING) for account in accounts_of(transfers)}, open_holds)

    def decide(self, transfers: Sequence[Transfer]) -> list[Answer]:
        """Answer each transfer in order, exactly as if they had come one by one; update the balances held here.

        Raises RuntimeError when something was given that nobody among them receives: quota would be lost on its way.
        """
        answers = [self._decide_one(transfer) for transfer in transfers]
        lost = {subject: units for subject, units in self.given.items() if units}
        if lost:
            raise RuntimeError(f"given, and received by nobody: {lost}")
        return answers

    def _decide_one(self, transfer: Transfer) -> Answer:
        content = self._content(transfer.id)
        if content is not None:
            return Posted(transfer, again=True) if content == transfer.content() else TRANSFER_ID_REUSED()
        refusal = self._move(transfer)
        if refusal is not None:
            return refusal
        self.posted[transfer.id] = transfer
        return Posted(transfer)

    def _content(self, transfer_id: UUID) -> tuple[object, ...] | None:
        """What an id stands for already, in the ledger or in this book."""
        mine = self.posted.get(transfer_id)
        if mine is not None:
            return mine.content()
        return self.earlier.get(transfer_id) if self.earlier else None

    def _move(self, transfer: Transfer) -> Refused | None:
        kind, account, amount = transfer.kind, transfer.account, transfer.amount
        if kind is _MONEY:
            return None
        assert account is not None
        if transfer.hold_id is not None:
            return self._end_hold(transfer, account, transfer.hold_id)
        if kind is _RECEIVE and not self._take_given(transfer):
            return QUOTA_NOT_GIVEN()
        now = self.balances.get(account, _NOTHING)
        if kind is _CREDIT or kind is _RECEIVE:
            self.balances[account] = Balance(now.bought + amount, now.held, now.used, now.refunded)
        elif now.available < amount:
            return QUOTA_NOT_ENOUGH(available=now.available, needed=amount)
        elif kind is _HOLD:
            self.balances[account] = Balance(now.bought, now.held + amount, now.used, now.refunded)
            self.open_holds[transfer.id] = (account, amount)
        elif kind is _GIVE:
            assert transfer.subject is not None
            self.given[transfer.subject] = self.given.get(transfer.subject, 0) + amount
            self.balances[account] = Balance(now.bought - amount, now.held, now.used, now.refunded)
        else:
            self.balances[account] = Balance(now.bought, now.held, now.used, now.refunded + amount)
        return None

    def _take_given(self, transfer: Transfer) -> bool:
        assert transfer.subject is not None
        left = self.given.get(transfer.subject, 0) - transfer.amount
        if left < 0:
            return False
        self.given[transfer.subject] = left
        return True

    def _end_hold(self, transfer: Transfer, account: UUID, hold_id: UUID) -> Refused | None:
        held = self.open_holds.pop(hold_id, None)
        if held is None:
            ended = self.endings.get(hold_id)
            if ended is None:
                return HOLD_UNKNOWN()
            return HOLD_SETTLED() if ended is _SETTLE else HOLD_RELEASED()
        if held != (account, transfer.amount):
            self.open_holds[hold_id] = held
            return HOLD_UNKNOWN()
        now = self.balances[account]
        used = transfer.amount if transfer.kind is _SETTLE else 0
        self.balances[account] = Balance(now.bought, now.held - transfer.amount, now.used + used, now.refunded)
        self.endings[hold_id] = transfer.kind
        return None


def may_be_assumed(transfers: Sequence[Transfer]) -> bool:
    """Whether `Book.assuming` serves: none of the transfers makes room for another, in a balance or with a hold.

    A balance that covers all such transfers together covers each of them in its turn, whatever comes between.
    """
    if not all(transfer.kind in _TAKING for transfer in transfers):
        return False
    ending = {transfer.hold_id for transfer in transfers if transfer.hold_id is not None}
    return not ending or ending.isdisjoint(transfer.id for transfer in transfers)


def changes(before: Mapping[UUID, Balance], after: Mapping[UUID, Balance]) -> dict[UUID, Balance]:
    """What was added to each balance that is another one now, in the order that `after` has them."""
    added = {}
    for account, now in after.items():
        was = before[account]
        if was is not now:
            added[account] = Balance(
                now.bought - was.bought, now.held - was.held, now.used - was.used, now.refunded - was.refunded
            )
    return added


def accounts_of(transfers: Sequence[Transfer]) -> list[UUID]:
    """The quota accounts that a batch moves, each once, sorted: the order in which they are locked."""
    return in_order(transfer.account for transfer in transfers if transfer.account is not None)


def spenders_of(transfers: Sequence[Transfer]) -> list[UUID]:
    """Those of the accounts whose balance decides about a transfer."""
    return in_order(it.account for it in transfers if it.account is not None and it.kind in _SPENDING)


def in_order(accounts: Iterable[UUID]) -> list[UUID]:
    """Each account once, in the order of their bytes, which is PostgreSQL's order of UUIDs."""
    return sorted(set(accounts), key=_NUMBER)
