"""How much work may be under way at once, found out from how long it takes: an adaptive concurrency limit.

Latency is compared with what it may be: `tolerance` times the shortest that this kind of work has taken, or the target
of its kind, whichever is longer. The limit follows that ratio smoothly, up only while it is used. What is shortest is
learned when little is under way; it may rise only then, or at the floor of the limit, so that a lasting overload is
never taken for normal (which would make the overload last), and a service that has become slower is not throttled for
ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

WINDOW_S = 0.25
SAMPLES_MIN = 6
_WINDOW_S_MAX = 1.0
_USED_SHARE = 0.7
_GAIN = 0.5
_GROWTH_MAX, _CUT_MAX = 1.10, 0.70
_STEP_MIN = 0.5
_RATIO_MAX = 4.0
_FORGETS, _FORGETS_AT_FLOOR = 0.05, 0.2
_KINDS_MAX = 200


@dataclass(slots=True)
class _Kind:
    """What is known of one kind of work, and of its samples in this window."""

    target_s: float
    shortest_s: float | None = None
    """Not known until some of it was done while little was under way."""
    window_s: float = inf
    sum_s: float = 0.0
    count: int = 0


class AdaptiveLimit:
    """`limit` of the work under way. `sample` costs well under a microsecond or two; `turn` is called now and then."""

    def __init__(
        self,
        *,
        start: int = 32,
        floor: int = 4,
        ceiling: int = 512,
        target_s: float = 0.15,
        targets_s: Mapping[str, float] = MappingProxyType({}),
        tolerance: float = 2.0,
    ) -> None:
        self._floor, self._ceiling = floor, ceiling
        self._target_s, self._targets_s, self._tolerance = target_s, targets_s, tolerance
        self._limit = float(start)
        self._kinds: dict[str, _Kind] = {}
        self._since_s = -inf
        self._count = 0
        self._failed = 0
        self._most = 0
        self.ratio = 0.0
        """Latency in the last window against what it may be: above 1 is too slow."""

    @property
    def limit(self) -> int:
        """So much may be under way."""
        return int(self._limit)

    def sample(self, kind: str, took_s: float, under_way: int, *, failed: bool = False) -> None:
        """One piece of work has ended. `failed`: for lack of something, such as a connection of the database."""
        known = self._kinds.get(kind)
        if known is None:
            if len(self._kinds) >= _KINDS_MAX:
                return
            known = self._kinds[kind] = _Kind(self._targets_s.get(kind, self._target_s))
        self._count += 1
        self._most = max(self._most, under_way)
        if failed:
            self._failed += 1
            return
        known.sum_s += took_s
        known.count += 1
        known.window_s = min(known.window_s, took_s)

    def turn(self, now_s: float) -> int:
        """The limit from now on; it changes once a window."""
        passed_s = now_s - self._since_s
        if (self._count >= SAMPLES_MIN and passed_s >= WINDOW_S) or (passed_s >= _WINDOW_S_MAX and self._count):
            self._change()
            self._since_s = now_s
        elif passed_s >= _WINDOW_S_MAX:
            self._since_s, self.ratio = now_s, 0.0
        return self.limit

    def _change(self) -> None:
        self.ratio = self._measure()
        wanted = min(_GROWTH_MAX, max(_CUT_MAX, 1.0 + _GAIN * (1.0 - self.ratio)))
        if wanted < 1.0 or self._most >= _USED_SHARE * self._limit:
            step = self._limit * (wanted - 1.0)
            self._limit += max(step, _STEP_MIN) if step > 0 else step
            self._limit = min(float(self._ceiling), max(float(self._floor), self._limit))
        self._count = self._failed = self._most = 0

    def _measure(self) -> float:
        """The ratio over all kinds of work that ended in this window, each by its number."""
        is_quiet = self._most <= max(2.0, self._limit / 4) or self._limit <= self._floor
        whole, count = 0.0, 0
        for known in self._kinds.values():
            if known.count:
                known.shortest_s = self._learned(known, is_quiet=is_quiet)
                may_s = max(known.target_s, self._tolerance * (known.shortest_s or 0.0))
                whole += known.count * min(_RATIO_MAX, known.sum_s / known.count / may_s)
                count += known.count
            known.window_s, known.sum_s, known.count = inf, 0.0, 0
        return (whole + _RATIO_MAX * self._failed) / (count + self._failed)

    def _learned(self, known: _Kind, *, is_quiet: bool) -> float | None:
        shortest_s = known.shortest_s
        if shortest_s is None:
            return known.window_s if is_quiet else None
        if not is_quiet or known.window_s < shortest_s:
            return min(known.window_s, shortest_s)
        forgets = _FORGETS if self._limit > self._floor else _FORGETS_AT_FLOOR
        return shortest_s + forgets * (known.window_s - shortest_s)
