"""The draw is a permutation that anyone can repeat and nobody can steer."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emeterai.core.draw import commitment_of, key_of, turn_of

SEED = bytes(range(32))


@given(st.integers(1, 700), st.binary(min_size=32, max_size=32))
@settings(max_examples=60, deadline=None)
def test_every_number_has_one_turn_and_every_turn_one_number(count: int, seed: bytes) -> None:
    """For any pool and any seed: a permutation of 1 to count."""
    key = key_of(seed, lane="retail", count=count)
    assert list(range(1, count + 1)) == sorted(turn_of(n, key=key, count=count) for n in range(1, count + 1))


def test_the_vectors_of_the_documents_hold() -> None:
    """docs/gate.md gives these, for whoever writes the draw anew."""
    assert "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd" == commitment_of(SEED)
    key = key_of(SEED, lane="cpns-2026", count=1000)
    assert VECTORS_1000 == [turn_of(n, key=key, count=1000) for n in (1, 2, 3, 500, 1000)]
    key = key_of(SEED, lane="cpns-2026", count=1_000_000)
    assert VECTORS_MILLION == [turn_of(n, key=key, count=1_000_000) for n in (1, 2, 3, 500_000, 1_000_000)]


VECTORS_1000 = [137, 896, 387, 870, 903]
VECTORS_MILLION = [17118, 728447, 432154, 170118, 550744]


def test_it_is_what_the_words_say() -> None:
    """Written anew from the text of the module, step by step."""
    count, number, lane = 300, 17, "retail"
    key = hmac.new(SEED, f"emeterai draw 1|{lane}|{count}".encode(), hashlib.sha256).digest()
    half, x = 5, number - 1
    while True:
        left, right = divmod(x, 2**half)
        for turn in range(10):
            f = hmac.new(key, bytes([turn]) + right.to_bytes(4, "big"), hashlib.sha256).digest()
            left, right = right, left ^ (int.from_bytes(f[:4], "big") % 2**half)
        x = left * 2**half + right
        if x < count:
            break
    assert x + 1 == turn_of(number, key=key_of(SEED, lane=lane, count=count), count=count)


def test_the_size_of_the_pool_is_part_of_the_key() -> None:
    """Who knows the seed beforehand still cannot know a turn before the pool is closed."""
    turns = {turn_of(7, key=key_of(SEED, lane="retail", count=count), count=count) for count in range(900, 1000)}
    assert len(turns) > 50


def test_no_number_is_favoured() -> None:
    """Over many seeds each turn comes about equally often for one number (chi-squared, 15 degrees, p = 0.0001)."""
    found = [0] * 16
    for index in range(4_000):
        seed = hashlib.sha256(index.to_bytes(4, "big")).digest()
        found[turn_of(5, key=key_of(seed, lane="retail", count=16), count=16) - 1] += 1
    assert sum((count - 250) ** 2 / 250 for count in found) < 44.3


@pytest.mark.parametrize(("number", "count"), [(0, 10), (11, 10), (1, 0), (1, 2**32)])
def test_a_number_outside_the_pool_has_no_drawn_turn(number: int, count: int) -> None:
    """It keeps its own."""
    with pytest.raises(ValueError, match="not in a pool"):
        turn_of(number, key=SEED, count=count)
