"""The development corpus: real, odd, broken, encrypted and signed files from public suites."""

from __future__ import annotations

from collections import Counter

import pytest
from seal_corpus import CORPUS, FileOutcome, outcome_of, suites
from seal_judges import require

from emeterai.seal.service import SealEngine, Signer

SEALED_SHARE_MIN = 0.98
FILES_OF_A_SUITE_MAX = 100
"""Of larger suites an even sample; bench/corpus.py takes them whole."""


@pytest.fixture(scope="module")
async def outcomes(engine: SealEngine, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> list[FileOutcome]:
    """What became of every file."""
    require(CORPUS.is_dir(), "corpus of PDF files at ../shared/corpus")
    folder = tmp_path_factory.mktemp("corpus")
    return [
        await outcome_of(engine, signer.roots[0], suite, path, folder)
        for suite, files in suites(CORPUS)
        for path in files[:: -(-len(files) // FILES_OF_A_SUITE_MAX)]
    ]


def test_nearly_every_file_that_opens_is_sealed(outcomes: list[FileOutcome]) -> None:
    """At least 98 of 100 files that qpdf opens without a password; the others are refused by name."""
    opening = [one for one in outcomes if one.opens]
    sealed = [one for one in opening if one.code == "sealed"]
    others = Counter(one.code for one in outcomes if one.code != "sealed")
    assert SEALED_SHARE_MIN <= len(sealed) / len(opening), others
    assert all(code.startswith("pdf_") for code in others), others


def test_every_sealed_file_is_valid_for_every_judge(outcomes: list[FileOutcome]) -> None:
    """pdfsig, pyHanko, PDFium and our own verifier agree wherever they can read the original at all."""
    assert {} == {one.name: one.faults for one in outcomes if one.faults}


def test_no_file_that_did_not_open_is_called_sound(outcomes: list[FileOutcome]) -> None:
    """What qpdf cannot open without a password is refused, and never as something of ours."""
    assert {"sealed"}.isdisjoint(one.code for one in outcomes if not one.opens)
