"""Hostile files have two outcomes: sealed and valid, or refused by name. Never a crash, never a wrong seal."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from seal_orders import order_of
from seal_samples import MUSEUM

from emeterai.core.refusal import Refused
from emeterai.seal.service import SealEngine

CASES_PER_SAMPLE = 15
SAMPLES = {name: content for name, content in MUSEUM.items() if len(content) < 20_000}


def mutated(content: bytes, seed: int) -> bytes:
    """One random mutation: bytes flipped, a piece cut, doubled or moved, a number changed."""
    chance = random.Random(seed)
    at, size = chance.randrange(len(content)), chance.randrange(1, 60)
    kind = chance.randrange(6)
    if kind == 0:
        changed = bytearray(content)
        for _ in range(chance.randrange(1, 8)):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if kind == 1:
        return content[:at]
    if kind == 2:
        return content[:at] + content[at + size :]
    if kind == 3:
        return content[:at] + content[at : at + size] * chance.randrange(2, 40) + content[at + size :]
    if kind == 4:
        return content[:at] + bytes(chance.randrange(256) for _ in range(size)) + content[at + size :]
    digits = [index for index, byte in enumerate(content) if 0x30 <= byte <= 0x39]
    changed = bytearray(content)
    for index in chance.sample(digits, min(len(digits), 3)):
        changed[index] = 0x30 + chance.randrange(10)
    return bytes(changed)


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_mutated_file_is_sealed_or_refused(name: str, engine: SealEngine, tmp_path: Path) -> None:
    """Every mutation of a sample is refused by name, or its seal passes read-back and verification."""
    original, tail, whole = (tmp_path / part for part in ("original.pdf", "tail", "whole.pdf"))
    openers = engine.opener_pids
    for seed in range(CASES_PER_SAMPLE):
        content = mutated(SAMPLES[name], seed) or b" "
        original.write_bytes(content)
        try:
            sealed = await engine.seal(original, order_of())
        except Refused as refused:
            assert refused.code.startswith("pdf_"), f"seed {seed}"  # noqa: PT017 - both outcomes are right
            continue
        tail.write_bytes(sealed.tail)
        whole.write_bytes(content + sealed.tail)
        await engine.read_back(original, tail, sealed)
        assert "genuine" == (await engine.verify(whole)).outcome, f"seed {seed}"
    assert engine.opener_pids == openers, "an opener crashed"
