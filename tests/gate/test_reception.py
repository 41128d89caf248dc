"""The reception: one person, one place; who may come in, who may not, and what a lost database changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from waiting_people import DRAWN, NOT_DRAWN, OPEN, SECRET, changed, publish

from emeterai.core.refusal import Refused
from emeterai.gate import addresses, room_store
from emeterai.gate.giver import NUMBERS_PAUSED
from emeterai.gate.now import NowServing
from emeterai.gate.places import NUMBERS_AT_ONCE
from emeterai.gate.reception import Given, Reception
from emeterai.gate.tickets import Ticket, number_subject
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

SITI, BUDI = new_id(), new_id()
BUSY: set[UUID] = set()


async def in_flight(account_id: UUID) -> bool:
    """Who has money or a unit under way."""
    return account_id in BUSY


@pytest.fixture
async def reception(db: Database, tmp_path: Path) -> AsyncIterator[Reception]:
    """A reception in front of a retail lane where turn 100 is served and 500 numbers are out."""
    BUSY.clear()
    publish(tmp_path, OPEN)
    await db.fetch("INSERT INTO gate.rooms (lane, next_number) VALUES ('retail', 501)")
    desk = Reception(db, tmp_path, SECRET, in_flight=in_flight)
    yield desk
    await desk.close()


def stand(reception: Reception, now: NowServing) -> None:
    """The lane in another state, at once."""
    publish(reception.now.folder.parent, now)
    reception.now._known.clear()


def ticket_of(reception: Reception, number: int, account_id: UUID | None = None) -> str:
    """A ticket as somebody has it."""
    holder = reception.press.holder_of(account_id) if account_id else bytes(12)
    return reception.press.sign(Ticket("retail", number, int(utc_now().timestamp() * 1000) - 5_000, holder, 2, 9))


async def why_not(reception: Reception, shown: str, account_id: UUID | None = None, *, held: str = "") -> str:
    """Why somebody is not let in."""
    with pytest.raises(Refused) as said:
        await reception.enter("retail", account_id=account_id, shown=shown, held=held)
    return said.value.code


async def test_an_account_has_one_place_from_everywhere(reception: Reception) -> None:
    """Whatever it shows or does not show; another account has another."""
    first = await reception.ticket("retail", account_id=SITI)
    again = [
        await reception.ticket("retail", account_id=SITI),
        await reception.ticket("retail", account_id=SITI, shown=first.text),
        await reception.ticket(
            "retail", account_id=SITI, shown=(await reception.ticket("retail", account_id=None)).text
        ),
    ]
    assert {(first.ticket.number, "")} == {(given.ticket.number, given.code) for given in again}
    assert first.ticket.number != (await reception.ticket("retail", account_id=BUDI)).ticket.number


async def test_a_recovery_code_brings_a_place_back_and_signing_in_keeps_it(reception: Reception) -> None:
    """On another phone; and then it is the account's, and nobody else's."""
    given = await reception.ticket("retail", account_id=None)
    found = await reception.ticket("retail", account_id=None, code=given.code.lower())
    assert given.ticket.number == found.ticket.number
    siti = await reception.ticket("retail", account_id=SITI, code=given.code)
    assert given.ticket.number == siti.ticket.number
    assert siti.ticket.holder == reception.press.holder_of(SITI)
    with pytest.raises(Refused) as said:
        await reception.ticket("retail", account_id=BUDI, code=given.code)
    assert "ticket_of_another" == said.value.code


async def test_of_two_places_the_earlier_counts(reception: Reception) -> None:
    """Somebody who waited without signing in keeps the place they waited for."""
    early = await reception.ticket("retail", account_id=None)
    late = await reception.ticket("retail", account_id=SITI)
    assert early.ticket.number < late.ticket.number
    kept = await reception.ticket("retail", account_id=SITI, shown=early.text)
    assert early.ticket.number == kept.ticket.number
    assert early.ticket.number == (await reception.ticket("retail", account_id=SITI)).ticket.number


async def test_a_wrong_code_and_a_wrong_lane_are_refused(reception: Reception) -> None:
    """By what they are."""
    for lane, code, expected in (("retail", "AAAAA-BBBBB-CCCCC-DDDDD", "code_unknown"), ("../x", "", "lane_unknown")):
        with pytest.raises(Refused) as said:
            await reception.ticket(lane, account_id=None, code=code)
        assert expected == said.value.code


async def test_a_turn_that_has_come_opens_and_one_that_has_not_waits(reception: Reception) -> None:
    """Up to now serving, back to the grace; nothing forged, nothing of another lane or account."""
    entered = await reception.enter("retail", account_id=SITI, shown=ticket_of(reception, 100, SITI))
    assert entered.granted.is_bound
    assert reception.passes.read(entered.text) == entered.granted
    assert (await reception.enter("retail", account_id=None, shown=ticket_of(reception, 11))).granted.number == 11
    assert "turn_not_reached" == await why_not(reception, ticket_of(reception, 101, SITI), SITI)
    assert "turn_over" == await why_not(reception, ticket_of(reception, 10, SITI), SITI)
    assert "ticket_of_another" == await why_not(reception, ticket_of(reception, 50, SITI), BUDI)
    assert "ticket_unknown" == await why_not(reception, "t1.retail.forged", SITI)
    staff = reception.press.sign(Ticket("staff", 5, 0))
    assert "ticket_unknown" == await why_not(reception, staff, SITI)


async def test_a_ticket_that_two_accounts_show_is_the_first_ones(reception: Reception) -> None:
    """Also when the second has a place of its own."""
    shared = ticket_of(reception, 40)
    assert (await reception.enter("retail", account_id=SITI, shown=shared)).granted.is_bound
    assert "ticket_of_another" == await why_not(reception, shared, BUDI)
    await reception.ticket("retail", account_id=BUDI)
    assert "ticket_of_another" == await why_not(reception, shared, BUDI)


async def test_a_pass_is_renewed_for_its_account_only(reception: Reception) -> None:
    """One that names nobody must be tied to an account by its ticket first."""
    siti = await reception.enter("retail", account_id=SITI, shown=ticket_of(reception, 41, SITI))
    assert siti.granted == (await reception.enter("retail", account_id=SITI, held=siti.text)).granted
    assert "pass_of_another" == await why_not(reception, "", BUDI, held=siti.text)
    nobody = await reception.enter("retail", account_id=None, shown=ticket_of(reception, 42))
    assert not nobody.granted.is_bound
    assert "ticket_unknown" == await why_not(reception, "", BUDI, held=nobody.text)
    budi = await reception.enter("retail", account_id=BUDI, shown=ticket_of(reception, 42), held=nobody.text)
    assert budi.granted.holder == reception.passes.holder_of(BUDI)


async def test_whoever_has_money_or_a_unit_in_flight_always_gets_in(reception: Reception) -> None:
    """Before the turn, after it, without a ticket, when the lane is paused or closed; and stays as long as needed."""
    BUSY.add(SITI)
    for state in ("open", "paused", "closed", "before_opening"):
        stand(reception, changed(OPEN, state=state, draw=NOT_DRAWN if state == "before_opening" else None))
        for shown in ("", ticket_of(reception, 400, SITI), ticket_of(reception, 1, SITI)):
            entered = await reception.enter("retail", account_id=SITI, shown=shown)
            assert (True, True) == (entered.granted.finish, entered.granted.is_bound)
        assert await why_not(reception, ticket_of(reception, 400, BUDI), BUDI)


@pytest.mark.parametrize(
    ("state", "code"), [("paused", "lane_paused"), ("closed", "lane_closed"), ("before_opening", "turn_not_drawn")]
)
async def test_a_lane_that_is_not_open_lets_nobody_in(reception: Reception, state: str, code: str) -> None:
    """And says why."""
    stand(reception, changed(OPEN, state=state, draw=NOT_DRAWN if state == "before_opening" else None))
    assert code == await why_not(reception, ticket_of(reception, 50, SITI), SITI)


async def test_a_withdrawn_ticket_is_worth_nothing(db: Database, reception: Reception) -> None:
    """A second after it was withdrawn, its passes too."""
    entered = await reception.enter("retail", account_id=None, shown=ticket_of(reception, 60))
    await room_store.add_revocation(db, "retail", number_subject(60), "sold")
    await reception._look()
    assert "pass_revoked" == await why_not(reception, ticket_of(reception, 60))
    assert "pass_revoked" == await why_not(reception, "", held=entered.text)
    fresh = await reception.ticket("retail", account_id=None, shown=ticket_of(reception, 60))
    assert 60 != fresh.ticket.number


async def test_a_turn_that_was_long_ago_gets_a_new_number(reception: Reception) -> None:
    """For an account too, whose old place is given up."""
    old = await reception.ticket("retail", account_id=SITI)
    for _ in range(30):
        await reception.ticket("retail", account_id=None)
    stand(reception, changed(OPEN, grace_from=old.ticket.number + 1))
    new = await reception.ticket("retail", account_id=SITI, shown=old.text)
    assert new.ticket.number > old.ticket.number + 30
    assert new.ticket.number == (await reception.ticket("retail", account_id=SITI)).ticket.number


async def test_after_the_draw_newcomers_come_behind_the_pool(reception: Reception) -> None:
    """Numbers that were left over in the pool are nobody's."""
    stand(reception, changed(OPEN, state="before_opening", draw=NOT_DRAWN, now_serving=0, grace_from=1))
    before = await reception.ticket("retail", account_id=None)
    assert before.turn is None
    stand(reception, changed(OPEN, draw=changed(DRAWN, count=550), now_serving=0, grace_from=1))
    drawn = await reception.ticket("retail", account_id=None, shown=before.text)
    assert before.ticket.number == drawn.ticket.number
    assert drawn.turn in range(1, 551)
    after = await reception.ticket("retail", account_id=None)
    assert (551, 551) == (after.ticket.number, after.turn)


async def test_one_address_takes_no_million_numbers(reception: Reception) -> None:
    """Without signing in; others and those who sign in are not touched, and those who have one keep it."""
    given: list[Given] = []

    async def take_all() -> None:
        for _ in range(1_000):
            given.append(await reception.ticket("retail", account_id=None, address="198.51.100.7"))  # noqa: PERF401

    with pytest.raises(Refused) as said:
        await take_all()
    assert "numbers_too_many" == said.value.code
    assert 150 < len(given) < 400
    assert await reception.ticket("retail", account_id=None, address="198.51.100.8")
    assert await reception.ticket("retail", account_id=SITI, address="198.51.100.7")
    assert await reception.ticket("retail", account_id=None, shown=given[0].text, address="198.51.100.7")
    assert 300 == len([await reception.ticket("retail", account_id=None, address="127.0.0.1") for _ in range(300)])


async def test_with_the_database_away_tickets_are_as_good_as_ever(db: Database, reception: Reception) -> None:
    """Those with a ticket come in, those without get one from the lease, an account's is an account's."""
    anonymous = await reception.ticket("retail", account_id=None)
    await db.close()
    assert anonymous.ticket == (await reception.ticket("retail", account_id=None, shown=anonymous.text)).ticket
    assert (await reception.ticket("retail", account_id=None)).ticket.number == anonymous.ticket.number + 1
    siti = await reception.ticket("retail", account_id=SITI)
    assert siti.ticket.holder == reception.press.holder_of(SITI)
    assert (await reception.enter("retail", account_id=SITI, shown=ticket_of(reception, 70, SITI))).granted.is_bound
    assert not (await reception.enter("retail", account_id=SITI, shown=ticket_of(reception, 71))).granted.is_bound


async def test_whoever_leaves_may_come_again(reception: Reception) -> None:
    """With a new number; the code of the old one stays good for those who regret it."""
    given = await reception.ticket("retail", account_id=SITI)
    with pytest.raises(Refused) as said:
        await reception.leave("retail", account_id=BUDI, shown=given.text)
    assert "ticket_of_another" == said.value.code
    await reception.leave("retail", account_id=SITI, shown=given.text)
    assert given.ticket.number != (await reception.ticket("retail", account_id=SITI)).ticket.number


async def test_an_account_takes_no_million_numbers_by_leaving(reception: Reception) -> None:
    """It has a few, then one a minute; whoever stays is shown their place as often as they ask, and so are others."""
    numbers, why = set(), set()
    for _ in range(50):
        try:
            given = await reception.ticket("retail", account_id=SITI)
        except Refused as refused:
            why.add((refused.code, 0 < int(refused.facts["retry_after_s"]) <= 61))
            continue
        numbers.add(given.ticket.number)
        await reception.leave("retail", account_id=SITI, shown=given.text)
    assert (NUMBERS_AT_ONCE, {("numbers_taken", True)}) == (len(numbers), why)
    assert given.ticket.number == (await reception.ticket("retail", account_id=SITI, shown=given.text)).ticket.number
    stays = [await reception.ticket("retail", account_id=BUDI) for _ in range(50)]
    assert 1 == len({given.ticket.number for given in stays})


async def test_many_phones_of_an_account_that_ask_at_once_take_one_number(reception: Reception) -> None:
    """However many they are; none is told that it took too many."""
    given = await asyncio.gather(*(reception.ticket("retail", account_id=SITI) for _ in range(20)))
    assert {given[0].ticket.number} == {one.ticket.number for one in given}
    following = await reception.ticket("retail", account_id=None)
    assert given[0].ticket.number + 1 == following.ticket.number


async def test_whoever_is_not_answered_and_asks_again_gets_one_number(db: Database, reception: Reception) -> None:
    """Though nobody can write down whose it is: it is shown again, and was taken once."""
    await reception.ticket("retail", account_id=None)
    await db.close()
    asked = [await reception.ticket("retail", account_id=SITI) for _ in range(20)]
    assert 1 == len({given.ticket.number for given in asked})


async def no_number(*_: object, **__: object) -> int:
    """What the giver does that has none."""
    raise NUMBERS_PAUSED(retry_after_s=3)


async def test_whoever_got_no_number_has_taken_none(reception: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often they asked while there were none."""
    with monkeypatch.context() as patch:
        patch.setattr(reception._giver, "take", no_number)
        for _ in range(NUMBERS_AT_ONCE + 1):
            with pytest.raises(Refused) as said:
                await reception.ticket("retail", account_id=SITI)
            assert "numbers_paused" == said.value.code
    assert await reception.ticket("retail", account_id=SITI)


async def test_an_address_that_got_no_number_has_had_none(
    reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hundreds behind a carrier's gateway who asked all through an outage have theirs once it is over."""

    async def ask() -> int:
        return (await reception.ticket("retail", account_id=None, address="198.51.100.7")).ticket.number

    with monkeypatch.context() as patch:
        patch.setattr(reception._giver, "take", no_number)
        for _ in range(2 * addresses.NUMBERS_AT_ONCE):
            with pytest.raises(Refused, match="numbers_paused"):
                await ask()
    assert addresses.NUMBERS_AT_ONCE == len({await ask() for _ in range(addresses.NUMBERS_AT_ONCE)})


async def test_what_happens_is_counted_once(db: Database, reception: Reception) -> None:
    """Numbers, those who came (not twice), promises that held; written when it is time, and again changes nothing."""
    await reception.ticket("retail", account_id=None)
    for number in (100, 100, 99):
        await reception.enter("retail", account_id=None, shown=ticket_of(reception, number))
    await reception._look()
    await reception._look()
    counts = (await room_store.read_counts(db))["retail"]
    assert (1, 2) == (counts.given, counts.came)
    assert (2, 2) == (counts.promised, counts.kept)
    assert -2 < counts.late_s < 2
