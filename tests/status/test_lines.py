"""A public line is what was published: whatever is altered, left out, put in or signed by another is found."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from line_chains import KEY, OTHER_KEY, chain

from emeterai.status.lines import Line, SignedLine, is_late, public_pem, sign, verify_lines
from programs import need_program


def test_an_untouched_chain_is_proven() -> None:
    """By its own key and by the one that the reader trusts; also a part of it."""
    lines = chain(5)
    for key in (None, lines[0].key):
        for part in (lines, lines[2:], lines[:1]):
            proof = verify_lines(part, key=key)
            assert ([], len(part), 0, 0) == (proof.faults, proof.lines, proof.gaps, proof.broken)
    assert (1, 5, [lines[0].key]) == (proof.first, verify_lines(lines).last, proof.keys)


def test_a_newest_line_that_is_old_is_late() -> None:
    """Two minutes and a half without the next one: what it says may not be true any more."""
    newest = msgspec.json.decode(chain(3)[-1].line, type=Line)
    assert [False, True] == [is_late(newest, newest.at + timedelta(seconds=seconds)) for seconds in (150, 151)]


def test_no_lines_prove_nothing() -> None:
    """And that is no fault."""
    assert (0, None, []) == (verify_lines([]).lines, verify_lines([]).first, verify_lines([]).faults)


@pytest.mark.parametrize("place", [0, 2, 4])
def test_an_altered_number_is_found(place: int) -> None:
    """The text no longer fits its signature."""
    lines = chain(5)
    altered = msgspec.structs.replace(lines[place], line=lines[place].line.replace('"used":2', '"used":1'))
    faults = verify_lines([*lines[:place], altered, *lines[place + 1 :]]).faults
    assert f"line {place + 1} is not signed by the key {altered.key[:16]}" in faults


def test_a_line_that_was_rewritten_and_signed_again_breaks_the_chain() -> None:
    """Even the holder of the key cannot change the past: the next line holds the digest of what was published."""
    lines = chain(5)
    line = msgspec.structs.replace(msgspec.json.decode(lines[2].line, type=Line), bought=11, available=5)
    lines[2] = sign(line, KEY)
    assert ["line 4 does not follow line 3"] == verify_lines(lines).faults


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_line_is_found(missing: int) -> None:
    """A hole in the numbers is no gap in time: somebody took the line away."""
    lines = chain(5)
    del lines[missing]
    assert [f"line {missing + 2} does not follow line {missing}"] == verify_lines(lines).faults


def test_another_key_is_not_the_trusted_one() -> None:
    """Whoever forges a whole chain signs it with a key of his own."""
    forged = chain(2, key=OTHER_KEY)
    assert [] == verify_lines(forged).faults
    assert 2 == len(verify_lines(forged, key=chain(1)[0].key).faults)


def test_a_line_that_does_not_add_up_is_found_unless_it_says_so() -> None:
    """A line may tell of a broken rule; it may not hide one."""
    assert ["line 1 does not add up and says that no rule is broken"] == verify_lines(chain(1, used=3)).faults
    honest = verify_lines(chain(1, used=3, broken=1))
    assert ([], 1) == (honest.faults, honest.broken)


def test_minutes_without_a_line_are_counted() -> None:
    """They are no fault: nothing was checked then, and nothing claims it."""
    proof = verify_lines(chain(4, minutes=10))
    assert ([], 3) == (proof.faults, proof.gaps)


@pytest.mark.parametrize(
    "nonsense",
    [SignedLine("{}", "00", "00"), SignedLine("x", "zz", "zz"), SignedLine(chain(1)[0].line, "00" * 64, "00")],
)
def test_nonsense_is_a_fault(nonsense: SignedLine) -> None:
    """Whatever is sent as a line, verifying ends with a word about it."""
    assert 1 == len(verify_lines([nonsense]).faults)


def test_the_first_line_has_none_before_it() -> None:
    """A chain cannot begin in the middle and call itself whole."""
    first = msgspec.json.decode(chain(1)[0].line, type=Line)
    again = sign(msgspec.structs.replace(first, previous="ab" * 32), KEY)
    assert ["line 1 names a line before it"] == verify_lines([again]).faults


def test_openssl_says_the_same(tmp_path: Path) -> None:
    """The commands of docs/invariants.md: anyone can check a line without any program of ours."""
    openssl = need_program("openssl", "openssl")
    (line,) = chain(1)
    (tmp_path / "key.pem").write_bytes(public_pem(bytes.fromhex(line.key)))
    (tmp_path / "signature").write_bytes(bytes.fromhex(line.signature))
    command = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "line",
        "-sigfile",
        "signature",
    ]
    for text, code in ((line.line, 0), (line.line.replace("10", "11"), 1)):
        (tmp_path / "line").write_text(text)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert code == done.returncode, done.stderr
