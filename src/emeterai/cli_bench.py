"""`emeterai bench WHAT`: the benchmarks of this checkout's bench/ folder."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any

from emeterai.infra.settings import Settings

EXIT_USAGE = 2
BENCHES = (
    "seal",
    "corpus",
    "fuzz",
    "place",
    "ledger",
    "stamp",
    "growth",
    "crash",
    "partners",
    "gate",
    "payments",
    "lastday",
    "plan",
)


def add_bench(commands: Any) -> None:
    """The command and its options; what follows WHAT belongs to the benchmark."""
    bench = commands.add_parser("bench", help="measure; one JSON object a line with --json")
    bench.add_argument("what", choices=BENCHES)
    bench.add_argument("rest", nargs=argparse.REMAINDER, help="options of the benchmark itself")
    bench.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace, _: Settings) -> int:
    script = Path(__file__).parents[2] / "bench" / f"{arguments.what}.py"
    if not script.is_file():
        sys.stderr.write(f"emeterai: there is no benchmark {script.name} in this checkout\n")
        return EXIT_USAGE
    sys.argv = [str(script), *arguments.rest]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
    return 0
