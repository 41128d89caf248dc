"""Who came in without a pass, in one web process: by what they show, for how long, and by which name they count.

While no pass is asked for people walk in, and go on when one is asked for: for two hours at most, like those who hold
passes, however often they do something. A browser gets a pass as soon as it is inside (welcoming.py), by which every
web process knows it; from then on its person counts by the name in the pass, once, whatever they show.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import inf

from emeterai.gate.passes import STAY_S

Key = tuple[str, bytes]
"""A lane, and who it is there."""


@dataclass(slots=True)
class _Came:
    """One who came in. `name` is what they count by."""

    name: bytes
    at_s: float
    until_s: float


class CameIn:
    """One for each door. Times are of its own clock, which is monotonic."""

    def __init__(self) -> None:
        self._came: dict[Key, _Came] = {}

    def add(self, lane: str, who: bytes, *, now_s: float, for_good: bool) -> None:
        """Somebody comes in. `for_good`: a program of a lane of its own, which no crowd waits for."""
        self._came[lane, who] = _Came(who, now_s, inf if for_good else now_s + STAY_S)

    def may_stay(self, lane: str, who: bytes, *, now_s: float) -> bool:
        """Whether somebody came in, and not too long ago."""
        came = self._came.get((lane, who))
        return came is not None and now_s < came.until_s

    def stayed_s(self, lane: str, who: bytes, *, now_s: float) -> float:
        """How long somebody has been inside."""
        came = self._came.get((lane, who))
        return now_s - came.at_s if came is not None else 0.0

    def counts_as(self, lane: str, who: bytes) -> Key:
        """Whom to count when this one does something: of those who did not come in so they themselves."""
        came = self._came.get((lane, who))
        return lane, came.name if came is not None else who

    def rename(self, lane: str, who: bytes, name: bytes) -> None:
        """From now on somebody who came in counts by this name."""
        came = self._came.get((lane, who))
        if came is not None:
            came.name = name

    def keep(self, seen: Collection[Key], *, now_s: float) -> None:
        """Forget whoever has stayed for long enough, or did nothing for a while: is not among those `seen`."""
        self._came = {
            key: came for key, came in self._came.items() if now_s < came.until_s and (key[0], came.name) in seen
        }
