"""Ten thousand damaged files: originals are sealed and valid or refused by name, and no damaged seal is genuine.

`python bench/fuzz.py [--cases N] [--seed N] [--json]` prints how often each outcome was and fails at a wrong one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from figures import TESTS, Figures, parser

sys.path.insert(0, str(TESTS / "seal"))

from forgeries import signed
from fuzzing import Fuzzer
from seal_orders import SERIAL, order_of
from seal_samples import LETTER, MUSEUM, classic

from emeterai.seal.service import SealEngine, load_signer

_SAMPLE_SIZE_BYTES_MAX = 20_000
_JUDGED_ONE_IN = 50


def main() -> None:
    """Damage files and print what came of it."""
    options = parser(__doc__ or "")
    options.add_argument("--cases", type=int, default=10_000, help="how many files, half of them sealed before")
    options.add_argument("--seed", type=int, default=0, help="where to begin; the same seed damages alike")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as folder:
        figures = Figures(as_json=chosen.json)
        asyncio.run(measure(figures, Path(folder), cases=chosen.cases, seed=chosen.seed))


async def measure(figures: Figures, folder: Path, *, cases: int, seed: int) -> None:
    """Half of the cases damage originals and seal them, half damage sealed files and verify them."""
    signer = load_signer(folder=folder)
    engine = await SealEngine.start(signer=signer, size_bytes_max=25_000_000)
    fuzzer = Fuzzer(engine, signer, folder)
    samples = [(name, content) for name, content in MUSEUM.items() if len(content) < _SAMPLE_SIZE_BYTES_MAX]
    began = time.perf_counter()
    try:
        sealed = await sealed_files(engine, folder)
        for case in range(seed, seed + cases // 2):
            name, content = samples[case % len(samples)]
            await fuzzer.seal(name, content, case, judged=case % _JUDGED_ONE_IN == 0)
            name, content, size_bytes = sealed[case % len(sealed)]
            fuzzer.verify(name, content, case, sealed_size_bytes=size_bytes)
        fuzzer.check_memory()
    finally:
        await engine.close()
    spent_s = time.perf_counter() - began
    for outcome, count in fuzzer.outcomes.most_common():
        figures.say(f"fuzz: {outcome}", count, "files", yardstick="all cases", yardstick_value=cases)
    figures.say("fuzz", cases / spent_s, "files/s", yardstick="wrong outcomes", yardstick_value=0)


async def sealed_files(engine: SealEngine, folder: Path) -> list[tuple[str, bytes, int]]:
    """Sealed files to damage, each with how many of its bytes our seals cover."""

    async def seal(content: bytes, serial: str = SERIAL, place: str = "auto") -> bytes:
        path = folder / "letter.pdf"
        path.write_bytes(content)
        return content + (await engine.seal(path, order_of(serial, place=place))).tail

    once = await seal(classic(LETTER))
    twice = await seal(once, "SECOND", "top-left")
    packed = await seal(MUSEUM["object streams"])
    return [
        ("sealed", once, len(once)),
        ("sealed twice", twice, len(twice)),
        ("sealed and signed", await signed(once), len(once)),
        ("with object streams, sealed and signed", await signed(packed), len(packed)),
    ]


if __name__ == "__main__":
    main()
