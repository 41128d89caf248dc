"""`python bench/place.py`: how often `auto` finds the place that people mean, by form of letter, and its time."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from emeterai.seal.reader import FileReader

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "seal"))

from figures import Figures, parser
from seal_letters import letters
from seal_verdicts import Verdict, judged


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as folder:
        asyncio.run(measure(Figures(as_json=options.json), Path(folder), table=not options.json))


async def measure(figures: Figures, folder: Path, *, table: bool) -> None:
    """Place a mark on every letter; a table by form, then the shares and the time."""
    reader = await FileReader.open([], size_bytes_max=25_000_000)
    verdicts: list[Verdict] = []
    times_ms: list[float] = []
    try:
        for letter in letters():
            path = folder / "letter.pdf"
            path.write_bytes(letter.content)
            began = time.perf_counter()
            placement = await reader.placement(path)
            times_ms.append((time.perf_counter() - began) * 1e3)
            verdicts.append(judged(letter, placement))
    finally:
        await reader.close()
    if table:
        print_table(verdicts)
    right = sum(verdict.right for verdict in verdicts)
    covering = sum(verdict.covers for verdict in verdicts)
    figures.say("auto: letters with the right place", right, "letters", yardstick="all", yardstick_value=len(verdicts))
    figures.say("auto: marks over text", covering, "letters", yardstick="all", yardstick_value=len(verdicts))
    figures.say(
        "auto: median time", statistics.median(times_ms), "ms", yardstick="slowest, ms", yardstick_value=max(times_ms)
    )


def print_table(verdicts: list[Verdict]) -> None:
    """One line a form: how many of its letters are right, how many are covered, why the marks stand there."""
    print(f"{'form':32}{'right':>7}{'of':>5}{'over text':>11}  reasons")
    for form in dict.fromkeys(verdict.form for verdict in verdicts):
        mine = [verdict for verdict in verdicts if verdict.form == form]
        reasons = Counter(verdict.reason for verdict in mine)
        words = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        right, covering = (sum(getattr(verdict, name) for verdict in mine) for name in ("right", "covers"))
        print(f"{form:32}{right:>7}{len(mine):>5}{covering:>11}  {words}")


if __name__ == "__main__":
    main()
