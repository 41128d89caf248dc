"""Simulated days: with every guard in place all promises hold, and with a guard taken away the simulation notices.

A failing seed is in the message, with the command that replays it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import journey_simulation
import pytest
from journey_simulation import Outcome, simulate
from simulated_guards import BrokenPromiseError, Guard, Promise

SEEDS, SEEDS_A_TEST = 200, 25
SEEDS_TO_NOTICE_MAX = 400
BRACES_SEEDS = 30
_COMMAND = Path(journey_simulation.__file__)

WORLDS: dict[tuple[Guard, ...], set[Promise]] = {
    (Guard.LOCK,): {Promise.ONE_STAMP, Promise.CONSERVED, Promise.MONEY_BALANCED},
    (Guard.FENCING,): {Promise.NOT_REFUSED, Promise.SERIAL_ONCE},
    (Guard.FENCING, Guard.SHARED_ENDING): {Promise.NOT_REFUSED, Promise.SERIAL_ONCE},
    (Guard.FENCING, Guard.SHARED_ENDING, Guard.HOLD_MEMORY): {Promise.ENDED_ONCE, Promise.SERIAL_ONCE},
    (Guard.TRANSFER_MEMORY,): {Promise.CONSERVED},
    (Guard.STATE_READ,): {Promise.NOT_REFUSED},
    (Guard.KEY_MEMORY,): {Promise.ONE_STAMP},
    (Guard.ASKED_KEYS,): {Promise.ANSWER_TRUE},
    (Guard.FILE_MEMORY,): {Promise.ONE_STAMP},
    (Guard.ORDER_READ, Guard.STEADY_ORDER_IDS): {Promise.MONEY_BALANCED},
    (Guard.DATABASE_CLOCK,): {Promise.IN_TIME},
    (Guard.EXPIRY_SWEEP,): {Promise.IN_TIME},
    (Guard.RECLAIM,): {Promise.IN_TIME},
    (Guard.IDLE_END,): {Promise.IN_TIME},
    (Guard.JOB_DROP,): {Promise.AGREED},
    (Guard.ONE_COMMIT,): {Promise.AGREED},
    (Guard.READ_BACK,): {Promise.FILE_THERE},
    (Guard.TAIL_PER_ATTEMPT,): {Promise.FILE_THERE},
    (Guard.SERIAL_LEASE,): {Promise.SERIAL_ONCE},
    (Guard.AMOUNT,): {Promise.PAID_IS_QUOTA},
    (Guard.LATE_MONEY,): {Promise.PAID_IS_QUOTA},
    (Guard.ASKING,): {Promise.PAID_IS_QUOTA},
    (Guard.WATCH_ANSWERED,): {Promise.PAID_IS_QUOTA},
    (Guard.NOTICE_SWEEP,): {Promise.ENDED},
    (Guard.ANSWER_LAST,): {Promise.ANSWER_TRUE},
    (Guard.READY_FIRST,): {Promise.NO_BEFORE_DEBIT},
}
"""Worlds without some guards, and the promises of which one is found broken first."""

BELTS_AND_BRACES = [Guard.SHARED_ENDING, Guard.HOLD_MEMORY, Guard.ORDER_READ, Guard.STEADY_ORDER_IDS]
"""Guards behind which another one stands: without one of them alone, every promise still holds."""


def first_broken(missing: Iterable[Guard]) -> BrokenPromiseError | None:
    """What the first seed that notices finds."""
    for seed in range(1, SEEDS_TO_NOTICE_MAX + 1):
        try:
            simulate(seed, missing=tuple(missing))
        except BrokenPromiseError as error:
            return error
    return None


def names(guards: tuple[Guard, ...]) -> str:
    """A world's name in the report of the tests."""
    return "-".join(guard.name for guard in guards)


@pytest.mark.parametrize("first_seed", range(1, SEEDS + 1, SEEDS_A_TEST))
def test_every_promise_holds_on_every_simulated_day(first_seed: int) -> None:
    """Whoever dies, sleeps, vanishes or says things twice; and much of that did happen."""
    outcomes = [simulate(seed) for seed in range(first_seed, first_seed + SEEDS_A_TEST)]
    assert min(sum(getattr(it, what) for it in outcomes) for what in ("sealed", "given_back", "deaths", "stalls")) > 20


def test_every_promise_holds_over_a_week() -> None:
    """Days follow one another on the same accounts, files and orders."""
    assert 7 == simulate(1, days=7).days


@pytest.mark.parametrize("missing", WORLDS, ids=names)
def test_a_missing_guard_is_noticed(missing: tuple[Guard, ...]) -> None:
    """In a world without it, some seed breaks one of the promises that it guards."""
    error = first_broken(missing)
    assert error is not None, f"no seed up to {SEEDS_TO_NOTICE_MAX} notices"
    assert error.promise in WORLDS[missing], error


@pytest.mark.parametrize("guard", BELTS_AND_BRACES)
def test_behind_some_guards_stands_another(guard: Guard) -> None:
    """Taken away alone, nothing breaks; taken away with what stands behind it, something does: see the worlds."""
    assert BRACES_SEEDS == len([simulate(seed, missing=[guard]) for seed in range(1, BRACES_SEEDS + 1)])


def test_every_guard_and_every_promise_was_seen_to_matter() -> None:
    """There is no guard without a broken world and no check that never failed."""
    assert set(Guard) == {guard for guards in WORLDS for guard in guards}
    assert set(Promise) == {promise for promises in WORLDS.values() for promise in promises}


def test_a_failing_seed_is_replayed_by_its_number() -> None:
    """The message names the command; the command prints the same breach, whatever Python's hashes are that day."""
    error = first_broken([Guard.ONE_COMMIT])
    assert error is not None
    [note] = error.__notes__
    arguments = note.removeprefix("replay: python tests/simulation/journey_simulation.py ").split()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, _COMMAND, *arguments],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 1 == done.returncode, done.stderr
        assert str(error) in done.stdout.splitlines()[-1]


def test_the_same_seed_is_the_same_day() -> None:
    """To the last draw of chance; and another seed is another day."""
    days: list[Outcome] = [simulate(seed) for seed in (5, 5, 6)]
    assert days[0] == days[1]
    assert days[0].fingerprint != days[2].fingerprint
