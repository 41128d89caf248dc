"""Serial numbers: what the check character catches, exactly, and that nobody can count."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.serial import (
    ALPHABET,
    BLOCK_NUMBER_MAX,
    SERIAL_LENGTH,
    SerialBlock,
    block_number_of,
    check_character,
    is_serial,
    tidy_serial,
)

PLACES = 20_000
PAYLOADS = st.text(ALPHABET, min_size=SERIAL_LENGTH - 1, max_size=SERIAL_LENGTH - 1)
SERIALS = PAYLOADS.map(lambda payload: payload + check_character(payload))

GAPS = st.sampled_from(["", " ", "-", "\t", "\n", "\u00a0"])


@pytest.fixture(scope="module")
def serials() -> list[str]:
    """Every serial of one block."""
    block = SerialBlock(1_234_567, bytes(range(32)), PLACES)
    return [block.serial(place) for place in range(PLACES)]


def is_next(one: str, other: str) -> bool:
    """Whether two characters are neighbours in the alphabet, where 0 comes after Z."""
    return abs(ALPHABET.index(one) - ALPHABET.index(other)) in {1, len(ALPHABET) - 1}


@pytest.mark.parametrize("number", ["A12425GABC1234002M", "A12425GXYZ98760086", "A12425G1234567890L"])
def test_the_check_character_is_the_one_of_the_standard(number: str) -> None:
    """The first is the worked example of the Global Release Identifier, which uses ISO 7064 MOD 37,36 as we do."""
    assert number[-1] == check_character(number[:-1])


@given(SERIALS)
def test_every_mistyped_character_is_noticed(serial: str) -> None:
    """All 22 x 35 ways to type one character of a serial wrong are found: single substitutions never pass."""
    typos = [
        serial[:place] + wrong + serial[place + 1 :]
        for place, right in enumerate(serial)
        for wrong in ALPHABET
        if wrong != right
    ]
    assert [] == [typo for typo in typos if is_serial(typo)]


@given(SERIALS)
def test_swapped_neighbours_are_noticed_unless_they_are_also_neighbours_in_the_alphabet(serial: str) -> None:
    """Two different characters that change places are found, save for some pairs such as 3 and 4, or Z and 0."""
    swapped = [
        serial[:place] + serial[place + 1] + serial[place] + serial[place + 2 :]
        for place in range(SERIAL_LENGTH - 1)
        if serial[place] != serial[place + 1] and not is_next(serial[place], serial[place + 1])
    ]
    assert [] == [swap for swap in swapped if is_serial(swap)]


@pytest.mark.parametrize("before", ALPHABET)
def test_one_swap_in_630_is_missed(before: str) -> None:
    """Whatever stands before, one pair of the 630 gives the same check character both ways round.

    One character brings the calculation to each of its 36 states, so these 36 cases are all there are.
    """
    missed = [
        one + other
        for one in ALPHABET
        for other in ALPHABET
        if one < other and check_character(before + one + other) == check_character(before + other + one)
    ]
    assert 1 == len(missed)
    assert is_next(*missed[0])


@pytest.mark.parametrize(
    "text",
    ["", "A" * 21, "A" * 23, "a" * 22, "-" * 22, "\u0661" * 22, " " * 22],
    ids=["empty", "short", "long", "small letters", "hyphens", "other digits", "blanks"],
)
def test_other_text_is_no_serial(text: str) -> None:
    """Only 22 characters A-Z0-9 can be one."""
    assert not is_serial(text)


def test_a_block_gives_serials_of_the_right_form(serials: list[str]) -> None:
    """22 characters A-Z0-9, the right check character, and the number of the block in front."""
    assert all(re.fullmatch(r"[A-Z0-9]{22}", serial) for serial in serials)
    assert all(is_serial(serial) for serial in serials)
    assert {1_234_567} == {block_number_of(serial) for serial in serials}


def test_no_serial_of_a_block_comes_twice(serials: list[str]) -> None:
    """All places of the block differ."""
    assert PLACES == len(set(serials))


def test_a_serial_says_nothing_about_the_next(serials: list[str]) -> None:
    """Half of them go up and half go down; two neighbours agree in a character as often as chance has it."""
    drawn = [serial[5:-1] for serial in serials]
    pairs = list(pairwise(drawn))
    ups = sum(one < other for one, other in pairs)
    agreements = sum(a == b for one, other in pairs for a, b in zip(one, other, strict=True))
    assert 0.5 == pytest.approx(ups / len(pairs), abs=0.02)
    assert 1 / 36 == pytest.approx(agreements / (16 * len(pairs)), abs=0.002)


def test_every_character_is_as_frequent_at_every_drawn_place(serials: list[str]) -> None:
    """No place of a serial prefers a character."""
    for place in range(5, SERIAL_LENGTH - 1):
        counts = Counter(serial[place] for serial in serials)
        assert set(ALPHABET) == set(counts)
        assert all(400 < count < 720 for count in counts.values()), place


def test_another_key_gives_other_serials(serials: list[str]) -> None:
    """Who knows the number of a block and all places in it knows nothing without its key."""
    other = SerialBlock(1_234_567, bytes(range(1, 33)), PLACES)
    assert set() == set(serials) & {other.serial(place) for place in range(PLACES)}


def test_a_place_has_one_serial() -> None:
    """Asked twice, a block answers the same."""
    block = SerialBlock(BLOCK_NUMBER_MAX, bytes(32), 1)
    assert block.serial(0) == block.serial(0)
    assert "ZZZZZ" == block.serial(0)[:5]


@pytest.mark.parametrize("place", [-1, 10, 2**64])
def test_a_place_outside_the_block_has_none(place: int) -> None:
    """A block never gives more than it holds."""
    with pytest.raises(ValueError, match="outside block 7"):
        SerialBlock(7, bytes(32), 10).serial(place)


def test_a_block_needs_a_long_key_and_a_number_that_fits() -> None:
    """A short key could be guessed; a number over five characters could not be written."""
    with pytest.raises(ValueError, match="32 bytes"):
        SerialBlock(0, bytes(31), 10)
    for number in (-1, BLOCK_NUMBER_MAX + 1):
        with pytest.raises(ValueError, match="out of range"):
            SerialBlock(number, bytes(32), 10)


@given(
    SERIALS, st.lists(st.sampled_from(["", " ", "-", "\t", "\n", "\u00a0"]), min_size=22, max_size=22), st.booleans()
)
def test_what_a_person_types_is_tidied(serial: str, between: list[str], small: bool) -> None:
    """Blanks, hyphens and small letters do not matter."""
    typed = "".join(gap + character for gap, character in zip(between, serial, strict=True))
    assert serial == tidy_serial(typed.lower() if small else typed)
