"""The development corpus: real, odd, broken, encrypted and signed files from public suites."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from seal_judges import judged_by_pdfsig, require
from seal_orders import SERIAL, order_of

from emeterai.core.refusal import Refused
from emeterai.seal.service import SealEngine

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
SUITES = ("pdfjs", "pyhanko", "qpdf", "verapdf")
SEALED_SHARE_MIN = 0.85


@pytest.mark.parametrize("suite", SUITES)
async def test_every_file_of_a_suite_is_sealed_or_refused_by_name(
    suite: str, engine: SealEngine, tmp_path: Path
) -> None:
    """What is sealed is genuine and valid for pdfsig; what is not has a name; most are sealed."""
    require(CORPUS.is_dir(), "corpus of PDF files at ../shared/corpus")
    outcomes: Counter[str] = Counter()
    tail, whole = tmp_path / "tail", tmp_path / "whole.pdf"
    for path in sorted((CORPUS / suite).glob("*.pdf")):
        try:
            await engine.inspect(path)
            sealed = await engine.seal(path, order_of())
        except Refused as refused:
            outcomes[refused.code] += 1
            continue
        outcomes["sealed"] += 1
        tail.write_bytes(sealed.tail)
        whole.write_bytes(path.read_bytes() + sealed.tail)
        await engine.read_back(path, tail, sealed)
        assert "genuine" == (await engine.verify(whole)).outcome, path.name
        ours = [one for one in judged_by_pdfsig(whole) if SERIAL in one.field]
        assert [(True, True)] == [(one.valid, one.whole_document) for one in ours], path.name
    openable = outcomes.total() - outcomes["pdf_encrypted"] - outcomes["pdf_not_pdf"]
    assert outcomes["sealed"] / openable >= SEALED_SHARE_MIN, dict(outcomes)
