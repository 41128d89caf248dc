"""Damage at random has two outcomes: sealed and valid, or refused by name. Never a crash, never a wrong verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
from forgeries import signed
from fuzzing import Fuzzer
from seal_orders import SealBytes
from seal_samples import LETTER, MUSEUM, classic

from emeterai.seal.service import SealEngine, Signer

SAMPLES = {name: content for name, content in MUSEUM.items() if len(content) < 20_000}
SEALINGS_A_SAMPLE, VERIFICATIONS = 8, 100
JUDGED_ONE_IN = 16


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_damaged_file_is_sealed_or_refused(
    name: str, engine: SealEngine, signer: Signer, tmp_path: Path
) -> None:
    """Every mutation of a sample is refused by name, or its seal is valid; no opener crashes or grows."""
    fuzzer = Fuzzer(engine, signer, tmp_path)
    openers = engine.opener_pids
    for seed in range(SEALINGS_A_SAMPLE):
        number = [*SAMPLES].index(name) * SEALINGS_A_SAMPLE + seed
        await fuzzer.seal(name, SAMPLES[name], number, judged=number % JUDGED_ONE_IN == 0)
    assert SEALINGS_A_SAMPLE == sum(
        fuzzer.outcomes[key] for key in fuzzer.outcomes if not key.startswith("p") or "pdf_" in key
    )
    assert openers == engine.opener_pids, "an opener crashed"
    fuzzer.check_memory()


@pytest.mark.parametrize("kind", ["stamped", "stamped twice", "stamped and signed"])
async def test_a_damaged_seal_is_never_genuine(
    kind: str, seal: SealBytes, engine: SealEngine, signer: Signer, tmp_path: Path
) -> None:
    """Whatever byte that a seal covers is changed, and whatever is added: not genuine."""
    content, _ = await seal(classic(LETTER))
    sealed_size_bytes = len(content)
    if kind == "stamped twice":
        content, _ = await seal(content, "SECOND", place="top-left")
        sealed_size_bytes = len(content)
    elif kind == "stamped and signed":
        content = await signed(content)
    fuzzer = Fuzzer(engine, signer, tmp_path)
    for seed in range(VERIFICATIONS):
        fuzzer.verify(kind, content, seed, sealed_size_bytes=sealed_size_bytes)
    assert fuzzer.outcomes["verified: changed"] > VERIFICATIONS // 2
