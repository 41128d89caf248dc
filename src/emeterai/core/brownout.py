"""What is switched off first: steps of a brown-out, one after another, each kept for a while and taken back in turn."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from math import inf


class Step(IntEnum):
    """What rests from this step on, in order: what nobody needs today first, what is paid for last."""

    NONE = 0
    HISTORY = 1
    PREVIEWS = 2
    STATISTICS = 3
    LOOKING = 4
    ENTERING = 5
    BUYING = 6
    STAMPING = 7


UP_AT, DOWN_AT = 1.0, 0.6
"""Pressure at which the next step is taken, and below which one is taken back."""
UP_AFTER_S, DOWN_AFTER_S = 1.0, 3.0
_LAST_RESORTS: Mapping[Step, float] = {Step.ENTERING: 1.5, Step.BUYING: 2.0, Step.STAMPING: 3.0}
"""The last steps ask for more pressure: a full service is no reason to turn away what it is there for."""


class BrownOut:
    """`step` follows the pressure: up one step a second while it is too high, down one in three once it has fallen.

    Between UP_AT and DOWN_AT the step stays. Pressure is how long the most urgent work waits, against how long it may.
    """

    def __init__(self) -> None:
        self.step = Step.NONE
        self._high_since_s = inf
        self._low_since_s = inf

    def turn(self, pressure: float, now_s: float) -> Step:
        """The step from now on."""
        following = min(Step.STAMPING, self.step + 1)
        is_high = self.step < Step.STAMPING and pressure >= _LAST_RESORTS.get(Step(following), UP_AT)
        is_low = self.step > Step.NONE and pressure <= DOWN_AT
        self._high_since_s = min(self._high_since_s, now_s) if is_high else inf
        self._low_since_s = min(self._low_since_s, now_s) if is_low else inf
        if now_s - self._high_since_s >= UP_AFTER_S:
            self.step, self._high_since_s = Step(following), now_s
        elif now_s - self._low_since_s >= DOWN_AFTER_S:
            self.step, self._low_since_s = Step(self.step - 1), now_s
        return self.step
