"""What people type about themselves becomes one canonical value, or a named refusal; never a crash."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emeterai.accounts import details
from emeterai.accounts.model import Timezone
from emeterai.core.refusal import Refused

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=600)
CLEANERS = [details.clean_name, details.clean_label, details.clean_email, details.clean_phone]


@pytest.mark.parametrize(
    ("expected", "typed"),
    [
        ("+6281234567890", "081234567890"),
        ("+6281234567890", "+62 812-3456-7890"),
        ("+6281234567890", "6281234567890"),
        ("+6281234567890", "81234567890"),
        ("+6281234567890", "+62 (0)812 3456 7890"),
        ("+6281234567890", "0062 812 3456 7890"),
        ("+6281234567890", "\uff10\uff18\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff10"),
        ("+62215550123", "(021) 555.0123"),
        ("+6591234567", "+65 9123 4567"),
        ("+6591234567", "0065 9123 4567"),
    ],
)
def test_one_phone_number_has_one_form(expected: str, typed: str) -> None:
    """A number typed as people in Indonesia type it becomes E.164."""
    assert expected == details.clean_phone(typed)


@pytest.mark.parametrize(
    "typed", ["", "08", "abc", "08123x456789", "+0812345678", "+62", "0" * 30, "08123456789\x00", "\u0660\u0668" * 6]
)
def test_what_is_no_phone_number_is_refused_by_name(typed: str) -> None:
    """Too short, too long, letters, NUL and digits of other scripts are refused as `phone_unusable`."""
    with pytest.raises(Refused) as caught:
        details.clean_phone(typed)
    assert "phone_unusable" == caught.value.code


@pytest.mark.parametrize(
    ("expected", "typed"),
    [
        ("siti@contoh.id", " Siti@Contoh.ID "),
        ("siti@contoh.id", "\uff33iti\uff20contoh.id"),
        ("jos\u00e9@contoh.id", "Jose\u0301@contoh.id"),
        ("siti+meterai@mail.contoh.co.id", "siti+meterai@mail.contoh.co.id"),
    ],
)
def test_one_mailbox_has_one_form(expected: str, typed: str) -> None:
    """Case, width and composition of letters do not make another address."""
    assert expected == details.clean_email(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "siti",
        "siti@contoh",
        "@contoh.id",
        "siti@@contoh.id",
        "si ti@contoh.id",
        "siti@-contoh.id",
        "siti@contoh..id",
        "siti@contoh.id\x00",
        "siti\u200b@contoh.id",
        "siti\ud800@contoh.id",
        "s" * 65 + "@contoh.id",
        "s@" + "contoh." * 40 + "id",
    ],
)
def test_what_is_no_address_is_refused_by_name(typed: str) -> None:
    """Broken, hidden, endless and unencodable addresses are refused as `email_unusable`."""
    with pytest.raises(Refused) as caught:
        details.clean_email(typed)
    assert "email_unusable" == caught.value.code


@pytest.mark.parametrize(
    ("code", "typed"),
    [
        ("name_unusable", ""),
        ("name_unusable", "   "),
        ("name_unusable", "x" * 121),
        ("name_unusable", "x" * 100_000),
        ("name_unusable", "Siti\x00"),
        ("name_unusable", "Siti\u202eRahayu"),
        ("name_unusable", "Siti\ud800"),
        ("name_unusable", "!!!"),
        ("name_is_number", "3201123456780001"),
        ("name_is_number", "32.0112.345678.0001"),
        ("name_is_number", "12"),
        ("name_is_number", "Siti 3201123456780001"),
    ],
)
def test_a_name_is_a_name(code: str, typed: str) -> None:
    """Emptiness, bounds, hidden characters and identity numbers are refused, the last by a code of its own."""
    with pytest.raises(Refused) as caught:
        details.clean_name(typed)
    assert code == caught.value.code


@pytest.mark.parametrize("typed", ["Siti Rahayu", "Siti", "I Gusti Ngurah Rai", "Budi 2", "D'Artagnan", "\u5f20\u4f1f"])
def test_names_of_people_pass(typed: str) -> None:
    """One word is a whole name for many Indonesians; apostrophes, digits beside letters and other scripts are fine."""
    assert typed == details.clean_name(typed)


@pytest.mark.parametrize(
    ("expected", "typed"), [(Timezone.WIB, "WIB"), (Timezone.WITA, " wita "), (Timezone.WIT, "Asia/Jayapura")]
)
def test_a_zone_has_two_names(expected: Timezone, typed: str) -> None:
    """A zone is known by its Indonesian and its IANA name."""
    assert expected == details.clean_timezone(typed)


@given(typed=ANYTHING)
@example(typed="\u212a@contoh.id")
@example(typed="\u0130@contoh.id")
@pytest.mark.parametrize("clean", CLEANERS)
def test_canonical_values_stay_as_they_are(clean: Callable[[str], str], typed: str) -> None:
    """Cleaning twice is cleaning once, the result fits a text column, and anything else is a refusal."""
    with contextlib.suppress(Refused):
        value = clean(typed)
        assert value == clean(value)
        assert b"\x00" not in value.encode("utf-8")


@given(
    local=st.text("abcXYZ019._+-\u00e9\u0130\u212a", min_size=1, max_size=30),
    domain=st.from_regex(r"[a-zA-Z0-9]{1,10}\.[a-zA-Z]{2,6}", fullmatch=True),
)
def test_case_makes_no_other_mailbox(local: str, domain: str) -> None:
    """An address that is accepted is the same address when its domain is typed in capitals and with blanks around."""
    with contextlib.suppress(Refused):
        assert details.clean_email(f"{local}@{domain}") == details.clean_email(f"  {local}@{domain.upper()} ")


@given(digits=st.from_regex(r"8[1-9][0-9]{7,10}", fullmatch=True), separator=st.sampled_from(["", " ", "-", "."]))
def test_every_way_to_write_an_indonesian_number_is_the_same_number(digits: str, separator: str) -> None:
    """08..., 8..., 62..., +62... and +62 0..., with any separator, are one number."""
    typed = separator.join([digits[:3], digits[3:7], digits[7:]])
    written = [prefix + typed for prefix in ("0", "", "62", "+62", "+62 ", "+62 0", "0062")]
    assert {f"+62{digits}"} == {details.clean_phone(form) for form in written}


@given(typed=ANYTHING)
def test_a_contact_is_canonical_or_nobodys(typed: str) -> None:
    """Whatever is typed to sign in is looked up in its stored form, or belongs to nobody."""
    contact = details.known_contact(typed)
    assert contact is None or contact == details.known_contact(contact)


def test_no_contact_is_refused() -> None:
    """An account needs an e-mail address or a phone number; blanks are neither."""
    with pytest.raises(Refused) as caught:
        details.clean_email_and_phone(" ", None)
    assert "contact_needed" == caught.value.code
