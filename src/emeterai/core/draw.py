"""The draw: who was there before a lane opened gets a turn by a seed that nobody can choose afterwards. Pure.

1. Before opening the SHA-256 of a random seed is published: the commitment.
2. At opening the pool is closed: the numbers 1 to `count` are in it. Seed and `count` are published.
3. The turn of a number is a permutation of 1 to `count`, keyed by seed, lane and `count`. Everybody can compute it.

The permutation is a balanced Feistel network (Luby and Rackoff 1988) of `ROUNDS` rounds over 2 x `half` bits, walked
along its cycle until it falls into the pool (Black and Rogaway 2002). In exact words, so that anyone can repeat it:

    key   = HMAC-SHA256(seed, "emeterai draw 1|" + lane + "|" + count in decimal)
    half  = max(4, ceil(bits of (count - 1) / 2))
    x     = number - 1
    again: left = x >> half, right = x mod 2^half
           for round in 0 .. ROUNDS - 1:
               f = first four bytes, big-endian, of HMAC-SHA256(key, byte(round) + right as four bytes big-endian)
               left, right = right, left xor (f mod 2^half)
           x = left << half | right
           if x >= count: again
    turn  = x + 1

`count` is part of the key: even who knew the seed could not have chosen a good number before the pool was closed.
"""

from __future__ import annotations

import hashlib
import hmac

ROUNDS = 10
SEED_BYTES = 32
COUNT_MAX = 2**32 - 1
"""A pool holds at most so many numbers."""


def commitment_of(seed: bytes) -> str:
    """What is published of a seed before opening: its SHA-256 in hex."""
    return hashlib.sha256(seed).hexdigest()


def key_of(seed: bytes, *, lane: str, count: int) -> bytes:
    """The 32 bytes that key the permutation of a lane's pool."""
    return hmac.digest(seed, f"emeterai draw 1|{lane}|{count}".encode(), "sha256")


def turn_of(number: int, *, key: bytes, count: int) -> int:
    """The turn of a number in a pool of `count`. Raises ValueError for a number that is not in the pool."""
    if not 1 <= number <= count <= COUNT_MAX:
        raise ValueError(f"number {number} is not in a pool of {count}")
    half = max(4, ((count - 1).bit_length() + 1) // 2)
    x = number - 1
    while True:
        x = _permuted(x, key, half)
        if x < count:
            return x + 1


def _permuted(x: int, key: bytes, half: int) -> int:
    mask = (1 << half) - 1
    left, right = x >> half, x & mask
    for index in range(ROUNDS):
        digest = hmac.digest(key, bytes([index]) + right.to_bytes(4, "big"), "sha256")
        left, right = right, left ^ (int.from_bytes(digest[:4], "big") & mask)
    return left << half | right
