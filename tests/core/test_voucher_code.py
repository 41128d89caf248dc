"""Codes are unguessable, and mistakes in them are found; states move by one table only."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.voucher_code import (
    ALPHABET,
    CODE_LENGTH,
    DRAWN_LENGTH,
    VOUCHER_MOVES,
    CodeBook,
    VoucherMove,
    VoucherState,
    after_voucher_move,
    check_character,
    code_of,
    grouped_code,
    is_code,
    movable,
    tidy_code,
)

KEY = bytes(range(32))
RUNBOOK = Path(__file__).parents[2] / "docs" / "guides" / "vouchers.md"
drawn_bits = st.integers(0, 2 ** (5 * DRAWN_LENGTH) - 1)
places = st.integers(0, CODE_LENGTH - 1)
characters = st.sampled_from(ALPHABET)


def test_a_code_has_75_bits_that_nobody_can_guess() -> None:
    """More than 70, in sixteen characters without I, L, O and U, in four groups."""
    assert 75 == 5 * DRAWN_LENGTH
    assert set("ILOU").isdisjoint(ALPHABET)
    code = CodeBook(KEY, 1).code(1)
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", grouped_code(code))


@given(drawn_bits)
def test_every_code_that_we_make_is_one(drawn: int) -> None:
    """Its check character is right, however it is typed: grouped, small, with blanks, or as a scanned link."""
    code = code_of(drawn)
    assert is_code(code)
    for typed in (code, grouped_code(code), code.lower(), f" {grouped_code(code).replace('-', ' ')}\n"):
        assert code == tidy_code(typed)
    assert code == tidy_code(f"https://meterai.example/voucher#{grouped_code(code)}")


@given(drawn_bits, places, characters)
def test_every_single_wrong_character_is_found(drawn: int, place: int, wrong: str) -> None:
    """At any place, the check character's own included."""
    code = code_of(drawn)
    changed = code[:place] + wrong + code[place + 1 :]
    assert (changed == code) == is_code(changed)


@given(drawn_bits, places, places)
def test_every_two_characters_that_changed_places_are_found(drawn: int, one: int, other: int) -> None:
    """Neighbours, which are swapped most often, and all others."""
    code = list(code_of(drawn))
    swapped = code.copy()
    swapped[one], swapped[other] = code[other], code[one]
    assert (swapped == code) == is_code("".join(swapped))


@given(drawn_bits, st.integers(0, DRAWN_LENGTH - 2), characters)
def test_every_double_typed_as_another_double_is_found(drawn: int, place: int, wrong: str) -> None:
    """`AA` for `BB`."""
    text = code_of(drawn)[:-1]
    held = text[:place] + text[place] * 2 + text[place + 2 :]
    code = held + check_character(held)
    typed = code[:place] + wrong * 2 + code[place + 2 :]
    assert (typed == code) == is_code(typed)


def test_the_weights_of_the_check_are_all_different_and_none_is_zero() -> None:
    """Which is why the three tests above hold for every code, not only for those tried."""
    ones = ["0" * place + "1" + "0" * (DRAWN_LENGTH - 1 - place) for place in range(DRAWN_LENGTH)]
    weights = {*map(check_character, ones), "1"}
    assert "0" not in weights
    assert CODE_LENGTH == len(weights)


@given(drawn_bits, drawn_bits)
def test_the_check_is_linear_so_one_weight_a_place_is_all_there_is(one: int, other: int) -> None:
    """The check of a sum is the sum of the checks: the test of the weights is a proof."""
    values = [ALPHABET.index(code_of(drawn)[-1]) for drawn in (one, other, one ^ other)]
    assert values[2] == values[0] ^ values[1]


@pytest.mark.parametrize("typed", ["", "1234", "U" * 16, "0" * 15 + "!", "0" * 17, "\u0660" * 16, "ß" * 8])
def test_what_is_no_code_is_none(typed: str) -> None:
    """Too short, too long, or with characters that no code has."""
    assert not is_code(tidy_code(typed))


def test_letters_that_look_like_digits_are_read_as_them() -> None:
    """O is 0; I and L are 1; U is nothing."""
    assert "0111" == tidy_code("oIl1")
    assert "U" == tidy_code("u")


def test_a_book_gives_the_same_codes_again_and_other_keys_give_others() -> None:
    """So the sheet can be downloaded again as long as the key is kept, and no two codes are alike."""
    book = CodeBook(KEY, 500)
    assert book.codes() == CodeBook(KEY, 500).codes()
    others = CodeBook(bytes(32), 500).codes()
    assert 1_000 == len({*book.codes(), *others})
    assert book.code(500) == book.codes()[-1]


def test_a_book_has_a_key_and_knows_its_own_numbers_only() -> None:
    """A short key, number 0 and one beyond the end are mistakes of the caller."""
    with pytest.raises(ValueError, match="32 bytes"):
        CodeBook(b"short", 1)
    for number in (0, 2):
        with pytest.raises(ValueError, match="no voucher"):
            CodeBook(KEY, 1).code(number)


def test_neighbouring_codes_have_nothing_in_common() -> None:
    """Codes are no counter: about one character in 32 is the same by chance."""
    codes = CodeBook(KEY, 400).codes()
    same = sum(a == b for one, other in pairwise(codes) for a, b in zip(one, other, strict=True))
    assert same < 0.06 * 400 * CODE_LENGTH


def test_redeemed_and_void_are_final() -> None:
    """No move leads out of them, and only an active voucher is redeemed."""
    for state in (VoucherState.REDEEMED, VoucherState.VOID):
        assert [None] * 3 == [after_voucher_move(state, move) for move in VoucherMove]
    assert [VoucherState.ACTIVE] == movable(VoucherMove.REDEEM)
    assert [VoucherState.MADE] == movable(VoucherMove.ACTIVATE)
    assert [VoucherState.MADE, VoucherState.ACTIVE] == movable(VoucherMove.VOID)


def test_the_diagram_shows_exactly_the_moves() -> None:
    """docs/guides/vouchers.md draws this table and nothing else."""
    lines = re.findall(r"^\s*(\w+) --> (\w+): (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    table = {(str(state), str(after), str(move)) for (state, move), after in VOUCHER_MOVES.items()}
    assert table == set(lines)
