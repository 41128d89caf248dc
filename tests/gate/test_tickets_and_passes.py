"""Tickets and passes say what was signed, to whom they belong, and nothing else is believed."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from waiting_people import SECRET

from emeterai.core.refusal import Refused
from emeterai.gate.passes import FINISH_LIFE_S, PASS_LIFE_S, STAY_S, Passes
from emeterai.gate.tickets import NUMBER_MAX, Ticket, TicketPress, number_subject
from emeterai.gate.tokens import NOBODY

PRESS, PASSES = TicketPress(SECRET), Passes(SECRET)
OTHER_HOUSE = b"another installation's secret...."
NOW_S = 1_795_000_000
SITI, BUDI = UUID(int=7 << 96), UUID(int=8 << 96)
lanes = st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True)
tickets = st.builds(
    Ticket,
    lane=lanes,
    number=st.integers(1, NUMBER_MAX),
    issued_ms=st.integers(1_767_225_600_000, 2_200_000_000_000),
    holder=st.one_of(st.just(NOBODY), st.binary(min_size=12, max_size=12)),
    low_s=st.one_of(st.none(), st.integers(0, 10**6)),
    high_s=st.one_of(st.none(), st.integers(0, 10**6)),
)


@given(tickets)
def test_a_ticket_comes_back_as_it_was_signed(ticket: Ticket) -> None:
    """Every field, in fewer than 130 visible characters."""
    text = PRESS.sign(ticket)
    assert ticket == PRESS.read(text)
    assert len(text) < 130


@given(tickets, st.data())
def test_a_changed_ticket_is_no_ticket(ticket: Ticket, data: st.DataObject) -> None:
    """Any other character in any place, a lane of another name, a part of it, more of it, another house's."""
    text = PRESS.sign(ticket)
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(min_codepoint=33, max_codepoint=300))
    assume(letter != text[place])
    assert PRESS.read(text[:place] + letter + text[place + 1 :]) is None
    assert PRESS.read(text[:place]) is None
    assert PRESS.read(text + letter) is None
    assert TicketPress(OTHER_HOUSE).read(text) is None
    assert PASSES.read(text) is None


@given(st.text(max_size=300))
def test_any_text_is_read_without_harm(text: str) -> None:
    """It is nobody's ticket, pass or code."""
    assert PRESS.read(text) is None
    assert PASSES.read(text) is None
    assert PRESS.recovered("retail", text) is None
    assert PRESS.recovered(text, "00000-00000-00000-00000") is None


@given(st.integers(1, NUMBER_MAX), st.integers(1_767_225_600, 2_200_000_000))
def test_a_recovery_code_brings_the_ticket_back(number: int, issued_s: int) -> None:
    """However it is typed; and only in its own lane."""
    ticket = Ticket("retail", number, issued_s * 1000)
    code = PRESS.code_of(ticket)
    assert 23 == len(code)
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert ticket == PRESS.recovered("retail", code) == PRESS.recovered("retail", typed)
    assert PRESS.recovered("cpns-2026", code) is None
    assert TicketPress(OTHER_HOUSE).recovered("retail", code) is None


@given(st.integers(1, NUMBER_MAX), st.integers(0, 19), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_a_code_with_a_wrong_letter_is_none(number: int, place: int, letter: str) -> None:
    """Nobody finds another's number by trying the next one."""
    code = PRESS.code_of(Ticket("retail", number, NOW_S * 1000)).replace("-", "")
    assume(code[place] != letter)
    assert PRESS.recovered("retail", code[:place] + letter + code[place + 1 :]) is None


def test_an_account_is_named_by_a_digest_that_only_we_can_make() -> None:
    """A ticket tells nobody whose it is, and another installation names the account otherwise."""
    holder = PRESS.holder_of(SITI)
    assert SITI.bytes[:8] not in holder
    assert holder == PASSES.holder_of(SITI) != TicketPress(OTHER_HOUSE).holder_of(SITI)
    assert holder[:8] != number_subject(5)[:8]


def pass_of(account_id: UUID | None, *, lane: str = "retail", at_s: int = NOW_S) -> str:
    """A pass as somebody holds it."""
    holder = NOBODY if account_id is None else PASSES.holder_of(account_id)
    return PASSES.sign(PASSES.of_ticket(Ticket(lane, 41, at_s * 1000, holder), at_s))


def refused(text: str, account_id: UUID | None, *, now_s: float = NOW_S, revoked: object = ()) -> str:
    """Why a pass does not open the retail lane."""
    with pytest.raises(Refused) as said:
        PASSES.check(text, lanes=("retail",), account_id=account_id, now_s=now_s, revoked=revoked)  # type: ignore[arg-type]
    return said.value.code


def test_a_pass_opens_its_lane_for_its_account_for_its_time() -> None:
    """And only then."""
    text = pass_of(SITI)
    assert PASSES.check(text, lanes=("staff", "retail"), account_id=SITI, now_s=NOW_S + PASS_LIFE_S - 1).is_bound
    assert "pass_expired" == refused(text, SITI, now_s=NOW_S + PASS_LIFE_S)
    assert "pass_of_another" == refused(text, BUDI)
    assert "pass_unknown" == refused(pass_of(SITI, lane="cpns-2026"), SITI)
    assert "pass_unknown" == refused(text.replace("p1.retail", "p1.staff"), SITI)
    assert "pass_unknown" == refused(Passes(OTHER_HOUSE).sign(PASSES.read(text)), SITI)  # type: ignore[arg-type]
    assert "pass_unknown" == refused(PRESS.sign(Ticket("retail", 41, NOW_S * 1000)), SITI)


def test_of_the_texts_that_mean_one_pass_only_ours_is_one() -> None:
    """The last character holds two bits that mean nothing; with others in them it is no pass."""
    text = pass_of(SITI)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    read = [PASSES.read(text[:-1] + letter) for letter in alphabet]
    assert 1 == sum(found is not None for found in read)


def test_a_withdrawn_pass_opens_nothing() -> None:
    """By its account, or by the number of one that names none; those of others go on."""
    by_account = {("retail", PASSES.holder_of(SITI))}
    assert "pass_revoked" == refused(pass_of(SITI), SITI, revoked=by_account)
    assert PASSES.check(pass_of(BUDI), lanes=("retail",), account_id=BUDI, now_s=NOW_S, revoked=by_account)
    assert "pass_revoked" == refused(pass_of(None), None, revoked={("retail", number_subject(41))})


def test_a_pass_is_renewed_by_use_until_its_stay_is_over() -> None:
    """From half its time on."""
    held = PASSES.read(pass_of(SITI))
    assert held is not None
    assert PASSES.renewed(held, NOW_S + 60) is None
    now_s, until_s = NOW_S, held.until_s
    while (again := PASSES.renewed(held, now_s := held.until_s - 1)) is not None:
        held, until_s = again, again.until_s
    assert NOW_S + STAY_S == until_s
    assert not PASSES.is_due(held, now_s)


def test_a_pass_to_finish_lasts_for_a_stay_from_when_it_was_last_certain() -> None:
    """Without a word; each time that something is found to be under way its stay begins anew."""
    held = PASSES.to_finish("retail", SITI, NOW_S)
    assert PASSES.renewed(held, NOW_S + 60) is None
    assert not PASSES.is_due(held, NOW_S + 60)
    now_s = NOW_S
    while (again := PASSES.renewed(held, now_s := held.until_s - 1)) is not None:
        held = again
    assert (NOW_S, NOW_S + STAY_S) == (held.entered_s, held.until_s)
    assert PASSES.is_due(held, now_s)
    confirmed = PASSES.confirmed(held, now_s)
    assert (now_s, now_s + FINISH_LIFE_S, held.holder) == (confirmed.entered_s, confirmed.until_s, confirmed.holder)
    assert PASSES.renewed(confirmed, confirmed.until_s - 1) is not None


@given(st.integers(0, 2**30), st.integers(0, 2**32 - 1), st.booleans())
def test_a_pass_comes_back_as_it_was_signed(number: int, until_s: int, finish: bool) -> None:
    """Every field."""
    granted = PASSES.to_finish("retail", uuid4(), min(until_s, 2**31))
    text = PASSES.sign(granted)
    assert granted == PASSES.read(text)
