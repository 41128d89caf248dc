"""What becomes of real files: `python bench/corpus.py [FOLDER] [--json]`, each folder in FOLDER being a suite.

A table per suite: how many qpdf opens, how many are sealed, how many of those after repair, how many pdfsig, pyHanko,
PDFium and our verifier call valid. Then every refusal and every other verdict by file, and the slowest ten files.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from figures import TESTS, parser

sys.path.insert(0, str(TESTS / "seal"))

from seal_corpus import CORPUS, VALID, FileOutcome, outcome_of, suites

from emeterai.seal.service import SealEngine, load_signer

SIZE_BYTES_MAX = 25_000_000
SLOWEST = 10


def main() -> None:
    """Judge and print."""
    options = parser(__doc__ or "")
    options.add_argument("folder", nargs="?", type=Path, default=CORPUS, help="a folder of suites")
    chosen = options.parse_args()
    outcomes = asyncio.run(judge(chosen.folder))
    if chosen.json:
        print(json.dumps(as_facts(outcomes)))
    else:
        print("\n".join(as_lines(outcomes)))


async def judge(folder: Path) -> list[FileOutcome]:
    """The outcome of every file of every suite."""
    with tempfile.TemporaryDirectory(prefix="emeterai-corpus-") as place:
        signer = load_signer(folder=Path(place, "keys"))
        engine = await SealEngine.start(signer=signer, size_bytes_max=SIZE_BYTES_MAX)
        try:
            return [
                await outcome_of(engine, signer.roots[0], suite, path, Path(place))
                for suite, files in suites(folder)
                for path in files
            ]
        finally:
            await engine.close()


def as_facts(outcomes: Sequence[FileOutcome]) -> dict[str, object]:
    """Everything as one JSON object."""
    return {
        "suites": [_row(suite, of_suite) for suite, of_suite in _by_suite(outcomes)],
        "refused": {one.name: one.code for one in outcomes if one.code != "sealed"},
        "not_valid": {one.name: _unlike_valid(one) for one in outcomes if _unlike_valid(one)},
        "slowest": [{"name": one.name, "ms": round(one.seconds * 1e3, 1)} for one in _slowest(outcomes)],
    }


def as_lines(outcomes: Sequence[FileOutcome]) -> list[str]:
    """Everything as a table for people."""
    rows = [_row(suite, of_suite) for suite, of_suite in _by_suite(outcomes)]
    lines = ["  ".join(f"{key:>10}" for key in rows[0])]
    lines += ["  ".join(f"{value!s:>10}" for value in row.values()) for row in rows]
    refused = Counter(one.code for one in outcomes if one.code != "sealed")
    lines += ["", "refused by name: " + ", ".join(f"{code} {count}" for code, count in refused.most_common())]
    lines += [f"  {one.suite}/{one.name}: {one.code}" for one in outcomes if one.code != "sealed" and one.opens]
    lines += ["", "not called valid:"]
    lines += [f"  {one.suite}/{one.name}: {_unlike_valid(one)}" for one in outcomes if _unlike_valid(one)]
    lines += ["", "slowest (inspect, seal, read back):"]
    lines += [f"  {one.seconds * 1e3:8.1f} ms  {one.suite}/{one.name}" for one in _slowest(outcomes)]
    return lines


def _row(suite: str, outcomes: Sequence[FileOutcome]) -> dict[str, object]:
    sealed = [one for one in outcomes if one.code == "sealed"]
    opening = sum(one.opens for one in outcomes)
    judges = {
        who: sum(one.verdicts[who] == VALID for one in sealed) for who in ("pdfsig", "pyHanko", "PDFium", "emeterai")
    }
    return {
        "suite": suite,
        "files": len(outcomes),
        "open": opening,
        "sealed": len(sealed),
        "repaired": sum(one.repaired for one in sealed),
        "share": f"{len(sealed) / opening:.1%}" if opening else "-",
        **judges,
    }


def _by_suite(outcomes: Sequence[FileOutcome]) -> list[tuple[str, list[FileOutcome]]]:
    names = dict.fromkeys(one.suite for one in outcomes)
    return [*((name, [one for one in outcomes if one.suite == name]) for name in names), ("all", list(outcomes))]


def _unlike_valid(outcome: FileOutcome) -> dict[str, str]:
    return {who: what for who, what in outcome.verdicts.items() if what != VALID}


def _slowest(outcomes: Sequence[FileOutcome]) -> list[FileOutcome]:
    return sorted(outcomes, key=lambda one: -one.seconds)[:SLOWEST]


if __name__ == "__main__":
    main()
