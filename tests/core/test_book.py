"""The rules of the ledger, as pure decisions over a book: no database here, tests/ledger has the real one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.ledger import (
    Answer,
    Balance,
    Book,
    Counter,
    Kind,
    Posted,
    Reason,
    Transfer,
    Unit,
    accounts_of,
)
from emeterai.core.refusal import Refused

ACCOUNTS = [UUID(int=10_000 + number) for number in range(2)]
IDS = [UUID(int=20_000 + number) for number in range(24)]
IN, OWED = Counter.PROVIDER_RECEIVABLE, Counter.ORDER_LIABILITY
ENDINGS = {Kind.SETTLE, Kind.RELEASE}


def a_transfer(number: int, kind: Kind, amount: int = 1, **more: Any) -> Transfer:
    """A transfer about the first account, with the id of that number."""
    if kind is Kind.MONEY:
        return Transfer(IDS[number], kind, Reason.PAYMENT_SEEN, amount, debit=IN, credit=OWED, **more)
    life_s = 60.0 if kind is Kind.HOLD else None
    return Transfer(IDS[number], kind, Reason.CANCELLED, amount, **{"account": ACCOUNTS[0], "life_s": life_s, **more})


@st.composite
def transfers(draw: st.DrawFn) -> Transfer:
    """Any transfer, from so few ids, accounts and amounts that they meet often."""
    kind = draw(st.sampled_from(sorted(set(Kind) - {Kind.GIVE, Kind.RECEIVE})))
    number, amount = draw(st.integers(0, len(IDS) - 1)), draw(st.integers(1, 3))
    if kind is Kind.MONEY:
        return a_transfer(number, kind, amount)
    hold_id = draw(st.sampled_from(IDS)) if kind in ENDINGS else None
    return a_transfer(number, kind, amount, account=draw(st.sampled_from(ACCOUNTS)), hold_id=hold_id)


@st.composite
def sequences(draw: st.DrawFn) -> list[Transfer]:
    """Transfers on accounts that have some quota; many endings fit a hold that came before."""
    sequence = [a_transfer(number, Kind.CREDIT, 4, account=account) for number, account in enumerate(ACCOUNTS)]
    for _ in range(draw(st.integers(0, 30))):
        transfer = draw(transfers())
        holds = [it for it in sequence if it.kind is Kind.HOLD]
        if transfer.kind in ENDINGS and holds and draw(st.integers(0, 3)):
            hold = draw(st.sampled_from(holds))
            transfer = replace(transfer, account=hold.account, amount=hold.amount, hold_id=hold.id)
        sequence.append(transfer)
    return sequence


SEQUENCES = sequences()


@dataclass
class Shelf:
    """What was posted so far. A book is opened from it for each batch, with no more in it than the batch needs."""

    balances: dict[UUID, Balance] = field(default_factory=dict)
    open_holds: dict[UUID, tuple[UUID, int]] = field(default_factory=dict)
    endings: dict[UUID, Kind] = field(default_factory=dict)
    posted: dict[UUID, Transfer] = field(default_factory=dict)

    def post(self, batch: list[Transfer]) -> list[Answer]:
        """Decide a batch and keep what was posted."""
        hold_ids = {it.hold_id for it in batch if it.hold_id is not None}
        book = Book(
            {account: self.balances[account] for account in accounts_of(batch) if account in self.balances},
            {hold_id: self.open_holds[hold_id] for hold_id in hold_ids & set(self.open_holds)},
            {hold_id: self.endings[hold_id] for hold_id in hold_ids & set(self.endings)},
            {it.id: self.posted[it.id].content() for it in batch if it.id in self.posted},
        )
        answers = book.decide(batch)
        self.balances.update(book.balances)
        for answer in answers:
            if isinstance(answer, Posted) and not answer.again:
                self._keep(answer.transfer)
        return answers

    def _keep(self, transfer: Transfer) -> None:
        self.posted[transfer.id] = transfer
        if transfer.kind is Kind.HOLD:
            assert transfer.account is not None
            self.open_holds[transfer.id] = (transfer.account, transfer.amount)
        if transfer.hold_id is not None:
            self.open_holds.pop(transfer.hold_id)
            self.endings[transfer.hold_id] = transfer.kind


def in_words(answers: list[Answer]) -> list[tuple[str, object]]:
    """Answers that can be compared."""
    return [
        (answer.code, dict(answer.facts)) if isinstance(answer, Refused) else ("posted", answer.again)
        for answer in answers
    ]


def codes(*batch: Transfer) -> list[str]:
    """The answers to one batch on an empty shelf."""
    return [code for code, _ in in_words(Shelf().post(list(batch)))]


@given(SEQUENCES, st.data())
def test_a_batch_is_answered_as_if_its_transfers_came_one_by_one(sequence: list[Transfer], data: st.DataObject) -> None:
    """However a sequence is split into batches: the same answers, the same balances, the same open holds."""
    one_by_one, split = Shelf(), Shelf()
    expected = [answer for transfer in sequence for answer in one_by_one.post([transfer])]
    answers: list[Answer] = []
    while len(answers) < len(sequence):
        count = data.draw(st.integers(1, len(sequence) - len(answers)))
        answers += split.post(sequence[len(answers) : len(answers) + count])
    assert in_words(expected) == in_words(answers)
    assert one_by_one.open_holds == split.open_holds
    for account in ACCOUNTS:
        assert one_by_one.balances.get(account, Balance()) == split.balances.get(account, Balance())


@given(SEQUENCES)
def test_nothing_is_lost_and_nothing_is_below_zero(sequence: list[Transfer]) -> None:
    """After every single transfer: bought = available + held + used + refunded, by the transfers' own sums."""
    shelf = Shelf()
    for transfer in sequence:
        shelf.post([transfer])
        for account, balance in shelf.balances.items():
            assert min(balance.available, balance.held, balance.used, balance.refunded) >= 0
            assert balance.bought == balance.available + balance.held + balance.used + balance.refunded
            mine = [it for it in shelf.posted.values() if it.account == account]
            sums = {kind: sum(it.amount for it in mine if it.kind is kind) for kind in Kind}
            held = sums[Kind.HOLD] - sums[Kind.SETTLE] - sums[Kind.RELEASE]
            assert Balance(sums[Kind.CREDIT], held, sums[Kind.SETTLE], sums[Kind.REFUND]) == balance


@given(SEQUENCES)
def test_what_is_held_is_the_sum_of_the_open_holds(sequence: list[Transfer]) -> None:
    """For each account, after any sequence."""
    shelf = Shelf()
    shelf.post(sequence)
    for account, balance in shelf.balances.items():
        assert balance.held == sum(amount for owner, amount in shelf.open_holds.values() if owner == account)


@given(SEQUENCES)
def test_a_hold_ends_at_most_once(sequence: list[Transfer]) -> None:
    """Whatever is asked, one ending is posted for a hold, and it repeats the hold's account and amount."""
    shelf = Shelf()
    shelf.post(sequence)
    endings = [it for it in shelf.posted.values() if it.hold_id is not None]
    assert len(endings) == len({it.hold_id for it in endings})
    for ending in endings:
        assert ending.hold_id is not None
        hold = shelf.posted[ending.hold_id]
        assert (Kind.HOLD, ending.account, ending.amount) == (hold.kind, hold.account, hold.amount)


@given(SEQUENCES)
def test_a_whole_sequence_again_changes_nothing(sequence: list[Transfer]) -> None:
    """What was posted is answered as posted before; an id that was refused may be posted now, never twice."""
    shelf = Shelf()
    first = shelf.post(sequence)
    posted = {answer.transfer.id: answer.transfer for answer in first if isinstance(answer, Posted)}
    before = dict(shelf.balances)
    again = shelf.post(list(posted.values()))
    assert [("posted", True)] * len(posted) == in_words(again)
    assert before == shelf.balances


def test_an_id_belongs_to_one_content_for_ever() -> None:
    """Another amount, kind, reason, account, hold or subject under the same id is refused by name."""
    first = a_transfer(0, Kind.CREDIT, 5)
    others = [
        a_transfer(0, Kind.CREDIT, 6),
        a_transfer(0, Kind.REFUND, 5),
        a_transfer(0, Kind.CREDIT, 5, account=ACCOUNTS[1]),
        a_transfer(0, Kind.CREDIT, 5, subject=IDS[1]),
        a_transfer(0, Kind.MONEY, 5),
        Transfer(IDS[0], Kind.CREDIT, Reason.PURCHASE, 5, account=ACCOUNTS[0]),
    ]
    for other in others:
        assert ["posted", "transfer_id_reused"] == codes(first, other)


def test_a_hold_again_with_another_life_is_the_same_hold() -> None:
    """A life is a wish about the future, not content: a repetition does not lengthen it either."""
    hold = a_transfer(1, Kind.HOLD)
    answers = Shelf().post([a_transfer(0, Kind.CREDIT), hold, a_transfer(1, Kind.HOLD, life_s=9.0)])
    assert ("posted", True) == in_words(answers)[2]


def test_settle_and_release_that_share_an_id_cannot_both_be_posted() -> None:
    """Stamping makes one id for the ending of a hold, whichever it will be."""
    opening = [a_transfer(0, Kind.CREDIT), a_transfer(1, Kind.HOLD)]
    endings = [a_transfer(2, kind, hold_id=IDS[1]) for kind in (Kind.SETTLE, Kind.RELEASE)]
    assert ["posted", "posted", "posted", "transfer_id_reused"] == codes(*opening, *endings)


@pytest.mark.parametrize(
    ("first", "code"), [(Kind.SETTLE, "hold_settled"), (Kind.RELEASE, "hold_released")], ids=["settled", "released"]
)
@pytest.mark.parametrize("second", [Kind.SETTLE, Kind.RELEASE])
def test_the_second_ending_is_told_what_the_first_was(first: Kind, code: str, second: Kind) -> None:
    """With an id of its own it is refused by the name of what came first."""
    opening = [a_transfer(0, Kind.CREDIT), a_transfer(1, Kind.HOLD), a_transfer(2, first, hold_id=IDS[1])]
    assert code == codes(*opening, a_transfer(3, second, hold_id=IDS[1]))[-1]


@pytest.mark.parametrize(
    "ending",
    [
        a_transfer(3, Kind.SETTLE, hold_id=IDS[9]),
        a_transfer(3, Kind.SETTLE, 2, hold_id=IDS[1]),
        a_transfer(3, Kind.SETTLE, account=ACCOUNTS[1], hold_id=IDS[1]),
        a_transfer(3, Kind.RELEASE, hold_id=IDS[0]),
    ],
    ids=["no such hold", "another amount", "another account", "not a hold"],
)
def test_a_hold_ends_only_for_its_own_account_and_amount(ending: Transfer) -> None:
    """Anything else is a hold that nobody knows."""
    assert "hold_unknown" == codes(a_transfer(0, Kind.CREDIT, 3), a_transfer(1, Kind.HOLD), ending)[-1]


@pytest.mark.parametrize("kind", [Kind.HOLD, Kind.REFUND])
def test_what_is_not_available_cannot_be_spent(kind: Kind) -> None:
    """The refusal says how much there is and how much is needed."""
    answers = Shelf().post([a_transfer(0, Kind.CREDIT, 3), a_transfer(1, Kind.HOLD, 2), a_transfer(2, kind, 2)])
    assert ("quota_not_enough", {"available": 1, "needed": 2}) == in_words(answers)[2]


def test_money_moves_counters_only() -> None:
    """It touches no balance, and it counts rupiah."""
    shelf = Shelf()
    money = a_transfer(0, Kind.MONEY, 10_000)
    assert [("posted", False)] == in_words(shelf.post([money]))
    assert ({}, Unit.IDR, (IN, OWED)) == (shelf.balances, money.unit, money.lines)


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (Kind.CREDIT, (Counter.ISSUED, ACCOUNTS[0])),
        (Kind.HOLD, (ACCOUNTS[0], Counter.USED)),
        (Kind.SETTLE, (ACCOUNTS[0], Counter.USED)),
        (Kind.RELEASE, (ACCOUNTS[0], Counter.USED)),
        (Kind.REFUND, (ACCOUNTS[0], Counter.REFUNDED)),
    ],
)
def test_every_movement_has_two_lines(kind: Kind, lines: tuple[UUID, UUID]) -> None:
    """The account debited and the account credited, as docs/accounts.md lists them."""
    transfer = a_transfer(0, kind, hold_id=IDS[1] if kind in ENDINGS else None)
    assert (lines, Unit.STAMP) == (transfer.lines, transfer.unit)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (Kind.CREDIT, {"amount": 0}),
        (Kind.CREDIT, {"amount": -1}),
        (Kind.CREDIT, {"hold_id": IDS[1]}),
        (Kind.SETTLE, {"hold_id": None}),
        (Kind.HOLD, {"life_s": None}),
        (Kind.CREDIT, {"life_s": 1.0}),
        (Kind.CREDIT, {"account": None}),
        (Kind.MONEY, {"account": ACCOUNTS[0]}),
    ],
)
def test_a_transfer_that_makes_no_sense_cannot_be_made(kind: Kind, more: dict[str, Any]) -> None:
    """That is a bug of the caller, never a refusal."""
    with pytest.raises(ValueError, match=r"a |quota|money"):
        a_transfer(0, kind, **more)


@given(SEQUENCES)
def test_accounts_are_named_once_and_in_order(sequence: list[Transfer]) -> None:
    """The order in which rows are locked is the same for everybody: so nobody waits in a circle."""
    accounts = accounts_of(sequence)
    assert accounts == sorted(set(accounts))
    assert set(accounts) == {it.account for it in sequence} - {None}
