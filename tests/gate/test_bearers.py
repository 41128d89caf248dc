"""Tickets and passes that are shown around: a turn is one account's, and few come on what names none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest
from waiting_people import OPEN, SECRET, publish

from emeterai.core.refusal import Refused
from emeterai.gate.bearers import PASSES_MAX, SESSIONS_MAX, SESSIONS_OF_ACCOUNT_MAX
from emeterai.gate.carrying import PASS_HEADER
from emeterai.gate.keeper import pass_reader
from emeterai.gate.passes import PASS_LIFE_S, Pass, Passes
from emeterai.gate.reception import Reception
from emeterai.gate.tickets import Ticket, TicketPress
from emeterai.gate.tokens import NOBODY
from emeterai.infra.clock import utc_now
from emeterai.infra.database import BUSY, Database
from emeterai.infra.ids import new_id

SITI, BUDI = new_id(), new_id()
PASSES, PRESS = Passes(SECRET), TicketPress(SECRET)


@pytest.fixture
async def desks(db: Database, tmp_path: Path) -> AsyncIterator[list[Reception]]:
    """The receptions of two web processes, where turn 100 is served."""
    publish(tmp_path, OPEN)
    found = [Reception(db, tmp_path, SECRET) for _ in range(2)]
    yield found
    for desk in found:
        await desk.close()


def now_s() -> int:
    """The second that it is."""
    return int(utc_now().timestamp())


def ticket_of(number: int = 40) -> str:
    """A ticket of nobody, which is passed around."""
    return PRESS.sign(Ticket("retail", number, now_s() * 1000))


def pass_of(ends_s: int, *, number: int = 40) -> Pass:
    """A pass of nobody."""
    return Pass("retail", number, NOBODY, ends_s - PASS_LIFE_S, ends_s)


async def come(desk: Reception, count: int, *, number: int = 40) -> list[Pass]:
    """So many come in with one ticket, at different moments of the last minutes."""
    found = [pass_of(now_s() + 300 + later, number=number) for later in range(count)]
    for one in found:
        await desk._bearers.let_in(one, now_s=now_s())
    return found


async def why_not(desk: Reception, shown: str, *, account_id: UUID | None = None) -> str:
    """Why somebody is not let in."""
    with pytest.raises(Refused) as said:
        await desk.enter("retail", account_id=account_id, shown=shown)
    return said.value.code


async def test_few_come_in_with_one_ticket_of_nobody(db: Database, desks: list[Reception]) -> None:
    """In all web processes together; again when one has left, at once with an account, and others all the same."""
    await come(desks[0], PASSES_MAX)
    for desk in desks:
        with pytest.raises(Refused) as said:
            await desk.enter("retail", account_id=None, shown=ticket_of())
        assert ("number_in_use", PASSES_MAX) == (said.value.code, said.value.facts["count"])
        assert 290 <= int(said.value.facts["retry_after_s"]) <= 300
    assert (await desks[1].enter("retail", account_id=None, shown=ticket_of(41))).granted.number == 41
    assert (await desks[1].enter("retail", account_id=SITI, shown=ticket_of())).granted.is_bound
    await db.fetch("UPDATE gate.bearers SET ends_s[1] = 1 WHERE number = 40")
    assert not (await desks[0].enter("retail", account_id=None, shown=ticket_of())).granted.is_bound


async def test_with_the_database_away_few_come_in_as_well(db: Database, desks: list[Reception]) -> None:
    """With one process; a number that nobody came with is let in."""
    await db.close()
    for desk in desks:
        await come(desk, PASSES_MAX)
        assert "number_in_use" == await why_not(desk, ticket_of())
        assert (await desk.enter("retail", account_id=None, shown=ticket_of(41))).granted.number == 41
        old, number = [pass_of(now_s() - later, number=42) for later in range(PASSES_MAX)], 42
        for one in old:
            await desk._bearers.let_in(one, now_s=one.until_s - 1)
        assert (await desk.enter("retail", account_id=None, shown=ticket_of(number))).granted.number == number


async def test_a_pass_is_prolonged_in_its_place_and_its_copies_are_not(db: Database, desks: list[Reception]) -> None:
    """A replayed pass: who renews takes no second place, and who sends the old one again once its place has been taken
    gets no longer one for it; of many who renew copies most go on with what they have.
    """
    await come(desks[0], PASSES_MAX - 1)
    old = pass_of(now_s() + 60)
    await desks[0]._bearers.let_in(old, now_s=now_s())
    shown = desks[0].passes.sign(old)
    assert (await desks[1].enter("retail", account_id=None, held=shown)).granted.until_s > old.until_s
    assert PASSES_MAX == await db.fetchval("SELECT cardinality(ends_s) FROM gate.bearers WHERE number = 40")
    await db.fetch("UPDATE gate.bearers SET ends_s = $1 WHERE number = 40", [now_s() + 400 + one for one in range(3)])
    assert old == (await desks[0].enter("retail", account_id=None, held=shown)).granted


@pytest.mark.parametrize(
    ("how", "why"), [("ticket", "ticket_of_another"), ("code", "ticket_of_another"), ("pass", "pass_of_another")]
)
async def test_a_turn_is_one_accounts_also_when_it_has_left(desks: list[Reception], how: str, why: str) -> None:
    """So that no line of people uses one turn after the other, each leaving before the next one comes."""
    first, second = desks
    shown = ticket_of()
    entered = await first.enter("retail", account_id=None, shown=shown)
    siti = await first.enter("retail", account_id=SITI, shown=shown)
    await first.leave("retail", account_id=SITI, shown=first.press.sign(Ticket("retail", 40, 0, siti.granted.holder)))
    code = second.press.code_of(second.read("retail", shown))
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "ticket": lambda: second.enter("retail", account_id=BUDI, shown=shown),
        "code": lambda: second.ticket("retail", account_id=BUDI, code=code),
        "pass": lambda: second.tie(entered.granted, BUDI),
    }
    with pytest.raises(Refused) as said:
        await ways[how]()
    assert why == said.value.code
    assert (await second.enter("retail", account_id=SITI, shown=shown)).granted.is_bound


async def test_two_accounts_that_bring_one_ticket_at_once_do_not_both_get_it(desks: list[Reception]) -> None:
    """In one batch: the first has it, the other a number of its own."""
    shown = ticket_of()
    given = await asyncio.gather(*(desks[0].ticket("retail", account_id=one, shown=shown) for one in (SITI, BUDI)))
    assert 40 == given[0].ticket.number != given[1].ticket.number


async def test_a_pass_of_nobody_is_tied_to_the_first_account(desks: list[Reception]) -> None:
    """In every web process, and again and again; any other account is refused."""
    granted = (await desks[0].enter("retail", account_id=None, shown=ticket_of())).granted
    for desk in (*desks, *desks):
        await desk.tie(granted, SITI)
        with pytest.raises(Refused) as said:
            await desk.tie(granted, BUDI)
        assert "pass_of_another" == said.value.code


async def test_what_names_an_account_or_is_over_is_not_tied(db: Database, desks: list[Reception]) -> None:
    """Whoever comes with one is not refused for it, and nothing is written."""
    desk = desks[0]
    for shown in (
        desk.passes.of_ticket(Ticket("retail", 40, 0, desk.press.holder_of(SITI)), now_s()),
        pass_of(now_s() - 1),
    ):
        for account_id in (SITI, BUDI):
            await desk.tie(shown, account_id)
    assert 0 == await db.fetchval("SELECT count(*) FROM gate.places") + await db.fetchval(
        "SELECT count(*) FROM gate.bearers"
    )


async def test_a_database_that_is_too_busy_makes_nobody_a_thief(
    desks: list[Reception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be told is said, and is not said to be another's."""

    async def busy(*_: object) -> object:
        raise BUSY(retry_after_s=1)

    monkeypatch.setattr(desks[0]._db, "fetch", busy)
    with pytest.raises(Refused) as said:
        await desks[0].tie(pass_of(now_s() + 60), SITI)
    assert BUSY.code == said.value.code


def headers_of(granted: Pass, session: str) -> dict[bytes, bytes]:
    """A browser's request."""
    cookies = f"emeterai_session=ems_{session:0>20}; emeterai_for=group" if session else "lang=id"
    return {PASS_HEADER: PASSES.sign(granted).encode(), b"cookie": cookies.encode()}


def test_a_pass_of_nobody_is_good_for_few_sessions() -> None:
    """A copy for a thousand people lets few of them act inside; who is not signed in yet may still do so."""
    pass_at, granted = pass_reader(PASSES, frozenset), pass_of(now_s() + 300)
    for _ in range(2):
        found = [pass_at(headers_of(granted, str(one))) is not None for one in range(50)]
        assert [True] * SESSIONS_MAX + [False] * (50 - SESSIONS_MAX) == found
    assert pass_at(headers_of(granted, "")) == granted
    assert pass_at({PASS_HEADER: PASSES.sign(granted).encode(), b"authorization": b"Bearer ems_other"}) is None
    for other in (pass_of(now_s() + 301), pass_of(now_s() + 300, number=41)):
        assert pass_at(headers_of(other, "99")) == other


def test_a_pass_of_an_account_is_good_for_a_persons_sessions() -> None:
    """Whose it is the application checks where somebody buys or stamps; a copy for a crowd opens nothing at all."""
    pass_at, holder = pass_reader(PASSES, frozenset), PASSES.holder_of(SITI)
    bound = Pass("retail", 40, holder, now_s(), now_s() + 300)
    for _ in range(2):
        found = [pass_at(headers_of(bound, str(one))) is not None for one in range(50)]
        assert [True] * SESSIONS_OF_ACCOUNT_MAX + [False] * (50 - SESSIONS_OF_ACCOUNT_MAX) == found


def test_passes_to_finish_of_many_people_in_one_second_are_each_their_own() -> None:
    """They have no number: whose they are tells them apart, so nobody's sessions use up another's."""
    pass_at, second = pass_reader(PASSES, frozenset), now_s()
    for one in range(SESSIONS_OF_ACCOUNT_MAX + 2):
        own = PASSES.to_finish("retail", new_id(), second)
        assert pass_at(headers_of(own, str(one))) == own
