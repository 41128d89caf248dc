"""The adaptive limit: it finds what the service can do, follows it down and up, and never takes a jam for normal."""

from __future__ import annotations

import random

import pytest

from emeterai.core.limiting import AdaptiveLimit


def drive(
    limit: AdaptiveLimit,
    seconds: float,
    *,
    capacity: float,
    alone_s: float = 0.01,
    noise: float = 0.0,
    at_s: float = 0.0,
) -> list[int]:
    """A service that does `capacity` a second, always asked for more than the limit; answers the limits, by the second.

    Alone a piece of work takes `alone_s`; with n under way it takes n / capacity, if that is longer.
    """
    chance, found, now_s, last = random.Random(7), [], at_s, -1
    while now_s < at_s + seconds:
        under_way = limit.limit
        took_s = max(alone_s, under_way / capacity) * (1 + noise * chance.uniform(-1, 1))
        for _ in range(5):
            limit.sample("work", took_s, under_way)
        now_s += 5 / capacity
        limit.turn(now_s)
        if int(now_s) != last:
            last = int(now_s)
            found.append(limit.limit)
    return found


@pytest.mark.parametrize("start", [8, 32, 500])
def test_it_settles_where_latency_is_what_it_may_be(start: int) -> None:
    """From above and from below, without overshooting, and stays there."""
    limit = AdaptiveLimit(start=start, target_s=0.15)
    limits = drive(limit, 60, capacity=200.0)
    assert all(24 <= one <= 36 for one in limits[30:]), limits
    assert max(limits[1:]) <= max(start, 36)


def test_noise_does_not_move_it_far() -> None:
    """Latencies that differ by half leave it within a fifth."""
    limits = drive(AdaptiveLimit(), 120, capacity=200.0, noise=0.5)
    assert all(24 <= one <= 36 for one in limits[40:]), limits


def test_it_follows_a_service_that_loses_its_capacity_and_gets_it_back() -> None:
    """Down within seconds, so that nobody waits for long; up again without help."""
    limit = AdaptiveLimit()
    drive(limit, 30, capacity=200.0)
    limits = drive(limit, 20, capacity=40.0, at_s=30)
    assert limits[-1] <= 9
    limits = drive(limit, 30, capacity=200.0, at_s=50)
    assert limits[-1] >= 24


def test_a_jam_that_lasts_is_never_taken_for_normal() -> None:
    """However long: otherwise the limit would grow into it."""
    limits = drive(AdaptiveLimit(start=400), 600, capacity=200.0)
    assert max(limits[60:]) <= 36


def test_a_service_that_has_become_slower_is_not_throttled_for_ever() -> None:
    """When each piece of work takes longer by itself, the limit finds its way back from the floor."""
    limit = AdaptiveLimit(floor=4)
    drive(limit, 30, capacity=200.0)
    limits = drive(limit, 60, capacity=200.0, alone_s=0.5, at_s=30)
    assert limits[-1] >= 60


def test_failures_count_as_too_slow() -> None:
    """Refused inside for want of something, however quickly: the limit goes down."""
    limit = AdaptiveLimit(start=64)
    for at in range(40):
        for _ in range(10):
            limit.sample("work", 0.001, 64, failed=True)
        limit.turn(at * 0.3)
    assert limit.limit == 4


def test_a_limit_that_nobody_uses_does_not_grow() -> None:
    """What was never tried is not known to go well."""
    limit = AdaptiveLimit(start=32)
    for at in range(400):
        for _ in range(10):
            limit.sample("work", 0.01, 3)
        limit.turn(at * 0.3)
    assert limit.limit == 32


def test_kinds_of_work_are_compared_with_themselves() -> None:
    """Work that takes long by itself is no sign of a jam."""
    limit = AdaptiveLimit(start=32, target_s=0.15)
    for at in range(400):
        for _ in range(5):
            limit.sample("quick", 0.01, limit.limit)
            limit.sample("long", 1.0, limit.limit)
        limit.turn(at * 0.3)
    assert limit.limit >= 100
