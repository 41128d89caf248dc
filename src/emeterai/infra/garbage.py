"""Python's collector of cycles, in processes that serve for months: what start has made is never looked at again."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 5_000
"""It looks after so many, not after 700, for most requests leave no cycle. One that failed may, with its file of
megabytes, so not much later than that."""


def collect_seldom() -> None:
    """Call it once in a process, when everything that stays is there: 3 % of the sealer's time went to looking."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
