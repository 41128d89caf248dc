"""Every movement of the ledger has words that a person understands."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from emeterai.accounts.quota import change_in_words, change_of, lines_of, words_of
from emeterai.core.ledger import Kind, Reason
from emeterai.ledger.model import Movement

SUBJECT = UUID(int=2**100)
AT = datetime(2026, 11, 21, tzinfo=UTC)


def movement(kind: Kind, reason: Reason, amount: int = 1, *, subject: UUID | None = SUBJECT) -> Movement:
    """A movement of the history."""
    return Movement(UUID(int=2**101), kind.value, reason.value, amount, subject, AT)


PASSED_ON = [
    Reason.SOLD,
    Reason.STOCK_MOVED,
    Reason.VOUCHERS_MADE,
    Reason.VOUCHER_REDEEMED,
    Reason.VOUCHERS_VOIDED,
    Reason.GRANT_FUNDED,
    Reason.GRANTED,
    Reason.GRANT_RETURNED,
]


@pytest.mark.parametrize(
    ("reason", "kind"), [*((it, "") for it in Reason), *((it, Kind.RECEIVE.value) for it in PASSED_ON)]
)
def test_every_reason_has_words(reason: Reason, kind: str) -> None:
    """Why it happened and what to do next are there in both languages, and no code or blank shows through."""
    words = words_of(reason.value, kind)
    for text in (words.why_id, words.why_en, words.next_id, words.next_en):
        assert text == text.strip().rstrip(".")
        assert len(text) >= 8
        assert "_" not in text
    assert words.why_id != words.why_en
    assert words.next_id != words.next_en
    assert words.page_of(SUBJECT).startswith("/")


@pytest.mark.parametrize("reason", [Reason.EXPIRED, Reason.FILE_REFUSED, Reason.SEALING_FAILED, Reason.CANCELLED])
def test_what_comes_back_says_so_first(reason: Reason) -> None:
    """A person whose stamp failed reads that the quota is back, then why."""
    words = words_of(reason.value)
    assert words.why_id.startswith("Kuota Anda sudah kembali: ")
    assert words.why_en.startswith("Your quota is back: ")


def test_no_two_reasons_read_the_same() -> None:
    """A person can tell a late stamp from a refused file, and what was given from what was received."""
    words = [*(words_of(reason) for reason in Reason), *(words_of(reason, Kind.RECEIVE) for reason in PASSED_ON)]
    for language in ("why_id", "why_en"):
        assert len(words) == len({getattr(it, language) for it in words})


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (7, Kind.CREDIT),
        (-7, Kind.HOLD),
        (0, Kind.SETTLE),
        (7, Kind.RELEASE),
        (-7, Kind.REFUND),
        (-7, Kind.GIVE),
        (7, Kind.RECEIVE),
        (0, Kind.MONEY),
    ],
)
def test_the_change_is_told_with_its_sign(change: int, kind: Kind) -> None:
    """A hold takes from the available quota, a release gives back, and a held unit that is used changes nothing."""
    assert change == change_of(movement(kind, Reason.STAMPING, 7))


def test_the_change_is_a_sentence() -> None:
    """Growing, shrinking and staying are told in both languages."""
    assert ("Kuota tersedia bertambah 2.", "The available quota grows by 2.") == change_in_words(2)
    assert ("Kuota tersedia berkurang 1.", "The available quota shrinks by 1.") == change_in_words(-1)
    assert ("Kuota tersedia tidak berubah.", "The available quota does not change.") == change_in_words(0)


def test_what_was_available_is_counted_backwards() -> None:
    """The newest line ends at today's quota; each older one at what the line above it started from."""
    newest_first = [
        movement(Kind.RELEASE, Reason.EXPIRED),
        movement(Kind.HOLD, Reason.STAMPING),
        movement(Kind.SETTLE, Reason.SEALED),
        movement(Kind.HOLD, Reason.STAMPING),
        movement(Kind.CREDIT, Reason.PURCHASE, 20),
    ]
    assert [19, 18, 19, 19, 20] == [line.available_after for line in lines_of(newest_first, available=19)]


def test_a_movement_leads_to_what_it_is_about() -> None:
    """A stamp's movements lead to the stamp, an order's to the order, and one about nothing leads nowhere."""
    stamp, order, nothing = lines_of(
        [
            movement(Kind.SETTLE, Reason.SEALED),
            movement(Kind.CREDIT, Reason.PURCHASE),
            movement(Kind.CREDIT, Reason.PURCHASE, subject=None),
        ],
        available=1,
    )
    assert f"/meterai/{SUBJECT}" == stamp.next_url
    assert f"/pesanan/{SUBJECT}" == order.next_url
    assert nothing.next_url is None
