"""Twins as processes of their own: one can stand still without those who look at it, and none outlives them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emeterai.infra.process import dying_with_me


class Apart:
    """`python -m twins.NAME ARGUMENTS`, running. `said` is its first line, which says that it is ready."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"twins.{name}", *arguments],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=dying_with_me(),  # noqa: PLW1509 - it only asks the kernel for a signal
        )
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline().strip()
        assert self.said, f"the twin {name} ended before it was ready"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def end(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
