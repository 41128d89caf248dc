"""An event loop whose time passes only when nobody has anything to do: what takes minutes is over at once, and is the
same each time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _NobodyElse(selectors.DefaultSelector):
    """Waits for nobody: the time that a loop would sleep has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing ever comes from outside."""
        assert timeout is not None, "everybody waits, and for nothing"
        self.now_s += max(0.0, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`busy` says that something has kept the process busy for so long."""

    def __init__(self) -> None:
        self._others = _NobodyElse()
        super().__init__(self._others)

    def time(self) -> float:
        """Simulated seconds."""
        return self._others.now_s

    def busy(self, takes_s: float) -> None:
        """So much time has passed, and nothing else was done."""
        self._others.now_s += takes_s


def simulated(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What comes of it in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(coroutine)


def now_s() -> float:
    """The time of the loop that runs."""
    return asyncio.get_running_loop().time()
