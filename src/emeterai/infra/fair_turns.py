"""Whose turn it is when lanes share work by weights: start-time fair queueing, told batch by batch or piece by piece.

Every lane has a mark, which each piece of its work moves on by its step, 1 / weight; whoever's mark is lowest is next.
So lanes that always have work get it by their weights, to within a piece for each lane, however many batches it is
taken in. A lane that has none lends its part: when it has some it begins beside the others, and nobody owes anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WEIGHT_MIN = 0.01
"""What a lane without a share weighs: it only borrows, but what is paid for must be done in the end."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Where lanes stand: parallel lists; `other` and `other_step` are those of a lane that is not named."""

    lanes: list[str]
    marks: list[float]
    steps: list[float]
    other: float
    other_step: float


class FairTurns:
    """The marks of one process and one kind of work."""

    def __init__(self) -> None:
        self._shares: Mapping[str, float] = {}
        self._marks: dict[str, float] = {}
        self._now = 0.0
        self.alone: str | None = None
        """The lane that was found to be the only one with work, when the last batch was taken."""

    def share(self, shares: Mapping[str, float]) -> None:
        """Other shares, from now on."""
        self._shares = shares

    def marks(self) -> Marks:
        """Where every lane stands that is known."""
        lanes = sorted({*self._shares, *self._marks})
        marks = [max(self._now, self._marks.get(lane, self._now)) for lane in lanes]
        return Marks(lanes, marks, [self._step(lane) for lane in lanes], self._now, 1.0 / WEIGHT_MIN)

    def took(self, counts: Mapping[str, int]) -> None:
        """A batch was taken: so much of each lane's work, which is not empty."""
        for lane, count in counts.items():
            self._marks[lane] = max(self._now, self._marks.get(lane, self._now)) + count * self._step(lane)
        # Where the last piece of the batch began: whoever has work left stands there or further on.
        self._now = max(self._now, *(self._marks[lane] - self._step(lane) for lane in counts))
        self._marks = {lane: mark for lane, mark in self._marks.items() if mark > self._now}

    def first(self, lanes: Iterable[str]) -> str:
        """Of lanes that have work the one whose turn it is; of those that stand equal the one named first."""
        return min(lanes, key=lambda lane: self._marks.get(lane, self._now))

    def took_one(self, lane: str, size: float) -> None:
        """One piece was taken, and counts by its size: where pieces differ lanes get work by size, not by number."""
        self._now = max(self._now, self._marks.get(lane, self._now))
        self._marks[lane] = self._now + size * self._step(lane)
        self._marks = {lane: mark for lane, mark in self._marks.items() if mark > self._now}

    def _step(self, lane: str) -> float:
        return 1.0 / max(WEIGHT_MIN, self._shares.get(lane, 0.0))
