"""Surges in simulated time: the door keeps goodput and comes back by itself, where the same service without it dies.

Each is a whole minute or more of an open-loop crowd that gives up, comes again and hammers, for several seeds.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from simulated_door import PATIENCE_S, Second, SimulatedDoor, mean_worth, steps
from simulated_line import CAPACITY, HOLD_LIFE_S, UNITS_EACH, Chain, NaiveRate, SimulatedLine, Tick

from emeterai.core.pacing import OPENING_PER_S, LaneSeen, Pacer, Seen
from emeterai.gate.controller import WINDOW_MIN, WINDOW_START

SEEDS = (1, 2, 3)
PEOPLE = CAPACITY / UNITS_EACH
"""People a second that the chain can serve."""


@dataclass(frozen=True)
class Surge:
    """What happened in each second, and the limit of the door then."""

    seconds: list[Second]
    limits: list[int]


@cache
def surge(seed: int, times: float, *, door: bool = True, storm: float = 0.3) -> Surge:
    """Ordinary load for 20 s, `times` the capacity for 30 s, ordinary load for 30 s. A seed's surge is simulated once,
    however many tests look at it: it would be the same again.
    """
    simulated = SimulatedDoor(seed, steps((0, 0.8), (20, times), (50, 0.8)), door=door, storm=storm)
    return Surge(simulated.run(80), simulated.limits)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("times", [2.0, 5.0, 10.0])
def test_goodput_is_kept_at_any_load(seed: int, times: float) -> None:
    """At least 95 % of the cores' time goes into answers that somebody gets, from the first second of the surge."""
    seconds = surge(seed, times).seconds
    assert mean_worth(seconds[20:50]) >= 0.95
    assert mean_worth(seconds[20:25]) >= 0.93


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_is_let_in_at_ten_times_the_load_is_served_as_quickly(seed: int) -> None:
    """One in a hundred takes half a second; people's patience is four times that."""
    took_s = [one for second in surge(seed, 10.0).seconds[25:50] for one in second.took_s]
    assert statistics.quantiles(took_s, n=100)[98] <= PATIENCE_S / 4


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_itself_again_within_five_seconds_after_the_surge(seed: int) -> None:
    """Also when those who were turned away come back in a storm: no goodput is lost to them."""
    simulated = surge(seed, 10.0, storm=0.6)
    asked = [second.asked for second in simulated.seconds]
    assert asked[50] > 2 * asked[5]
    assert mean_worth(simulated.seconds[55:60]) >= 0.95
    calm = simulated.seconds[75:80]
    assert sum(second.refused for second in calm) <= 0.01 * sum(second.asked for second in calm)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_the_door_the_same_surge_never_ends(seed: int) -> None:
    """The yardstick: half a minute after the surge nobody is served in time, although the load is ordinary again."""
    seconds = surge(seed, 10.0, door=False).seconds
    assert mean_worth(seconds[:20]) >= 0.75
    assert mean_worth(seconds[25:50]) <= 0.05
    assert mean_worth(seconds[70:80]) <= 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_the_limit_does_not_oscillate(seed: int) -> None:
    """In the surge it stays within a fifth of its mean."""
    limits = surge(seed, 10.0).limits[25:50]
    assert max(limits) - min(limits) <= 0.4 * statistics.mean(limits)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_follows_a_service_that_is_slow_for_a_while(seed: int) -> None:
    """Twenty times slower for fifteen seconds, at three times the load: what there is, is used; then all is back."""
    slower = steps((0, 1.0), (15, 20.0), (30, 1.0))
    seconds = SimulatedDoor(seed, steps((0, 3.0)), slower=slower).run(60)
    assert mean_worth(seconds[18:30]) >= 0.95 / 20 * 0.8
    assert mean_worth(seconds[35:60]) >= 0.95


@cache
def line(seed: int, *capacities: tuple[float, float]) -> list[Tick]:
    """Three times as many people as can be served, for ten minutes; simulated once. `capacities` change what works."""
    return SimulatedLine(seed, steps((0, 3 * PEOPLE)), capacity=steps(*capacities or [(0, 1.0)])).run(600)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_line_moves_as_fast_as_stamps_are_settled(seed: int) -> None:
    """After it has found out how fast: 90 % of the chain's capacity, units that wait for seconds, none lost."""
    ticks = line(seed)
    assert statistics.mean(tick.settled for tick in ticks[120:]) >= 0.9 * CAPACITY
    assert max(tick.oldest_s for tick in ticks) <= HOLD_LIFE_S / 2
    assert 0 == sum(tick.lost for tick in ticks)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_line_settles(seed: int) -> None:
    """The number inside swings within bounds that do not grow: no more than a half around its mean."""
    ticks = line(seed)
    for part in (ticks[150:375], ticks[375:600]):
        inside = [tick.inside for tick in part]
        assert max(inside) <= 1.5 * statistics.mean(inside)
        assert min(inside) >= 0.5 * statistics.mean(inside)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_outage_lets_nobody_in_and_is_over_when_it_is_over(seed: int) -> None:
    """Only the floor comes in while nothing is settled; then the chain is full of work at once, and goes on."""
    ticks = line(seed, (0, 1.0), (200, 0.0), (240, 1.0))
    assert sum(tick.called for tick in ticks[205:240]) <= 35
    assert statistics.mean(tick.settled for tick in ticks[240:245]) >= 0.9 * CAPACITY
    assert statistics.mean(tick.settled for tick in ticks[300:]) >= 0.85 * CAPACITY
    assert 0 == sum(tick.lost for tick in ticks)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_recovery_is_followed(seed: int) -> None:
    """A fifth, a half, then the whole capacity: neither flooded nor left idle."""
    ticks = line(seed, (0, 1.0), (200, 0.2), (300, 0.5), (400, 1.0))
    assert statistics.mean(tick.settled for tick in ticks[240:300]) >= 0.8 * 0.2 * CAPACITY
    assert statistics.mean(tick.settled for tick in ticks[340:400]) >= 0.75 * 0.5 * CAPACITY
    assert statistics.mean(tick.settled for tick in ticks[500:]) >= 0.85 * CAPACITY
    assert ticks[-1].oldest_s <= 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_controller_that_waits_for_failures_never_comes_back(seed: int) -> None:
    """The yardstick: it lets people in while nothing has failed, and then all fail for each other, for good."""
    simulated = SimulatedLine(seed, steps((0, 10 * PEOPLE), (180, 0.0)), controller=NaiveRate())
    ticks = simulated.run(400)
    assert sum(tick.lost for tick in ticks) > 1_000
    assert statistics.mean(tick.settled for tick in ticks[300:]) <= 0.2 * CAPACITY


LAST_DAYS = {
    "people take half a minute to a minute": Chain(capacity=40.0, units_each=1.0, thinks_s=(10.0, 50.0), lingers_s=10),
    "people take a quarter of a minute": Chain(capacity=35.0, units_each=1.0, thinks_s=(3.0, 8.0), lingers_s=10),
}


def controllers_own() -> Pacer:
    """The pacer as the service has it."""
    return Pacer(start=WINDOW_START, floor=WINDOW_MIN)


@cache
def last_day(seed: int, chain: Chain, *, late_s: float) -> list[Tick]:
    """Three minutes at each of 1, 2, 10 times what the chain can do and 1 again, as `emeterai bench lastday` has it;
    simulated once.
    """
    levels = steps(*((180.0 * place, times * chain.capacity) for place, times in enumerate((1, 2, 10, 1))))
    line = SimulatedLine(seed, levels, controller=controllers_own(), chain=chain, late_s=late_s)
    return line.run(720)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("late_s", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", LAST_DAYS)
def test_on_the_last_day_goodput_at_ten_times_the_load_is_that_of_the_peak(name: str, late_s: float, seed: int) -> None:
    """At least 95 % of the best minute before and of the chain's capacity, whether sealing or the doors are full."""
    chain = LAST_DAYS[name]
    settled = [tick.settled for tick in last_day(seed, chain, late_s=late_s)]
    peak = max(statistics.mean(settled[at : at + 60]) for at in range(0, 660, 10))
    assert statistics.mean(settled[360:540]) >= 0.95 * max(peak, chain.capacity)
    assert statistics.mean(settled[560:]) >= 0.95 * chain.capacity


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("late_s", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", LAST_DAYS)
def test_on_the_last_day_nothing_swings(name: str, late_s: float, seed: int) -> None:
    """In the surge no ten seconds are below nine tenths of the capacity, and those inside stay within a fifth."""
    chain = LAST_DAYS[name]
    ticks = last_day(seed, chain, late_s=late_s)[360:540]
    tens = [statistics.mean(tick.settled for tick in ticks[at : at + 10]) for at in range(0, 170, 5)]
    inside = [tick.inside for tick in ticks]
    assert min(tens) >= 0.9 * chain.capacity
    assert max(inside) <= 1.2 * statistics.mean(inside)
    assert min(inside) >= 0.8 * statistics.mean(inside)


def quiet(**changes: float) -> Seen:
    """A second of an ordinary day in one lane."""
    return Seen({"retail": LaneSeen(inside=20, share=1.0)}, settled=20.0, under_way=3, **changes)  # type: ignore[arg-type]


SMALL_MACHINES = {
    "people take a quarter of a minute": Chain(capacity=7.0, units_each=1.0, thinks_s=(3.0, 8.0), lingers_s=10),
    "people take half a minute to a minute": Chain(capacity=12.0, units_each=1.0, thinks_s=(10.0, 50.0), lingers_s=10),
    "and the machine is smaller still": Chain(capacity=7.0, units_each=1.0, thinks_s=(10.0, 50.0), lingers_s=10),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SMALL_MACHINES)
def test_a_rush_from_nothing_does_not_keep_a_small_machine_late_for_good(name: str, seed: int) -> None:
    """Seven times what it can do come at once, and all are inside before the first has finished: it works that off,
    and then those inside are served within seconds, as if the crowd had come slowly.
    """
    chain = SMALL_MACHINES[name]
    line = SimulatedLine(seed, lambda _: 7 * chain.capacity, controller=controllers_own(), chain=chain, late_s=0.3)
    ticks = line.run(600)[120:]
    assert statistics.mean(tick.settled for tick in ticks) >= 0.9 * chain.capacity
    assert statistics.mean(tick.oldest_s for tick in ticks) <= 10.0


def test_where_all_is_late_before_any_stay_is_known_the_crowd_is_worked_off() -> None:
    """The stays of people who are late say nothing; the window is cut all the same, after a quarter of a minute."""
    pacer = controllers_own()
    for second in range(60):
        crowd = LaneSeen(waiting=5_000, inside=min(200, 25 * second), entered=25 if second < 8 else 1, share=1.0)
        pacer.turn(Seen({"retail": crowd}, settled=1.0, under_way=20, pressure=4.0))
        assert WINDOW_START == pacer.window or second >= 15
    assert pacer.window <= 0.5 * WINDOW_START


def test_a_night_teaches_nothing_of_stays() -> None:
    """One program asks on for hours, somebody left long ago; the rush of the morning is worked off like any other."""
    pacer = controllers_own()
    pacer.turn(Seen({"retail": LaneSeen(inside=2, entered=2, share=1.0)}, settled=1.0))
    for _ in range(900):
        pacer.turn(Seen({"retail": LaneSeen(inside=1, share=1.0)}, settled=1.0))
    for second in range(90):
        inside, slow_s = min(200, 25 * second), 4.0 if second > 9 else 0.0
        crowd = LaneSeen(waiting=5_000, inside=inside, entered=25 if second < 8 else 3, oldest_s=slow_s, share=1.0)
        pacer.turn(Seen({"retail": crowd}, settled=3.0, under_way=20, oldest_s=slow_s))
    assert pacer.window <= 0.7 * WINDOW_START


def test_a_lane_that_is_no_more_and_one_that_is_not_open_keep_nobody_out() -> None:
    """What was seen of a lane last is forgotten with it; and one that nobody may enter says nothing of the others."""
    shut = LaneSeen(paused=True, share=0.5)
    for rest in ({}, {"campaign": shut}):
        pacer = Pacer(start=50)
        pacer.turn(Seen({"retail": LaneSeen(inside=30, share=0.5), "campaign": shut}, settled=3.0))
        for inside in range(30, 200, 2):
            lanes = {"retail": LaneSeen(inside=inside, entered=2, share=0.5), **rest}
            assert not pacer.turn(Seen(lanes, settled=3.0))["retail"].pass_needed, inside
        assert pacer.window > 190


def test_on_an_ordinary_day_nobody_needs_a_pass() -> None:
    """However many are inside, as long as they are served well and nobody waits."""
    pacer = Pacer(start=50)
    for inside in (*range(0, 400, 2), *[400] * 50):
        seen = Seen({"retail": LaneSeen(inside=inside, share=1.0)}, settled=inside / 10, under_way=3)
        assert not pacer.turn(seen)["retail"].pass_needed, inside


def test_a_crowd_that_comes_at_once_meets_the_waiting_room_before_anything_is_slow() -> None:
    """Ten times as many as a second ago are not served well by having been served well before."""
    pacer = Pacer(start=50)
    for _ in range(30):
        pacer.turn(quiet())
    crowd = Seen({"retail": LaneSeen(inside=400, share=1.0)}, settled=20.0, under_way=3)
    assert pacer.turn(crowd)["retail"].pass_needed
    for _ in range(4):
        assert pacer.turn(quiet())["retail"].pass_needed
    for _ in range(4):
        pacer.turn(quiet())
    assert not pacer.turn(quiet())["retail"].pass_needed


def test_few_people_never_need_a_line_however_late_all_is() -> None:
    """A fault is no crowd: the smallest machine serves so many, and to wait outside would mend nothing."""
    pacer = controllers_own()
    for _ in range(100):
        pacer.turn(Seen({"retail": LaneSeen(inside=30, entered=3, share=1.0)}, settled=3.0, under_way=3))
    few = LaneSeen(inside=60, entered=3, oldest_s=30.0, share=1.0)
    for _ in range(300):
        pace = pacer.turn(Seen({"retail": few}, settled=1.0, under_way=9, oldest_s=30.0, pressure=4.0, refused=30))
        assert not pace["retail"].pass_needed
    assert WINDOW_MIN == pacer.window


@pytest.mark.parametrize(
    "fault", [{"doors": 0}, {"settled": 0.0, "under_way": 50, "oldest_s": 30.0}], ids=["unknown", "standing"]
)
def test_what_is_not_known_or_stands_still_asks_for_no_pass_by_itself(fault: dict[str, Any]) -> None:
    """Who is inside stays, and nobody is sent to a line that a fault has made; a line that was there stays."""
    pacer = controllers_own()
    for _ in range(60):
        assert not pacer.turn(Seen({"retail": LaneSeen(inside=150, share=1.0)}, **fault))["retail"].pass_needed
    assert WINDOW_START == pacer.window
    line = Seen({"retail": LaneSeen(inside=150, waiting=9, share=1.0)}, **fault)
    assert pacer.turn(line)["retail"].pass_needed


def test_buyers_who_wait_elsewhere_make_no_room_and_come_back_to_their_own() -> None:
    """A provider is away: those whom it sends off have not left, and those who are back have not come in."""

    def told(**what: int) -> float:
        pacer = Pacer(start=100, ceiling=100)
        steady = {"inside": 100, "waiting": 500, "share": 1.0}
        for _ in range(60):
            pacer.turn(Seen({"retail": LaneSeen(**steady, entered=4)}, settled=4.0))
        return pacer.turn(Seen({"retail": LaneSeen(**{**steady, **what})}, settled=4.0))["retail"].per_s

    usual = told(entered=4)
    assert pytest.approx(usual) == told(entered=4, sent_away=30, came_back=30)
    assert told(inside=98, entered=4, sent_away=4) < told(inside=98, entered=4)
    assert told(inside=102, entered=4, came_back=4) > told(inside=102, entered=4)


def test_lateness_in_the_first_seconds_of_a_rush_cuts_nothing() -> None:
    """How long people stay is not known yet, and most of them are still on the way: the room is not too large."""
    pacer = controllers_own()
    for inside in (25, 50, 75, 100):
        crowd = LaneSeen(waiting=300, inside=inside, entered=25, share=1.0)
        pacer.turn(Seen({"retail": crowd}, settled=1.0, under_way=20, pressure=3.0))
        assert WINDOW_START == pacer.window


def test_without_measurements_only_the_floor_comes_in() -> None:
    """And the window is kept for when they are back."""
    pacer = Pacer(start=500)
    blind = Seen({"retail": LaneSeen(waiting=1_000, share=1.0, floor_per_s=0.5)}, doors=0)
    for _ in range(60):
        assert 0.5 == pacer.turn(blind)["retail"].per_s
    assert 500 == pacer.window


def test_a_paused_lane_lets_nobody_in_and_lends_its_part() -> None:
    """Its people wait; the others may use all of the window."""
    lanes = {
        "retail": LaneSeen(waiting=1_000, share=0.5, paused=True),
        "campaign": LaneSeen(waiting=1_000, share=0.5),
    }
    paces = Pacer(start=100).turn(Seen(lanes))
    assert (0.0, ("paused",)) == (paces["retail"].per_s, tuple(paces["retail"].reasons))
    assert OPENING_PER_S == paces["campaign"].per_s


def test_a_ceiling_is_never_passed() -> None:
    """And is given as the reason."""
    lanes = {"retail": LaneSeen(waiting=1_000, share=1.0, ceiling_per_s=3.0)}
    pace = Pacer(start=100).turn(Seen(lanes))["retail"]
    assert (3.0, ("ceiling",)) == (pace.per_s, tuple(pace.reasons))


def test_a_crowded_lane_does_not_take_the_part_of_another() -> None:
    """Both have a line: each lets in by its share, the full one only as many as leave, which is nobody yet."""
    lanes = {
        "retail": LaneSeen(waiting=100_000, inside=40, share=0.4),
        "campaign": LaneSeen(waiting=50, inside=0, share=0.6),
    }
    paces = Pacer(start=100).turn(Seen(lanes))
    assert paces["campaign"].per_s >= 20.0
    assert paces["retail"].per_s <= 6.0


def test_who_left_while_all_stood_still_has_left() -> None:
    """A stay that is believed to be longer than it is lets in too many: here it was ten seconds, and is two."""
    pacer = Pacer()

    def second(inside: int, entered: int, **changes: float) -> None:
        lane = LaneSeen(inside=inside, share=1.0, entered=entered)
        pacer.turn(Seen({"retail": lane}, under_way=3, **{"settled": 2.0, **changes}))  # type: ignore[arg-type]

    for _ in range(60):
        second(20, 2)
    for inside in range(18, 2, -2):
        second(inside, 0, settled=0.0, oldest_s=60.0)
    believed_s = []
    for _ in range(10):
        second(4, 2)
        believed_s.append(pacer._stay.seconds)
    assert max(believed_s) <= 10.0
    assert believed_s[-1] < believed_s[0]
