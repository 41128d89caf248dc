"""Who goes in next: guarantees hold, what is idle is lent and given back, and what is paid for is never starved."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emeterai.core.admission import GIVE_BACK_S, PATIENCE, Patience, Slots, Waiting, Work, divide, fair_shares

LANES = ("retail", "partners", "campaign", "staff")
ENDLESS = {work: Patience(inf, inf, inf, newest_first=False, length_max=10_000) for work in Work}
weights = st.dictionaries(st.sampled_from(LANES), st.floats(0.0, 1.0), min_size=1)


def waits(answer: Waiting | bool) -> Waiting:
    """An answer that must be "wait"."""
    assert isinstance(answer, Waiting)
    return answer


def test_a_slot_is_given_while_there_is_one_and_work_waits_after_that() -> None:
    """At the limit the next one waits, and gets the slot that comes free."""
    slots = Slots(2, {})
    assert slots.ask("retail", Work.BROWSE, now_s=0) is True
    assert slots.ask("retail", Work.BROWSE, now_s=0) is True
    third = waits(slots.ask("retail", Work.BROWSE, now_s=0))
    assert [] == slots.admit(0.01)
    slots.end("retail")
    assert [third] == slots.admit(0.02)


def test_inside_a_lane_finishing_comes_before_buying_before_browsing() -> None:
    """Whatever the order in which they came."""
    slots = Slots(1, {})
    slots.ask("retail", Work.BROWSE, now_s=0)
    came = [waits(slots.ask("retail", work, now_s=0)) for work in (Work.BROWSE, Work.BUY, Work.FINISH)]
    went = []
    for _ in came:
        slots.end("retail")
        went += slots.admit(0.01)
    assert came[::-1] == went


def test_newcomers_never_borrow_the_last_fifth_of_the_slots() -> None:
    """Whoever finishes gets it at once, also while newcomers wait; a lane's own guarantee is not touched."""
    slots = Slots(10, {"retail": 0.4, "partners": 0.2})
    assert [True] * 8 == [slots.ask("retail", Work.BUY, now_s=0) for _ in range(8)]
    newcomers = [waits(slots.ask("retail", work, now_s=0)) for work in (Work.BUY, Work.BROWSE)]
    assert [] == slots.admit(0.01)
    assert slots.ask("retail", Work.FINISH, now_s=0.01) is True
    assert slots.ask("partners", Work.BROWSE, now_s=0.01) is True
    waits(slots.ask("retail", Work.FINISH, now_s=0.01))
    for _ in range(4):
        slots.end("retail")
    assert newcomers[:1] == slots.admit(0.02)[1:]


def test_a_lane_borrows_what_is_idle_and_the_lender_gets_the_next_slot() -> None:
    """Before everybody else who waits, even before more urgent work of the borrower."""
    slots = Slots(4, {"retail": 0.5, "partners": 0.5})
    assert [True] * 4 == [slots.ask("retail", Work.FINISH, now_s=0) for _ in range(4)]
    waits(slots.ask("retail", Work.FINISH, now_s=0))
    partner = waits(slots.ask("partners", Work.BROWSE, now_s=0.01))
    slots.end("retail")
    assert [partner] == slots.admit(0.02)


def test_a_lender_never_waits_longer_than_the_bound_though_nobody_gives_back() -> None:
    """Then it is let in above the limit, up to its guarantee and not beyond."""
    slots = Slots(4, {"retail": 0.5, "partners": 0.5})
    for _ in range(4):
        slots.ask("retail", Work.BROWSE, now_s=0)
    partners = [waits(slots.ask("partners", Work.FINISH, now_s=0)) for _ in range(3)]
    assert [] == slots.admit(GIVE_BACK_S - 0.01)
    assert partners[:2] == slots.admit(GIVE_BACK_S)
    assert 6 == slots.used
    assert [] == slots.admit(GIVE_BACK_S + 10)


def test_what_cannot_wait_is_let_in_at_once_up_to_its_lanes_guarantee() -> None:
    """Above the limit when all is lent; beyond the guarantee, or without one, only where something is free."""
    slots = Slots(4, {"retail": 0.5, "partners": 0.5})
    assert [True] * 4 + [False] == [slots.ask_now("retail", Work.FINISH) for _ in range(5)]
    assert [True, True, False] == [slots.ask_now("partners", Work.BUY) for _ in range(3)]
    assert not slots.ask_now("campaign", Work.FINISH)
    for _ in range(2):
        slots.end("retail")
    assert not slots.ask_now("campaign", Work.FINISH)
    slots.end("retail")
    assert slots.ask_now("campaign", Work.FINISH)


def test_who_cannot_wait_takes_no_slot_that_somebody_waits_for() -> None:
    """Unless it is of its lane's guarantee."""
    slots = Slots(4, {"partners": 0.25})
    for _ in range(4):
        slots.ask("retail", Work.FINISH, now_s=0)
    first = waits(slots.ask("retail", Work.FINISH, now_s=0))
    slots.end("retail")
    assert not slots.ask_now("retail", Work.FINISH)
    assert slots.ask_now("partners", Work.FINISH)
    slots.end("retail")
    assert [first] == slots.admit(0.01)


@given(weights, st.integers(1, 60), st.lists(st.tuples(st.sampled_from(LANES), st.booleans()), max_size=300))
def test_places_are_never_more_than_there_are_and_the_guarantees(
    found: dict[str, float], limit: int, moves: list[tuple[str, bool]]
) -> None:
    """Whoever comes and goes in whatever order; and a lane below its guarantee is never turned away."""
    slots = Slots(limit, fair_shares(found))
    for lane, comes in moves:
        if comes:
            is_owed = slots.used_by(lane) < slots.guaranteed_to(lane)
            is_in = slots.ask_now(lane, Work.FINISH)
            assert is_in or not is_owed
            assert is_in or slots.used >= limit
        elif slots.used_by(lane):
            slots.end(lane)
        assert slots.used <= limit + sum(slots.guaranteed_to(one) for one in LANES)
        assert slots.used == sum(slots.used_by(one) for one in LANES)


def test_a_queue_that_stands_is_cut_down_to_those_who_came_just_now() -> None:
    """Patience is long after a quiet time and short in a queue that does not end."""
    slots = Slots(1, {})
    slots.ask("retail", Work.FINISH, now_s=0)
    patience = PATIENCE[Work.FINISH]
    first = waits(slots.ask("retail", Work.FINISH, now_s=0.0))
    assert [] == slots.expire(patience.standing_s)
    second = waits(slots.ask("retail", Work.FINISH, now_s=patience.standing_s + 0.05))
    assert [first] == slots.expire(patience.standing_s + 0.1)
    assert not second.over
    assert [second] == slots.expire(patience.standing_s + 0.06 + patience.hurried_s)


def test_the_newest_of_those_who_look_goes_first_in_a_standing_queue_and_the_oldest_of_those_who_pay() -> None:
    """Who looked has left by then; who pays has a program that waits."""
    for work, newest in ((Work.BROWSE, True), (Work.FINISH, False)):
        patience = {one: Patience(9.0, 0.1, 9.0, newest_first=one is Work.BROWSE, length_max=9) for one in Work}
        slots = Slots(1, {}, patience=patience)
        slots.ask("retail", work, now_s=0)
        came = [waits(slots.ask("retail", work, now_s=at)) for at in (0.0, 0.1, 0.2)]
        slots.end("retail")
        assert [came[-1 if newest else 0]] == slots.admit(0.3)


def test_a_deadline_ends_the_wait_and_one_that_has_passed_never_begins() -> None:
    """Work for somebody who is gone is not begun."""
    slots = Slots(1, {})
    slots.ask("retail", Work.FINISH, now_s=0)
    one = waits(slots.ask("retail", Work.FINISH, now_s=0, until_s=0.1))
    assert slots.ask("retail", Work.FINISH, now_s=0.2, until_s=0.1) is False
    assert [one] == slots.expire(0.1)


def test_one_who_leaves_is_not_let_in() -> None:
    """The slot goes to the next."""
    slots = Slots(1, {})
    slots.ask("retail", Work.BUY, now_s=0)
    gone, stays = [waits(slots.ask("retail", Work.BUY, now_s=0)) for _ in range(2)]
    slots.leave(gone)
    slots.end("retail")
    assert [stays] == slots.admit(0.01)
    assert 0 == slots.waiting


def test_shares_that_promise_more_than_there_is_are_not_taken() -> None:
    """The promise would be broken on the worst day."""
    with pytest.raises(ValueError, match="more than there is"):
        Slots(4, {"retail": 0.7, "partners": 0.4})
    with pytest.raises(ValueError, match="more than there is"):
        Slots(4, {"retail": -0.1})


@given(weights, st.integers(1, 600))
def test_the_sum_of_guarantees_is_never_more_than_there_is(found: dict[str, float], limit: int) -> None:
    """Whatever the shares and the limit."""
    slots = Slots(limit, fair_shares(found))
    assert limit >= sum(slots.guaranteed_to(lane) for lane in LANES)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 24), weights)
def test_a_full_lane_never_keeps_anothers_guarantee_for_longer_than_the_bound(
    seed: int, limit: int, found: dict[str, float]
) -> None:
    """In any traffic, with work of any length: who waits below its guarantee waits at most GIVE_BACK_S."""
    chance, step_s = random.Random(seed), 0.02
    slots = Slots(limit, fair_shares(found), patience=ENDLESS)
    ends: list[tuple[float, str]] = []
    waiting: list[Waiting] = []
    for at in range(150):
        now_s = at * step_s
        for _, lane in [one for one in ends if one[0] <= now_s]:
            slots.end(lane)
        ends = [one for one in ends if one[0] > now_s]
        for _ in range(chance.randrange(4)):
            lane, work = chance.choice(LANES), chance.choice(list(Work))
            answer = slots.ask(lane, work, now_s=now_s)
            if answer is True:
                ends.append((now_s + chance.choice((0.05, 0.5, 30.0)), lane))
            else:
                waiting.append(waits(answer))
        ends += [(now_s + chance.choice((0.05, 0.5, 30.0)), one.lane) for one in slots.admit(now_s)]
        for one in [one for one in waiting if not one.over]:
            is_owed = slots.used_by(one.lane) < slots.guaranteed_to(one.lane)
            assert not is_owed or now_s - one.since_s < GIVE_BACK_S + step_s
        assert slots.used == len(ends)
        assert slots.used <= limit + sum(slots.guaranteed_to(lane) for lane in LANES)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_finishing_is_never_starved(seed: int) -> None:
    """While finishing alone would fit into the lane's guarantee, nobody who finishes is ever refused."""
    chance, step_s, work_s = random.Random(seed), 0.01, 0.05
    slots = Slots(10, {"retail": 0.4, "campaign": 0.6})
    ends: list[tuple[float, str]] = []
    refused = 0
    for at in range(1_000):
        now_s = at * step_s
        for _, lane in [one for one in ends if one[0] <= now_s]:
            slots.end(lane)
        ends = [one for one in ends if one[0] > now_s]
        # 0.4 of the slots do 80 pieces of work a second; 40 are asked for, and a flood of all else.
        asked = [("retail", Work.FINISH)] * (chance.random() < 0.4)
        asked += [(chance.choice(("retail", "campaign")), chance.choice((Work.BUY, Work.BROWSE))) for _ in range(9)]
        for lane, work in asked:
            answer = slots.ask(lane, work, now_s=now_s)
            refused += answer is False and work is Work.FINISH
            ends += [(now_s + work_s, lane)] * (answer is True)
        refused += sum(one.work is Work.FINISH for one in slots.expire(now_s))
        ends += [(now_s + work_s, one.lane) for one in slots.admit(now_s)]
    assert 0 == refused


@given(st.floats(0.0, 1e4), weights, st.dictionaries(st.sampled_from(LANES), st.floats(0.0, 1e4), min_size=1))
def test_what_is_divided_is_neither_more_than_there_is_nor_than_is_wanted(
    total: float, found: dict[str, float], wanted: dict[str, float]
) -> None:
    """Each gets its share if it wants it; nothing is left idle while somebody wants more."""
    shares = fair_shares(found)
    parts = divide(total, shares, wanted)
    near = 1e-6 * (1 + total)
    assert sum(parts.values()) <= total + near
    for lane, want in wanted.items():
        assert min(want, shares.get(lane, 0.0) * total) - near <= parts[lane] <= want + near
    if sum(wanted.values()) >= total:
        assert sum(parts.values()) >= total - near - 1e-6
