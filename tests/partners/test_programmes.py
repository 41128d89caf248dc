"""Programmes of grants: made, funded, claimed, ended; every unit is somewhere at every moment."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.accounts.model import Acting, GroupRole
from emeterai.core.granting import (
    PROGRAMME_MOVES,
    ProgrammeMove,
    ProgrammeState,
    after_programme_move,
    identity_hash,
    split_of_grant,
    tidy_identity,
)
from emeterai.core.ledger import Balance, Reason
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.partners import programme_returns
from emeterai.partners.programme_model import Figures
from emeterai.partners.programme_returns import GrantReturns
from emeterai.partners.programmes import INVITED_MAX
from programme_people import Bureau, chunks, identity, person


@pytest.fixture
async def bureau(db: Database) -> Bureau:
    """An agency on this test's database."""
    return await Bureau.open(db)


@given(granted=st.integers(1, 9), used_since=st.integers(0, 20), available=st.integers(0, 20))
def test_a_grant_splits_into_used_returned_and_kept(granted: int, used_since: int, available: int) -> None:
    """Nothing is negative, the three are what was granted, and nobody gives back more than he has."""
    split = split_of_grant(granted, used_since=used_since, available=available)
    assert granted == sum(split)
    assert min(split) >= 0
    assert split.returned == min(available, granted - min(granted, used_since))


def test_the_states_are_one_table() -> None:
    """A programme that has ended stays so, and none begins anew."""
    assert ProgrammeState.ENDING is after_programme_move(ProgrammeState.OPEN, ProgrammeMove.OVERDUE)
    assert all(after is not ProgrammeState.OPEN for after in PROGRAMME_MOVES.values())
    assert all(after_programme_move(ProgrammeState.ENDED, move) is None for move in ProgrammeMove)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("3201011203900001", "3201011203900001"),
        (" 320101 520390 0001 ", "3201015203900001"),
        ("32.01.01-120390-0001", "3201011203900001"),
        ("３２０１０１１２０３９００００１", "3201011203900001"),
        ("320101320390001", None),
        ("3201013203900001", None),
        ("3201011213900001", None),
        ("0201011203900001", None),
        ("32010112039000011", None),
        ("", None),
    ],
)
def test_an_identity_number_is_read_or_not(typed: str, expected: str | None) -> None:
    """Blanks, dots, hyphens and wide digits are the same number; what has no day or month of birth is none."""
    assert expected == tidy_identity(typed)


def test_the_hash_of_an_identity_is_what_the_documents_say() -> None:
    """An agency that follows docs/decisions/0020 with any scrypt gets this very line."""
    expected = hashlib.scrypt(b"3201011203900001", salt=bytes(range(32)), n=4096, r=8, p=1, dklen=32)
    assert expected == identity_hash("3201011203900001", bytes(range(32)))


async def test_a_programme_takes_its_units_from_the_agency(bureau: Bureau) -> None:
    """They lie in an account of its own, and the same request again takes nothing more."""
    made = await bureau.programme(funded=10, invited=0)
    assert (0, 10) == (await bureau.available(bureau.agency.account_id), await bureau.available(made.id))
    await bureau.programmes.fund(bureau.agency, made.id, 10, key="first")
    with pytest.raises(Refused, match="idempotency_key_reused"):
        await bureau.programmes.fund(bureau.agency, made.id, 11, key="first")
    with pytest.raises(Refused, match="quota_not_enough"):
        await bureau.programmes.fund(bureau.agency, made.id, 1, key="second")
    await bureau.credit(bureau.agency.account_id, 5)
    assert 15 == (await bureau.programmes.fund(bureau.agency, made.id, 5, key="second")).funded
    await bureau.assert_sound()


async def test_an_applicant_claims_once(bureau: Bureau) -> None:
    """By his number, typed as he likes; asked again he has the same grant."""
    made, siti = await bureau.programme(), person()
    claim, is_new = await bureau.claims.claim(siti, made.id, identity=f" {identity(1)[:6]}-{identity(1)[6:]}")
    again, is_new_again = await bureau.claims.claim(siti, made.id, identity=identity(1))
    assert (True, False, claim) == (is_new, is_new_again, again)
    assert Balance(bought=2) == await bureau.ledger.balance(siti.account_id)
    assert [Reason.GRANTED] == [it.reason for it in await bureau.ledger.history(siti.account_id)]
    await bureau.assert_sound()


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [(1, 1, "grant_claimed_by_other"), (1, 9, "grant_not_invited"), (9, 9, "grant_not_invited")],
)
async def test_a_grant_is_for_one_person(bureau: Bureau, first: int, second: int, code: str) -> None:
    """The same identity from another account, and one that is on no list, are refused."""
    made = await bureau.programme()
    if first == 1:
        await bureau.claims.claim(person(), made.id, identity=identity(first))
    with pytest.raises(Refused, match=code):
        await bureau.claims.claim(person(), made.id, identity=identity(second))
    await bureau.assert_sound()


async def test_an_account_claims_one_grant_of_a_programme(bureau: Bureau) -> None:
    """Also when it knows another identity, or a code besides."""
    made, siti = await bureau.programme(), person()
    [code] = await bureau.codes(made, 1)
    await bureau.claims.claim(siti, made.id, identity=identity(1))
    for way in ({"identity": identity(2)}, {"code": code}):
        with pytest.raises(Refused, match="grant_claimed_by_you"):
            await bureau.claims.claim(siti, made.id, **way)
    assert 2 == await bureau.available(siti.account_id)


async def test_a_code_is_read_as_people_type_it(bureau: Bureau) -> None:
    """In groups, in small letters; a mistyped one is told so before anything is tried."""
    made = await bureau.programme(invited=0)
    code, other = await bureau.codes(made, 2)
    grouped = "-".join(code[at : at + 4] for at in range(0, 16, 4)).lower()
    await bureau.claims.claim(person(), made.id, code=grouped)
    wrong = ("0" if other[0] != "0" else "1") + other[1:]
    with pytest.raises(Refused, match="grant_code_unusable"):
        await bureau.claims.claim(person(), made.id, code=wrong)
    with pytest.raises(Refused, match="grant_claimed_by_other"):
        await bureau.claims.claim(person(), made.id, code=code)


async def test_codes_open_their_own_programme_alone(bureau: Bureau) -> None:
    """So do identities: the same person is another key in every programme."""
    one, two = await bureau.programme(invited=1), await bureau.programme(invited=0)
    [code] = await bureau.codes(one, 1)
    for way in ({"identity": identity(1)}, {"code": code}):
        with pytest.raises(Refused, match="grant_not_invited"):
            await bureau.claims.claim(person(), two.id, **way)


async def test_guessing_is_stopped(bureau: Bureau) -> None:
    """After five tries that did not match the account waits, even with the right number."""
    made, siti = await bureau.programme(), person()
    for number in range(50, 55):
        with pytest.raises(Refused, match="grant_not_invited"):
            await bureau.claims.claim(siti, made.id, identity=identity(number), address="203.0.113.7")
    with pytest.raises(Refused, match="claim_tries_over") as refused:
        await bureau.claims.claim(siti, made.id, identity=identity(1), address="203.0.113.7")
    assert 0 < int(refused.value.facts["retry_after_s"]) <= 3600
    await bureau.claims.claim(person(), made.id, identity=identity(1), address="203.0.113.7")


async def test_no_identity_is_stored(bureau: Bureau) -> None:
    """Neither the number nor the hash that the list held is in any table, only a keyed hash of it."""
    made = await bureau.programme(invited=1)
    await bureau.claims.claim(person(), made.id, identity=identity(1))
    hashed = identity_hash(identity(1), made.salt)
    keys = [row["key"] for row in await bureau.db.fetch("SELECT key FROM partners.invited")]
    assert [bureau.keys.key_of_hash(made.id, hashed)] == keys
    assert hashed not in keys


async def test_a_programme_that_is_empty_says_so(bureau: Bureau) -> None:
    """And goes on when it is topped up: an applicant loses nothing."""
    made, siti = await bureau.programme(funded=3), person()
    await bureau.claims.claim(person(), made.id, identity=identity(1))
    with pytest.raises(Refused, match="programme_empty"):
        await bureau.claims.claim(siti, made.id, identity=identity(2))
    await bureau.credit(bureau.agency.account_id, 1)
    await bureau.programmes.fund(bureau.agency, made.id, 1, key="more")
    await bureau.claims.claim(siti, made.id, identity=identity(2))
    await bureau.assert_sound()


async def test_at_the_end_every_unit_is_accounted_for(bureau: Bureau) -> None:
    """Used, given back and never claimed; nobody has to ask."""
    made = await bureau.programme(funded=10, invited=3)
    one, two = person(), person()
    for number, who in ((1, one), (2, two)):
        await bureau.claims.claim(who, made.id, identity=identity(number))
    await bureau.use(one.account_id, 1)
    await bureau.let_it_end(made)
    with pytest.raises(Refused, match="programme_over"):
        await bureau.claims.claim(person(), made.id, identity=identity(3))
    assert 2 == await bureau.returns.sweep()
    expected = Figures(funded=10, in_programme=0, in_grants=0, used=1, claimed_returned=3, unclaimed_returned=6, kept=0)
    assert expected == await bureau.programmes.figures(bureau.agency, made.id)
    assert ProgrammeState.ENDED is (await bureau.programmes.public(made.id)).state
    assert (9, 0, 0) == tuple(
        [await bureau.available(it) for it in (bureau.agency.account_id, one.account_id, two.account_id)]
    )
    assert 0 == await bureau.returns.sweep()
    await bureau.assert_sound()


async def test_what_a_person_bought_himself_stays_his(bureau: Bureau) -> None:
    """What he used since counts as the grant's first; what is not there any more is kept, never below zero."""
    made, siti = await bureau.programme(funded=4, units_each=4, invited=1), person()
    await bureau.credit(siti.account_id, 5)
    await bureau.use(siti.account_id, 3)
    await bureau.claims.claim(siti, made.id, identity=identity(1))
    await bureau.use(siti.account_id, 1)
    await bureau.let_it_end(made)
    await bureau.returns.sweep()
    assert 2 == await bureau.available(siti.account_id)
    figures = await bureau.programmes.figures(bureau.agency, made.id)
    assert (1, 3, 0) == (figures.used, figures.claimed_returned, figures.kept)
    await bureau.assert_sound()


async def test_a_stamp_that_is_being_made_is_waited_for(bureau: Bureau) -> None:
    """Its unit is neither used nor available now: the grant ends when that is decided, or when patience ends."""
    made, siti = await bureau.programme(funded=2, invited=1), person()
    await bureau.claims.claim(siti, made.id, identity=identity(1))
    [hold] = await bureau.use(siti.account_id, 1, settled=False)
    await bureau.let_it_end(made)
    assert 0 == await bureau.returns.sweep()
    assert ProgrammeState.ENDING is (await bureau.programmes.public(made.id)).state
    await bureau.settle(siti.account_id, hold)
    async with bureau.db.transaction() as tx:
        await tx.execute("UPDATE partners.claims SET try_after = now()")
    assert 1 == await bureau.returns.sweep()
    figures = await bureau.programmes.figures(bureau.agency, made.id)
    assert (1, 1, 0) == (figures.used, figures.claimed_returned, figures.kept)


async def test_patience_has_an_end(bureau: Bureau) -> None:
    """Whoever holds units for ever keeps them, and the programme accounts for them as kept."""
    made, siti = await bureau.programme(funded=2, invited=1), person()
    await bureau.claims.claim(siti, made.id, identity=identity(1))
    await bureau.use(siti.account_id, 1, settled=False)
    await bureau.let_it_end(made)
    await asyncio.sleep(0.01)
    assert 1 == await GrantReturns(bureau.db, bureau.ledger, patience_s=0).sweep()
    figures = await bureau.programmes.figures(bureau.agency, made.id)
    assert (0, 1, 1) == (figures.used, figures.claimed_returned, figures.kept)
    await bureau.assert_sound()


async def test_many_grants_end_in_bounded_batches(bureau: Bureau, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep after goes on where one stopped, and the agency has back each time what has come back so far."""
    monkeypatch.setattr(programme_returns, "_CLAIMS_A_BATCH", 2)
    monkeypatch.setattr(programme_returns, "_BATCHES_A_SWEEP", 1)
    made = await bureau.programme(funded=5, units_each=1, invited=0)
    for code in await bureau.codes(made, 5):
        await bureau.claims.claim(person(), made.id, code=code)
    await bureau.let_it_end(made)
    seen = []
    while (await bureau.programmes.public(made.id)).state is not ProgrammeState.ENDED:
        await bureau.returns.sweep()
        await bureau.assert_sound()
        seen.append(await bureau.available(bureau.agency.account_id))
    assert [2, 4, 5] == seen


async def test_an_agency_ends_a_programme_early(bureau: Bureau) -> None:
    """What nobody claimed is back at once; the rest with the next sweep; twice is once."""
    made = await bureau.programme(funded=10)
    await bureau.claims.claim(person(), made.id, identity=identity(1))
    for _ in range(2):
        ended = await bureau.programmes.end(bureau.agency, made.id)
    assert ProgrammeState.ENDING is ended.state
    assert ended.overdue
    assert 8 == await bureau.available(bureau.agency.account_id)
    for step in (
        bureau.programmes.fund(bureau.agency, made.id, 1, key="late"),
        bureau.programmes.make_codes(bureau.agency, made.id, 1),
        bureau.programmes.invite_list(bureau.agency, made.id, chunks(b"00")),
    ):
        with pytest.raises(Refused, match="programme_over"):
            await step
    await bureau.returns.sweep()
    assert 10 == await bureau.available(bureau.agency.account_id)
    await bureau.assert_sound()


async def test_nobody_else_runs_a_programme(bureau: Bureau) -> None:
    """To strangers, and to plain members of the agency, it is not there."""
    made, stranger = await bureau.programme(), person()
    member = replace(bureau.agency, acting=Acting(new_id(), "Badan", GroupRole.MEMBER))
    for who, code in ((stranger, "programme_unknown"), (member, "group_role_needed")):
        for step in (
            bureau.programmes.figures(who, made.id),
            bureau.programmes.fund(who, made.id, 1, key="x"),
            bureau.programmes.end(who, made.id),
            bureau.programmes.batches(who, made.id),
        ):
            with pytest.raises(Refused, match=code):
                await step


@pytest.mark.parametrize(
    "ends_at",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
)
async def test_an_end_beyond_all_calendars_is_refused_like_any_other(bureau: Bureau, ends_at: datetime) -> None:
    """It is the caller's mistake; nobody is told to try again later."""
    with pytest.raises(Refused, match="programme_unusable"):
        await bureau.programmes.make(bureau.agency, name="Seleksi", message="", units_each=2, ends_at=ends_at)


@pytest.mark.parametrize(
    "wrong",
    [{"name": " "}, {"name": "x" * 121}, {"units_each": 0}, {"units_each": 101}, {"days": -1}, {"message": "x" * 1001}],
)
async def test_a_programme_that_makes_no_sense_is_refused(bureau: Bureau, wrong: dict[str, object]) -> None:
    """With one sentence that says what it needs."""
    values = {"name": "Seleksi", "message": "", "units_each": 2, "days": 3} | wrong
    ends_at = datetime.now(UTC) + timedelta(days=values.pop("days"))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="programme_unusable"):
        await bureau.programmes.make(bureau.agency, ends_at=ends_at, **values)  # type: ignore[arg-type]


async def test_a_list_is_taken_line_by_line(bureau: Bureau) -> None:
    """Headings and blanks count for nothing; bad lines are named by number; twice is once; chunks end anywhere."""
    made = await bureau.programme(invited=0)
    good = [identity_hash(identity(number), made.salt).hex() for number in (1, 2)]
    lines = [
        "\ufeffhash,nama",
        good[0],
        "",
        f'"{good[1].upper()}",Budi',
        good[0],
        "3201011203900001",
        "salah",
        "x" * 999,
    ]
    data = "\r\n".join(lines).encode()
    report = await bureau.programmes.invite_list(
        bureau.agency, made.id, chunks(*(data[at : at + 7] for at in range(0, len(data), 7)))
    )
    assert (8, 2, 1, 3, 2) == (report.lines, report.added, report.known, report.bad, report.blank)
    assert [6, 7, 8] == [it.line for it in report.bad_lines]
    assert "NIK" in report.bad_lines[0].id
    again = await bureau.programmes.invite_list(bureau.agency, made.id, chunks(data))
    assert (0, 3) == (again.added, again.known)
    assert 2 == (await bureau.programmes.public(made.id)).invited
    await bureau.assert_sound()


async def test_a_programme_holds_a_bounded_number_of_invitations(bureau: Bureau) -> None:
    """What does not fit is refused and not half taken."""
    made = await bureau.programme(invited=2)
    async with bureau.db.transaction() as tx:
        await tx.execute("UPDATE partners.programmes SET invited = $1", INVITED_MAX)
    with pytest.raises(Refused, match="programme_full"):
        await bureau.programmes.invite_list(bureau.agency, made.id, chunks(b"ab" * 32))
    assert 2 == await bureau.db.fetchval("SELECT count(*) FROM partners.invited")


async def test_codes_that_were_left_half_made_are_finished(bureau: Bureau) -> None:
    """A request that died leaves its batch; the steward makes the rest, and every code of it works."""
    made = await bureau.programme(invited=0)
    codes = await bureau.codes(made, 3)
    async with bureau.db.transaction() as tx:
        await tx.execute("UPDATE partners.code_batches SET ready = 1, created_at = now() - interval '1 hour'")
    assert (1, 0) == (await bureau.programmes.finish_codes(), await bureau.programmes.finish_codes())
    [batch] = await bureau.programmes.batches(bureau.agency, made.id)
    assert 3 == batch.ready
    await bureau.claims.claim(person(), made.id, code=codes[2])
    await bureau.assert_sound()
