"""How every benchmark says a number: name, value, unit, and a yardstick measured in the same run, with their ratio."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))  # the running service and the papers of the tests serve here too


class Figures:
    """Prints figures as they are measured: a line for people, or one JSON object a line with `--json`."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def say(self, name: str, value: float, unit: str, *, yardstick: str, yardstick_value: float) -> None:
        """One figure; the ratio is value / yardstick_value."""
        ratio = value / yardstick_value if yardstick_value else 0.0
        if self._as_json:
            figure = {
                "name": name,
                "value": round(value, 4),
                "unit": unit,
                "yardstick": yardstick,
                "yardstick_value": round(yardstick_value, 4),
                "ratio": round(ratio, 4),
            }
            print(json.dumps(figure), flush=True)
        else:
            beside = f"{ratio:>9.3f} x {yardstick} ({yardstick_value:,.2f})"
            print(f"{name:<44} {value:>12,.2f} {unit:<10} {beside}", flush=True)

    def note(self, text: str) -> None:
        """A remark for people; nothing with `--json`."""
        if not self._as_json:
            print(text, flush=True)


def parser(text: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    options = argparse.ArgumentParser(description=text)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--seconds", type=float, default=None, help="how long each measurement takes")
    return options


def rate(work: Callable[[], object], seconds: float) -> float:
    """How often a second `work` can be done, one after another, after a short warm-up."""
    for _ in range(3):
        work()
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        work()
        count += 1
    return count / spent
