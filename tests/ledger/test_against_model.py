"""The ledger on a real PostgreSQL against a model that is a dictionary: every answer and every balance the same."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emeterai.core.ledger import Answer, Balance, Counter, Kind, Posted, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger

ACCOUNTS, IDS = 3, 40
LONG_LIFE = 600
NUMBERS = st.integers(0, IDS - 1)
KINDS = st.sampled_from([Kind.CREDIT, Kind.REFUND, Kind.MONEY, *[Kind.HOLD, Kind.SETTLE, Kind.RELEASE] * 2])
ENDINGS = {Kind.SETTLE, Kind.RELEASE}


@dataclass(frozen=True)
class Step:
    """One transfer, in small numbers: `id`, `account` and `hold` count the ids of one example."""

    kind: Kind
    id: int
    account: int
    amount: int
    hold: int


@st.composite
def sequences(draw: st.DrawFn) -> list[Step]:
    """Steps on accounts that have some quota; some come twice; most endings name a hold that is there."""
    steps = [Step(Kind.CREDIT, number, number, draw(st.integers(1, 6)), 0) for number in range(ACCOUNTS)]
    for _ in range(draw(st.integers(10, 30))):
        kind = draw(KINDS)
        number = draw(st.sampled_from([len(steps)] * 4 + [draw(NUMBERS)]))
        holds = [it for it in steps if it.kind is Kind.HOLD]
        turn = draw(st.integers(0, 9))
        if turn == 9:
            step = draw(st.sampled_from(steps))
        elif kind in ENDINGS and holds and turn < 8:
            hold = draw(st.sampled_from(holds))
            step = Step(kind, number, hold.account, hold.amount, hold.id)
        else:
            step = Step(kind, number, draw(st.integers(0, ACCOUNTS - 1)), draw(st.integers(1, 2)), draw(NUMBERS))
        steps.append(step)
    return steps


@st.composite
def batched(draw: st.DrawFn) -> list[list[Step]]:
    """A sequence cut into batches of any size."""
    steps = draw(sequences())
    cuts = sorted(draw(st.sets(st.integers(1, len(steps)), max_size=8)) | {0, len(steps)})
    return [steps[start:end] for start, end in pairwise(cuts)]


BATCHES = batched()


@dataclass
class Model:
    """The rules said a second time, as simply as can be; shares nothing with the ledger's own code."""

    bought: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(ACCOUNTS), 0))
    used: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(ACCOUNTS), 0))
    refunded: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(ACCOUNTS), 0))
    posted: dict[int, tuple[object, ...]] = field(default_factory=dict)
    holds: dict[int, tuple[int, int]] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)

    def held(self, account: int) -> int:
        """The sum of the holds that are open."""
        return sum(amount for key, (owner, amount) in self.holds.items() if owner == account and key not in self.ended)

    def available(self, account: int) -> int:
        """What is left."""
        return self.bought[account] - self.held(account) - self.used[account] - self.refunded[account]

    def answer(self, step: Step) -> str:
        """What the ledger must say to this step."""
        content = content_of(step)
        if step.id in self.posted:
            return "again" if self.posted[step.id] == content else "transfer_id_reused"
        refusal = self._refusal(step)
        if refusal is None:
            self.posted[step.id] = content
        return refusal or "posted"

    def _refusal(self, step: Step) -> str | None:
        match step.kind:
            case Kind.CREDIT:
                self.bought[step.account] += step.amount
            case Kind.HOLD | Kind.REFUND if self.available(step.account) < step.amount:
                return "quota_not_enough"
            case Kind.HOLD:
                self.holds[step.id] = (step.account, step.amount)
            case Kind.REFUND:
                self.refunded[step.account] += step.amount
            case Kind.SETTLE | Kind.RELEASE:
                return self._end(step)
        return None

    def _end(self, step: Step) -> str | None:
        if step.hold in self.ended:
            return self.ended[step.hold]
        if self.holds.get(step.hold) != (step.account, step.amount):
            return "hold_unknown"
        self.ended[step.hold] = "hold_settled" if step.kind is Kind.SETTLE else "hold_released"
        if step.kind is Kind.SETTLE:
            self.used[step.account] += step.amount
        return None


def content_of(step: Step) -> tuple[object, ...]:
    """What an id stands for: money names no account of a person, and only an ending names a hold."""
    account = None if step.kind is Kind.MONEY else step.account
    return step.kind, step.amount, account, step.hold if step.kind in ENDINGS else None


class Names:
    """Fresh ids for the numbers of one example, so that examples share a database and nothing else."""

    def __init__(self, ids: int) -> None:
        self.accounts = [new_id() for _ in range(ACCOUNTS)]
        self._ids = [new_id() for _ in range(ids)]

    def transfer(self, step: Step) -> Transfer:
        """The step as a transfer."""
        transfer_id: UUID = self._ids[step.id]
        if step.kind is Kind.MONEY:
            lines = {"debit": Counter.PROVIDER_RECEIVABLE, "credit": Counter.ORDER_LIABILITY}
            return Transfer(transfer_id, step.kind, Reason.PAYMENT_SEEN, step.amount, **lines)
        return Transfer(
            transfer_id,
            step.kind,
            Reason.RETURNED,
            step.amount,
            account=self.accounts[step.account],
            hold_id=self._ids[step.hold] if step.kind in ENDINGS else None,
            life_s=60.0 if step.kind is Kind.HOLD else None,
        )


def code_of(answer: Answer) -> str:
    """An answer in one word."""
    if isinstance(answer, Refused):
        return answer.code
    assert isinstance(answer, Posted)
    return "again" if answer.again else "posted"


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
async def test_the_ledger_answers_and_counts_as_the_model_does(db: Database, batches: list[list[Step]]) -> None:
    """Every kind of transfer on three accounts, with repeated and wrong ids, in batches of any size.

    All examples share one database and have ids of their own; the audit holds after each of them.
    """
    await compare(db, batches, Names(IDS))


@pytest.mark.parametrize("seed", range(4))
async def test_a_long_life_is_counted_as_the_model_does(db: Database, seed: int) -> None:
    """600 steps of the same accounts, so that many holds are open and many have ended."""
    chance = random.Random(seed)
    steps: list[Step] = []
    while len(steps) < LONG_LIFE:
        steps.append(a_step(chance, steps))
    cuts = sorted({0, LONG_LIFE, *(chance.randrange(LONG_LIFE) for _ in range(LONG_LIFE // 5))})
    await compare(db, [steps[start:end] for start, end in pairwise(cuts)], Names(LONG_LIFE))


def a_step(chance: random.Random, before: list[Step]) -> Step:
    """The next step of a long life: mostly new ids and endings that fit, sometimes anything else."""
    kind = chance.choice([Kind.CREDIT, Kind.REFUND, Kind.MONEY, *[Kind.HOLD, Kind.SETTLE, Kind.RELEASE] * 3])
    number, account = len(before), chance.randrange(ACCOUNTS)
    holds = [it for it in before if it.kind is Kind.HOLD]
    if before and chance.random() < 0.1:
        return replace(chance.choice(before), amount=chance.randint(1, 2))
    if kind in ENDINGS and holds and chance.random() < 0.9:
        hold = chance.choice(holds)
        return Step(kind, number, hold.account, hold.amount, hold.id)
    return Step(kind, number, account, chance.randint(1, 8 if kind is Kind.CREDIT else 2), chance.randrange(LONG_LIFE))


async def compare(db: Database, batches: list[list[Step]], names: Names) -> None:
    """Post the batches to the ledger and to the model: answers and balances are the same, and the audit holds."""
    ledger, model = Ledger(db), Model()
    for batch in batches:
        expected = [model.answer(step) for step in batch]
        answers = await ledger.post([names.transfer(step) for step in batch])
        assert expected == [code_of(answer) for answer in answers]
        for account in range(ACCOUNTS):
            counts = (model.bought[account], model.held(account), model.used[account], model.refunded[account])
            assert Balance(*counts) == await ledger.balance(names.accounts[account])
    report = await check_ledger(db)
    assert [] == [rule for rule in report.rules if rule.broken]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
async def test_history_tells_every_movement_of_an_account(db: Database, batches: list[list[Step]]) -> None:
    """What an account's history adds up to is its balance: no line is missing, none is there twice."""
    ledger, names = Ledger(db), Names(IDS)
    for batch in batches:
        await ledger.post([names.transfer(step) for step in batch])
    for account in names.accounts:
        lines = await ledger.history(account, limit=1_000)
        sums = {kind: sum(line.amount for line in lines if line.kind == kind) for kind in Kind}
        held = sums[Kind.HOLD] - sums[Kind.SETTLE] - sums[Kind.RELEASE]
        assert len(lines) == len({line.id for line in lines})
        assert Balance(sums[Kind.CREDIT], held, sums[Kind.SETTLE], sums[Kind.REFUND]) == await ledger.balance(account)
